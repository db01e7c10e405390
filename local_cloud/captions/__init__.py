"""Captions without a Gemini key: a built-in recogniser, or a vision model on this computer."""
