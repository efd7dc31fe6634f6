"""What one function is and what a run knows of it: numbers, pictures and words."""
