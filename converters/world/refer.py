"""RefCOCO, RefCOCO+ and RefCOCOg as REFER's ``data`` folder lays them out: stills, polygons, a crowd now and then.

All three share the stills and their instances. ``unc`` splits the stills; ``umd`` and ``google`` join testA and testB
as test; RefCOCOg by google has no test, and its train holds some refs on the stills of val, as in the release.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from converters.world.media import write_still
from converters.world.outline import polygons_of
from converters.world.raw import python2_pickle
from converters.world.refer_faults import write_faults
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
from converters.world.truth import Entry, Ledger, TruthClip, TruthMasklet, TruthSample
from shards import rle

FOLDERS: Final = ("refcoco", "refcoco+", "refcocog")
UNC: Final = {split: split for split in ("train", "val", "testA", "testB")}
JOINED: Final = {"train": "train", "val": "val", "testA": "test", "testB": "test"}
LEAKY: Final = {"train": "train", "val": "val", "testA": "val", "testB": "train"}


@dataclass(frozen=True, slots=True)
class RefsFile:
    """One ``refs(<split_by>).p``: who reads it, and which split the stills of each unc split fall into."""

    converter: str
    folder: str
    split_by: str
    default: bool
    splits: dict[str, str]
    first_id: int

    def entry(self, split: str) -> Entry:
        return (self.converter, split) if self.default else (self.converter, split, self.split_by)


REFS_FILES: Final = (
    RefsFile("refcoco", "refcoco", "unc", True, UNC, 0),
    RefsFile("refcoco", "refcoco", "google", False, JOINED, 0),
    RefsFile("refcoco_plus", "refcoco+", "unc", True, UNC, 1),
    RefsFile("refcocog", "refcocog", "umd", True, JOINED, 2),
    RefsFile("refcocog", "refcocog", "google", False, LEAKY, 2),
)


def write_refer(root: Path, clips: int, extra: int, seed: int, faults: bool, ledger: Ledger) -> None:
    """Writes ``refcoco/``, ``refcoco+/``, ``refcocog/`` and ``images/`` below ``root``.

    ``clips`` stills for train, ``extra`` for each of val, testA and testB.
    """
    counts = {"train": clips, "val": extra, "testA": extra, "testB": extra}
    splits = [split for split, count in counts.items() for _ in range(count)]
    instances = Instances()
    stills = [_write_still(root, instances, seed, number, split) for number, split in enumerate(splits)]
    faulty = write_faults(root, instances, stills[0], seed, ledger) if faults else []
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "refcoco/instances.json").write_text(instances.text(), encoding="utf-8")
    for folder in FOLDERS[1:]:
        shutil.copyfile(root / "refcoco/instances.json", root / folder / "instances.json")
    for refs_file in REFS_FILES:
        refs = _refs(refs_file, stills, ledger)
        if refs_file is REFS_FILES[0]:
            refs += faulty
        (root / refs_file.folder / f"refs({refs_file.split_by}).p").write_bytes(python2_pickle(refs))


def _write_still(root: Path, instances: Instances, seed: int, number: int, split: str) -> Still:
    image_id = 139 + 7 * number
    scene = make_scene(f"{seed}/refer/{number}", number, num_frames=1)
    source = f"{IMAGES}/{image_name(image_id)}"
    write_still(root / source, scene)
    instances.add_image(image_id, scene.width, scene.height, image_name(image_id))
    objects = tuple(_annotate(instances, image_id, scene, index) for index in range(len(scene.shapes)))
    return Still(image_id, split, TruthClip("still", source, scene), objects)


def _annotate(instances: Instances, image_id: int, scene: Scene, index: int) -> Labelled:
    """Dots are a crowd with an uncompressed RLE and an id in COCO's way for crowds, all else are polygons."""
    shape, mask = scene.shapes[index], scene.mask(index, 0)
    crowd = shape.kind == "dots"
    ann_id = 900_100_000_000 + image_id if crowd else image_id * 10 + index
    segmentation = uncompressed(mask) if crowd else polygons_of(mask)
    instances.add_annotation(ann_id, image_id, CATEGORIES[shape.kind], mask, segmentation)
    counts = rle.encode(mask) if crowd else rle.from_polygons(polygons_of(mask), scene.height, scene.width)
    return Labelled(shape, CATEGORIES[shape.kind], TruthMasklet(str(ann_id), {0: counts}))


# ---------------------------------------------------------------------------------------------- referring


def _refs(refs_file: RefsFile, stills: list[Still], ledger: Ledger) -> list[dict[str, Any]]:
    """One ref per object, with one to three sentences; an object of RefCOCOg (google) may be in the other split."""
    refs: list[dict[str, Any]] = []
    next_sentence = refs_file.first_id * 1000
    for still in stills:
        for index, labelled in enumerate(still.objects):
            split = refs_file.splits[still.split]
            if refs_file.splits is LEAKY and still.split == "val" and index > 0:
                split = "train"
            texts = sentences_of(refs_file.converter, still.clip.scene, labelled.shape)
            ref = make_ref(len(refs) + refs_file.first_id, still.image_id, labelled, split, next_sentence, texts)
            next_sentence += len(texts)
            refs.append(ref)
            for sample in _samples(refs_file.converter, still, labelled, ref):
                ledger.add(refs_file.entry(split), sample)
    return refs


def _samples(converter: str, still: Still, labelled: Labelled, ref: dict[str, Any]) -> list[TruthSample]:
    return [
        TruthSample(
            key=f"{converter}/{ref['split']}/{ref['ref_id']}-{sentence['sent_id']}",
            task="referring_segmentation",
            clip=still.clip,
            query=sentence["sent"],
            targets=((labelled.masklet,),),
        )
        for sentence in ref["sentences"]
    ]
