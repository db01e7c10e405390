"""How fast the system is, as ratios to what somebody would take instead. `make bench` runs them."""
