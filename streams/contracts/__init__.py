"""Data contracts, run on windows of topics with Great Expectations: beside the pipeline, never in its way."""
