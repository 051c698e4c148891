"""Shared state: what everyone looks at, as record arrays on memory-mapped files.

One file (`segment`) per process and incarnation, written by that process only; everybody else maps it
read-only. A segment holds named slots (a latch of two copies each, so that a reader never gets
half an update and a writer killed in mid-update leaves the last complete snapshot), single words
and rings that overwrite their oldest records.

`dtypes` and `layout` say what is in a segment, `slots` reads and writes it with numpy alone,
`latch` does the same compiled (the engine's way), `reader` follows the incarnations of a whole
service, `paths` finds the files. Shared memory is a view and a gate, never the truth: the ledger is.
"""
