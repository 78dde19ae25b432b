"""A small release in the layout of Example, and what must become of it: for the tests, and to try a build on.

python example_world.py raw
"""

import json
import sys
from pathlib import Path
from typing import Any

from converters.world.expected import Expected, World
from converters.world.media import write_still
from converters.world.staging import make_scene
from shards import rle


def write(root: Path, clips: int, seed: int) -> World:
    items: list[dict[str, Any]] = []
    for number in range(clips):
        scene = make_scene(f"{seed}/{number}", number, num_frames=1)  # shapes whose masks are known
        write_still(root / "images" / f"{number}.jpg", scene)
        size = [scene.height, scene.width]
        masks = [{"size": size, "counts": rle.encode(scene.mask(i, 0))} for i in range(len(scene.shapes))]
        meant = [(f"the {shape.name}", [mask]) for shape, mask in zip(scene.shapes, masks, strict=True)]
        for text, found in [*meant, ("everything", masks), ("a pink elephant", [])]:
            items.append({"id": len(items), "image": f"{number}.jpg", "text": text, "masks": found})
    samples = [f"example/train/{item['id']}" for item in items]
    # One item for every fault that the release is known to have.
    faults: list[tuple[str, dict[str, Any]]] = [
        ("malformed", {"masks": None}),
        ("bad_mask", {"masks": [[[1.0, 2.0, 3.0, 4.0]]]}),
        ("size_mismatch", {"masks": [{"size": [8, 8], "counts": rle.empty(8, 8)}]}),
        ("missing_media", {"image": "gone.jpg"}),
        ("unsafe_path", {"image": "../elsewhere.jpg"}),
    ]
    skips: dict[str, str] = {}
    for reason, change in faults:
        skips[f"example/train/{len(items)}"] = reason
        items.append(items[0] | {"id": len(items)} | change)
    (root / "train.json").write_text(json.dumps(items, indent=1), encoding="utf-8")
    return World(Expected("train", samples, skips))


if __name__ == "__main__":
    write(Path(sys.argv[1]), clips=4, seed=0)
