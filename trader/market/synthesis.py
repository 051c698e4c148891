"""Synthesis: seeded prices of one symbol, any part of which can be computed without the parts before it.

The logarithm of a price is the sum of three parts, in units of one candle's volatility:

- a slow one: returns with stochastic volatility, jumps and a factor that all symbols share, tied at both
  ends of each block to anchors. The anchors are an autoregression that returns to the symbol's base price, so
  that prices stay within reason for years while a day of them looks like a random walk.
- a wave: a damped oscillation driven by noise, as when a crowd overshoots and comes back.
- rounding to ticks.

All noise is drawn in chunks, each from a generator of its own (numpy's SeedSequence keyed by seed, symbol,
stream and chunk): a symbol's candles do not depend on which others are traded, on the speed, or on where a
run began. They are the same for one version of numpy; results in this market say nothing about a strategy.
"""

from __future__ import annotations

import math
import zlib
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from trader.clock import NS_PER_S
from trader.domain.market import FloatArray

_MINUTE_NS = 60 * NS_PER_S

#: values of a noise stream that are drawn at once
_CHUNK = 4096

#: chunks of noise kept: a block needs one or two of each stream
_CHUNKS_KEPT = 16

#: the factor that all symbols share has a name that no symbol can have
_MARKET = "the whole market"


@dataclass(frozen=True, slots=True)
class Character:
    """How a market moves; lengths in candles, sizes in logarithms of price."""

    candle_sd: float = 0.0016  #: standard deviation of a return of one minute
    correlation: float = 0.65  #: share of a return's deviation that is the whole market's
    volatility_sd: float = 0.35  #: standard deviation of the logarithm of volatility
    volatility_memory: float = 120.0  #: over which volatility clusters
    jump_chance: float = 1 / 700  #: per candle
    jump_sd: float = 5.0  #: of a jump, in candle_sd
    wave_sd: float = 3.5  #: standard deviation of the wave, in candle_sd
    wave_period: float = 75.0  #: its typical period
    wave_memory: float = 75.0  #: over which it forgets its phase
    reach_sd: float = 0.25  #: standard deviation of the anchors around the base price
    block_sd: float = 0.25  #: largest standard deviation of a block: shortens blocks of long candles


class Noise:
    """Independent normal numbers by index: any part of an endless stream.

    Parameters
    ----------
    seed : int
        Of the whole market.
    name : str
        Of a symbol.
    """

    def __init__(self, seed: int, name: str) -> None:
        self._seed = seed
        self._key = zlib.crc32(name.encode())
        self._chunks: OrderedDict[tuple[int, int], FloatArray] = OrderedDict()

    def normal(self, stream: int, first: int, count: int) -> FloatArray:
        """Return `count` standard normal numbers of a stream from index `first` >= 0 on."""
        chunks = range(first // _CHUNK, (first + count - 1) // _CHUNK + 1)
        values = np.concatenate([self._chunk(stream, chunk) for chunk in chunks])
        start = first - chunks[0] * _CHUNK
        return values[start : start + count]

    def _chunk(self, stream: int, chunk: int) -> FloatArray:
        key = (stream, chunk)
        values = self._chunks.get(key)
        if values is None:
            source = np.random.SeedSequence(self._seed, spawn_key=(self._key, stream, chunk))
            values = np.random.Generator(np.random.PCG64(source)).standard_normal(_CHUNK)
            self._chunks[key] = values
            if len(self._chunks) > _CHUNKS_KEPT:
                self._chunks.popitem(last=False)
        return values


# streams of one symbol's noise
_RETURNS, _VOLATILITY, _JUMP_TIMES, _JUMP_SIZES, _WAVE, _ANCHORS, _UP, _DOWN, _VOLUME = range(9)


class Synthesis:
    """The candles of one symbol, block by block.

    Parameters
    ----------
    seed : int
        Of the whole market.
    symbol : str
        As in BTC/USDT.
    timeframe_ns : int
        Length of a candle [ns].
    base_price : float
        Price that it keeps coming back to [quote per base].
    tick_size : float
        Price step [quote per base].
    market : Noise
        The factor that all symbols share, from `market_noise`.
    character : Character
        How it moves.
    """

    def __init__(
        self,
        seed: int,
        symbol: str,
        timeframe_ns: int,
        base_price: float,
        tick_size: float,
        market: Noise,
        character: Character | None = None,
    ) -> None:
        self._character = how = character or Character()
        self._own, self._market = Noise(seed, symbol), market
        self._base, self._tick = base_price, tick_size
        self._sd = how.candle_sd * math.sqrt(timeframe_ns / _MINUTE_NS)
        self.block_bars = block_bars(how, timeframe_ns)
        self._wave_taps = _ringing(how.wave_period, how.wave_memory)
        self._volatility_taps = _fading(how.volatility_memory)
        self._anchors = [how.reach_sd * float(self._mixed(_ANCHORS, 0, 1)[0])]

    def block(self, block: int) -> FloatArray:
        """Return open, high, low, close [quote per base] and volume [base] of a block's candles.

        Parameters
        ----------
        block : int
            Which one, >= 0.

        Returns
        -------
        ndarray of float64, shape (5, block_bars)
            One row per column, in the order of the first line.
        """
        first, bars = block * self.block_bars, self.block_bars
        sd = self._sd * self._volatility(first, bars)
        close = self._to_ticks(np.concatenate(([self._anchor(block)], self._slow(block, sd))) + self._wave(first, bars))
        open_, close = close[:-1], close[1:]
        above = 0.5 * sd * np.abs(self._own.normal(_UP, first, bars))
        below = 0.5 * sd * np.abs(self._own.normal(_DOWN, first, bars))
        high = np.maximum(self._round(np.maximum(open_, close) * np.exp(above)), np.maximum(open_, close))
        low = np.minimum(self._round(np.minimum(open_, close) * np.exp(-below)), np.minimum(open_, close))
        return np.stack((open_, high, np.maximum(low, self._tick), close, self._volume(first, open_, close, sd)))

    # the slow part at each close of a block: a path bent so that it ends at the next anchor
    def _slow(self, block: int, sd: FloatArray) -> FloatArray:
        first, bars = block * self.block_bars, self.block_bars
        jumps = np.abs(self._own.normal(_JUMP_TIMES, first, bars)) > _threshold(self._character.jump_chance)
        sizes = self._character.jump_sd * self._sd * self._own.normal(_JUMP_SIZES, first, bars)
        path = np.cumsum(sd * self._mixed(_RETURNS, first, bars) + jumps * sizes)
        start, end = self._anchor(block), self._anchor(block + 1)
        path += start + np.arange(1, bars + 1) / bars * (end - start - path[-1])
        path[-1] = end  # exactly, so that the next block opens at this close
        return path

    # before the first candle and at each close
    def _wave(self, first: int, bars: int) -> FloatArray:
        taps = self._wave_taps
        noise = self._mixed(_WAVE, first, bars + len(taps))
        return self._character.wave_sd * self._sd * np.convolve(noise, taps, "valid")[: bars + 1]

    def _volatility(self, first: int, bars: int) -> FloatArray:
        taps = self._volatility_taps
        noise = self._mixed(_VOLATILITY, first, bars + len(taps) - 1)
        spread = self._character.volatility_sd
        # the mean of the squares is 1: clusters do not change how much there is in all
        return np.exp(spread * np.convolve(noise, taps, "valid") - spread * spread)

    # more is traded when more happens; about a million quote a minute
    def _volume(self, first: int, open_: FloatArray, close: FloatArray, sd: FloatArray) -> FloatArray:
        activity = np.exp(0.5 * self._own.normal(_VOLUME, first, len(sd))) * (1 + np.abs(close / open_ - 1) / sd)
        return np.round(activity * (self._sd / self._character.candle_sd) ** 2 * 5e5 / self._base, 3) + 0.001

    def _mixed(self, stream: int, first: int, count: int) -> FloatArray:
        share = self._character.correlation
        own = self._own.normal(stream, first, count)
        return share * self._market.normal(stream, first, count) + math.sqrt(1 - share * share) * own

    # the anchors are few (a year of minutes has 513) and each needs the one before it
    def _anchor(self, block: int) -> float:
        anchors, how = self._anchors, self._character
        if block >= len(anchors):
            spread = min(self._sd * math.sqrt(self.block_bars) / how.reach_sd, 0.9)
            keep = math.sqrt(1 - spread * spread)
            step = how.reach_sd * spread
            first = len(anchors)
            for noise in self._mixed(_ANCHORS, first, block + _CHUNK - first).tolist():
                anchors.append(keep * anchors[-1] + step * noise)
        return anchors[block]

    def _to_ticks(self, log_price: FloatArray) -> FloatArray:
        return np.maximum(self._round(self._base * np.exp(log_price)), self._tick)

    def _round(self, price: FloatArray) -> FloatArray:
        # dividing by a power of ten gives the float nearest to the decimal, multiplying does not
        steps = round(1 / self._tick) if self._tick < 1 else 0
        if steps and math.isclose(steps * self._tick, 1, rel_tol=1e-12):
            return np.rint(price * steps) / steps
        return np.rint(price / self._tick) * self._tick


def market_noise(seed: int) -> Noise:
    """Return the noise that all symbols of a market share."""
    return Noise(seed, _MARKET)


def block_bars(character: Character, timeframe_ns: int) -> int:
    """Return how many candles a block has: fewer of long candles, so that no block wanders far."""
    sd = character.candle_sd * math.sqrt(timeframe_ns / _MINUTE_NS)
    return int(min(max((character.block_sd / sd) ** 2, 64), 1024))


# weights of past noise that make an oscillation with a standard deviation of 1
def _ringing(period: float, memory: float) -> FloatArray:
    age = np.arange(1, int(5 * memory))
    return _normed(np.exp(-age / memory) * np.sin(2 * np.pi * age / period))


# weights of past noise that make a slowly varying number with a standard deviation of 1
def _fading(memory: float) -> FloatArray:
    return _normed(np.exp(-np.arange(int(5 * memory)) / memory))


def _normed(taps: FloatArray) -> FloatArray:
    normed: FloatArray = taps / math.sqrt(float((taps * taps).sum()))
    return normed


# what the size of a normal number passes with this chance, by bisection on the error function
def _threshold(chance: float) -> float:
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erfc(middle / math.sqrt(2)) > chance else (low, middle)
    return low
