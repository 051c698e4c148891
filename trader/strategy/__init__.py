"""Opinions: strategies turn closed candles into signals; they know no account, no risk and no orders.

`base.Strategy` is what one must implement, `registry.create` builds those of the configuration.
"""
