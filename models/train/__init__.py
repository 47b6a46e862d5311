"""Training of the small deltas on the base encoder: data with provenance, the fit, and what the result is worth."""
