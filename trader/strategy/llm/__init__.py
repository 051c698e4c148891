"""The strategy `llm`: a language model proposes, on a short leash.

A question is a pure function of the market view (`prompt`), made of the same words that the answer is checked against
(`vocabulary`). What comes back over the wire (`client`) is read strictly (`reply`), held against the market's own
numbers (`checks`), and written to disk (`records`) before anybody may act on it. Money is reserved before it can be
spent (`budget`); a model that fails is left alone (`breaker`). `adviser` is all of this in order, `strategy` what the
engine knows of it.
"""
