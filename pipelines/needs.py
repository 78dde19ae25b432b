"""Libraries that only some commands need: asked for before any work, on every machine that works."""

import importlib.util
from typing import Final

CONVERSION: Final = ("av", "pycocotools")
"""Without these, videos and polygons would all be skipped as bad: a build must not begin."""


class MissingLibrary(RuntimeError):
    """A command needs a library that is not installed; the message says what to install."""


def require(*names: str) -> None:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingLibrary(f"{' and '.join(missing)} not installed: in the checkout, pip install '.[build]'")
