"""One page about one run or several: what was found, how, and what it cost."""
