"""Every invariant of the format, stated once: the build asks before it writes, ``verify`` asks after it read.

A problem is one line that begins with the sample's key (or the record's) and names the field and the value.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

from shards import rle
from shards.keys import ENTRY_NAME, MAX_KEY_CHARS, RECORD_KEY
from shards.record import FORMAT_VERSION, Clip, Record, Sample, Span, Turns
from shards.tokens import CHECKPOINT_SPELLING, IMAGE, REF, SEG, VIDEO, spellings_in, taus_in, taus_of, text_of


def record_problems(record: Record) -> list[str]:
    """All that is wrong with the record and its samples; empty for a valid one."""
    found = [problem for sample in record.samples for problem in sample_problems(record, sample)]
    return table_problems(record) + found


def table_problems(record: Record) -> list[str]:
    """All that is wrong with the record but for its samples, which ``sample_problems`` looks at one by one."""
    return [f"{record.key}: {words}" for words in _record(record)]


def sample_problems(record: Record, sample: Sample) -> list[str]:
    """All that is wrong with one sample of the record, as it stands there with its turns."""
    return [f"{sample.key}: {words}" for words in _sample(record, sample)]


# --------------------------------------------------------------------------------------------- the record


def _record(record: Record) -> Iterator[str]:
    if record.format != FORMAT_VERSION:
        yield f"format is {record.format}, not {FORMAT_VERSION}"
    if not RECORD_KEY.fullmatch(record.key) or len(record.key) > MAX_KEY_CHARS:
        yield f"the record key has other characters than A-Z a-z 0-9 _ - or more than {MAX_KEY_CHARS}"
    if not ENTRY_NAME.fullmatch(record.entry) or not record.key.startswith(f"{record.entry}-"):
        yield f"the record key does not begin with the entry's name {record.entry!r}"
    if not record.samples:
        yield "the record has no sample"
    if len({sample.key for sample in record.samples}) < len(record.samples):
        yield "two samples have the same key"
    yield from _clip(record.clip)
    yield from _masklets(record)
    yield from _tubes(record)


def _clip(clip: Clip) -> Iterator[str]:
    if clip.kind == "none":
        if clip != Clip("none", clip.source, 0, 0, 0, None, None):
            yield "a clip of kind none has no size, frames, fps or duration"
        return
    if clip.width < 1 or clip.height < 1 or clip.num_frames < 1:
        yield f"the clip is {clip.width}x{clip.height} with {clip.num_frames} frames"
    if clip.kind == "still" and (clip.num_frames != 1 or clip.duration is not None):
        yield f"a still has one frame and no duration, not {clip.num_frames} and {clip.duration}"
    if clip.kind == "video" and (clip.fps is None or clip.duration is None):
        yield "a video has fps and duration"
    if (clip.fps is None) != (clip.duration is None) and clip.kind != "still":
        yield f"fps is {clip.fps} and duration {clip.duration}: both or neither is known"
    if clip.fps is not None and clip.fps <= 0:
        yield f"fps is {clip.fps}"
    elif clip.fps is not None and clip.duration is not None:
        expected = clip.num_frames / clip.fps
        if not math.isclose(clip.duration, expected, rel_tol=1e-9):
            yield f"duration is {clip.duration}, not num_frames / fps = {expected}"
    yield from _frame_lists(clip)


def _frame_lists(clip: Clip) -> Iterator[str]:
    times, stored = clip.frame_times, clip.stored_frames
    if times is not None and (
        len(times) != clip.num_frames or times[:1] != (0,) or any(b <= a for a, b in pairwise(times))
    ):
        yield "frame_times is not one ascending time per frame that starts at 0"
    if stored is not None and not (stored and _ascending(stored) and stored[0] >= 0 and stored[-1] < clip.num_frames):
        yield "stored_frames is not an ascending list of frames of the clip"


def _ascending(numbers: tuple[int, ...]) -> bool:
    return all(b > a for a, b in pairwise(numbers))


def _masklets(record: Record) -> Iterator[str]:
    clip = record.clip
    if len({masklet.id for masklet in record.masklets}) < len(record.masklets):
        yield "two masklets have the same id"
    rle.look_at((counts for masklet in record.masklets for counts in masklet.rles.values()), clip.height, clip.width)
    for masklet in record.masklets:
        for frame, counts in masklet.rles.items():
            if not 0 <= frame < clip.num_frames:
                yield f"masklet {masklet.id} has frame {frame}, the clip 0…{clip.num_frames - 1}"
            try:
                rle.checked_area(counts, clip.height, clip.width)
            except rle.MaskError as error:
                yield f"masklet {masklet.id}, frame {frame}: {error}"


def _tubes(record: Record) -> Iterator[str]:
    clip = record.clip
    if len({tube.id for tube in record.tubes}) < len(record.tubes):
        yield "two tubes have the same id"
    for tube in record.tubes:
        for frame, box in tube.boxes.items():
            if not 0 <= frame < clip.num_frames:
                yield f"tube {tube.id} has frame {frame}, the clip 0…{clip.num_frames - 1}"
            if box is None:
                continue
            x1, y1, x2, y2 = box
            if not (0 <= x1 < x2 <= clip.width and 0 <= y1 < y2 <= clip.height):
                yield f"tube {tube.id}, frame {frame}: {list(box)} is not a box inside {clip.width}x{clip.height}"


# --------------------------------------------------------------------------------------------- the sample


def _sample(record: Record, sample: Sample) -> Iterator[str]:
    if not sample.key.startswith(f"{record.dataset}/{record.split}/"):
        yield f"the key does not begin with {record.dataset}/{record.split}/"
    yield from _times(record.clip, sample)
    yield from _attachments(record, sample)
    yield from _choices(sample)
    for number, turns in enumerate(sample.renderings()):
        name = "turns" if number == 0 else f"wordings[{number - 1}]"
        for words in _turns(record.clip, sample, turns):
            yield f"{name}: {words}"


def _times(clip: Clip, sample: Sample) -> Iterator[str]:
    if (sample.window or sample.spans) and clip.duration is None:
        yield "a window or span needs a clip with a duration"
        return
    duration = clip.duration or 0.0
    if sample.window is not None and not 0 <= sample.window[0] < sample.window[1] <= duration:
        yield f"the window {list(sample.window)} is not inside 0…{duration} s"
    first, last = sample.window or (0.0, duration)
    for start, end in sample.spans:
        if not first <= start <= end <= last:
            yield f"the span {[start, end]} is not inside {first}…{last} s"


def _attachments(record: Record, sample: Sample) -> Iterator[str]:
    for region in sample.regions:
        if not 0 <= region.masklet < len(record.masklets):
            yield f"a region points to masklet {region.masklet} of {len(record.masklets)}"
            continue
        rles = record.masklets[region.masklet].rles
        if not region.frames or not _ascending(region.frames):
            yield f"a region's frames {list(region.frames)} do not ascend"
        elif missing := [frame for frame in region.frames if frame not in rles]:
            yield f"a region is shown on frames {missing}, for which its masklet has no mask"
        elif all(_is_empty(rles[frame], record.clip) for frame in region.frames):
            yield "a region's mask is empty on all its frames"
    for target in sample.targets or ():
        if not all(0 <= index < len(record.masklets) for index in target) or len(set(target)) < len(target):
            yield f"a target unites masklets {list(target)} of {len(record.masklets)}"
    if not all(0 <= index < len(record.tubes) for index in sample.tubes):
        yield f"the sample points to tubes {list(sample.tubes)} of {len(record.tubes)}"
    if sample.tubes and not sample.spans:
        yield "a sample with tubes needs a span"


def _is_empty(counts: str, clip: Clip) -> bool:
    try:
        return rle.checked_area(counts, clip.height, clip.width) == 0
    except rle.MaskError:  # reported with its masklet
        return False


def _choices(sample: Sample) -> Iterator[str]:
    if sample.correct is not None and not 0 <= sample.correct < len(sample.choices or ()):
        yield f"correct is {sample.correct} of {len(sample.choices or ())} choices"
    if sample.events is not None and len(sample.events) != len(sample.spans):
        yield f"{len(sample.events)} events for {len(sample.spans)} spans"


def _turns(clip: Clip, sample: Sample, turns: Turns) -> Iterator[str]:
    if not turns or any(turn.role != ("user", "assistant")[i % 2] for i, turn in enumerate(turns)):
        yield "the turns do not alternate user, assistant from a user turn on"
        return
    if any(not turn.text.strip() for turn in turns):
        yield "a turn is blank"
    if sample.targets is None and len(turns) != 1:
        yield "an unlabelled sample has no assistant turn"
    if sample.targets is not None and len(turns) % 2:
        yield "the last user turn has no answer"
    yield from _placeholders(clip, sample, turns)


def _placeholders(clip: Clip, sample: Sample, turns: Turns) -> Iterator[str]:
    text = text_of(turns)
    found = spellings_in(text)
    media = [spelling for spelling in found if spelling in (IMAGE, VIDEO)]
    wanted = {"still": IMAGE, "none": None}.get(clip.kind, VIDEO)
    if media != ([wanted] if wanted else []) or (wanted and not turns[0].text.startswith(f"{wanted}\n")):
        yield f"the media placeholders are {media}, wanted is {wanted} once, at the very beginning"
    if foreign := sorted(set(found) & set(CHECKPOINT_SPELLING.values())):
        yield f"a checkpoint's token spelling {foreign} stands in the text"
    for token, attached in ((REF, len(sample.regions)), (SEG, len(sample.targets or ()))):
        if found.count(token) != attached:
            yield f"{found.count(token)} {token} for {attached} attachments"
    taus = taus_in(text)
    if any(_times(clip, sample)):  # reported; such spans have no tokens to compare with
        return
    window: Span = sample.window or (0.0, clip.duration or 0.0)
    expected = taus_of(sample.spans, window) if window[1] > window[0] else []
    if taus != expected:
        yield f"the time tokens are {taus}, the spans {[list(span) for span in sample.spans]} give {expected}"
