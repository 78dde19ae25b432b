"""Charades-STA as its release lays it out: one line per moment, in seconds with one decimal, at odd frame rates."""

import csv
import hashlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TextIO

from converters.world.media import truncate, write_video
from converters.world.scene import Scene
from converters.world.staging import make_scene
from converters.world.truth import Entry, Ledger, TruthClip, TruthSample
from converters.world.words import squeeze, verb

VIDEOS: Final = "Charades_v1_480"
COLUMNS: Final = (
    *("id", "subject", "scene", "quality", "relevance", "verified"),
    *("script", "objects", "descriptions", "actions", "length"),
)
DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def write_charades(root: Path, clips: int, extra: int, seed: int, faults: bool, ledger: Ledger) -> None:
    """Writes ``charades_sta_*.txt``, ``Charades_v1_*.csv`` and ``Charades_v1_480/`` below ``root``."""
    root.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", clips), ("test", extra)):
        with (
            (root / f"charades_sta_{split}.txt").open("w", encoding="utf-8", newline="\n") as lines,
            (root / f"Charades_v1_{split}.csv").open("w", encoding="utf-8", newline="") as table,
        ):
            rows = csv.writer(table)
            rows.writerow(COLUMNS)
            for number in range(count):
                name = f"{split[1].upper()}{_base36(number)}"
                clip = _film(root, name, make_scene(f"{seed}/charades/{split}/{number}", number), number)
                rows.writerow(_row(name, clip.scene))
                _write_moments(lines, split, name, clip, f"{seed}/{split}/{number}", ledger)
            if faults and split == "train":
                _write_faults(root, lines, seed, ledger)


def _base36(number: int) -> str:
    out = ""
    for _ in range(4):
        number, digit = divmod(number, 36)
        out = DIGITS[digit] + out
    return out


def _film(root: Path, name: str, scene: Scene, number: int) -> TruthClip:
    source = f"{VIDEOS}/{name}.mp4"
    write_video(root / source, scene, b_frames=number % 2 == 1)
    return TruthClip("video", source, scene)


def _row(name: str, scene: Scene) -> list[str]:
    told = ", then ".join(f"the {shape.name} {verb(shape)}" for shape in scene.shapes)
    objects = ";".join(sorted({shape.kind for shape in scene.shapes}))
    return [name, "WRLD", "Living room", "7", "7", "Yes", told, objects, told, "", f"{scene.duration:.2f}"]


def _moments(scene: Scene) -> Iterator[tuple[int, int, str]]:
    """(first frame, frame after the last, sentence): what is seen to happen, and when."""
    for shape in scene.shapes:
        if shape.absent is not None:
            yield *shape.absent, f"the {shape.name} is gone."
        elif shape.act == "stay":
            yield 0, scene.num_frames, f"the {shape.name} stays where it is."
        else:
            yield shape.begin, shape.end, f"the {shape.name} {verb(shape)}."
            yield shape.begin, shape.end, f"a {shape.kind}, coloured {shape.colour}, starts to move  and stops."
            if shape.end < scene.num_frames:
                yield shape.end, scene.num_frames, f"the motion of the {shape.name} is over."


def _write_moments(lines: TextIO, split: str, name: str, clip: TruthClip, seed: str, ledger: Ledger) -> None:
    """Ends at the end of the clip are given up to a second too late, as in every seventh line of the release."""
    rng = random.Random(f"{seed}/late")
    scene = clip.scene
    for start, end, sentence in _moments(scene):
        late = rng.choice((0.1, 0.5, 1.0)) if end == scene.num_frames else 0.0
        line = f"{name} {start / scene.fps:.1f} {end / scene.fps + late:.1f}##{sentence}"
        lines.write(line + "\n")
        ledger.add(("charades_sta", split), _sample(split, clip, line))


def _sample(split: str, clip: TruthClip, line: str) -> TruthSample:
    head, sentence = line.split("##")
    _, start, end = head.split()
    return TruthSample(
        key=key_of(split, line),
        task="temporal_grounding",
        clip=clip,
        query=squeeze(sentence),
        spans=((float(start), min(float(end), clip.scene.duration)),),
    )


def key_of(split: str, line: str) -> str:
    """FORMAT's key; of a malformed line too, with its first word as the video."""
    digest = hashlib.sha256(line.strip().encode()).hexdigest()[:8]
    return f"charades_sta/{split}/{line.split()[0]}/{digest}"


# ---------------------------------------------------------------------------------------------- faults


def _write_faults(root: Path, lines: TextIO, seed: int, ledger: Ledger) -> None:
    entry: Entry = ("charades_sta", "train")

    def film(name: str, number: int) -> TruthClip:
        return _film(root, name, make_scene(f"{seed}/charades/fault/{name}", number), number)

    def fault(reason: str, line: str, spoil: Callable[[Path], None] | None = None) -> None:
        lines.write(line + "\n")
        ledger.skip(entry, key_of("train", line), reason)
        if spoil is not None:
            spoil(root / film(line.split()[0], 4).source)

    clip = film("GOOD1", 2)
    late = clip.scene.duration + 1.5
    good = [f"GOOD1 0.2 {late:.2f}##the clip ends too early.", "GOOD1 0.2 1.0##a thing happens."]
    for line in good:
        lines.write(line + "\n")
        ledger.add(entry, _sample("train", clip, line))
    fault("duplicate", good[1] + "  ")
    fault("bad_span", "GOOD1 1.4 0.7##the start comes after the end.")
    fault("bad_span", "GOOD1 1.0 1.0##nothing lasts no time.")
    fault("bad_span", "GOOD1 nan 1.0##the start is not a number.")
    fault("bad_span", "GOOD1 -1.0 1.0##the start lies before the video.")
    fault("bad_span", f"GOOD1 {late:.1f} {late + 1:.1f}##all of it lies after the video.")
    fault("malformed", "GOOD1 0.1 1.0 there is no mark before the sentence.")
    fault("malformed", "GOOD1 0.1##there is one time only.")
    fault("malformed", "GOOD1 zero 1.0##the start is a word.")
    fault("unsafe_path", "../../GOOD1 0.1 1.0##the video lies outside.")
    fault("missing_media", "GONE1 0.1 1.0##the video is not here.")
    fault("missing_media", "GONE1 2.0 1.0##no video, and the times are wrong too.")
    fault("bad_media", "HALF1 0.1 1.0##the video is cut off.", truncate)
    fault("bad_media", "NULL1 0.1 1.0##the video is empty.", lambda path: truncate(path, 0))
