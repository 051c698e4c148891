"""Runs the supervisor with the services of a test: CONFIG BASE ENTRIES(JSON) PROBATION_S."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from trader.errors import TraderError
from trader.supervisor.main import ENTRIES, run


def main() -> int:
    """Return the exit code, as the command line would."""
    try:
        return run(Path(sys.argv[1]), Path(sys.argv[2]), {**ENTRIES, **json.loads(sys.argv[3])}, float(sys.argv[4]))
    except TraderError as error:
        print(f"trader: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
