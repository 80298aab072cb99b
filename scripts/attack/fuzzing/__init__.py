"""What scripts/attack/fuzz.py throws, and how it knows what should come of it."""
