"""Functions to take away: a file for another framework, checked against the evaluator."""
