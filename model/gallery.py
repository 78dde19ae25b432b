"""The page of a run's predictions: frames with true and predicted masks, spans as bars, words beside words."""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw

from model.example import target_mask
from shards import rle
from shards.draw import COLOURS, Layer, panel, panel_frames
from shards.page import html_table, page
from shards.stream import Draw
from shards.tokens import NUM_TIME_TOKENS, taus_in

FOLDER: Final = "predictions"
PANEL_WIDTH: Final = 220
FRAMES: Final = 4
ROW_LABEL: Final = 18
GAP: Final = 4
FEWEST: Final = 3
"""Panels of the narrowest picture, so that a still is not blown up."""
GREY: Final = (128, 128, 128)
"""Can be read on light and on dark pages; the picture has no background of its own."""
BAR_ROW: Final = (
    '<div style="display:flex;gap:.5rem;align-items:center"><span style="width:4rem">{who}</span>'
    '<span style="position:relative;flex:1;height:.8rem;background:var(--line)">{bar}</span></div>'
)
BAR: Final = (
    '<span style="position:absolute;height:100%;left:{left:.1f}%;width:{width:.1f}%;background:var(--mark)"></span>'
)

Told = dict[str, dict[str, dict[str, Any]]]
"""``before`` and ``after`` → sample key → row of its JSON file."""


def write_page(folder: Path, draws: Sequence[Draw]) -> Path:
    """``index.html`` of what ``before.json`` and ``after.json`` hold; pictures into ``pictures/``."""
    (folder / "pictures").mkdir(exist_ok=True)
    told = {when: _read(folder / f"{when}.json") for when in ("before", "after") if (folder / f"{when}.json").exists()}
    cards = [_card(folder, number, draw, told) for number, draw in enumerate(draws)]
    head = ["", "samples", "words right", "times right", "mean tIoU", "mean J"]
    table = html_table(head, [_summary(when, list(rows.values())) for when, rows in told.items()])
    index = folder / "index.html"
    note = '<p class="soft">These are samples of the training mixture.</p>'
    body = f'{table}\n{note}<div class="gallery">{"".join(cards)}</div>'
    index.write_text(page("Predictions before and after training", body), encoding="utf-8")
    return index


def _read(path: Path) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in json.loads(path.read_text("utf-8"))}


def _summary(when: str, rows: Sequence[dict[str, Any]]) -> list[object]:
    return [
        when,
        len(rows),
        *(_share(rows, name) for name in ("words_right", "times_right")),
        *(_mean(rows, name) for name in ("tiou", "j")),
    ]


def _share(rows: Sequence[dict[str, Any]], name: str) -> str:
    known = [row[name] for row in rows if row[name] is not None]
    return f"{sum(known)} of {len(known)}"


def _mean(rows: Sequence[dict[str, Any]], name: str) -> str:
    known = [row[name] for row in rows if row[name] is not None]
    return f"{np.mean(known):.3f}" if known else "-"


def summary_line(folder: Path) -> str | None:
    """One line about the newest predictions of a run, for the terminal; None where there are none."""
    path = folder / FOLDER / "after.json"
    if not path.exists():
        return None
    _, count, words, times, tiou, j = _summary("after", list(_read(path).values()))
    return f"{count} samples answered: words right {words}, times right {times}, mean tIoU {tiou}, mean J {j}"


def _card(folder: Path, number: int, draw: Draw, told: Told) -> str:
    told = {when: rows for when, rows in told.items() if draw.sample.key in rows}  # `samples` may have been changed
    picture = f"pictures/{number:03d}.png"
    drawn = _picture(draw, {when: rows[draw.sample.key] for when, rows in told.items()})
    image = ""
    if drawn is not None:
        drawn.save(folder / picture)
        image = f'<img src="{picture}" alt="" loading="lazy">'
    words = "".join(f"<p><b>{turn.role}</b> {escape(turn.text)}</p>" for turn in draw.turns)
    for when, rows in told.items():
        row = rows[draw.sample.key]
        scores = [f"J {row['j']:.3f}"] if row["j"] is not None else []
        scores += [f"tIoU {row['tiou']:.3f}"] if row["tiou"] is not None else []
        said = "<br>".join(escape(answer) or "<i>nothing</i>" for answer in row["answers"])
        words += f'<p><b>{when}</b> <span class="soft">{", ".join(scores)}</span> {said}</p>'
    caption = f"<code>{escape(draw.sample.key)}</code>{_bars(draw, told)}{words}"
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def told_span(text: str) -> tuple[float, float]:
    """The time from the first to the last token of a text, in 0…1; nothing at all is [-1, -1]."""
    taus = taus_in(text)
    return (min(taus) / (NUM_TIME_TOKENS - 1), max(taus) / (NUM_TIME_TOKENS - 1)) if taus else (-1.0, -1.0)


def _bars(draw: Draw, told: Told) -> str:
    """The spans of the truth and of each prediction over the sample's window."""
    answers = {"truth": [turn.text for turn in draw.turns[1::2]]}
    answers |= {when: rows[draw.sample.key]["answers"] for when, rows in told.items()}
    if not any(taus_in(text) for text in answers["truth"]):
        return ""
    out = ""
    for who, texts in answers.items():
        start, end = told_span(" ".join(texts))
        width = max((end - start) * 100, 0.7)
        out += BAR_ROW.format(who=who, bar=BAR.format(left=start * 100, width=width) if start >= 0 else "")
    return out


def _picture(draw: Draw, told: dict[str, dict[str, Any]]) -> Image.Image | None:
    """A row of frames with the truth, and one with the masks of each prediction; None for text."""
    clip = draw.record.clip
    if clip.kind == "none":
        return None
    pairs = sorted({(target, frame) for row in told.values() for target, frame, _ in row["masks"]})
    frames = sorted({frame for _, frame in pairs}) or panel_frames(draw.record, draw.sample, FRAMES)
    pictures = draw.frames(frames)
    height = max(round(PANEL_WIDTH * clip.height / clip.width), 1)
    rows = {"truth": _true_layers(draw, frames)}
    if draw.sample.targets:
        rows |= {when: _told_layers(row, clip.height, clip.width) for when, row in told.items()}
    turned = len(frames) == 1  # a still's rows stand side by side
    across, down = (len(rows), 1) if turned else (len(frames), len(rows))
    step_x, step_y = PANEL_WIDTH + GAP, height + ROW_LABEL
    sheet = Image.new("RGBA", (step_x * max(across, FEWEST), step_y * down))
    pen = ImageDraw.Draw(sheet)
    for line, (who, layers) in enumerate(rows.items()):
        left, top = (line * step_x, 0) if turned else (0, line * step_y)
        pen.text((left + 4, top + 3), who, fill=GREY)
        for column, (frame, picture) in enumerate(zip(frames, pictures, strict=True)):
            drawn = panel(draw.record, draw.sample, layers, frame, picture, (PANEL_WIDTH, height))
            sheet.paste(drawn, (left + column * step_x, top + ROW_LABEL))
    return sheet


def _true_layers(draw: Draw, frames: Sequence[int]) -> list[Layer]:
    """Targets where they are annotated, and the regions that are shown to the model."""
    layers: list[Layer] = []
    for number, target in enumerate(draw.sample.targets or ()):
        known = [f for f in frames if target and all(f in draw.record.masklets[index].rles for index in target)]
        masks = {frame: _or_none(target_mask(draw, number, frame).numpy() > 0) for frame in known}
        layers.append(Layer(f"T{number + 1}", COLOURS[number % len(COLOURS)], masks))
    clip = draw.record.clip
    for number, region in enumerate(draw.sample.regions):
        rles = draw.record.masklets[region.masklet].rles
        masks = {f: _or_none(rle.decode(rles[f], clip.height, clip.width)) for f in frames if f in region.frames}
        layers.append(Layer(f"R{number + 1}", COLOURS[-1 - number % len(COLOURS)], masks))
    return layers


def _told_layers(row: dict[str, Any], height: int, width: int) -> list[Layer]:
    layers: dict[int, dict[int, np.ndarray | None]] = {}
    for target, frame, counts in row["masks"]:
        layers.setdefault(target, {})[frame] = _or_none(rle.decode(counts, height, width))
    return [Layer(f"T{t + 1}", COLOURS[t % len(COLOURS)], masks) for t, masks in layers.items()]


def _or_none(mask: np.ndarray) -> np.ndarray | None:
    return mask if mask.any() else None
