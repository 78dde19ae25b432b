"""The functions that write the worlds of a converter: found by its name, so that it can be named alone."""

import importlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from converters.table import CONVERTERS, UnknownConverter, find_converter
from converters.world import DATASETS, Truth, TruthSample, write_world
from converters.world.expected import Expected, World, Writer
from shards.record import Span

FOLDERS: Final = {"refcoco": "refer", "refcoco_plus": "refer", "refcocog": "refer"}
IN_ORDER: Final[Mapping[str, Collection[str]]] = {
    "mevis": ("*/mask_dict.json:*",),  # the k-th mask belongs to the k-th frame
    "vidstg": ("vidor/annotation/*:trajectories",),  # so do the boxes
}
OPTIONS: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = {
    ("videorefer", "train"): {"subset": ["short_caption", "detailed_caption", "qa"]},
}


def writer_of(converter: str, place: str | None = None) -> Writer:
    """The function at ``place`` ("module:function"); without one, that of the generated world for a bundled converter,
    and for one of your own ``write`` of the module that is named like the converter's, + ``_world``.

    Raises UnknownConverter for a converter that is none, or that has no such function.
    """
    find_converter(converter)
    if place is None and FOLDERS.get(converter, converter) in DATASETS:
        return _generated(converter)
    module, _, function = (place or _place_for(converter)).partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except Exception as error:  # somebody else's module may raise anything
        remedy = f"write one, or name yours: --world my_package.my_module:my_function ({type(error).__name__}: {error})"
        raise UnknownConverter(
            f"{module}:{function}, to write worlds for {converter}, is not there: {remedy}"
        ) from None


def _place_for(converter: str) -> str:
    module = CONVERTERS.get(converter, converter).partition(":")[0]
    return f"converters.world.{module.rpartition('.')[2]}:write" if converter in CONVERTERS else f"{module}_world:write"


def _generated(name: str) -> Writer:
    """The world of the demo and of the tests, with its faults."""

    def write(root: Path, clips: int, seed: int) -> World:
        dataset = FOLDERS.get(name, name)
        truth = write_world(root.parent / "worlds", clips=clips, seed=seed, faults=True, datasets=[dataset])
        root.rmdir()
        (truth.root / dataset).rename(root)
        return _world(name, truth)

    return write


def _world(name: str, truth: Truth) -> World:
    entries = [
        Expected(entry[1], tuple(samples), truth.skips[entry], _options(entry), _spans(samples))
        for entry, samples in truth.samples.items()
        if entry[0] == name
    ]
    return World(*entries, in_order=IN_ORDER.get(name, ()))


def _spans(samples: Mapping[str, TruthSample]) -> dict[str, tuple[Span, ...]]:
    return {key: sample.spans for key, sample in samples.items()}


def _options(entry: tuple[str, ...]) -> Mapping[str, Any]:
    return {"split_by": entry[2]} if len(entry) == 3 else OPTIONS.get((entry[0], entry[1]), {})
