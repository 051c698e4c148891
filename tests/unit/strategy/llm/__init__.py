"""The language model's strategy, without a server."""
