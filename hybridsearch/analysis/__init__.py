"""From the numbers of a run to what may be said of them: statistics and pictures."""
