"""Benchmarks that compare the system with alternatives, as ratios. `make bench` runs them."""
