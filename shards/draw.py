"""A sample drawn on its frames: one picture from which a person can judge whether the facts are right.

From top to bottom: what the sample is, its frames with masks and boxes, the clip as a bar with window, spans and
time tokens, and the conversation. Pillow only; a pure function of the record and its decoded frames.
"""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from shards import rle
from shards.clip_time import seconds_at, span_frames
from shards.record import Clip, Record, Sample, Span
from shards.tokens import seconds_of, spellings_in, tau_of

Frames = Callable[[Sequence[int]], list[np.ndarray]]
Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

PAPER: Final[Colour] = (250, 250, 248)
INK: Final[Colour] = (28, 30, 34)
FAINT: Final[Colour] = (120, 124, 130)
RULE: Final[Colour] = (216, 218, 222)
TOKEN: Final[Colour] = (178, 24, 96)
ROLE_INK: Final[dict[str, Colour]] = {"user": (22, 92, 170), "assistant": (24, 122, 64)}
COLOURS: Final[tuple[Colour, ...]] = (
    (230, 57, 70),
    (29, 120, 220),
    (46, 160, 67),
    (245, 160, 0),
    (150, 70, 200),
    (0, 170, 170),
    (230, 80, 170),
    (140, 110, 60),
)
"""One per target, then one per region, around again where there are more."""

MARGIN: Final = 16
MASK_STRENGTH: Final = 0.45
MOST_LINES: Final = 40
"""Lines of conversation that are drawn; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One target or region: its label, its colour, and its mask on each annotated frame (None = not visible)."""

    label: str
    colour: Colour
    masks: dict[int, np.ndarray | None] = field(repr=False)
    frames: frozenset[int] | None = None

    def note(self, frame: int) -> str:
        """What the caption must say about this object where there is no mask to see."""
        if self.frames is not None and frame not in self.frames:
            return f"{self.label} not shown"
        if frame not in self.masks:
            return f"{self.label} not annotated"
        return f"{self.label} not visible" if self.masks[frame] is None else ""


def draw_sample(record: Record, sample: Sample, frames: Frames, *, width: int = 1280) -> Image.Image:
    """The sample as one RGB picture of the given width and whatever height it takes.

    ``frames`` returns the clip's frames of the given indices, as ``shards.media.read_frames`` does.
    """
    chosen = panel_frames(record, sample)
    pictures = frames(chosen) if chosen else []
    layers = _layers(record, sample, chosen)
    parts = [_header(record, sample, width)]
    if pictures:
        parts.append(_panels(record, sample, layers, dict(zip(chosen, pictures, strict=True)), width))
    if record.clip.num_frames > 1:
        parts.append(_timeline(record, sample, chosen, width))
    parts.append(_conversation(sample, width))
    return _stack(parts, width)


def _stack(parts: Sequence[Image.Image], width: int) -> Image.Image:
    page = Image.new("RGB", (width, sum(part.height for part in parts) + MARGIN), PAPER)
    top = 0
    for part in parts:
        page.paste(part, (0, top))
        top += part.height
    return page


# ---------------------------------------------------------------------------------------------- which frames


def panel_frames(record: Record, sample: Sample, most: int = 6) -> list[int]:
    """At most ``most`` source frame indices, ascending, that show what the sample is about.

    With targets or regions: evenly over the frames where one of their objects is visible, then over those where it
    is annotated as not visible. With one span: just before it, its first frame, inside, its last frame, just after.
    With several spans: the middle of each. Otherwise evenly over the window. Always frames that the shard stores.
    """
    clip = record.clip
    if clip.num_frames == 0 or most < 1:
        return []
    stored = list(clip.stored_frames) if clip.stored_frames is not None else list(range(clip.num_frames))
    seen, unseen = _annotated(record, sample)
    if seen or unseen:
        picked = evenly(sorted(seen & set(stored)), most)
        return sorted(picked + evenly(sorted(unseen & set(stored)), most - len(picked)))
    if len(sample.spans) == 1:
        first, stop = span_frames(clip, sample.spans[0])
        wanted = _around(first, max(stop - 1, first), clip.num_frames, most)
    elif sample.spans:
        wanted = evenly([sum(span_frames(clip, span)) // 2 for span in sample.spans], most)
    else:
        first, stop = span_frames(clip, sample.window) if sample.window else (0, clip.num_frames)
        wanted = evenly([f for f in stored if first <= f < stop] or stored, most)
    return sorted({min(stored, key=lambda f: abs(f - want)) for want in wanted})


def _annotated(record: Record, sample: Sample) -> tuple[set[int], set[int]]:
    """The frames where a target or region is visible, and those where all that is annotated is not visible."""
    seen: set[int] = set()
    known: set[int] = set()
    masklets = [(i, None) for target in sample.targets or () for i in target]
    masklets += [(region.masklet, set(region.frames)) for region in sample.regions]
    for index, shown in masklets:
        for frame, counts in record.masklets[index].rles.items():
            if shown is None or frame in shown:
                known.add(frame)
                if not rle.is_empty(counts):
                    seen.add(frame)
    return seen, known - seen


def _around(first: int, last: int, num_frames: int, most: int) -> list[int]:
    """Frames before, at the ends of, inside and after first…last, the most telling ones if few may be taken."""
    inside = max(most - 4, 1)
    between = [first + (last - first) * (i + 1) // (inside + 1) for i in range(inside)]
    wanted = [first, last, first - 1, last + 1, *between]
    return [f for f in dict.fromkeys(wanted) if 0 <= f < num_frames][:most]


def evenly(frames: Sequence[int], most: int) -> list[int]:
    """At most ``most`` of ``frames``, evenly spread with both ends; the middle one where only one may be taken."""
    if len(frames) <= most:
        return list(frames)
    if most <= 1:
        return [frames[len(frames) // 2]] * max(most, 0)
    return [frames[round(i * (len(frames) - 1) / (most - 1))] for i in range(most)]


# ---------------------------------------------------------------------------------------------- masks


def _layers(record: Record, sample: Sample, frames: Sequence[int]) -> list[Layer]:
    """The targets and regions of a sample with their masks on the given frames."""
    out = [
        Layer(f"T{n}", COLOURS[(n - 1) % len(COLOURS)], _masks(record, target, frames))
        for n, target in enumerate(sample.targets or (), 1)
        if target
    ]
    before = len(sample.targets or ())
    for n, region in enumerate(sample.regions, 1):
        colour = COLOURS[(before + n - 1) % len(COLOURS)]
        out.append(Layer(f"R{n}", colour, _masks(record, (region.masklet,), frames), frozenset(region.frames)))
    return out


def _masks(record: Record, masklets: Iterable[int], frames: Sequence[int]) -> dict[int, np.ndarray | None]:
    """Frame → the union of the masklets' masks there, None where all are empty; absent where none is annotated."""
    out: dict[int, np.ndarray | None] = {}
    for index in masklets:
        rles = record.masklets[index].rles
        for frame in frames:
            if frame in rles:
                mask = rle.decode(rles[frame], record.clip.height, record.clip.width).astype(bool)
                before = out.get(frame)
                both = mask if before is None else before | mask
                out[frame] = both if both.any() else None
    return out


def _paint_mask(picture_HWC: np.ndarray, mask_HW: np.ndarray, colour: Colour) -> None:
    """Blend ``colour`` into the masked pixels and outline them, two pixels inside, a white one outside; in place."""
    tint = np.array(colour, np.float32)
    picture_HWC[mask_HW] = (1 - MASK_STRENGTH) * picture_HWC[mask_HW] + MASK_STRENGTH * tint
    picture_HWC[mask_HW & ~_eroded(_eroded(mask_HW))] = tint
    picture_HWC[~mask_HW & ~_eroded(~mask_HW)] = 255  # a white line around it: seen on its own colour, too


def _eroded(mask_HW: np.ndarray) -> np.ndarray:
    padded = np.pad(mask_HW, 1, constant_values=True)
    return padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:] & mask_HW


def _scaled_mask(mask_HW: np.ndarray, width: int, height: int) -> np.ndarray:
    """The mask at another size; a pixel is in where at least a quarter of it is, and tiny masks do not vanish."""
    grey = Image.fromarray(mask_HW.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BOX)
    values = np.asarray(grey)
    scaled = values >= 64
    return scaled if scaled.any() else values > 0


# ---------------------------------------------------------------------------------------------- panels


def panel_size(clip: Clip, num_panels: int, width: int) -> tuple[int, int]:
    """Width and height of each panel's picture: up to three in a row, no higher than 560 pixels."""
    columns = min(num_panels, 3)
    room = (width - MARGIN * (columns + 1)) // columns
    scale = min(room / clip.width, 560 / clip.height)
    return max(round(clip.width * scale), 1), max(round(clip.height * scale), 1)


def _panels(
    record: Record, sample: Sample, layers: Sequence[Layer], pictures: dict[int, np.ndarray], width: int
) -> Image.Image:
    size = panel_size(record.clip, len(pictures), width)
    columns = min(len(pictures), 3)
    captions = {f: _wrapped(_caption(record, sample, layers, f), _font(14), size[0]) for f in pictures}
    step_x = size[0] + MARGIN
    step_y = size[1] + 8 + 18 * max(len(lines) for lines in captions.values()) + 6
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (width, rows * step_y), PAPER)
    pen = ImageDraw.Draw(page)
    for place, (frame, picture) in enumerate(pictures.items()):
        left, top = MARGIN + place % columns * step_x, place // columns * step_y
        page.paste(panel(record, sample, layers, frame, picture, size), (left, top))
        for line, text in enumerate(captions[frame]):
            pen.text((left, top + size[1] + 4 + 18 * line), text, INK if line == 0 else FAINT, _font(14))
    return page


def panel(
    record: Record,
    sample: Sample,
    layers: Sequence[Layer],
    frame: int,
    picture_HWC: np.ndarray,
    size: tuple[int, int],
) -> Image.Image:
    """One frame at ``size`` (width, height) with everything that is known about it drawn on it."""
    pixels = np.array(Image.fromarray(picture_HWC).resize(size, Image.Resampling.BILINEAR), np.float32)
    labels: list[tuple[tuple[float, float], str, Colour]] = []
    for layer in layers:
        mask = layer.masks.get(frame)
        if mask is not None and (layer.frames is None or frame in layer.frames):
            scaled = _scaled_mask(mask, *size)
            _paint_mask(pixels, scaled, layer.colour)
            labels.append((_inside(scaled), layer.label, layer.colour))
    image = Image.fromarray(pixels.round().astype(np.uint8))
    pen = ImageDraw.Draw(image)
    _draw_tubes(pen, record, sample, frame, size)
    for (x, y), label, colour in labels:
        _tag(pen, x, y, label, colour)
    return image


def _inside(mask_HW: np.ndarray) -> tuple[float, float]:
    """A point (x, y) of the mask near its middle."""
    ys, xs = np.nonzero(mask_HW)
    middle = np.argmin((xs - xs.mean()) ** 2 + (ys - ys.mean()) ** 2)
    return float(xs[middle]), float(ys[middle])


def _tag(pen: ImageDraw.ImageDraw, x: float, y: float, label: str, colour: Colour) -> None:
    left, top, right, bottom = pen.textbbox((x, y), label, _font(13), anchor="mm")
    pen.rectangle((left - 3, top - 2, right + 3, bottom + 2), fill=colour, outline=(255, 255, 255))
    pen.text((x, y), label, (255, 255, 255), _font(13), anchor="mm")


def _draw_tubes(pen: ImageDraw.ImageDraw, record: Record, sample: Sample, frame: int, size: tuple[int, int]) -> None:
    """Boxes of the sample's tubes: solid inside the span, dashed outside."""
    scale_x, scale_y = size[0] / record.clip.width, size[1] / record.clip.height
    for n, index in enumerate(sample.tubes):
        box = record.tubes[index].boxes.get(frame)
        if box is None:
            continue
        x1, y1, x2, y2 = box[0] * scale_x, box[1] * scale_y, box[2] * scale_x - 1, box[3] * scale_y - 1
        x2, y2, colour = max(x1, x2), max(y1, y2), COLOURS[n % len(COLOURS)]
        if in_span(record.clip, sample, frame):
            pen.rectangle((x1, y1, x2, y2), outline=colour, width=3)
            _tag(pen, min(x1 + 14, x2), min(y1 + 11, y2), f"B{n + 1}", colour)
        else:
            _dashed_box(pen, (x1, y1, x2, y2), colour)


def _dashed_box(pen: ImageDraw.ImageDraw, box: tuple[float, float, float, float], colour: Colour) -> None:
    x1, y1, x2, y2 = box
    for x in np.arange(x1, x2, 10):
        for y in (y1, y2):
            pen.line((x, y, min(x + 5, x2), y), fill=colour)
    for y in np.arange(y1, y2, 10):
        for x in (x1, x2):
            pen.line((x, y, x, min(y + 5, y2)), fill=colour)


def in_span(clip: Clip, sample: Sample, frame: int) -> bool:
    """Whether the frame belongs to one of the sample's spans; a sample without spans spans the whole clip."""
    bounds = [span_frames(clip, span) for span in sample.spans]
    return not bounds or any(first <= frame < max(stop, first + 1) for first, stop in bounds)


def _caption(record: Record, sample: Sample, layers: Sequence[Layer], frame: int) -> str:
    seconds = seconds_at(record.clip, frame)
    words = [f"frame {frame}"]
    if seconds is not None:
        words.append(f"{seconds:.2f} s")
    if sample.spans:
        words.append("in span" if in_span(record.clip, sample, frame) else "outside")
    if record.clip.kind == "still":
        words = [f"{record.clip.width} x {record.clip.height}"]
    notes = [note for layer in layers if (note := layer.note(frame))]
    for n, index in enumerate(sample.tubes, 1):
        boxes = record.tubes[index].boxes
        if boxes.get(frame) is None:
            notes.append(f"B{n} not visible" if frame in boxes else f"B{n} not annotated")
    return " · ".join(words) + ("\n" + ", ".join(notes) if notes else "")


# ---------------------------------------------------------------------------------------------- timeline


@dataclass(frozen=True, slots=True)
class Axis:
    """The clip's length in seconds, or in frames where the source states no rate, mapped to pixels."""

    left: int
    right: int
    length: float
    unit: str

    def x(self, value: float) -> float:
        return self.left + (self.right - self.left) * min(max(value / self.length, 0), 1)


def _timeline(record: Record, sample: Sample, chosen: Sequence[int], width: int) -> Image.Image:
    """The whole clip as a bar: window, one row a span with its time tokens, one row a target or region, ticks."""
    clip = record.clip
    axis = Axis(MARGIN + 60, width - MARGIN - 20, clip.duration or clip.num_frames, "s" if clip.duration else "frame")
    strips = _strips(record, sample)
    height = 34 + 20 * len(sample.spans) + 14 * len(strips) + 30
    page = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(page)
    _draw_bar(pen, axis, clip, sample, chosen)
    top = 34
    for n, span in enumerate(sample.spans):
        _draw_span(pen, axis, clip, sample, n, span, top)
        top += 20
    for label, colour, known, seen in strips:
        pen.text((MARGIN, top + 5), label, colour, _font(12), anchor="lm")
        _draw_strip(pen, axis, clip, colour, known, seen, top)
        top += 14
    _draw_ticks(pen, axis, top + 4)
    return page


def _draw_bar(pen: ImageDraw.ImageDraw, axis: Axis, clip: Clip, sample: Sample, chosen: Sequence[int]) -> None:
    """The clip in grey, the window in blue, and a small mark for each frame that is shown above."""
    pen.text((MARGIN, 22), "clip", FAINT, _font(12), anchor="lm")
    pen.rectangle((axis.left, 16, axis.right, 28), fill=RULE)
    if sample.window:
        pen.rectangle((axis.x(sample.window[0]), 16, axis.x(sample.window[1]), 28), fill=(150, 185, 230))
    for frame in chosen:
        x = axis.x(_on_axis(clip, axis, frame))
        pen.polygon([(x - 4, 8), (x + 4, 8), (x, 15)], fill=INK)
        pen.line((x, 16, x, 28), fill=INK)


def _on_axis(clip: Clip, axis: Axis, frame: int) -> float:
    seconds = seconds_at(clip, frame)
    return float(frame) if axis.unit == "frame" or seconds is None else seconds


def _draw_span(pen: ImageDraw.ImageDraw, axis: Axis, clip: Clip, sample: Sample, n: int, span: Span, top: int) -> None:
    """A span in its row, its time tokens' seconds as pink lines, and both in numbers beside it."""
    colour = COLOURS[n % len(COLOURS)]
    start, end = axis.x(span[0]), axis.x(span[1])
    pen.text((MARGIN, top + 6), f"span {n + 1}", FAINT, _font(12), anchor="lm")
    pen.rectangle((start, top, max(end, start + 2), top + 11), fill=colour)
    window = sample.window or (0.0, clip.duration or 0.0)
    marks = [start, end]
    text = f"{span[0]:.2f} - {span[1]:.2f} s"
    if window[1] > window[0]:
        taus = [tau_of(t, window) for t in (span if span[1] != span[0] else span[:1])]
        for tau in taus:
            x = axis.x(seconds_of(tau, window))
            pen.line((x, top - 3, x, top + 14), fill=TOKEN, width=2)
            marks.append(x)
        text += "   as tokens: " + ", ".join(f"<Temp-{tau}> = {seconds_of(tau, window):.2f} s" for tau in taus)
    room = pen.textlength(text, _font(12))
    fits_right = max(marks) + 10 + room < axis.right
    x = max(marks) + 10 if fits_right else max(min(marks) - 10 - room, axis.left)
    left, upper, right, lower = pen.textbbox((x, top + 6), text, _font(12), anchor="lm")
    pen.rectangle((left - 3, upper - 2, right + 3, lower + 2), fill=PAPER)
    pen.text((x, top + 6), text, INK, _font(12), anchor="lm")


def _strips(record: Record, sample: Sample) -> list[tuple[str, Colour, set[int], set[int]]]:
    """Label, colour, annotated frames and visible frames of each target and region."""
    groups = [(f"T{n}", target, None) for n, target in enumerate(sample.targets or (), 1)]
    groups += [(f"R{n}", (region.masklet,), set(region.frames)) for n, region in enumerate(sample.regions, 1)]
    out = []
    for n, (label, masklets, shown) in enumerate(groups):
        if not masklets:  # "no such object"
            continue
        known: set[int] = set()
        seen: set[int] = set()
        for index in masklets:
            rles = record.masklets[index].rles
            kept = {f for f in rles if shown is None or f in shown}
            known |= kept
            seen |= {f for f in kept if not rle.is_empty(rles[f])}
        out.append((label, COLOURS[n % len(COLOURS)], known, seen))
    return out


def _draw_strip(
    pen: ImageDraw.ImageDraw, axis: Axis, clip: Clip, colour: Colour, known: set[int], seen: set[int], top: int
) -> None:
    """Filled where the object is visible, hollow where it is annotated as not visible."""
    for frame in sorted(known):
        start = axis.x(_on_axis(clip, axis, frame))
        end = axis.x(_on_axis(clip, axis, frame + 1)) if frame + 1 < clip.num_frames else axis.right
        box = (start, top, max(end - 1, start + 1), top + 9)
        if frame in seen:
            pen.rectangle(box, fill=colour)
        else:
            pen.rectangle(box, outline=colour)


def _draw_ticks(pen: ImageDraw.ImageDraw, axis: Axis, top: int) -> None:
    step = tick_step(axis.length)
    value = 0.0
    while value <= axis.length * 1.0001:
        x = axis.x(value)
        pen.line((x, top, x, top + 4), fill=FAINT)
        pen.text((x, top + 6), f"{value:g}", FAINT, _font(11), anchor="ma")
        value = round(value + step, 6)
    pen.text((MARGIN, top + 12), "seconds" if axis.unit == "s" else "frames", FAINT, _font(12), anchor="lm")


def tick_step(length: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that gives at most twelve ticks."""
    power = 10.0 ** np.floor(np.log10(length / 12)) if length > 0 else 1.0
    return float(next(power * m for m in (1, 2, 5, 10) if length / (power * m) <= 12))


# ---------------------------------------------------------------------------------------------- words


@cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size=size)


def _header(record: Record, sample: Sample, width: int) -> Image.Image:
    lines = _wrapped(sample.key, _font(20), width - 2 * MARGIN)
    facts = _wrapped(_facts(record, sample), _font(14), width - 2 * MARGIN)
    page = Image.new("RGB", (width, MARGIN + 26 * len(lines) + 19 * len(facts) + 10), PAPER)
    pen = ImageDraw.Draw(page)
    top = MARGIN
    for text in lines:
        pen.text((MARGIN, top), text, INK, _font(20))
        top += 26
    for text in facts:
        pen.text((MARGIN, top), text, FAINT, _font(14))
        top += 19
    return page


def _facts(record: Record, sample: Sample) -> str:
    clip = record.clip
    words = [sample.task, clip.kind]
    if clip.kind != "none":
        words.append(f"{clip.width} x {clip.height}")
    if clip.num_frames > 1:
        words.append(f"{clip.num_frames} frames")
        words.append(
            "rate unknown" if clip.fps is None else f"{clip.fps:.6g} fps{' (variable)' * bool(clip.frame_times)}"
        )
        words += [f"{clip.duration:.3f} s"] if clip.duration is not None else []
    if sample.window:
        words.append(f"window {sample.window[0]:.2f} - {sample.window[1]:.2f} s")
    words += [f"tags {', '.join(sample.tags)}"] if sample.tags else []
    words += [f"T{n}: no such object" for n, target in enumerate(sample.targets or (), 1) if not target]
    words += ["unlabelled"] if sample.targets is None else []
    return " · ".join(words) + f"\nclip {clip.source} · record {record.key}"


def _conversation(sample: Sample, width: int) -> Image.Image:
    """The turns, wrapped, special tokens in colour; where there are none yet, the annotator's words."""
    turns = [(turn.role, turn.text) for turn in sample.turns]
    turns = turns or [("query", sample.query), ("answer", sample.answer)]
    font, indent = _font(16), MARGIN + 90
    lines: list[tuple[str, str]] = []
    for role, text in turns:
        wrapped = _wrapped(text, font, width - indent - MARGIN)
        lines += [(role if n == 0 else "", line) for n, line in enumerate(wrapped)]
    extra = [f"… {len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else []
    extra += [f"+ {len(sample.wordings)} further wordings"] if sample.wordings else []
    lines = lines[:MOST_LINES]
    page = Image.new("RGB", (width, 14 + 22 * (len(lines) + len(extra))), PAPER)
    pen = ImageDraw.Draw(page)
    pen.line((MARGIN, 4, width - MARGIN, 4), fill=RULE)
    for n, (role, text) in enumerate(lines):
        pen.text((MARGIN, 12 + 22 * n + 1), role, ROLE_INK.get(role, FAINT), _font(14))
        _draw_words(pen, indent, 12 + 22 * n, text, font)
    for n, text in enumerate(extra, len(lines)):
        pen.text((indent, 12 + 22 * n), text, FAINT, _font(14))
    return page


def _draw_words(pen: ImageDraw.ImageDraw, x: float, y: float, text: str, font: Font) -> None:
    """One line, with every spelling of a special token in its own colour."""
    rest = text
    for token in [*spellings_in(text), ""]:
        before, _, rest = rest.partition(token) if token else (rest, "", "")
        for piece, colour in ((before, INK), (token, TOKEN)):
            pen.text((x, y), piece, colour, font)
            x += pen.textlength(piece, font)


def _wrapped(text: str, font: Font, room: float) -> list[str]:
    """``text`` in lines no wider than ``room`` pixels; words that are wider than a line are cut."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in _printable(paragraph).split(" "):
            longer = f"{line} {word}" if line else word
            if line and font.getlength(longer) > room:
                lines.append(line)
                longer = word
            while font.getlength(longer) > room and len(longer) > 1:
                fits = next(n for n in range(len(longer) - 1, 0, -1) if n == 1 or font.getlength(longer[:n]) <= room)
                lines.append(longer[:fits])
                longer = longer[fits:]
            line = longer
        lines.append(line)
    return lines


def _printable(text: str) -> str:
    """``text`` without control characters and without accents, for which Pillow's own font has no glyphs."""
    return "".join(_unaccented(letter) if letter.isprintable() else " " for letter in text)


def _unaccented(letter: str) -> str:
    base = unicodedata.normalize("NFKD", letter)[0]
    return base if base.isascii() else letter
