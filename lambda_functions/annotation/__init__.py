"""The annotation function: has Gemini describe an original."""
