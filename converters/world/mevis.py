"""MeViS as its release lays it out: frame folders without a frame rate, expressions, and one mask list per object."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from converters.world.media import truncate, write_frames
from converters.world.raw import JsonFile, write_json
from converters.world.scene import Scene
from converters.world.staging import make_scene
from converters.world.truth import Ledger, TruthClip, TruthMasklet, TruthSample
from converters.world.words import expression, listing, squeeze
from shards import rle

Expressions = list[tuple[str, list[int]]]
"""(text, indices of the shapes it means)."""

Rle = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Video:
    """A frame folder with its masklets, one per shape; ``masks`` is what ``mask_dict.json`` holds of them."""

    name: str
    clip: TruthClip
    frames: list[str]
    masklets: tuple[TruthMasklet, ...]
    masks: dict[str, list[Rle | None]]


def write_mevis(root: Path, clips: int, extra: int, seed: int, faults: bool, ledger: Ledger) -> None:
    """Writes ``train/``, ``valid_u/`` and ``valid/`` (which has no masks) below ``root``."""
    for split, count in (("train", clips), ("valid_u", extra), ("valid", extra)):
        videos: dict[str, Any] = {}
        with JsonFile(root / split / "mask_dict.json", "{}") as mask_dict:
            next_id = 0
            for number in range(count):
                video = _write_video(root, split, seed, number, next_id)
                next_id += len(video.masklets)
                videos[video.name] = _meta(video, split, number, ledger)
                for name, masks in video.masks.items():
                    mask_dict.put(name, masks)
            if faults and split == "train":
                _Faults(root, seed, ledger, videos, mask_dict).write()
        write_json(root / split / "meta_expressions.json", {"videos": videos})
        if split == "valid":
            (root / split / "mask_dict.json").unlink()


def _write_video(root: Path, split: str, seed: int, number: int, first_id: int) -> Video:
    name = f"{random.Random(f'{seed}/mevis/{split}/{number}').getrandbits(48):012x}"
    scene = make_scene(f"{seed}/mevis/{split}/{number}", number, num_frames=8 + number % 9)
    return _film(root, split, name, scene, _frame_names(scene.num_frames, number), first_id)


def _film(root: Path, split: str, name: str, scene: Scene, frames: list[str], first_id: int) -> Video:
    source = f"{split}/JPEGImages/{name}"
    write_frames(root / source, scene, sorted(frames))
    masklets = tuple(_masklet(scene, index, first_id + index) for index in range(len(scene.shapes)))
    masks = {masklet.id: _mask_list(masklet, scene) for masklet in masklets}
    return Video(name, TruthClip("frames", source, scene), frames, masklets, masks)


def _frame_names(count: int, number: int) -> list[str]:
    """Every third folder has numbers that jump; every fourth list is not in order."""
    step, first = (5, 10) if number % 3 == 2 else (1, 0)
    names = [f"{first + step * i:05}" for i in range(count)]
    return names[::-1] if number % 4 == 3 else names


def _masklet(scene: Scene, index: int, anno_id: int) -> TruthMasklet:
    rles = {frame: rle.encode(scene.mask(index, frame)) for frame in range(scene.num_frames)}
    return TruthMasklet(str(anno_id), rles)


def _mask_list(masklet: TruthMasklet, scene: Scene) -> list[Rle | None]:
    """Where the object is not visible, null and an all-zero mask take turns."""
    size = [scene.height, scene.width]
    full = [{"size": size, "counts": masklet.rles[frame]} for frame in masklet.frames]
    return [None if frame % 2 and rle.is_empty(mask["counts"]) else mask for frame, mask in enumerate(full)]


def _expressions(scene: Scene) -> Expressions:
    """Single objects, all of one colour, all that move, two by name, and one that is not there."""
    shapes = scene.shapes
    out: Expressions = [(expression(shape), [index]) for index, shape in enumerate(shapes)]
    by_colour: dict[str, list[int]] = {}
    for index, shape in enumerate(shapes):
        by_colour.setdefault(shape.colour, []).append(index)
    out += [(f"All the {colour}  shapes ", found) for colour, found in by_colour.items() if len(found) > 1]
    moving = [index for index, shape in enumerate(shapes) if shape.begin < shape.end]
    out.append(("Everything that moves", moving))
    out.append((listing([f"the {shape.name}" for shape in shapes[:2]]).upper(), [0, 1]))
    out.append(("the pink elephant that dances", []))
    return out


def _meta(video: Video, split: str, number: int, ledger: Ledger) -> dict[str, Any]:
    expressions: dict[str, Any] = {}
    for place, (text, objects) in enumerate(_expressions(video.clip.scene)):
        ids = [int(video.masklets[index].id) for index in objects]
        expressions[str(place)] = _raw_expression(text, objects, ids, labelled=split != "valid")
        ledger.add(("mevis", split), _sample(video, split, str(place), text, objects))
    return {"expressions": expressions, "vid_id": number, "frames": video.frames}


def _raw_expression(text: str, objects: list[int], ids: list[int], *, labelled: bool = True) -> dict[str, Any]:
    return {"exp": text, "obj_id": objects, "anno_id": ids} if labelled else {"exp": text}


def _sample(video: Video, split: str, place: str, text: str, objects: list[int]) -> TruthSample:
    target = tuple(video.masklets[index] for index in objects)
    return TruthSample(
        key=f"mevis/{split}/{video.name}/{place}",
        task="referring_segmentation",
        clip=video.clip,
        query=squeeze(text),
        targets=None if split == "valid" else (target,),
    )


# ---------------------------------------------------------------------------------------------- faults

FAULTY: Final = 9_000_000
"""Annotation ids from here on belong to faulty videos."""


@dataclass(slots=True)
class _Faults:
    """Writes videos at the end of train, each with one fault."""

    root: Path
    seed: int
    ledger: Ledger
    videos: dict[str, Any]
    mask_dict: JsonFile

    def write(self) -> None:
        self._media("missing_media", lambda folder: folder.rename(folder.with_name(f"{folder.name}_elsewhere")))
        self._media("missing_media", lambda folder: (folder / "00003.jpg").unlink())
        self._media("bad_media", lambda folder: truncate(folder / "00002.jpg"))
        self._media("bad_media", lambda folder: truncate(folder / "00000.jpg", 0))
        self._unsafe()
        video = self._film("broken-masks")
        faults = list(self._masks(video))
        expressions = {str(i): raw for i, (raw, _, _) in enumerate(faults)}
        good = {"exp": expression(video.clip.scene.shapes[0]), "obj_id": [0], "anno_id": [int(video.masklets[0].id)]}
        expressions[str(len(faults))] = good
        self._put(video, expressions)
        sample = _sample(video, "train", str(len(faults)), good["exp"], [0])
        self.ledger.add(("mevis", "train"), sample)
        for place, (_, reason, masks) in enumerate(faults):
            self.ledger.skip(("mevis", "train"), f"mevis/train/{video.name}/{place}", reason)
            if masks is not None:
                self.mask_dict.put(str(FAULTY + 1000 + place), masks)

    def _film(self, name: str) -> Video:
        scene = make_scene(f"{self.seed}/mevis/fault/{name}", len(self.videos), num_frames=9)
        first_id = FAULTY + 10 * len(self.videos)
        return _film(self.root, "train", name, scene, _frame_names(9, 0), first_id)

    def _put(self, video: Video, expressions: dict[str, Any]) -> None:
        frames = video.frames
        self.videos[video.name] = {"expressions": expressions, "vid_id": len(self.videos), "frames": frames}
        for name, masks in video.masks.items():
            self.mask_dict.put(name, masks)

    def _media(self, reason: str, spoil: Callable[[Path], object]) -> None:
        """A video whose frames are spoilt, with one expression."""
        video = self._film(f"fault{len(self.videos):08}")
        spoil(self.root / video.clip.source)
        ids = [int(video.masklets[0].id)]
        self._put(video, {"0": _raw_expression(expression(video.clip.scene.shapes[0]), [0], ids)})
        self.ledger.skip(("mevis", "train"), f"mevis/train/{video.name}/0", reason)

    def _unsafe(self) -> None:
        raw = _raw_expression("the shape outside", [0], [0])
        name = "../../../outside"
        self.videos[name] = {"expressions": {"0": raw}, "vid_id": len(self.videos), "frames": ["00000"]}
        self.ledger.skip(("mevis", "train"), f"mevis/train/{name}/0", "unsafe_path")

    def _masks(self, video: Video) -> Iterator[tuple[Any, str, list[Any] | None]]:
        """(expression, reason, the mask list it points to)."""
        scene = video.clip.scene
        masks = video.masks[video.masklets[0].id]
        small = {"size": [8, 8], "counts": rle.empty(8, 8)}
        garbage = {"size": [scene.height, scene.width], "counts": "~not an RLE~"}
        wrong = (
            ("size_mismatch", [*masks[:-1], small]),
            ("bad_mask", [*masks[:-1], garbage]),
            ("bad_mask", masks[:-2]),
            ("missing_annotation", None),
        )
        for place, (reason, spoilt) in enumerate(wrong):
            yield _raw_expression(f"shape number {place}", [place], [FAULTY + 1000 + place]), reason, spoilt
        yield {"obj_id": [0], "anno_id": [int(video.masklets[0].id)]}, "malformed", None
        yield {"exp": "the first shape", "obj_id": [0], "anno_id": "zero"}, "malformed", None
