"""Logging: the handlers of every process, the events they carry, and what never reaches them."""
