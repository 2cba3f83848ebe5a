"""Benchmarks: run from the top of the repository, ``python -m bench.run``."""
