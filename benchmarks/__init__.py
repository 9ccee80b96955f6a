"""Measurements of speed and memory: ``python -m benchmarks.overhead``, ``.peers``, ``.metrics``, ``.scaling``."""
