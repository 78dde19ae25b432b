"""Clips, marked objects and items of VideoRefer, from which good and faulty files are made."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from converters.world.media import write_frames, write_video
from converters.world.outline import polygons_of
from converters.world.refer_items import uncompressed
from converters.world.scene import Scene
from converters.world.staging import make_scene
from converters.world.truth import TruthClip, TruthMasklet, TruthSample
from converters.world.words import squeeze
from shards import rle

Turns = list[tuple[str, str]]
Item = dict[str, Any]
Form = Literal["compressed", "uncompressed", "polygons", "sized polygons"]

TRAIN: Final = "VideoRefer-700K"
FORMS: Final[tuple[Form, ...]] = ("compressed", "uncompressed", "polygons", "sized polygons")
LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True)
class Marked:
    """A shape that is marked on some frames, and its masks in one form of the release."""

    annotation: dict[str, Any]
    masklet: TruthMasklet


def mark(scene: Scene, index: int, frames: Sequence[int], form: Form) -> Marked:
    """Shape ``index`` marked on ``frames``, the frame keys as text and in no order, as dicts of the release are."""
    annotation: dict[str, Any] = {}
    rles: dict[int, str] = {}
    for frame in sorted(frames, key=str):
        mask = scene.mask(index, frame)
        segmentation: Any = None
        rles[frame] = rle.encode(mask)
        if mask.any():
            if form in ("polygons", "sized polygons"):
                segmentation = polygons_of(mask)
                rles[frame] = rle.from_polygons(segmentation, scene.height, scene.width)
            elif form == "uncompressed":
                segmentation = uncompressed(mask)
            else:
                segmentation = {"size": [scene.height, scene.width], "counts": rles[frame]}
        annotation[str(frame)] = {"segmentation": segmentation}
    return Marked(annotation, TruthMasklet("", dict(sorted(rles.items()))))


def best_frame(scene: Scene, index: int) -> int:
    """A frame that shows the shape well."""
    frames = range(0, scene.num_frames, max(scene.num_frames // 12, 1))
    return max(frames, key=lambda frame: (int(scene.mask(index, frame).sum()), -frame))


def spread(scene: Scene, indices: Sequence[int], count: int) -> list[int]:
    """Frames spread evenly over the clip, the last one included, and one that shows each shape well."""
    last = scene.num_frames - 1
    even = {round(i * last / (count - 1)) for i in range(count)}
    return sorted(even | {best_frame(scene, index) for index in indices})


def film(root: Path, number: int, seed: str, name: str | None = None) -> tuple[TruthClip, str]:
    """The clip and how an item of VideoRefer-700K names it.

    Videos of Panda-70M have colons in their names; every fourth file declares six frames more than decode, and
    every fourth clip is a folder of frames.
    """
    scene = make_scene(seed, number)
    rng = random.Random(f"{seed}/name")
    if number % 4 == 3:
        video = f"videos/mevis/{name or f'{rng.getrandbits(48):012x}'}"
        write_frames(root / TRAIN / video, scene, [f"{frame:05}" for frame in range(scene.num_frames)])
        return TruthClip("frames", f"{TRAIN}/{video}", scene), video
    video = f"videos/{name or panda_name(rng, scene.duration)}.mp4"
    write_video(root / TRAIN / video, scene, b_frames=number % 2 == 0, hidden=6 if number % 4 == 2 else 0)
    return TruthClip("video", f"{TRAIN}/{video}", scene), video


def panda_name(rng: random.Random, duration: float) -> str:
    return f"{''.join(rng.choices(LETTERS, k=11))}_0:00:00.000_0:00:{duration:06.3f}"


def item_of(number: int, video: str, turns: Turns, marked: Sequence[Marked], size: Scene | None) -> Item:
    """An item as the training files hold it, with ``height`` and ``width`` where ``size`` is given."""
    conversations = []
    for question, answer in turns:
        conversations += [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    out: Item = {"id": number, "video": video}
    if size is not None:
        out |= {"height": size.height, "width": size.width}
    return out | {"conversations": conversations, "annotation": [m.annotation for m in marked]}


def sample_of(subset: str, number: int, clip: TruthClip, turns: Turns, marked: Sequence[Marked]) -> TruthSample:
    pairs = [(squeeze(question.replace("<video>", " ")), squeeze(answer)) for question, answer in turns]
    return TruthSample(
        key=f"videorefer/train/{subset}/{number}",
        task="referring_qa" if subset == "qa" else "referring_description",
        clip=clip,
        query=pairs[0][0],
        answer=pairs[0][1],
        dialogue=tuple(pairs[1:]),
        regions=tuple(m.masklet for m in marked),
        labels=(subset,),
    )
