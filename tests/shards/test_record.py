"""The codec: what goes in comes out, and what is not a record is refused by the name of its field."""

import copy
import json
import math
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.record import (
    CLIP_KINDS,
    TASKS,
    Clip,
    FormatError,
    Masklet,
    Record,
    Region,
    Sample,
    Source,
    Tube,
    Turn,
    from_dict,
    from_json,
    to_dict,
    to_json,
)
from tests.shards.small_corpus import RECORDS

# ------------------------------------------------------------------------------------------- any record

text = st.text(max_size=8)
number = st.floats(allow_nan=False, allow_infinity=False)
integer = st.integers(-(2**31) + 1, 2**31 - 1)
frame = st.integers(0, 10**9 - 1)


def tuples(of: st.SearchStrategy[Any], most: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(of, max_size=most).map(tuple)


turns = tuples(st.builds(Turn, role=st.sampled_from(["user", "assistant"]), text=text))
clips = st.builds(
    Clip,
    kind=st.sampled_from(CLIP_KINDS),
    source=text,
    width=integer,
    height=integer,
    num_frames=integer,
    fps=st.none() | number,
    duration=st.none() | number,
    frame_times=st.none() | tuples(number),
    stored_frames=st.none() | tuples(integer),
)
samples = st.builds(
    Sample,
    key=text,
    task=st.sampled_from(TASKS),
    source=st.builds(Source, file=text, id=text),
    query=text,
    answer=text,
    dialogue=tuples(st.tuples(text, text)),
    choices=st.none() | tuples(text),
    correct=st.none() | integer,
    events=st.none() | tuples(text),
    window=st.none() | st.tuples(number, number),
    regions=tuples(st.builds(Region, masklet=integer, frames=tuples(integer))),
    targets=st.none() | tuples(tuples(integer)),
    spans=tuples(st.tuples(number, number)),
    tubes=tuples(integer),
    tags=tuples(text),
    turns=turns,
    wordings=tuples(turns),
)
boxes = st.dictionaries(frame, st.none() | st.tuples(number, number, number, number), max_size=2)
records = st.builds(
    Record,
    key=text,
    entry=text,
    dataset=text,
    split=text,
    license=text,
    clip=clips,
    masklets=tuples(st.builds(Masklet, id=text, rles=st.dictionaries(frame, text, max_size=2))),
    tubes=tuples(st.builds(Tube, id=text, boxes=boxes)),
    samples=tuples(samples, 1),
)


@settings(max_examples=60)
@given(records)
def test_any_record_survives_the_codec(record):
    content = to_json(record)
    assert from_json(content) == record
    assert from_json(content.decode()) == record
    assert to_json(from_json(content)) == content


@pytest.mark.parametrize("kind", CLIP_KINDS)
def test_every_small_record_survives_the_codec(kind):
    record = RECORDS[kind]("name")
    assert from_json(to_json(record)) == record


def test_frames_are_written_in_order_whatever_the_order_of_the_mapping():
    record = RECORDS["frames"]("name")
    backwards = replace(
        record, masklets=tuple(Masklet(m.id, dict(reversed(list(m.rles.items())))) for m in record.masklets)
    )
    assert to_json(backwards) == to_json(record)


def test_letters_stay_letters():
    record = replace(RECORDS["none"]("name"), license="CC – 署名")
    assert "CC – 署名".encode() in to_json(record)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_lacks_is_never_written(value):
    record = RECORDS["video"]("name")
    with pytest.raises(ValueError):
        to_json(replace(record, clip=replace(record.clip, fps=value)))


# ------------------------------------------------------------------------------------------- strictness


def full() -> dict[str, Any]:
    """A record in which every field is present, as the JSON that a stranger reads."""
    raw = json.loads(to_json(RECORDS["frames"]("name")))
    raw["clip"] |= {"fps": 10.0, "duration": 0.4, "frame_times": [0.0, 0.1, 0.2, 0.3], "stored_frames": [1, 3]}
    raw["tubes"] = [{"id": "t", "boxes": {"0": [0.0, 0.0, 1.5, 2.0], "1": None}}]
    raw["samples"] = raw["samples"][1:2]
    raw["samples"][0] |= {
        "events": ["e"],
        "window": [0.0, 0.4],
        "targets": [[0]],
        "spans": [[0.1, 0.2]],
        "tubes": [0],
        "tags": ["t"],
    }
    raw["samples"][0]["wordings"] = [copy.deepcopy(raw["samples"][0]["turns"])]
    return raw


PRESENT_WHERE_THEY_APPLY = {"frame_times", "stored_frames", "dialogue", "choices", "correct", "events"}


def places(raw: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths of all fields and items."""
    if not isinstance(raw, dict | list):
        return []
    found: list[tuple[str | int, ...]] = []
    for name, value in raw.items() if isinstance(raw, dict) else enumerate(raw):
        found += [(*at, name), *places(value, (*at, name))]
    return found


def spelled(place: tuple[str | int, ...]) -> str:
    return "record" + "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name in place)


def parent(raw: Any, place: tuple[str | int, ...]) -> Any:
    for name in place[:-1]:
        raw = raw[name]
    return raw


def nullable(place: tuple[str | int, ...]) -> bool:
    return place[-1] in ("fps", "duration", "window", "targets") or place[-2:-1] == ("boxes",)


PLACES = places(full())
FIELDS = [p for p in PLACES if isinstance(p[-1], str) and not p[-1].isdigit()]


def refusal(raw: Any) -> str:
    """The message that refuses ``raw``; the same whether it comes as a dict or as JSON."""
    with pytest.raises(FormatError) as refused:
        from_json(json.dumps(raw))
    return str(refused.value)


def test_the_record_with_every_field_is_read():
    record = from_dict(full())
    assert all(getattr(record.clip, field.name) is not None for field in fields(record.clip))
    assert json.loads(json.dumps(to_dict(record))) == full()


@pytest.mark.parametrize("place", [p for p in FIELDS if p[-1] not in PRESENT_WHERE_THEY_APPLY], ids=spelled)
def test_a_missing_field_is_named(place):
    raw = full()
    del parent(raw, place)[place[-1]]
    assert refusal(raw) == f"{spelled(place)} is missing"


@pytest.mark.parametrize("place", [p for p in FIELDS if p[-1] in PRESENT_WHERE_THEY_APPLY], ids=spelled)
def test_a_field_that_does_not_apply_may_be_absent(place):
    raw = full()
    del parent(raw, place)[place[-1]]
    from_dict(raw)


@pytest.mark.parametrize("place", PLACES, ids=spelled)
def test_a_value_of_another_type_is_named(place):
    right = parent(full(), place)[place[-1]]
    for wrong in (True, {"a": 1}, "text", 1.5, [], None):
        if isinstance(wrong, type(right)) or (wrong is None and nullable(place)):
            continue
        raw = full()
        parent(raw, place)[place[-1]] = wrong
        assert refusal(raw).startswith(spelled(place)), wrong


@pytest.mark.parametrize("whole", [[], "text", 1, None, True])
def test_a_record_is_an_object(whole):
    assert refusal(whole).startswith("record is ")


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400, "1" + "0" * 5000])
def test_a_number_beyond_json_is_refused(word):
    content = json.dumps(full()).replace('"fps": 10.0', f'"fps": {word}')
    with pytest.raises(FormatError, match=r"record\.clip\.fps|not strict"):
        from_json(content)


@pytest.mark.parametrize("name", ["num_frames", "width"])
def test_an_integer_beyond_the_indexes_is_refused(name):
    raw = full()
    raw["clip"][name] = 2**31
    assert refusal(raw) == f"record.clip.{name} is an integer of more than 31 bits"


@pytest.mark.parametrize(
    "name", ["-1", "01", "1.0", " 1", "1\n", "", "x", "٣", "²", "1e3", "1_0", "9" * 10, "9" * 9999]
)
@pytest.mark.parametrize(("place", "path"), [("masklets", "rles"), ("tubes", "boxes")])
def test_a_key_that_is_no_frame_index_is_named(place, path, name):
    raw = full()
    raw[place][0][path][name] = next(iter(raw[place][0][path].values()))
    assert refusal(raw).startswith(f"record.{place}[0].{path} has the key {name!r}, which is not a frame index")


@pytest.mark.parametrize(
    ("place", "value"),
    [(("samples", 0, "task"), "summary"), (("clip", "kind"), "gif"), (("samples", 0, "turns", 0, "role"), "system")],
    ids=spelled,
)
def test_an_unknown_word_is_named_with_the_known_ones(place, value):
    raw = full()
    parent(raw, place)[place[-1]] = value
    assert refusal(raw).startswith(f"{spelled(place)} is {value!r}, not one of ")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("samples", 0, "window"), [1.0]),
        (("samples", 0, "spans", 0), [0.1, 0.2, 0.3]),
        (("samples", 0, "dialogue", 0), ["only a question"]),
        (("tubes", 0, "boxes", "0"), [0.0, 0.0, 1.0]),
    ],
    ids=spelled,
)
def test_a_list_of_another_length_is_named(place, value):
    raw = full()
    parent(raw, place)[place[-1]] = value
    assert refusal(raw).startswith(f"{spelled(place)} has {len(value)} ")


@pytest.mark.parametrize("version", [0, 2, -1])
def test_another_version_is_refused(version):
    assert refusal(full() | {"format": version}) == f"record.format is {version}, this version reads 1"


def test_fields_of_later_versions_are_ignored():
    raw = full()
    expected = from_dict(copy.deepcopy(raw))
    objects = [parent(raw, (*place, "x")) for place in PLACES if isinstance(parent(raw, (*place, "x")), dict)]
    for found in [raw, *objects]:
        if not any(name.isdigit() for name in found):  # there, keys are frames
            found["later"] = {"anything": [1, None]}
    assert from_json(json.dumps(raw)) == expected


# ------------------------------------------------------------------------------------------- bytes


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig", "latin-1"])
def test_another_encoding_than_utf_8_is_refused(encoding):
    content = json.dumps(full() | {"license": "é"}, ensure_ascii=False).encode(encoding)
    with pytest.raises(FormatError, match="strict UTF-8"):
        from_json(content)


@pytest.mark.parametrize("content", [b"", b"{", b"{}x", b"\xed\xa0\x80", b"[" * 100_000, b'{"format": 1,}'])
def test_bytes_that_are_no_json_are_refused(content):
    with pytest.raises(FormatError, match="strict UTF-8"):
        from_json(content)


def test_half_of_a_surrogate_pair_is_refused():
    raw = full()
    raw["samples"][0]["query"] = "\ud83d"
    assert refusal(raw).startswith("record.samples[0].query holds half of a surrogate pair")
    raw["samples"][0]["query"] = "\U0001f600"
    assert from_json(json.dumps(raw)).samples[0].query == "😀"


@given(st.data())
def test_hostile_json_gives_a_format_error_or_a_record(data):
    """Whatever stands in whatever place, nothing but FormatError comes out, and a record can be written again."""
    raw = full()
    place = data.draw(st.sampled_from(PLACES))
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=3)
    parent(raw, place)[place[-1]] = data.draw(st.recursive(leaves, lambda x: st.lists(x) | st.dictionaries(text, x)))
    try:
        record = from_json(json.dumps(raw))
    except FormatError:
        return
    to_json(record)
