"""Faulty refs of RefCOCO (unc, train), each with a still of its own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from converters.world.media import truncate, write_still
from converters.world.outline import polygons_of
from converters.world.refer_items import (
    CATEGORIES,
    IMAGES,
    Instances,
    Labelled,
    Still,
    image_name,
    make_ref,
    sentences_of,
    uncompressed,
)
from converters.world.scene import Scene
from converters.world.staging import make_scene
from converters.world.truth import Entry, Ledger, TruthMasklet

FAULTY: Final = 900_000
"""Image, ref and sentence ids from here on belong to faulty items."""


def write_faults(root: Path, instances: Instances, good: Still, seed: int, ledger: Ledger) -> list[dict[str, Any]]:
    """Refs for the end of ``refs(unc).p`` of RefCOCO that cannot be used, each with a still of its own."""
    entry: Entry = ("refcoco", "train")
    refs: list[dict[str, Any]] = []

    def fault(reason: str, spoil: Callable[[_Draft], None]) -> None:
        draft = _Draft(root, FAULTY + len(refs), make_scene(f"{seed}/refer/fault", len(refs), num_frames=1))
        spoil(draft)
        refs.append(draft.write(instances))
        for sentence in refs[-1]["sentences"]:
            ledger.skip(entry, f"refcoco/train/{refs[-1]['ref_id']}-{sentence['sent_id']}", reason)

    fault("missing_media", lambda draft: draft.path.unlink())
    fault("bad_media", lambda draft: truncate(draft.path))
    fault("bad_media", lambda draft: truncate(draft.path, 0))
    fault("unsafe_path", lambda draft: draft.change(file_name=f"../../../../../{image_name(FAULTY)}"))
    fault("size_mismatch", lambda draft: draft.change(segmentation=uncompressed(np.ones((8, 8), np.bool_))))
    fault("size_mismatch", lambda draft: draft.change(grow=2))
    fault("bad_mask", lambda draft: draft.change(segmentation=[[1.0, 2.0, 3.0, 4.0]]))
    fault("bad_mask", lambda draft: draft.change(segmentation=draft.overlong()))
    fault("missing_annotation", lambda draft: draft.change(segmentation=None))
    fault("malformed", lambda draft: draft.change(sent=None))
    refs += _repeats(good, ledger)
    return refs


@dataclass(slots=True)
class _Draft:
    """A faulty ref in the making: a good one until ``change`` spoils it."""

    root: Path
    image_id: int
    scene: Scene
    changes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        write_still(self.path, self.scene)

    @property
    def path(self) -> Path:
        return self.root / IMAGES / image_name(self.image_id)

    def change(self, **changes: Any) -> None:
        self.changes |= changes

    def overlong(self) -> dict[str, Any]:
        """An RLE of the right size whose runs cover more than that."""
        return {"counts": [5, self.scene.width * self.scene.height], "size": [self.scene.height, self.scene.width]}

    def write(self, instances: Instances) -> dict[str, Any]:
        grow = self.changes.get("grow", 1)
        width, height = self.scene.width * grow, self.scene.height * grow
        instances.add_image(self.image_id, width, height, self.changes.get("file_name", self.path.name))
        mask = self.scene.mask(0, 0)
        segmentation = self.changes.get("segmentation", polygons_of(mask))
        shape, ann_id = self.scene.shapes[0], self.image_id * 10
        if segmentation is not None:
            instances.add_annotation(ann_id, self.image_id, CATEGORIES[shape.kind], mask, segmentation)
        labelled = Labelled(shape, CATEGORIES[shape.kind], TruthMasklet(str(ann_id), {}))
        texts = [(shape.name, shape.name)]
        ref = make_ref(self.image_id, self.image_id, labelled, "train", self.image_id, texts)
        if "sent" in self.changes:
            ref["sentences"][0]["sent"] = self.changes["sent"]
        return ref


def _repeats(good: Still, ledger: Ledger) -> list[dict[str, Any]]:
    """The refs of two good objects once more: one says the same, the other something else."""
    entry: Entry = ("refcoco", "train")
    refs = []
    for index, reason in enumerate(("duplicate", "key_conflict")):
        labelled = good.objects[index]
        texts = sentences_of("refcoco", good.clip.scene, labelled.shape)[:1]
        first = _first_sentence(good, index)
        if reason == "key_conflict":
            texts = [("something else", "something else")]
        refs.append(make_ref(index, good.image_id, labelled, "train", first, texts))
        ledger.skip(entry, f"refcoco/train/{index}-{first}", reason)
    return refs


def _first_sentence(still: Still, index: int) -> int:
    before = (still.objects[i].shape for i in range(index))
    return sum(len(sentences_of("refcoco", still.clip.scene, shape)) for shape in before)
