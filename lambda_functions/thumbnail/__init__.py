"""The thumbnail function: stores small copies of an original."""
