"""The line between supervisor and worker."""

from __future__ import annotations

import pytest

from trader.config.sections import Config
from trader.process.channel import Channel, ChannelClosed, ChannelFull, Command, MessageTooLarge, Prepare, Reply


@pytest.fixture
def line():
    """Both ends."""
    ours, theirs = Channel.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_channel_messages_arrive_whole_and_in_order(line):
    """As they were sent, the configuration too."""
    ours, theirs = line
    sent = [Command(1, "pause", {"a": 1}), Prepare(2, Config(), 7), Reply(3, {"b": None})]
    for message in sent:
        ours.send(message)
    assert [theirs.receive() for _ in sent] == sent
    assert theirs.receive() is None


def test_channel_end_is_noticed_after_the_last_message(line):
    """What was said before the end is still heard."""
    ours, theirs = line
    ours.send(Reply(1, {}))
    ours.close()
    assert theirs.receive() == Reply(1, {})
    with pytest.raises(ChannelClosed):
        theirs.receive()
    with pytest.raises(ChannelClosed):
        theirs.send(Reply(2, {}))


def test_channel_reader_that_does_not_read_does_not_block_the_sender(line):
    """A stopped worker can't hang the supervisor."""
    ours, _ = line
    flood = (ours.send(Reply(number, {})) for number in range(100_000))
    with pytest.raises(ChannelFull):
        list(flood)


def test_channel_too_large_a_message_is_refused_whole(line):
    """And the line goes on working."""
    ours, theirs = line
    with pytest.raises(MessageTooLarge, match=r"a Reply of \d+ bytes is over 131072 bytes"):
        ours.send(Reply(1, {"text": "x" * 200_000}))
    ours.send(Reply(2, {"text": "x" * 120_000}))
    assert theirs.receive().number == 2


def test_channel_message_as_large_as_a_thousand_symbols_fits(line):
    """The largest thing that travels is a configuration."""
    ours, theirs = line
    symbols = tuple(f"COIN{number}/USDT" for number in range(1000))
    config = Config.model_validate({"market": {"symbols": symbols}})
    ours.send(Prepare(1, config, 2))
    assert theirs.receive().config.market.symbols == symbols
