"""The parts of soak.py: what is done to a search, and what must come of it all the same."""
