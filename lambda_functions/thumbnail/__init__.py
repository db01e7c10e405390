"""The thumbnail function: stores a small copy of an original."""
