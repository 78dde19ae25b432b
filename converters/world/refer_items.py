"""Stills, annotations and refs as REFER holds them, from which good and faulty files are made."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from converters.world.scene import Bitmap, Scene, Shape
from converters.world.staging import KINDS
from converters.world.truth import TruthClip, TruthMasklet
from converters.world.words import place
from shards import rle

IMAGES: Final = "images/mscoco/images/train2014"
CATEGORIES: Final = {kind: number for number, kind in enumerate((*KINDS, "bar", "dots"), 1)}


@dataclass(frozen=True, slots=True)
class Labelled:
    """An annotated object of a still."""

    shape: Shape
    category_id: int
    masklet: TruthMasklet

    @property
    def ann_id(self) -> int:
        return int(self.masklet.id)


@dataclass(frozen=True, slots=True)
class Still:
    image_id: int
    split: str
    clip: TruthClip
    objects: tuple[Labelled, ...]


@dataclass(slots=True)
class Instances:
    """What goes into ``instances.json``; annotations as JSON text, which is small."""

    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[str] = field(default_factory=list)

    def add_image(self, image_id: int, width: int, height: int, file_name: str) -> None:
        url = f"http://mscoco.org/images/{image_id}"
        date = "2013-11-14 00:00:00"
        image = {"license": 1, "file_name": file_name, "coco_url": url, "height": height, "width": width}
        self.images.append(image | {"date_captured": date, "flickr_url": "", "id": image_id})

    def add_annotation(self, ann_id: int, image_id: int, category_id: int, mask: Bitmap, segmentation: Any) -> None:
        ys, xs = np.nonzero(mask)
        box = [xs.min(), ys.min(), xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()]
        annotation = {
            "segmentation": segmentation,
            "area": float(mask.sum()),
            "iscrowd": int(isinstance(segmentation, dict)),
            "image_id": image_id,
            "bbox": [float(value) for value in box],
            "category_id": category_id,
            "id": ann_id,
        }
        self.annotations.append(json.dumps(annotation))

    def text(self) -> str:
        info = {"description": "A generated world in the layout of MS COCO 2014.", "version": "1.0", "year": 2014}
        categories = [{"supercategory": "shape", "id": number, "name": kind} for kind, number in CATEGORIES.items()]
        licences = [{"url": "", "id": 1, "name": "none"}]
        head = json.dumps({"info": info, "images": self.images, "licenses": licences, "categories": categories})
        return f'{head[:-1]}, "annotations": [{", ".join(self.annotations)}]}}'


def image_name(image_id: int) -> str:
    return f"COCO_train2014_{image_id:012}.jpg"


def uncompressed(mask: Bitmap) -> dict[str, Any]:
    """COCO's uncompressed RLE of a [height, width] bitmap."""
    return {"counts": rle.run_lengths(rle.encode(mask)).tolist(), "size": list(mask.shape)}


def make_ref(
    ref_id: int, image_id: int, labelled: Labelled, split: str, first_sentence: int, texts: list[tuple[str, str]]
) -> dict[str, Any]:
    """A ref as the pickles hold it; ``texts`` are pairs of ``raw`` and ``sent``. Its file name is on no disk."""
    sentences = [
        {"tokens": sent.split(), "raw": raw, "sent_id": first_sentence + i, "sent": sent}
        for i, (raw, sent) in enumerate(texts)
    ]
    return {
        "sent_ids": [sentence["sent_id"] for sentence in sentences],
        "file_name": image_name(image_id).replace(".jpg", f"_{labelled.ann_id}.jpg"),
        "ann_id": labelled.ann_id,
        "ref_id": ref_id,
        "image_id": image_id,
        "split": split,
        "sentences": sentences,
        "category_id": labelled.category_id,
    }


def sentences_of(converter: str, scene: Scene, shape: Shape) -> list[tuple[str, str]]:
    """(raw, sent) pairs: RefCOCO says where, RefCOCO+ must not, RefCOCOg speaks in whole sentences."""
    where = place(scene, shape)
    what = f"group of {shape.colour} dots" if shape.kind == "dots" else shape.name
    if converter == "refcoco":
        return [(f"{where} {what}", f"{where} {what}"), (what.upper(), what)][: 1 + shape.radius % 2]
    if converter == "refcoco_plus":
        return [(f"{shape.kind} in {shape.colour}", f"{shape.kind} in {shape.colour}"), (f"The {what}.", f"the {what}")]
    long = f"a {what} at the {where} of the picture, on a plain ground"
    return [(f"A{long[1:]}.", long.replace(",", ""))]
