"""Write times for programs."""

from datetime import datetime


def timestamp(value: datetime) -> str:
    """Return a time in UTC as RFC 3339 writes it, always with microseconds, so that texts sort."""
    return value.isoformat(timespec="microseconds").replace("+00:00", "Z")
