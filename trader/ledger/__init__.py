"""The ledger: what this instance intended, did and holds, on disk before anything else knows it.

`journal` writes it (the engine only), `reader` reads it (everyone else), `books` keeps the exact
amounts, `schema` and `seals` say what is in the file and prove that it is still there, `audit`
holds it against everything that can be known independently, `statistics` sums it up.
"""
