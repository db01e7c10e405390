"""The function that makes thumbnails."""
