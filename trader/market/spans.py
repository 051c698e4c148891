"""Spans of time, from a beginning up to and without an end [ns UTC]: what was asked for, and what is still lacking."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Span = tuple[int, int]


def joined(spans: Iterable[Span]) -> list[Span]:
    """Return spans in order, with those that touch made one and empty ones left out."""
    found: list[Span] = []
    for start_ns, end_ns in sorted(span for span in spans if span[0] < span[1]):
        if found and start_ns <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end_ns))
        else:
            found.append((start_ns, end_ns))
    return found


def without(span: Span, others: Sequence[Span]) -> list[Span]:
    """Return what is left of a span outside of others."""
    left: list[Span] = []
    at_ns, end_ns = span
    for start_ns, stop_ns in joined(others):
        if stop_ns <= at_ns or start_ns >= end_ns:
            continue
        left.append((at_ns, start_ns))
        at_ns = stop_ns
    left.append((at_ns, end_ns))
    return [(first_ns, last_ns) for first_ns, last_ns in left if first_ns < last_ns]
