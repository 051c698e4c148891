"""How small a year of performance is, and how soon any range of it answers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.measure import readable
from tests.unit.ledger.test_metrics import curve
from trader.ledger.metrics import MetricsReader, MetricsStore
from trader.ledger.performance import capital_stats

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]

DAY_NS = 86_400 * 10**9
#: what the issue asks for [s]
ANSWER_S = 0.050


def median_s(ask: Callable[[], object]) -> float:
    """Return the median processor time of an answer: others use this machine, too."""
    taken = []
    for _ in range(15):
        started = time.process_time()
        ask()
        taken.append(time.process_time() - started)
    return statistics.median(taken)


def test_year_is_small_and_any_range_answers_at_once(tmp_path: Path) -> None:
    """A snapshot each minute whose equity changes each time: the worst case for packing."""
    path, written = tmp_path / "metrics.db", curve(365, every_s=60)
    store = MetricsStore.open(path)
    for first in range(0, len(written), 5000):
        store.append(written[first : first + 5000])
    store.pack_old_days(400)
    store.close()
    size = path.stat().st_size
    print(f"\n{len(written):,} snapshots of a year: {size / 1e6:.1f} MB, {size / len(written):.0f} bytes each")
    reader, begun = MetricsReader(path), written[0].time_ns
    answers = {
        f"{days} days, {points} points": median_s(
            lambda days=days, points=points: reader.equity(begun + 9 * DAY_NS, begun + (9 + days) * DAY_NS, points)
        )
        for days in (1, 7, 30, 60, 90, 350)
        for points in (1000, 5000)
    }
    answers["mean, median and deviation of the year"] = median_s(lambda: capital_stats(reader))
    for name, took_s in answers.items():
        print(f"  {name:<44} {readable(took_s):>10}")
    assert size < 20e6
    assert max(answers.values()) < ANSWER_S
