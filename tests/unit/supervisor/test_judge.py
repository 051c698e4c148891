"""The three verdicts."""

from __future__ import annotations

import pytest

from trader.supervisor.judge import Judge

S = 1_000_000_000
T0 = 1_000 * S


@pytest.mark.parametrize(
    ("role", "age_s", "alive", "hung"),
    [
        ("engine", 0.5, True, False),
        ("engine", 1.9, True, False),
        ("engine", 2.0, False, False),
        ("engine", 4.9, False, False),
        ("engine", 5.0, False, True),
        ("monitor", 14.9, False, False),
        ("monitor", 15.0, False, True),
        ("dashboard", 15.0, False, True),
    ],
)
def test_judge_beat_age_decides_life(role, age_s, alive, hung):
    """Suspected after 2 s, hung after 5 s (engine) or 15 s."""
    verdict = Judge(role).judge(T0, T0 - int(age_s * S), 1, 0)
    assert (verdict.alive, verdict.hung) == (alive, hung)
    assert verdict.beat_age_s == pytest.approx(age_s)


def test_judge_beat_from_the_future_is_fresh():
    """The beat may be written between our clock reading and the look at it."""
    assert Judge("engine").judge(T0, T0 + S, 1, 0).beat_age_s == 0.0


def test_judge_unchanged_iterations_for_a_minute_do_not_progress():
    """Beats alone are no progress, and no reason to kill."""
    judge = Judge("engine")
    assert judge.judge(T0, T0, 7, 0).progressing
    assert judge.judge(T0 + 59 * S, T0 + 59 * S, 7, 0).progressing
    late = judge.judge(T0 + 60 * S, T0 + 60 * S, 7, 0)
    assert (late.progressing, late.alive, late.hung) == (False, True, False)
    assert judge.judge(T0 + 61 * S, T0 + 61 * S, 8, 0).progressing


def test_judge_stale_feed_starves_but_does_not_kill():
    """Fed means market data within the limit; a new worker has that long to get its first."""
    judge = Judge("engine", stale_after_s=10.0)
    assert judge.judge(T0, T0, 1, 0).fed
    assert not judge.judge(T0 + 10 * S, T0 + 10 * S, 2, 0).fed
    assert judge.judge(T0 + 11 * S, T0 + 11 * S, 3, T0 + 5 * S).fed
    starved = judge.judge(T0 + 15 * S, T0 + 15 * S, 4, T0 + 5 * S)
    assert (starved.fed, starved.alive, starved.hung) == (False, True, False)


def test_judge_worker_without_a_feed_is_always_fed():
    """A dashboard takes no market data."""
    judge = Judge("dashboard")
    judge.judge(T0, T0, 1, 0)
    assert judge.judge(T0 + 3600 * S, T0 + 3600 * S, 2, 0).fed
