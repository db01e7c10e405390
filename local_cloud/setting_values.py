"""Read values of settings, with errors that say what is wrong."""

from collections.abc import Mapping


class SettingError(Exception):
    """A variable has an invalid value. The message names the variable and the reason."""


def read_number(
    environment: Mapping[str, str], name: str, default: int, minimum: int, maximum: int
) -> int:
    """Return a whole number within its bounds.

    Raises:
        SettingError: the value is another one.
    """
    text = environment.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or not minimum <= int(text) <= maximum:
        raise SettingError(f"{name} must be a number from {minimum} to {maximum}, not “{text}”.")
    return int(text)
