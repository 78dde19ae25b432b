"""VideoRefer-700K and the two benches as the release lays them out: dialogues about marked objects.

Masks come in all the forms of the release: compressed and uncompressed RLE, polygons with and without a stated size,
null where the object is not visible. Every fourth "video" of the training set is a folder of frames.
"""

import random
from pathlib import Path
from typing import Final

from converters.world.media import write_frames, write_video
from converters.world.raw import JsonFile
from converters.world.scene import Shape
from converters.world.staging import make_scene
from converters.world.truth import Ledger, TruthClip, TruthSample
from converters.world.videorefer_faults import write_faults
from converters.world.videorefer_items import (
    FORMS,
    TRAIN,
    Item,
    Marked,
    Turns,
    best_frame,
    film,
    item_of,
    mark,
    panda_name,
    sample_of,
    spread,
)
from converters.world.words import story, verb

BENCH_D: Final = "VideoRefer-Bench-D"
BENCH_Q: Final = "VideoRefer-Bench-Q"
FILES: Final = {
    "short_caption": "videorefer-short-caption-500k.json",
    "detailed_caption": "videorefer-detailed-caption-125k.json",
    "qa": "videorefer-qa-75k.json",
}


def write_videorefer(root: Path, clips: int, extra: int, seed: int, faults: bool, ledger: Ledger) -> None:
    """Writes ``VideoRefer-700K/``, ``VideoRefer-Bench-D/`` and ``VideoRefer-Bench-Q/`` below ``root``."""
    with (
        JsonFile(root / TRAIN / FILES["short_caption"]) as short,
        JsonFile(root / TRAIN / FILES["detailed_caption"]) as detailed,
        JsonFile(root / TRAIN / FILES["qa"]) as qa,
    ):
        files = {"short_caption": short, "detailed_caption": detailed, "qa": qa}
        for number in range(clips):
            _write_train(root, files, number, seed, ledger)
        if faults:
            write_faults(root, files, seed, ledger)
    _write_bench_d(root, extra, seed, ledger)
    _write_bench_q(root, extra, seed, ledger)


def _write_train(root: Path, files: dict[str, JsonFile], number: int, seed: int, ledger: Ledger) -> None:
    """Two short captions, a detailed one and a dialogue about one clip."""
    clip, video = film(root, number, f"{seed}/videorefer/{number}")
    scene = clip.scene
    form = FORMS[number % len(FORMS)]

    def put(subset: str, turns: Turns, marked: list[Marked]) -> None:
        place = files[subset].count
        size = scene if form == "sized polygons" else None
        files[subset].append(item_of(place, video, turns, marked, size))
        ledger.add(("videorefer", "train"), sample_of(subset, place, clip, turns, marked))

    last = len(scene.shapes) - 1
    asked = ("<video>\nGive a short caption of <region>.", "What is <region>?\n<video>")
    for index, question in zip((0, last), asked, strict=True):
        shape = scene.shapes[index]
        put("short_caption", [(question, f"A {shape.name}.")], [mark(scene, index, [best_frame(scene, index)], form)])
    frames = spread(scene, [0], 6) if number % 2 == 0 else [best_frame(scene, 0)]
    question = "<video>\nPlease describe  <region> in the video in detail."
    put("detailed_caption", [(question, story(scene.shapes[0]))], [mark(scene, 0, frames, form)])
    turns = _dialogue(scene.shapes[0], scene.shapes[1], number)
    shared = spread(scene, [0, 1], 5) if number % 2 == 0 else None
    put("qa", turns, [mark(scene, i, shared or [best_frame(scene, i)], form) for i in (0, 1)])


def _dialogue(first: Shape, second: Shape, number: int) -> Turns:
    """Two marked objects, in four ways to write it."""
    same = "Yes" if first.colour == second.colour else "No"
    if number % 4 == 0:
        return [
            ("<video>\nHow do <region> and <region> move?", f"The first {verb(first)}, the second {verb(second)}."),
            ("Do they have the same colour?", f"{same}, one is {first.colour} and one is {second.colour}."),
        ]
    if number % 4 == 1:
        question = "<video>\nWhat do <object0><region> and <object1><region> do?"
        return [(question, f"The {first.kind} <object0> {verb(first)}; the {second.kind} <object1> {verb(second)}.")]
    if number % 4 == 2:
        return [
            ("What does <region> do?\n<video>", f"It {verb(first)}."),
            ("And what does  <region> do?", f"It {verb(second)}."),
        ]
    question = "Which colours do <object1><region> and <object2><region> have?\n<video>"
    return [(question, f"<object1> is {first.colour}, <object2> is {second.colour}.")]


# ---------------------------------------------------------------------------------------------- the benches


def _write_bench_d(root: Path, count: int, seed: int, ledger: Ledger) -> None:
    with JsonFile(root / BENCH_D / "VideoRefer-Bench-D.json") as items:
        for number in range(count):
            scene = make_scene(f"{seed}/bench_d/{number}", number)
            name = f"{panda_name(random.Random(f'{seed}/bench_d/{number}'), scene.duration)}.mp4"
            source = f"{BENCH_D}/Panda-70M-part/{name}"
            write_video(root / source, scene)
            marked = mark(scene, 0, spread(scene, [0], 6), FORMS[number % 2])
            chosen, caption = best_frame(scene, 0), story(scene.shapes[0])
            item = {"id": number, "video": name, "caption": caption, "frame_idx": str(chosen)}
            items.append(item | {"annotation": [marked.annotation]})
            sample = TruthSample(
                key=f"videorefer/bench_d/{number}",
                task="referring_description",
                clip=TruthClip("video", source, scene),
                query="",
                answer=caption,
                regions=(marked.masklet,),
                frame_idx=chosen,
            )
            ledger.add(("videorefer", "bench_d"), sample)


def _write_bench_q(root: Path, count: int, seed: int, ledger: Ledger) -> None:
    with JsonFile(root / BENCH_Q / "VideoRefer-Bench-Q.json") as items:
        for number in range(count):
            scene = make_scene(f"{seed}/bench_q/{number}", number)
            folder = ("MeViS/valid_u/JPEGImages", "DAVIS/JPEGImages/480p")[number % 2]
            video = f"{folder}/{random.Random(f'{seed}/bench_q/{number}').getrandbits(48):012x}"
            write_frames(root / BENCH_Q / video, scene, [f"{frame:05}" for frame in range(scene.num_frames)])
            clip = TruthClip("frames", f"{BENCH_Q}/{video}", scene)
            item, sample = _quiz(clip, number)
            items.append({"id": number, "video": video} | item)
            ledger.add(("videorefer", "bench_q"), sample)


def _quiz(clip: TruthClip, number: int) -> tuple[Item, TruthSample]:
    """A question with four choices; the objects are numbered from 1, the right choice goes round."""
    scene = clip.scene
    right = number % 4
    wrong = ["flies a kite", "reads a book", "sings a song"]
    choices = [*wrong[:right], verb(scene.shapes[0]), *wrong[right:]]
    options = [f"({letter}) {choice}" for letter, choice in zip("ABCD", choices, strict=True)]
    question = "What does <object1><region> do while <object2><region> is near?"
    frames = spread(scene, [0, 1], 4)
    marked = [mark(scene, index, frames, "compressed") for index in (0, 1)]
    chosen = best_frame(scene, 0)
    item: Item = {"Question": question, "type": "Basic Questions", "options": options, "Answer": options[right]}
    item |= {"frame_idx": str(chosen), "annotation": [m.annotation for m in marked]}
    sample = TruthSample(
        key=f"videorefer/bench_q/{number}",
        task="referring_qa",
        clip=clip,
        query=question,
        answer=options[right],
        choices=tuple(options),
        correct=right,
        regions=tuple(m.masklet for m in marked),
        frame_idx=chosen,
    )
    return item, sample
