"""Texts for the guard: attacks on agents, the tool results they hide in, and what looks like an attack and is none."""
