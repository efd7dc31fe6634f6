"""What may be said of noisy measurements: intervals, paired differences, verdicts."""
