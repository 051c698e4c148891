"""The trading core: record arrays and compiled kernels over them; numpy and numba only.

`records` holds the layouts and imports no numba, so that every process can read them.
"""
