"""A fake exchange on the loopback that unmodified ccxt clients trade on, and that misbehaves on command.

    candles = {"BTC/USDT": [(open_ms, open, high, low, close, volume), ...], ...}
    with FakeVenue(candles, balances={"USDT": 10_000}, history=200) as venue:
        client = ccxt.async_support.binance({"apiKey": KEY, "secret": SECRET, **venue.exchange_config()})  # venue.keys
        ...                                      # or: market.exchange_config = venue.exchange_config()
        venue.advance(1)                         # play a candle: its prices in order, and the next one's open
        assert venue.books.twice() == {}         # no client id was accepted twice
        assert venue.books.differences == {}     # and no unit of money appeared or vanished

The server runs in a thread of its own, so that it outlives engines that are killed; everything about it may be asked
and changed from the test's thread. `history` candles are closed when it starts. `advance` plays one candle in four
prices (open, nearer extreme, other extreme, close), then closes it and opens the next one; a market order is filled
at the present price, which between two steps is the open of the present candle. Stops fill at their price, or at the
open after a gap; resting limit orders at their own price. `run(speed)` plays on by itself, `pause()` ends that.

Time: with `VenueClock()` the venue's time is the candles'; it jumps, so timestamps are not held against it. It stands
still between two steps, unless `elapse(s)` lets it pass within the candle. With `share=PATH` it is kept in a file which
`SharedTime(PATH).now_ns()` reads in another process. With `VenueClock(wall=True, offset_ms=700)` it is the machine's,
700 ms ahead, the candles are moved to the present, and -1021 comes by itself.

Faults are addressed to what a request is about, in words that all dialects share (script.OPERATIONS), to a method and
path, to any request ("*"), or to the messages of streams ("ws_market", "ws_user"):

    venue.script.add("submit", "drop_after", nth=2)                       # the second is accepted, never answered
    venue.script.add("submit", "partial_fills", pieces=3, later=True)     # one piece per price
    venue.script.add("GET /api/v3/myTrades", "delay", seconds=5, times=None)
    venue.script.add("ws_user", "ws_missing", when={"e": "executionReport", "x": "TRADE"})

======================  ================================================================================================
drop_before             the connection closes and the request was never handled
drop_after, reset       it was handled, and the connection closes (reset: by RST) without an answer
delay, delay_after      seconds before or after handling
error_5xx               status=503, text=...: an error, and it was not handled
error_5xx_accepted      the same, although it was handled
rate_limited            retry_after=None|s, status=429|418
clock_error_1021        the venue's words for a wrong clock
maintenance             the venue's words for it; seconds=: all requests and streams, for so long
garbage_json            text=...: what comes instead of the answer, although it was handled
truncated_body          part=0.5, how="json" (half the text in a whole HTTP answer) or "http" (the connection breaks)
slow_body               the answer trickles for so many seconds
partial_fills           pieces=3, later=False: the order that this submit places is filled in so many trades
fill_races_cancel       part=1: the order is filled just before its cancel is handled
fee_in_bnb              commissions come in BNB (currency=) from now on, while there is some
lot_size_changed        symbol=, step=, tick=, min_quantity=, min_notional=, trading=: new rules from now on
call                    function=f(venue, call): whatever a test can think of, just before the request is handled
ws_duplicate            copies=2
ws_missing              the message is lost
ws_reorder              it comes after the next one of its kind, or after seconds=0.5
ws_mute                 the socket stays open and says nothing more of the kind; `venue.unmute()`
ws_drop, ws_garbage     the socket closes; the message is garbage
======================  ================================================================================================

`venue.requests` is what came in, `venue.script.made` what happened; `venue.close_for(s)`, `venue.cut_streams()`.
`permissions={"read"}` makes keys read-only, "withdraw" in it makes them too mighty; `rules={symbol: Rules(...)}` sets
filters; `weight_limit=` and `order_limit=` turn rate limits on; `fee_currency="BNB"` takes fees in BNB;
`slippage_bps`, `fee_rate`.

Client ids are unique as on the real venue: among open orders. A blind resend of an order that was filled is accepted,
and `books.submissions` tells on it; `venue.matching.unique_for_ever = True` makes the venue stricter.

`python -m tests.loopback.venue --candles FILE.json` serves as a process of its own, driven by `/_venue/...`.
"""

from tests.loopback.venue.clock import SharedTime, VenueClock
from tests.loopback.venue.markets import Rules
from tests.loopback.venue.script import Fault, Script
from tests.loopback.venue.venue import FakeVenue

__all__ = ["FakeVenue", "Fault", "Rules", "Script", "SharedTime", "VenueClock"]
