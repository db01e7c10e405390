"""The web application: accepts uploads and shows their captions, alt texts, tags and thumbnails.

    app.py → routes → services → adapters, with middleware before and after each route

`create_app` is imported on first use, so that importing one module does not import them all.
"""

from typing import TYPE_CHECKING, Any

VERSION = "2.0.0"  # Also in pyproject.toml; a test compares them.

if TYPE_CHECKING:
    from web_app.app import create_app as create_app


def __getattr__(name: str) -> Any:
    """Return `create_app`, the only function that this package exports."""
    if name == "create_app":
        from web_app.app import create_app

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
