"""Backtests and sweeps: the live rules over history, at the machine's speed."""
