"""The function that has images described."""
