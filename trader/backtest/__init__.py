"""History through the trading core: backtests, sweeps, walk-forward, and what their figures are worth."""
