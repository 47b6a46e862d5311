"""Personal data: found by patterns exactly as Presidio finds it, and replaced in every text that leaves the first step."""
