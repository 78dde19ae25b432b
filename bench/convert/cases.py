"""What is measured: a release, our converter for it, and the plain script that does the same."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.convert.make_charades import write_charades
from bench.convert.make_mevis import write_mevis
from bench.convert.make_refer import write_refer
from bench.convert.make_videorefer import write_videorefer
from bench.convert.make_vidstg import write_vidstg, write_vidstg_from
from bench.convert.plain import (
    Plain,
    plain_charades,
    plain_mevis,
    plain_refcoco,
    plain_refcocog,
    plain_videorefer,
    plain_vidstg,
)
from bench.convert.sizes import MEVIS_EXPRESSIONS, REFCOCO, REFCOCOG, TRAIN_SHARE, VIDEOREFER, VIDSTG_SENTENCES
from converters.table import find_converter
from converters.videorefer import SUBSETS
from pipelines.recipe import Entry, Recipe


@dataclass(frozen=True, slots=True)
class Case:
    """``write(root, scale)`` makes the release; ``items`` is how many a full one has, over all ``splits``."""

    name: str
    converter: str
    splits: tuple[str, ...]
    items: int
    write: Callable[[Path, float], None]
    plain: Plain
    options: Mapping[str, Any] = field(default_factory=dict)

    def recipe(self, root: Path) -> Recipe:
        declared = find_converter(self.converter).options
        options = {name: option.resolve(name, self.options.get(name)) for name, option in declared.items()}
        entries = tuple(
            Entry(f"{self.converter}-{split}", self.converter, root, split, options) for split in self.splits
        )
        return Recipe(self.name, 0, 512 << 20, 0, 0.01, 0.0, entries)


def _videorefer(subset: str) -> Case:
    return Case(
        name=f"videorefer {subset}",
        converter="videorefer",
        splits=("train",),
        items=VIDEOREFER[subset].items,
        write=lambda root, scale: write_videorefer(root, subset, scale),
        plain=plain_videorefer(subset, SUBSETS[subset].file.rpartition("/")[2]),
        options={"subset": subset},
    )


CASES: Final = (
    Case(
        name="refcoco",
        converter="refcoco",
        splits=("train",),
        items=round(REFCOCO.sentences * TRAIN_SHARE),
        write=lambda root, scale: write_refer(root, "refcoco", "refs(unc).p", REFCOCO, scale),
        plain=plain_refcoco,
    ),
    Case(
        name="refcocog",
        converter="refcocog",
        splits=("train",),
        items=round(REFCOCOG.sentences * TRAIN_SHARE),
        write=lambda root, scale: write_refer(root, "refcocog", "refs(umd).p", REFCOCOG, scale),
        plain=plain_refcocog,
    ),
    Case("mevis", "mevis", ("train",), MEVIS_EXPRESSIONS, write_mevis, plain_mevis),
    *(_videorefer(subset) for subset in VIDEOREFER),
    Case("charades_sta", "charades_sta", ("train", "test"), 12_408 + 3_720, write_charades, plain_charades),
    Case("vidstg", "vidstg", ("train",), VIDSTG_SENTENCES, write_vidstg, plain_vidstg),
)


def official(annotations: Path) -> tuple[Case, ...]:
    """The cases on real annotation files: Charades-STA, and VidSTG's val and test. They are whole at every scale."""
    charades = partial(write_charades, annotations=annotations)
    return (
        Case("charades_sta, official", "charades_sta", ("train", "test"), 12_408 + 3_720, charades, plain_charades),
        Case(
            name="vidstg, official val and test",
            converter="vidstg",
            splits=("val", "test"),
            items=19_259,
            write=lambda root, _: write_vidstg_from(root, annotations),
            plain=plain_vidstg,
        ),
    )
