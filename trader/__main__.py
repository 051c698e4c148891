"""`python -m trader` is the command `trader`."""

import sys

from trader.cli import main

if __name__ == "__main__":  # a spawned worker imports this module under another name
    sys.exit(main())
