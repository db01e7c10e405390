"""Convert the weights of two published packages to the models of the built-in recogniser."""
