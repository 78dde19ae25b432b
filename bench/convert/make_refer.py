"""RefCOCO and RefCOCOg at their sizes: refs in a pickle of Python 2, polygons in an ``instances.json``."""

import json
import pickle
import random
from pathlib import Path
from typing import Any, Final

from bench.convert.media import Links
from bench.convert.pool import polygons, sentence
from bench.convert.sizes import TRAIN_SHARE, Refer, scaled
from converters.refcoco import IMAGES

SIZES: Final = ((480, 640), (640, 480), (427, 640), (375, 500), (640, 427))


def write_refer(root: Path, folder: str, refs_file: str, size: Refer, scale: float) -> None:
    """``folder/refs_file`` and ``folder/instances.json`` below ``root``, and the stills."""
    draw = random.Random(folder)
    (root / folder).mkdir(parents=True)
    images = [_image(number) for number in range(scaled(size.images, scale))]
    _link_stills(root, images)
    annotations = scaled(size.annotations, scale)
    refs = _refs(draw, images, scaled(size.refs, scale), annotations, size)
    (root / folder / refs_file).write_bytes(pickle.dumps(refs, 0))
    _write_instances(root / folder / "instances.json", draw, images, annotations)


def _image(number: int) -> dict[str, Any]:
    height, width = SIZES[number % len(SIZES)]
    return {
        "license": 1,
        "file_name": f"COCO_train2014_{number:012}.jpg",
        "coco_url": f"http://mscoco.org/images/{number}",
        "height": height,
        "width": width,
        "date_captured": "2013-11-14 00:00:00",
        "flickr_url": "http://farm1.staticflickr.com/0/0_0_z.jpg",
        "id": number,
    }


def _link_stills(root: Path, images: list[dict[str, Any]]) -> None:
    links, folder = Links(root / "pool"), root / IMAGES
    folder.mkdir(parents=True)
    for image in images:
        links.still(folder / image["file_name"], image["height"], image["width"])


def _refs(
    draw: random.Random, images: list[dict[str, Any]], refs: int, annotations: int, size: Refer
) -> list[dict[str, Any]]:
    """Annotation k is of image k modulo their number; so are the refs, which name the first annotations."""
    out: list[dict[str, Any]] = []
    sentences = 0
    for number in range(refs):
        wanted = round((number + 1) * size.sentences / size.refs)
        texts = [sentence(draw, size.words) for _ in range(sentences, wanted)] or ["the only one"]
        image = number % len(images)
        out.append(
            {
                "sent_ids": list(range(sentences, sentences + len(texts))),
                "file_name": f"COCO_train2014_{image:012}_{number}.jpg",
                "ann_id": number % annotations,
                "ref_id": number,
                "image_id": image,
                "split": "train" if image % 100 < 100 * TRAIN_SHARE else "val",
                "sentences": [
                    {"tokens": text.split(), "raw": text.upper(), "sent_id": sentences + k, "sent": text}
                    for k, text in enumerate(texts)
                ],
                "category_id": 1 + number % 90,
            }
        )
        sentences += len(texts)
    return out


def _write_instances(path: Path, draw: random.Random, images: list[dict[str, Any]], annotations: int) -> None:
    info = {"description": "made up", "version": "1.0", "year": 2014}
    categories = [{"supercategory": "thing", "id": k, "name": f"thing {k}"} for k in range(1, 91)]
    with path.open("w", encoding="utf-8") as file:
        head = json.dumps({"info": info, "images": images, "licenses": [], "categories": categories})
        file.write(f'{head[:-1]}, "annotations": [')
        for number in range(annotations):
            file.write((", " if number else "") + json.dumps(_annotation(draw, images, number)))
        file.write("]}")


def _annotation(draw: random.Random, images: list[dict[str, Any]], number: int) -> dict[str, Any]:
    image = images[number % len(images)]
    parts = polygons(draw, image["height"], image["width"])
    xs, ys = parts[0][::2], parts[0][1::2]
    return {
        "segmentation": parts,
        "area": round(len(parts) * (max(xs) - min(xs)) * (max(ys) - min(ys)) * 0.78, 5),
        "iscrowd": 0,
        "image_id": image["id"],
        "bbox": [min(xs), min(ys), round(max(xs) - min(xs), 2), round(max(ys) - min(ys), 2)],
        "category_id": 1 + number % 90,
        "id": number,
    }
