"""A small release in the layout of Example, and what must become of it: for the tests, and to try a build on.

python example_world.py raw
"""

import json
import sys
from pathlib import Path
from typing import Any

from converters.world.expected import Expected, World
from converters.world.media import write_video
from converters.world.staging import make_scene
from converters.world.words import verb


def write(root: Path, clips: int, seed: int) -> World:
    items: list[dict[str, Any]] = []
    spans: dict[str, list[tuple[float, float]]] = {}
    for number in range(clips):
        scene = make_scene(f"{seed}/{number}", number)  # shapes that move: times and masks are known
        write_video(root / "videos" / f"{number}.mp4", scene)
        for shape in scene.shapes:
            first, last = (shape.begin, shape.end) if shape.end else (0, scene.num_frames)
            text = f"the {shape.name} {verb(shape)}"
            times = {"from": round(first / scene.fps, 2), "to": round(last / scene.fps, 2)}
            spans[f"example/train/{len(items)}"] = [(times["from"], min(times["to"], scene.duration))]
            items.append({"id": len(items), "video": f"{number}.mp4", "text": text, **times})
    samples = [f"example/train/{item['id']}" for item in items]
    # One item for every fault that the release is known to have.
    faults: list[tuple[str, dict[str, Any]]] = [
        ("malformed", {"text": " "}),
        ("bad_span", {"from": 3.0, "to": 2.0}),
        ("missing_media", {"video": "gone.mp4"}),
        ("unsafe_path", {"video": "../elsewhere.mp4"}),
    ]
    skips: dict[str, str] = {}
    for reason, change in faults:
        skips[f"example/train/{len(items)}"] = reason
        items.append(items[0] | {"id": len(items)} | change)
    (root / "train.json").write_text(json.dumps(items, indent=1), encoding="utf-8")
    return World(Expected("train", samples, skips, spans=spans))


if __name__ == "__main__":
    write(Path(sys.argv[1]), clips=4, seed=0)
