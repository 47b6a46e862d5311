"""Guardrails: rules over events, the decision that follows from their hits."""
