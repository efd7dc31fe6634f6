"""Recorded tables: every function of a small space trained in advance, to replay searches on.

`recording` makes one, slowly and resumably; `table` is what comes out; `replay` is the evaluator
that answers from it; `card` says what it is worth.
"""
