"""`python -m hybridsearch`."""

import sys

from hybridsearch.cli import main

if __name__ == "__main__":
    sys.exit(main())
