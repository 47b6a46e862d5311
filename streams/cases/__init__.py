"""Policy cases: events and what a policy must make of them, written down beside the policy and run through the real pipeline."""
