"""The monitor: a process of its own that keeps performance history, judges health and may veto entries.

It reads shared memory and never writes to the ledger. What it finds grave stops entries within seconds; when it
hangs or dies, its clearance runs out and entries stop as well.
"""
