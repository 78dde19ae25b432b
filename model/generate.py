"""``ufvideo generate``: questions about one file, answered in the terminal and in pictures."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from model.inference import Answer, Masks, Question, Shown, load_model
from model.open_clip import AnswerError, OpenClip
from model.segmenting import Bitmap
from shards.draw import COLOURS, Layer, panel
from shards.media import MediaError, decode_image
from shards.record import Clip, Record, Sample, Source, Span
from shards.tokens import REF, seconds_of, taus_in, time_token

REGION: Final = re.compile(r"(?P<what>.+?)(?:@(?P<frame>\d+))?")
NUMBERS: Final = re.compile(r"\d+(?:\.\d+)?(?:,\d+(?:\.\d+)?)*")
POINT_RADIUS: Final = 0.02
"""Of the diagonal: what a point shows is the disk around it."""
OVERLAY_SIDE: Final = 640
FRAME_MS: Final = 100
MOST_OVERLAYS: Final = 200
"""Frames of the animated picture; of a longer clip every n-th is drawn."""


def run_generate(
    checkpoint: Path,
    media: Path,
    prompts: Sequence[str],
    regions: Sequence[str],
    *,
    window: Span | None,
    mask_frames: int | None,
    prompt_frame: int | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Answer and print; with ``out`` also write ``answer.json`` and, where there are masks, ``overlay.webp``."""
    if out is not None and out.exists() and not out.is_dir():
        raise AnswerError(f"--out {out} is a file; name a folder")
    opened = OpenClip.open(media)
    asked = questions(prompts, [parse_region(text, opened.clip) for text in regions])
    ufvideo = load_model(checkpoint)
    answers = ufvideo.answers(opened, asked, window=window, mask_frames=mask_frames, prompt_frame=prompt_frame)
    told: Any = [to_json(answer, opened.clip, window) for answer in answers]
    told = told[0] if len(told) == 1 else {"prompts": list(prompts), "answers": told}
    lines = [line for answer in answers for line in in_words(answer, opened.clip, window)]
    print(json.dumps(told, indent=1) if as_json else "\n".join(lines))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "answer.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        if masklets := [masklet for answer in answers for masklet in answer.masklets]:
            write_overlay(masklets, opened, out / "overlay.webp")
        if not as_json:
            print(f"written  {out}")
    return 0


def questions(prompts: Sequence[str], shown: Sequence[Shown]) -> list[Question]:
    """Each prompt with the objects of its ``<Ref>``; what is left over goes to the last one, which will refuse it."""
    found, rest = [], list(shown)
    for prompt in prompts[:-1]:
        count = prompt.count(REF)
        found.append(Question(prompt, tuple(rest[:count])))
        rest = rest[count:]
    return [*found, Question(prompts[-1], tuple(rest))]


def parse_region(text: str, clip: Clip) -> Shown:
    """``mask.png@12``, ``x1,y1,x2,y2@12`` or ``x,y@12`` in pixels, on frame 12 (0 where none is named).

    Raises AnswerError.
    """
    found = REGION.fullmatch(text)
    what, frame = (found["what"], int(found["frame"] or 0)) if found else ("", 0)
    if NUMBERS.fullmatch(what):
        numbers = [float(number) for number in what.split(",")]
        if len(numbers) in (2, 4):
            mask = _disk(numbers, clip) if len(numbers) == 2 else _box(numbers, clip)
            return Shown(frame, mask)
    if Path(what).is_file():
        try:
            return Shown(frame, decode_image(Path(what), what).max(axis=2) > 0)
        except MediaError as error:
            raise AnswerError(f"--region {text}: {error}") from None
    raise AnswerError(
        f"--region {text}: write a mask's file, a box x1,y1,x2,y2 or a point x,y, and @FRAME, e.g. 10,20,90,80@0"
    )


def _box(xyxy: Sequence[float], clip: Clip) -> Bitmap:
    x1, y1, x2, y2 = (round(number) for number in xyxy)
    mask = np.zeros((clip.height, clip.width), bool)
    mask[y1:y2, x1:x2] = True
    return mask


def _disk(xy: Sequence[float], clip: Clip) -> Bitmap:
    radius = max(POINT_RADIUS * float(np.hypot(clip.width, clip.height)), 1.0)
    ys, xs = np.mgrid[: clip.height, : clip.width]
    return (xs - xy[0]) ** 2 + (ys - xy[1]) ** 2 <= radius**2


def to_json(answer: Answer, clip: Clip, window: Span | None) -> dict[str, Any]:
    """The answer for machines; masks as COCO RLE by frame index, as ``{"size": [h, w], "counts": text}``."""
    return {
        "text": answer.text,
        "text_in_seconds": in_seconds(answer.text, clip, window),
        "spans": [list(span) for span in answer.spans],
        "masklets": [
            {str(f): {"size": [clip.height, clip.width], "counts": counts} for f, counts in masklet.rles.items()}
            for masklet in answer.masklets
        ],
    }


def in_words(answer: Answer, clip: Clip, window: Span | None) -> list[str]:
    """The answer for people, a line each."""
    lines = [in_seconds(answer.text, clip, window)]
    for number, masklet in enumerate(answer.masklets, 1):
        seen = [frame for frame in masklet if masklet.seen(frame)]
        where = f"seen on {len(seen)} of {len(masklet)} frames" if seen else f"not seen on any of {len(masklet)} frames"
        lines.append(f"<Seg> {number}  {where}")
    return lines


def in_seconds(text: str, clip: Clip, window: Span | None) -> str:
    """The text with seconds in the place of its time tokens, where the clip has times."""
    if window is None and clip.duration is None:
        return text
    for tau in set(taus_in(text)):
        text = text.replace(time_token(tau), f"{seconds_of(tau, window or (0.0, clip.duration or 0.0)):.2f} s")
    return text


def write_overlay(masklets: Sequence[Masks], opened: OpenClip, path: Path) -> None:
    """An animated WebP of the segmented frames with the masks drawn on; one picture for a still."""
    clip = opened.clip
    frames = sorted(masklets[0])
    frames = frames[:: -(-len(frames) // MOST_OVERLAYS)]
    scale = min(OVERLAY_SIDE / max(clip.width, clip.height), 1.0)
    size = max(round(clip.width * scale), 1), max(round(clip.height * scale), 1)
    nothing = Sample("", "referring_qa", Source("", ""))
    record = Record("", "", "", "", "", clip)
    layers = [
        Layer(str(n), COLOURS[(n - 1) % len(COLOURS)], {f: masklet[f] if masklet.seen(f) else None for f in frames})
        for n, masklet in enumerate(masklets, 1)
    ]
    drawn = [
        panel(record, nothing, layers, frame, picture, size)
        for frame, picture in zip(frames, opened.in_order(frames), strict=True)
    ]
    drawn[0].save(path, save_all=True, append_images=drawn[1:], duration=FRAME_MS, loop=0, quality=80)
