"""Execution: from an approved request to a fill in the books.

`router` sends approved requests and turns what the kernels and the venue report into journal rows,
`tracker` knows what state each live order is in, `venue` says what a venue is, `paper` is the one
that needs no account. Ledger and books are handed in; `ports` says what is asked of them.
"""
