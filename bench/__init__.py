"""Benchmarks. Each measures both sides of a comparison in one run: `python -m bench.NAME`."""
