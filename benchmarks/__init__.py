"""Benchmarks: what `make bench` measures, beside what `swarm bench` does. What they found: docs/BENCHMARKS.md."""
