"""A small release in the layout of Example, and what must become of it: for the tests, and to try a build on.

python example_world.py raw
"""

import json
import sys
from pathlib import Path
from typing import Any

from converters.world.expected import Expected, World
from converters.world.media import write_video
from converters.world.scene import Scene
from converters.world.staging import make_scene
from converters.world.words import story
from shards import rle


def write(root: Path, clips: int, seed: int) -> World:
    items: list[dict[str, Any]] = []
    for number in range(clips):
        scene = make_scene(f"{seed}/{number}", number)  # shapes that move, and whose masks are known
        write_video(root / "videos" / f"{number}.mp4", scene)
        for index, shape in enumerate(scene.shapes):
            masks = {str(frame): _mask(scene, index, frame) for frame in range(0, scene.num_frames, 10)}
            items.append({"id": len(items), "video": f"{number}.mp4", "masks": masks, "caption": story(shape)})
    samples = [f"example/train/{item['id']}" for item in items]
    # One item for every fault that the release is known to have.
    faults: list[tuple[str, dict[str, Any]]] = [
        ("malformed", {"caption": None}),
        ("empty_region", {"masks": {"0": None}}),
        ("bad_frame", {"masks": {"9999": None, **items[0]["masks"]}}),
        ("size_mismatch", {"masks": {"0": {"size": [8, 8], "counts": rle.empty(8, 8)}}}),
        ("missing_media", {"video": "gone.mp4"}),
        ("unsafe_path", {"video": "../elsewhere.mp4"}),
    ]
    skips: dict[str, str] = {}
    for reason, change in faults:
        skips[f"example/train/{len(items)}"] = reason
        items.append(items[0] | {"id": len(items)} | change)
    (root / "train.json").write_text(json.dumps(items, indent=1), encoding="utf-8")
    return World(Expected("train", samples, skips))


def _mask(scene: Scene, index: int, frame: int) -> Any:
    """As COCO's compressed RLE, or null where the shape is not visible."""
    mask = scene.mask(index, frame)
    return {"size": [scene.height, scene.width], "counts": rle.encode(mask)} if mask.any() else None


if __name__ == "__main__":
    write(Path(sys.argv[1]), clips=4, seed=0)
