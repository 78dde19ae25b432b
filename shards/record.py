"""The record: one clip, its masklets and tubes, and every instruction sample that talks about it.

Units and conventions, the same everywhere: *seconds* from the first decoded frame; *frame indices* count decoded
frames of the source clip from 0; *pixels* with x to the right and y down, boxes as x1, y1, x2, y2; masks as COCO
compressed RLE counts (column-major) at the clip's size. ``docs/format.md`` gives the meaning of every field.

Standard library only: a GPU machine or a stranger can use this file alone.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar, get_args

FORMAT_VERSION: Final = 1

Seconds = float
Span = tuple[Seconds, Seconds]
Box = tuple[float, float, float, float]
ClipKind = Literal["video", "frames", "still", "none"]
Role = Literal["user", "assistant"]
Task = Literal[
    "global_qa",
    "referring_description",
    "referring_qa",
    "referring_segmentation",
    "temporal_grounding",
    "dense_captioning",
    "spatio_temporal_grounding",
    "event_localization",
    "spatial_grounding",
    "pix_rqa",
    "pix_hqa",
    "pix_trqa",
]
CLIP_KINDS: Final[tuple[str, ...]] = get_args(ClipKind)
ROLES: Final[tuple[str, ...]] = get_args(Role)
TASKS: Final[tuple[str, ...]] = get_args(Task)

MAX_INT: Final = 2**31 - 1
"""No size, frame or place is larger: the indexes hold them in 32 bits."""
_FRAME_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")

T = TypeVar("T")


class FormatError(ValueError):
    """The bytes at hand are not a record as the format defines it; the message names the field."""


@dataclass(frozen=True, slots=True)
class Clip:
    """The video, still or frame folder of a record, as a sequential decode sees it.

    ``fps`` and ``duration`` are None where the source does not say (frame folders of MeViS) and for stills.
    A record without media has kind "none" and width, height and num_frames 0.
    """

    kind: ClipKind
    source: str
    width: int
    height: int
    num_frames: int
    fps: float | None
    duration: Seconds | None
    frame_times: tuple[Seconds, ...] | None = None
    stored_frames: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Masklet:
    """One object's masks over time: frame index → COCO compressed counts at the clip's size.

    A frame that is absent was not annotated; an all-zero mask says that the object is not visible there.
    """

    id: str
    rles: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Tube:
    """One object's boxes over time, xyxy in pixels; None where the object is not visible."""

    id: str
    boxes: Mapping[int, Box | None]


@dataclass(frozen=True, slots=True)
class Region:
    """An object shown to the model: an index into the record's masklets, and the frames it is shown on."""

    masklet: int
    frames: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """Where a sample comes from: the raw annotation file, relative to the root, and the place in it."""

    file: str
    id: str


Turns = tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One instruction sample. Converters fill in the facts; templates add ``turns`` and ``wordings``.

    ``regions`` are shown, ``targets`` are predicted: each target is a tuple of masklet indices united by logical
    or, an empty one says "no such object", and None as a whole means unlabelled (a test split).
    """

    key: str
    task: Task
    source: Source
    query: str = ""
    answer: str = ""
    dialogue: tuple[tuple[str, str], ...] = ()
    choices: tuple[str, ...] | None = None
    correct: int | None = None
    events: tuple[str, ...] | None = None
    window: Span | None = None
    regions: tuple[Region, ...] = ()
    targets: tuple[tuple[int, ...], ...] | None = ()
    spans: tuple[Span, ...] = ()
    tubes: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    turns: Turns = ()
    wordings: tuple[Turns, ...] = ()

    def renderings(self) -> tuple[Turns, ...]:
        """All conversations of this sample, the main one first: repetition r of a stream takes [r mod n]."""
        return (self.turns, *self.wordings)


@dataclass(frozen=True, slots=True)
class Record:
    key: str
    entry: str
    dataset: str
    split: str
    license: str
    clip: Clip
    masklets: tuple[Masklet, ...] = ()
    tubes: tuple[Tube, ...] = ()
    samples: tuple[Sample, ...] = ()
    format: int = field(default=FORMAT_VERSION)


# ---------------------------------------------------------------------------------------------- to JSON


def to_json(record: Record) -> bytes:
    """The record as strict UTF-8 JSON, the same bytes for equal records. NaN and infinity raise ValueError."""
    text = json.dumps(to_dict(record), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8")


def to_dict(record: Record) -> dict[str, Any]:
    return {
        "format": record.format,
        "key": record.key,
        "entry": record.entry,
        "dataset": record.dataset,
        "split": record.split,
        "license": record.license,
        "clip": _clip_dict(record.clip),
        "masklets": [{"id": m.id, "rles": {str(f): m.rles[f] for f in sorted(m.rles)}} for m in record.masklets],
        "tubes": [
            {"id": t.id, "boxes": {str(f): _numbers_of(t.boxes[f]) for f in sorted(t.boxes)}} for t in record.tubes
        ],
        "samples": [sample_dict(s) for s in record.samples],
    }


def _clip_dict(clip: Clip) -> dict[str, Any]:
    out: dict[str, Any] = {
        "kind": clip.kind,
        "source": clip.source,
        "width": clip.width,
        "height": clip.height,
        "num_frames": clip.num_frames,
        "fps": _number(clip.fps),
        "duration": _number(clip.duration),
    }
    if clip.frame_times is not None:
        out["frame_times"] = _numbers_of(clip.frame_times)
    if clip.stored_frames is not None:
        out["stored_frames"] = clip.stored_frames
    return out


def sample_dict(sample: Sample) -> dict[str, Any]:
    out: dict[str, Any] = {
        "key": sample.key,
        "task": sample.task,
        "query": sample.query,
        "answer": sample.answer,
        "dialogue": sample.dialogue,
    }
    for name in ("choices", "correct", "events"):
        value = getattr(sample, name)
        if value is not None:
            out[name] = value
    out |= {
        "window": _numbers_of(sample.window),
        "regions": [{"masklet": r.masklet, "frames": r.frames} for r in sample.regions],
        "targets": sample.targets,
        "spans": [_numbers_of(span) for span in sample.spans],
        "tubes": sample.tubes,
        "tags": sample.tags,
        "turns": _turns_list(sample.turns),
        "wordings": [_turns_list(turns) for turns in sample.wordings],
        "source": {"file": sample.source.file, "id": sample.source.id},
    }
    return out


def _number(value: float | None) -> float | None:
    """Equal numbers give equal bytes: 10 is written as 10.0."""
    return None if value is None else float(value)


def _numbers_of(values: Sequence[float] | None) -> list[float] | None:
    return None if values is None else [float(value) for value in values]


def _turns_list(turns: Turns) -> list[dict[str, str]]:
    return [{"role": turn.role, "text": turn.text} for turn in turns]


# -------------------------------------------------------------------------------------------- from JSON


def from_json(text: bytes | str) -> Record:
    """The record that ``text`` holds.

    Raises FormatError, naming the field, where it is not strict JSON of the documented shape. Fields that this
    version does not know are ignored, so that later versions can add some; meaning is checked by ``validate``.
    """
    try:
        # Given bytes, json.loads would guess at UTF-16 and let surrogates and a byte order mark through.
        raw = json.loads(text if isinstance(text, str) else text.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"a record is not strict UTF-8 JSON: {error}") from None
    return from_dict(raw)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not allowed in JSON")


def from_dict(raw: Any) -> Record:
    top = _Fields(raw, "record")
    if top.get("format", _int) != FORMAT_VERSION:
        raise FormatError(f"record.format is {raw['format']}, this version reads {FORMAT_VERSION}")
    return Record(
        key=top.get("key", _str),
        entry=top.get("entry", _str),
        dataset=top.get("dataset", _str),
        split=top.get("split", _str),
        license=top.get("license", _str),
        clip=top.get("clip", _clip),
        masklets=top.get("masklets", _tuple_of(_masklet)),
        tubes=top.get("tubes", _tuple_of(_tube)),
        samples=top.get("samples", _tuple_of(_sample)),
    )


Parser = Callable[[Any, str], T]


class _Fields:
    """The fields of one JSON object; every failure names the path of the field."""

    def __init__(self, raw: Any, path: str) -> None:
        if not isinstance(raw, dict):
            raise FormatError(f"{path} is {_kind(raw)}, not an object")
        self.raw, self.path = raw, path

    def get(self, name: str, parse: "Parser[T]") -> T:
        if name not in self.raw:
            raise FormatError(f"{self.path}.{name} is missing")
        return parse(self.raw[name], f"{self.path}.{name}")

    def optional(self, name: str, parse: "Parser[T]") -> T | None:
        return self.get(name, parse) if name in self.raw else None


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__


def _str(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise FormatError(f"{path} is {_kind(value)}, not text")
    if not value.isascii() and _LONE_SURROGATE.search(value):
        raise FormatError(f"{path} holds half of a surrogate pair, which no UTF-8 can say")
    return value


def _int(value: Any, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise FormatError(f"{path} is {_kind(value)}, not an integer")
    if abs(value) > MAX_INT:
        raise FormatError(f"{path} is an integer of more than 31 bits")
    return value


def _float(value: Any, path: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise FormatError(f"{path} is {_kind(value)}, not a finite number")
    try:
        number = float(value)
    except OverflowError:  # an integer of more than 308 digits
        number = math.inf
    if not math.isfinite(number):
        raise FormatError(f"{path} is larger than any finite number")
    return number


def _tuple_of(parse: "Parser[T]") -> "Parser[tuple[T, ...]]":
    def parse_all(value: Any, path: str) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise FormatError(f"{path} is {_kind(value)}, not a list")
        return tuple(parse(item, f"{path}[{i}]") for i, item in enumerate(value))

    return parse_all


def _nullable(parse: "Parser[T]") -> "Parser[T | None]":
    return lambda value, path: None if value is None else parse(value, path)


def _one_of(allowed: Sequence[str]) -> "Parser[Any]":
    def parse(value: Any, path: str) -> Any:
        if value not in allowed:
            raise FormatError(f"{path} is {value!r}, not one of {', '.join(allowed)}")
        return value

    return parse


def _by_frame(parse: "Parser[T]") -> "Parser[dict[int, T]]":
    def parse_all(value: Any, path: str) -> dict[int, T]:
        out: dict[int, T] = {}
        for name, item in _Fields(value, path).raw.items():
            if not _FRAME_INDEX.fullmatch(name):
                raise FormatError(f"{path} has the key {name!r}, which is not a frame index")
            out[int(name)] = parse(item, f"{path}.{name}")
        return out

    return parse_all


def _numbers(count: int) -> "Parser[Any]":
    def parse(value: Any, path: str) -> Any:
        numbers = _tuple_of(_float)(value, path)
        if len(numbers) != count:
            raise FormatError(f"{path} has {len(numbers)} numbers, not {count}")
        return numbers

    return parse


def _clip(value: Any, path: str) -> Clip:
    fields = _Fields(value, path)
    return Clip(
        kind=fields.get("kind", _one_of(CLIP_KINDS)),
        source=fields.get("source", _str),
        width=fields.get("width", _int),
        height=fields.get("height", _int),
        num_frames=fields.get("num_frames", _int),
        fps=fields.get("fps", _nullable(_float)),
        duration=fields.get("duration", _nullable(_float)),
        frame_times=fields.optional("frame_times", _tuple_of(_float)),
        stored_frames=fields.optional("stored_frames", _tuple_of(_int)),
    )


def _masklet(value: Any, path: str) -> Masklet:
    fields = _Fields(value, path)
    return Masklet(fields.get("id", _str), fields.get("rles", _by_frame(_str)))


def _tube(value: Any, path: str) -> Tube:
    fields = _Fields(value, path)
    return Tube(fields.get("id", _str), fields.get("boxes", _by_frame(_nullable(_numbers(4)))))


def _region(value: Any, path: str) -> Region:
    fields = _Fields(value, path)
    return Region(fields.get("masklet", _int), fields.get("frames", _tuple_of(_int)))


def _turn(value: Any, path: str) -> Turn:
    fields = _Fields(value, path)
    return Turn(fields.get("role", _one_of(ROLES)), fields.get("text", _str))


def _source(value: Any, path: str) -> Source:
    fields = _Fields(value, path)
    return Source(fields.get("file", _str), fields.get("id", _str))


def _pair(value: Any, path: str) -> tuple[str, str]:
    pair = _tuple_of(_str)(value, path)
    if len(pair) != 2:
        raise FormatError(f"{path} has {len(pair)} texts, not a question and an answer")
    return pair[0], pair[1]


def _sample(value: Any, path: str) -> Sample:
    fields = _Fields(value, path)
    return Sample(
        key=fields.get("key", _str),
        task=fields.get("task", _one_of(TASKS)),
        query=fields.get("query", _str),
        answer=fields.get("answer", _str),
        dialogue=fields.optional("dialogue", _tuple_of(_pair)) or (),
        choices=fields.optional("choices", _tuple_of(_str)),
        correct=fields.optional("correct", _int),
        events=fields.optional("events", _tuple_of(_str)),
        window=fields.get("window", _nullable(_numbers(2))),
        regions=fields.get("regions", _tuple_of(_region)),
        targets=fields.get("targets", _nullable(_tuple_of(_tuple_of(_int)))),
        spans=fields.get("spans", _tuple_of(_numbers(2))),
        tubes=fields.get("tubes", _tuple_of(_int)),
        tags=fields.get("tags", _tuple_of(_str)),
        turns=fields.get("turns", _tuple_of(_turn)),
        wordings=fields.get("wordings", _tuple_of(_tuple_of(_turn))),
        source=fields.get("source", _source),
    )
