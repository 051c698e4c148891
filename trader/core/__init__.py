"""The trading core: record arrays and compiled kernels over them; numpy and numba only.

`records` holds the layouts and imports no numba, so that every process can read them. `kernels` is the door for
everyone else; `warmup` proves at start that what was compiled gives the results it must give.
"""
