"""Laws of ``scan``. Each function yields what breaks its law, in words; nothing where it holds."""

import json
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from converters.base import Item, RawClip
from pipelines.conformance.annotation import enlarged, load, shuffled
from pipelines.conformance.faults import applied
from pipelines.conformance.running import Outcome, outcome
from pipelines.conformance.watching import Access, watch
from pipelines.conformance.world import Case
from shards.media import STILL_SUFFIXES, VIDEO_SUFFIXES
from shards.skips import Skipped

MEDIA: Final = (*STILL_SUFFIXES, *VIDEO_SUFFIXES)
REPEATS: Final = ("duplicate", "key_conflict")
PLACED: Final = "/@"
"""The key of an item that has no id of its own names its place in the file: ``<dataset>/<split>/@7``."""

LARGE: Final = 256
"""Bytes of JSON from which on a value must not travel twice with one clip."""
TRAVELS: Final = 4
"""Times the bytes of the annotation that the items and what they share may have, and ``LARGE`` more an item."""
MEMORY: Final = 10
"""Times the bytes of the largest annotation file that a scan may hold at once, and ``BASE`` more. A parsed JSON of
small objects is six to eight times its text, so a converter may hold one file whole, and not three times."""
BASE: Final = 5 << 20
"""Bytes; streamed files are read through a window of four megabytes."""
ENLARGED: Final = 1 << 20

Found = RawClip | Skipped


def scan(case: Case) -> list[Found]:
    return list(case.entry().open().scan())


def items_of(found: list[Found]) -> list[Item]:
    return [item for clip in found if isinstance(clip, RawClip) for item in clip.items]


def unexpected_outcome(case: Case, found: Outcome) -> Iterator[str]:
    """The samples and skips that the world foresees, no more and no less."""
    expected, reasons = case.expected, found.reasons()
    if found.items != len(found.stated) + len(found.skipped):
        yield f"{found.items} items, but {len(found.stated)} samples and {len(found.skipped)} skips"
    for key in sorted(set(expected.samples) - set(found.stated)):
        yield f"{key} is no sample: {_reason(key, found)}"
    for key in sorted(set(found.stated) - set(expected.samples)):
        yield f"{key} is a sample, which the world did not foresee"
    for key, reason in sorted(expected.skips.items()):
        if reasons.get(key) != reason:
            yield f"{key} should be skipped as {reason}: {_reason(key, found)}"
    for skip in found.skipped:
        if skip.key not in expected.skips and skip.key not in expected.samples and PLACED not in skip.key:
            yield f"{skip.key} is skipped as {skip.reason} ({skip.detail}), which the world did not foresee"


def _reason(key: str, found: Outcome) -> str:
    words = [f"it is skipped as {skip.reason} ({skip.detail})" for skip in found.skipped if skip.key == key]
    return "; ".join(words) or ("it is a sample" if key in found.stated else "there is no such item")


def bad_keys(case: Case) -> Iterator[str]:
    """Keys begin with dataset and split, and are there once but for the repeats that the world foresees."""
    converter, found = case.entry().open(), scan(case)
    keys = [item.key for item in items_of(found)]
    prefix = f"{converter.name}/{converter.split}/"
    for key in keys:
        if not key.startswith(prefix) or key == prefix:
            yield f"{key!r} does not begin with {prefix} and an id"
    for key, times in Counter(keys).items():
        if times > 1 and case.expected.skips.get(key) not in REPEATS:
            yield f"{times} items have the key {key}"


def unsteady_scan(case: Case) -> Iterator[str]:
    """Two scans, by two instances or by one, give the same sequence."""
    converter = case.entry().open()
    first, second, other = (list(map(_spelt, c.scan())) for c in (converter, converter, case.entry().open()))
    for words, again in (("the same converter", second), ("another instance", other)):
        differs = next((i for i, (a, b) in enumerate(zip(first, again, strict=False)) if a != b), None)
        if differs is not None:
            yield f"{words} scans something else as number {differs}: {again[differs]:.200}"
        elif len(first) != len(again):
            yield f"{words} scans {len(again)} clips and skips, where it were {len(first)}"


def _spelt(found: Found) -> str:
    """As text, since NaN is not equal to itself."""
    if isinstance(found, Skipped):
        return repr(found)
    return json.dumps([found.id, [[item.key, item.raw] for item in found.items], dict(found.shared)])


def media_touched(case: Case) -> Iterator[str]:
    with watch(case.base) as found:
        scan(case)
    for access in found:
        if access.path.suffix.lower() in MEDIA:
            yield f"scan opens {access.path.relative_to(case.base)}, which is media"
        yield from _outside(case, access, "scan")


def _outside(case: Case, access: Access, who: str) -> Iterator[str]:
    """Accesses below the watched tree, but not below the root; scratch is the kit's own."""
    path, root = access.path, case.root.resolve()
    if path.is_relative_to(case.work.resolve()):
        return
    if not path.is_relative_to(root):
        yield f"{who} reads {path.relative_to(case.base.resolve())}, which lies outside the root"
    elif access.writes:
        yield f"{who} writes {path.relative_to(root)} into the release"


def not_plain_json(case: Case) -> Iterator[str]:
    """What travels to a worker arrives as it was: dicts with text keys, lists, text, numbers, true, false, null."""
    for clip in scan(case):
        if isinstance(clip, RawClip):
            for item in clip.items:
                yield from (f"{item.key}: raw{odd}" for odd in _odd_parts(item.raw, ""))
            yield from (f"{clip.id}: shared{odd}" for odd in _odd_parts(dict(clip.shared), ""))


def _odd_parts(value: Any, place: str) -> Iterator[str]:
    if type(value) is dict:
        for name, item in value.items():
            if type(name) is not str:
                yield f"{place} has the key {name!r}, which is {type(name).__name__}, not text"
            yield from _odd_parts(item, f"{place}[{name!r}]")
    elif type(value) is list:
        for position, item in enumerate(value):
            yield from _odd_parts(item, f"{place}[{position}]")
    elif value is not None and type(value) not in (str, int, float, bool):
        yield f"{place} is {type(value).__name__}, which is not plain JSON"


def too_large(case: Case) -> Iterator[str]:
    """A clip's large values travel once; all that travels is a small multiple of the annotation files."""
    converter = case.entry().open()
    clips = [clip for clip in converter.scan() if isinstance(clip, RawClip)]
    files = converter.files.inputs
    annotation = [load(file.path, (case.root / file.path).read_bytes()) for file in files]
    yield from _large_twice(clips, Counter(text for read in annotation for text in _large_parts(read.value)))
    number, read = sum(len(clip.items) for clip in clips), sum(file.bytes for file in files)
    size = sum(_size([[item.key, item.raw] for item in clip.items]) + _size(dict(clip.shared)) for clip in clips)
    if size > (room := TRAVELS * read + LARGE * number):
        words = f"{TRAVELS} x the {read} bytes that were read + {LARGE} x {number} items = {room}"
        yield f"items and shared have {size} bytes, more than {words}"


def _large_twice(clips: list[RawClip], annotated: Counter[str]) -> Iterator[str]:
    """A large value that more items of a clip carry than there are of it in the annotation."""
    carriers: dict[tuple[str, str], list[str]] = {}
    for clip in clips:
        for item in clip.items:
            for text in set(_large_parts(item.raw)):
                carriers.setdefault((clip.id, text), []).append(item.key)
    for (_, text), keys in carriers.items():
        if len(keys) > max(annotated[text], 1):
            times = (
                f"{len(keys)} items carry {text[:40]}… ({len(text)} bytes), which is annotated {annotated[text]} times"
            )
            yield f"{times}: put it into shared ({', '.join(keys[:3])})"


def _large_parts(value: Any) -> Iterator[str]:
    """The JSON of the smallest parts that are large."""
    parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    inner = [text for part in parts for text in _large_parts(part)]
    yield from inner
    if not inner and not isinstance(value, bytes) and len(text := json.dumps(value)) >= LARGE:
        yield text


def _size(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":")))


def memory_beyond(case: Case) -> Iterator[str]:
    """With the rows of the largest file repeated to ``ENLARGED`` bytes, a scan holds at most ``MEMORY`` times that."""
    converter = case.entry().open()
    list(converter.scan())
    largest = max(converter.files.inputs, key=lambda file: file.bytes, default=None)
    if largest is None:
        return
    large = enlarged(load(largest.path, (case.root / largest.path).read_bytes()), ENLARGED, case.in_order).bytes()
    with applied(case, largest.path, large):
        peak = _peak(case)
    room = MEMORY * len(large) + BASE
    if peak > room:
        yield f"the scan of {len(large)} bytes of {largest.path} holds {peak} bytes, more than {MEMORY} x that + {BASE}"


def _peak(case: Case) -> int:
    """Bytes that Python holds at most while a scan is walked through and nothing of it is kept."""
    converter = case.entry().open()
    tracemalloc.start()
    try:
        for _ in converter.scan():
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def order_matters(case: Case, seed: int, clean: Outcome) -> Iterator[str]:
    """What differs when the annotation files are shuffled: keys, reasons, and what samples state."""
    converter = case.entry().open()
    list(converter.scan())
    files = [file.path for file in converter.files.inputs]
    found = _outcome_shuffled(case, files, seed)
    free = {key for key, reason in [*clean.reasons().items(), *found.reasons().items()] if reason == "key_conflict"}
    for key in sorted(set(clean.stated) - set(found.stated)):
        yield f"key {key} vanished: {_reason(key, found)}"
    for key in sorted(set(found.stated) - set(clean.stated)):
        yield f"key {key} appeared"
    for key in sorted(set(found.stated) & set(clean.stated) - free):
        if found.stated[key] != clean.stated[key]:
            yield f"{key} states something else: {difference(clean.stated[key], found.stated[key])}"
    before, after = _counted(clean), _counted(found)
    for key, reason in sorted((before - after).keys() | (after - before).keys()):
        yield f"{key} is skipped as {reason} {before[key, reason]} times, shuffled {after[key, reason]} times"


def _outcome_shuffled(case: Case, files: list[str], seed: int) -> Outcome:
    if not files:
        return outcome(case)
    annotation = load(files[0], (case.root / files[0]).read_bytes())
    with applied(case, files[0], shuffled(annotation, seed, case.in_order).bytes()):
        return _outcome_shuffled(case, files[1:], seed)


def _counted(found: Outcome) -> Counter[tuple[str, str]]:
    return Counter((PLACED if PLACED in skip.key else skip.key, skip.reason) for skip in found.skipped)


def difference(first: str, second: str) -> str:
    """The first field in which two statements differ."""
    one, two = json.loads(first), json.loads(second)
    name = next((name for name in one | two if one.get(name) != two.get(name)), "?")
    return f"{name} is {two.get(name)!r:.150}, was {one.get(name)!r:.150}"
