"""Replays: history judged again under another policy, without touching what runs."""
