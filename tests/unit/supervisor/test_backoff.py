"""When a dead worker may start again."""

from __future__ import annotations

import random

from trader.supervisor.backoff import (
    BUDGET,
    FIRST_DELAY_S,
    JITTER_FRAC,
    KILLED_BUDGET,
    LONGEST_DELAY_S,
    Backoff,
)

S = 1_000_000_000


def nominal(delay_s: float | None, expected_s: float) -> bool:
    """Tell whether a delay is the expected one within its jitter."""
    assert delay_s is not None
    return abs(delay_s - expected_s) <= JITTER_FRAC * expected_s + 1e-9


def test_backoff_deaths_in_a_row_double_the_delay_up_to_the_cap():
    """0.5, 1, 2 ... 30 s, each within the jitter."""
    backoff = Backoff(100, random.Random(1))
    delays = [backoff.died(i * S, 0.0, progressed=False) for i in range(9)]
    for i, delay in enumerate(delays):
        assert nominal(delay, min(LONGEST_DELAY_S, FIRST_DELAY_S * 2**i))


def test_backoff_jitter_is_not_constant():
    """Several services that die together don't come back together."""
    delays = {Backoff(9, random.Random(seed)).died(S, 0.0, progressed=False) for seed in range(5)}
    assert len(delays) == 5


def test_backoff_budget_used_up_gives_none():
    """Three restarts, and the fourth death is the last."""
    backoff = Backoff(BUDGET["engine"])
    delays = [backoff.died(i * S, 0.0, progressed=False) for i in range(4)]
    assert [delay is None for delay in delays] == [False, False, False, True]


def test_backoff_deaths_older_than_the_window_do_not_count():
    """One death every 101 s is for ever bearable: at most 3 fall into 300 s."""
    backoff = Backoff(BUDGET["engine"])
    assert all(backoff.died(i * 101 * S, 0.0, progressed=False) is not None for i in range(20))
    assert backoff.recent(19 * 101 * S) == 3


def test_backoff_healthy_minute_starts_the_delay_over_but_counts():
    """A worker that lives a minute waits the shortest time, yet a crash a minute uses the budget up."""
    backoff = Backoff(3)
    delays = [backoff.died(i * 61 * S, 61.0, progressed=False) for i in range(4)]
    assert all(nominal(delay, FIRST_DELAY_S) for delay in delays[:3])
    assert delays[3] is None


def test_backoff_progress_neither_counts_nor_waits_longer():
    """Twenty kills of an engine that moves on are survived at the shortest delay."""
    backoff = Backoff(3)
    delays = [backoff.died(i * S, 0.5, progressed=True) for i in range(20)]
    assert all(nominal(delay, FIRST_DELAY_S) for delay in delays)
    assert backoff.recent(20 * S) == 0


def test_backoff_progress_after_a_used_budget_gets_another_try():
    """Progress is the proof that it works again."""
    backoff = Backoff(1)
    assert backoff.died(S, 0.0, progressed=False) is not None
    assert backoff.died(2 * S, 0.0, progressed=False) is None
    assert backoff.died(3 * S, 0.0, progressed=True) is not None


def test_backoff_sigkills_by_others_have_a_wider_budget_of_their_own():
    """Twenty kills at the worst moments are survived; the budget for crashes is untouched."""
    backoff = Backoff(BUDGET["engine"])
    kills = [backoff.died(i * S, 0.0, progressed=False, killed=True) for i in range(KILLED_BUDGET + 1)]
    assert all(delay is not None for delay in kills[:-1])
    assert kills[-1] is None
    assert all(backoff.died((50 + i) * S, 0.0, progressed=False) is not None for i in range(BUDGET["engine"]))
