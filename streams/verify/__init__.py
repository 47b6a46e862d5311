"""Verification: what lies on topics and in stores, held against what a second, plain implementation makes of the same input."""
