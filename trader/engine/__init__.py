"""The engine process: market data in, decisions, orders and shared state out."""
