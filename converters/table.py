"""The table of converters: adding a dataset ends with one line here."""

import importlib
from typing import Final

from converters.base import Converter

CONVERTERS: Final[dict[str, str]] = {
    "refcoco": "converters.refcoco:RefCOCO",
    "refcoco_plus": "converters.refcoco:RefCOCOPlus",
    "refcocog": "converters.refcoco:RefCOCOg",
    "mevis": "converters.mevis:MeViS",
    "videorefer": "converters.videorefer:VideoRefer",
    "charades_sta": "converters.charades_sta:CharadesSTA",
    "vidstg": "converters.vidstg:VidSTG",
}

NEEDED: Final = ("name", "title", "citation", "tasks", "splits")


class UnknownConverter(ValueError):
    """No converter of that name, and no class at that place."""


def find_converter(name: str) -> type[Converter]:
    """The class behind a name of the table, or behind ``"package.module:Class"`` of anybody's package."""
    place = CONVERTERS.get(name, name)
    module_name, colon, class_name = place.partition(":")
    if not colon:
        raise UnknownConverter(f"{name!r} is no converter; there are {', '.join(CONVERTERS)}")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except Exception as error:  # somebody else's module may raise anything
        remedy = (
            "install its package, or put its folder on PYTHONPATH" if name not in CONVERTERS else "install it again"
        )
        raise UnknownConverter(f"{name!r} cannot be imported ({type(error).__name__}: {error}): {remedy}") from None
    if not (isinstance(found, type) and issubclass(found, Converter)):
        raise UnknownConverter(f"{name!r} is not a subclass of converters.base.Converter")
    lacking = [what for what in NEEDED if not hasattr(found, what)] + sorted(found.__abstractmethods__)
    if lacking:
        raise UnknownConverter(f"{name!r} does not define {', '.join(lacking)}")
    return found
