"""The process that keeps the others alive: starts, judges, restarts, reloads and stops the workers.

It trades nothing, computes nothing and imports none of the workers' code: it knows them by dotted name.
What opens new risk needs its lease, which it renews only while it is itself in order.
"""
