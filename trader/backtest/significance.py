"""What a Sharpe ratio is worth after it was picked as the best of many trials.

The deflated Sharpe ratio: D. H. Bailey and M. Lopez de Prado, "The Deflated Sharpe Ratio: Correcting for Selection
Bias, Backtest Overfitting and Non-Normality", Journal of Portfolio Management 40 (5), 2014. Ratios here are
per observation (a day), not annualised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, variance

import numpy as np

from trader.domain.market import FloatArray

#: Euler and Mascheroni's constant
_GAMMA = 0.577_215_664_901_532_9

#: below this probability the best result of a sweep is taken for luck
CONVINCING = 0.95


@dataclass(frozen=True, slots=True)
class Deflated:
    """The best of some trials, against what the best of as many worthless ones would show."""

    trials: int
    observations: int
    sharpe: float  #: of the best trial, per observation
    expected_best: float  #: Sharpe ratio that the best of as many trials without skill has on average
    probability: float  #: that the true ratio is above 0 after all, 0..1: the deflated Sharpe ratio
    skewness: float
    kurtosis: float  #: 3 for a normal distribution

    @property
    def convincing(self) -> bool:
        """Whether the best trial is likely to be more than the luckiest one."""
        return self.probability >= CONVINCING


def observed_sharpe(returns: FloatArray) -> float | None:
    """Return mean over deviation (ddof 1) per observation; None where it is undefined."""
    if len(returns) < 2:
        return None
    deviation = float(returns.std(ddof=1))
    if not deviation > 1e-15 * float(np.abs(returns).max()):
        return None
    return float(returns.mean()) / deviation


def expected_best_sharpe(trials: int, deviation: float) -> float:
    """Return the Sharpe ratio that the best of `trials` worthless ones has on average.

    Parameters
    ----------
    trials : int
        How many independent ones, >= 1.
    deviation : float
        Of their ratios.
    """
    if trials < 2:
        return 0.0
    normal = NormalDist()
    return deviation * (
        (1.0 - _GAMMA) * normal.inv_cdf(1.0 - 1.0 / trials) + _GAMMA * normal.inv_cdf(1.0 - 1.0 / (trials * math.e))
    )


def probabilistic_sharpe(sharpe: float, benchmark: float, observations: int, skewness: float, kurtosis: float) -> float:
    """Return the probability that the true ratio is above a benchmark, both per observation.

    Parameters
    ----------
    sharpe, benchmark : float
        Observed ratio, and the one it is to beat.
    observations : int
        Number of returns, >= 2.
    skewness, kurtosis : float
        Of the returns; 0 and 3 for a normal distribution.
    """
    spread = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe
    if not spread > 0.0:  # few returns, nearly all alike: the formula has no answer
        return 0.5
    return NormalDist().cdf((sharpe - benchmark) * math.sqrt(observations - 1) / math.sqrt(spread))


@dataclass(frozen=True, slots=True)
class Moments:
    """What the deflated ratio needs to know of a trial's returns."""

    observations: int
    sharpe: float  #: per observation
    skewness: float
    kurtosis: float  #: 3 for a normal distribution


def moments(returns: FloatArray) -> Moments | None:
    """Return the moments of returns; None where they have no Sharpe ratio."""
    sharpe = observed_sharpe(returns)
    if sharpe is None:
        return None
    centred = returns - returns.mean()
    squares = centred * centred
    scale = math.sqrt(float(squares.mean()))
    skewness = float((squares * centred).mean()) / scale**3
    kurtosis = float((squares * squares).mean()) / scale**4
    return Moments(len(returns), sharpe, skewness, kurtosis)


def deflated_sharpe(best: Moments | None, sharpes: Sequence[float], trials: int | None = None) -> Deflated | None:
    """Return what the best of some trials is worth.

    Parameters
    ----------
    best : Moments or None
        Of the daily returns of the best trial.
    sharpes : sequence of float
        Ratios of all trials that have one, per observation.
    trials : int, optional
        How many were tried, those without a ratio too; all of `sharpes` by default.

    Returns
    -------
    Deflated or None
        None when the best trial has no ratio.
    """
    if best is None:
        return None
    count = max(trials if trials is not None else len(sharpes), 1)
    deviation = math.sqrt(variance(sharpes)) if len(sharpes) > 1 else 0.0
    expected = expected_best_sharpe(count, deviation)
    probability = probabilistic_sharpe(best.sharpe, expected, best.observations, best.skewness, best.kurtosis)
    return Deflated(count, best.observations, best.sharpe, expected, probability, best.skewness, best.kurtosis)
