"""The crash campaign: killed at each step of an order's life, under each fault of the venue, and started again.

Afterwards the venue's own books, the ledger and shared memory agree exactly, no client order id was accepted twice, and
no intended order is missing.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.order_campaign import FAULTS, Campaign, Template, combinations
from trader.execution.steps import Step

SEED = int(os.environ.get("TRADER_FAULT_SEED", "7"))
#: combinations of `make faults`, in batches
COUNT, BATCH = 2000, 100
SAMPLE = 8
#: where fsync is cheap: what is on disk after SIGKILL is the same on any file system
SHM = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it

_killed: Counter[tuple[str, str]] = Counter()


@pytest.fixture(scope="module")
def template() -> Iterator[Template]:
    """Return the warm process that engines are forked from."""
    with Template() as found:
        yield found


@pytest.fixture
def campaign(template: Template, tmp_path: Path) -> Iterator[Campaign]:
    """Return a campaign in a folder of its own."""
    folder = SHM / f"trader-campaign-{os.getpid()}" if SHM.is_dir() else tmp_path / "campaign"
    made = Campaign(template, folder)
    yield made
    _killed.update(made.killed)
    shutil.rmtree(folder, ignore_errors=True)


def run(campaign: Campaign, first: int, count: int) -> None:
    """Run some of the combinations; fail with all that is wrong."""
    wrong = []
    for number, combination in enumerate(combinations(SEED, first + count)):
        if number >= first:
            wrong += [f"{number} {combination}: {text}" for text in campaign.run(number, combination)]
    assert wrong == []


def test_killed_engine_leaves_books_that_agree(campaign: Campaign) -> None:
    """A sample of the campaign."""
    run(campaign, 0, SAMPLE)
    assert campaign.killed


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("batch", range(COUNT // BATCH))
def test_killed_engine_at_every_step_under_every_fault_leaves_books_that_agree(campaign: Campaign, batch: int) -> None:
    """The whole of it: 2,000 combinations."""
    run(campaign, batch * BATCH, BATCH)


@pytest.mark.slow
def test_campaign_has_killed_at_every_step_and_under_every_fault() -> None:
    """No step of the enumeration was left out, and no fault."""
    if sum(_killed.values()) < COUNT // 2:
        pytest.skip("the campaign has not run in this process")
    assert {step for step, _ in _killed} == {step.value for step in Step}
    assert {fault for _, fault in _killed} == {action for _, action, _ in FAULTS}
