"""What the engine tells about its strategies, as readers see it."""

from __future__ import annotations

from trader.codes import Role
from trader.core.records import new_desk, new_slots
from trader.engine.publisher import Publisher
from trader.state.dtypes import MAX_STRATEGIES
from trader.state.segment import Segment


def test_publish_strategies_tells_the_present_ones_only(tmp_path):
    """After a reload to fewer, the others are gone; more than there is room for are left out."""
    segment = Segment.create(
        tmp_path / "engine", role=Role.ENGINE, generation=1, n_symbols=1, run_id="run", meta={"symbols": ["BTC/USDT"]}
    )
    publisher = Publisher(segment, new_desk(), new_slots(1))
    rows = [(f"strategy-{i}".encode(), i, 1, 0, 0, 0) for i in range(MAX_STRATEGIES + 3)]
    for count in (MAX_STRATEGIES + 3, 2):
        publisher.publish_strategies(rows[:count])
        found = segment.reader("strategies").read()["strategies"]
        named = [bytes(row["name"]).decode() for row in found if row["name"]]
        assert named == [f"strategy-{i}" for i in range(min(count, MAX_STRATEGIES))]
        assert found["asked"].tolist()[: len(named)] == list(range(len(named)))


def test_publish_strategies_same_again_publishes_nothing(tmp_path):
    """A commit without news about them costs a comparison."""
    segment = Segment.create(
        tmp_path / "engine", role=Role.ENGINE, generation=1, n_symbols=1, run_id="run", meta={"symbols": ["BTC/USDT"]}
    )
    publisher = Publisher(segment, new_desk(), new_slots(1))
    reader = segment.reader("strategies")
    publisher.publish_strategies([(b"one", 1, 0, 0, 0, 0)])
    before = reader.sequence
    publisher.publish_strategies([(b"one", 1, 0, 0, 0, 0)])
    assert reader.sequence == before
    publisher.publish_strategies([(b"one", 2, 0, 0, 0, 0)])
    assert reader.sequence == before + 1
