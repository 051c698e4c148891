"""How far a curve fell, in one compiled pass: `domain.metrics.falls_of` for curves of millions of marks."""

from __future__ import annotations

from trader.clock import NS_PER_S
from trader.core.compiling import kernel
from trader.domain.metrics import Curve, Falls


def falls_of(curve: Curve) -> Falls:
    """Return how far and how long a curve was below its peaks."""
    worst_frac, worst, longest_ns = _falls(curve.time_ns, curve.equity, curve.initial, curve.start_ns)
    return Falls(worst_frac, worst, longest_ns / NS_PER_S)


@kernel
def _falls(time_ns, equity, initial, start_ns):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    peak = initial
    peak_ns = start_ns
    longest_ns = 0
    worst = 0.0
    worst_frac = 0.0
    fell = False
    for i in range(equity.shape[0]):
        value = equity[i]
        if value >= peak:
            longest_ns = max(longest_ns, time_ns[i] - peak_ns)
            peak = value
            peak_ns = time_ns[i]
        else:
            fell = True
            below = peak - value
            worst = max(worst, below)
            if below > worst_frac * peak:
                worst_frac = max(worst_frac, below / peak)
    if not fell:
        return 0.0, 0.0, 0
    return worst_frac, worst, max(longest_ns, time_ns[-1] - peak_ns)
