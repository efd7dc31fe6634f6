"""Comparisons: strategies times seeds at one budget, and what may be said of them.

`trace` is what is kept of a run, `play` makes one, `field` says what counts as good, `measures`
reads a trace against it, `summary` is the numbers, `words` the text, `folder` what is left behind;
`run` does it all.
"""
