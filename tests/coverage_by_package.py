"""Print branch coverage by package, and fail where a package has less than is wanted.

Run by `make coverage`, after the tests: takes what coverage.py has written, kernels and spawned processes included.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

PACKAGES = ("core", "ledger", "execution", "risk", "recovery", "supervisor")


def by_package(report: Path) -> dict[str, Counter[str]]:
    """Return what coverage.py counted, summed by package."""
    sums: dict[str, Counter[str]] = {package: Counter() for package in PACKAGES}
    for name, file in json.loads(report.read_text())["files"].items():
        package = Path(name).parent.name
        if package in sums:
            sums[package].update({key: value for key, value in file["summary"].items() if isinstance(value, int)})
    return sums


def percent(sums: Counter[str]) -> float:
    """Return lines and branches taken, of all there are [%]: coverage.py's own figure; nothing measured is 0."""
    there = sums["num_statements"] + sums["num_branches"]
    return 100 * (sums["covered_lines"] + sums["covered_branches"]) / there if there else 0.0


def main() -> int:
    """Print the table and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.coverage_by_package", description=__doc__.partition("\n")[0])
    parser.add_argument("report", type=Path, help="what `coverage json` has written")
    parser.add_argument("--wanted", type=float, default=90.0, help="percent of each package")
    given = parser.parse_args()
    print(f"{'package':12} {'lines':>6} {'branches':>9} {'not taken':>10} {'covered':>8}")
    low = []
    for package, sums in by_package(given.report).items():
        lines, branches = sums["num_statements"], sums["num_branches"]
        left = sums["missing_lines"] + sums["missing_branches"]
        print(f"{package:12} {lines:6} {branches:9} {left:10} {percent(sums):7.1f}%")
        if percent(sums) < given.wanted:
            low.append(package)
    if low:
        print(f"less than {given.wanted:g} %: {', '.join(low)}")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
