"""SIGHUPs: how many reloads they are, and when."""

from __future__ import annotations

import asyncio

import pytest

from trader.supervisor import hangups
from trader.supervisor.hangups import Hangups


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Shorten the waits."""
    monkeypatch.setattr(hangups, "QUIET_S", 0.05)
    monkeypatch.setattr(hangups, "LONGEST_S", 0.5)


def reloads_of(signals, gap_s, rest_s=0.3):
    """Return at which signal each reload began, for so many signals so far apart."""
    begun, noted = [], []

    async def storm():
        counter = Hangups(lambda: begun.append(len(noted)))
        for number in range(signals):
            noted.append(number)
            counter.note()
            await asyncio.sleep(gap_s)
        await asyncio.sleep(rest_s)

    asyncio.run(storm())
    return begun


def test_single_hangup_is_a_reload_at_once():
    """Nobody waits for a second one."""
    assert reloads_of(1, 0.0, rest_s=0.0) == [1]


def test_storm_of_hangups_is_the_first_one_and_one_after_the_last():
    """The second reload begins after the last signal, so it reads the last file."""
    assert reloads_of(200, 0.0) == [1, 200]


def test_hangups_without_an_end_are_reloads_now_and_then():
    """They are never put off for ever, and each is followed by a reload."""
    begun = reloads_of(80, 0.02)
    assert 3 <= len(begun) <= 12
    assert (begun[0], begun[-1]) == (1, 80)


def test_hangup_after_a_quiet_while_is_the_first_again():
    """It reloads at once."""
    assert reloads_of(2, 0.6, rest_s=0.0) == [1, 2]


def test_hangups_that_wait_are_forgotten_at_the_end():
    """A service that stops does not reload."""
    begun = []

    async def stop():
        counter = Hangups(lambda: begun.append(1))
        counter.note()
        counter.note()
        counter.cancel()
        await asyncio.sleep(0.2)

    asyncio.run(stop())
    assert begun == [1]
