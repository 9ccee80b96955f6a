"""Measurements of speed and memory: ``python -m benchmarks.overhead``; also ``peers, metrics, panoptic, scaling``."""
