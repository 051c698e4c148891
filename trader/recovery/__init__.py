"""Recovery: what an error means, and when entries pause because of it.

`classification` is the one table that says it, `breaker` is closed, open or half-open, `statistics` counts, and
`manager` puts the three together. Paused means that nothing is opened; exits and cancels always go on.
"""
