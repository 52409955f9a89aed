"""Benchmarks of whole processes, in alternating pairs."""
