"""Texts with names in them, for the tagger: where the names come from, and the shapes of text they stand in."""
