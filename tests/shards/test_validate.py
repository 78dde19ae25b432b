"""Every invariant of the format, broken alone: the validator must name it, and nothing else may be wrong."""

from dataclasses import replace
from typing import Any

import pytest

from shards import rle
from shards.keys import record_key
from shards.record import CLIP_KINDS, ClipKind, Masklet, Record, Region, Sample, Tube, Turn
from shards.tokens import escape
from shards.validate import record_problems, sample_problems
from tests.shards.small_corpus import HEIGHT, RECORDS, WIDTH, square, talk

NOTHING = rle.empty(HEIGHT, WIDTH)


def valid(kind: ClipKind) -> Record:
    return RECORDS[kind]("name")


def with_sample(record: Record, at: int, **facts: Any) -> Record:
    """The record with other facts in one of its samples."""
    samples = list(record.samples)
    samples[at] = replace(samples[at], **facts)
    return replace(record, samples=tuple(samples))


def with_clip(record: Record, **facts: Any) -> Record:
    return replace(record, clip=replace(record.clip, **facts))


def only(record: Record, at: int) -> Record:
    return replace(record, samples=record.samples[at : at + 1])


@pytest.mark.parametrize("kind", CLIP_KINDS)
def test_a_valid_record_has_no_problem(kind):
    assert record_problems(valid(kind)) == []


# ------------------------------------------------------------------------------------------- the record

STILL, FRAMES, VIDEO, NONE = (valid(kind) for kind in ("still", "frames", "video", "none"))
MASKLET, TUBE = STILL.masklets[0], VIDEO.tubes[0]

BROKEN_RECORDS: dict[str, tuple[Record, str]] = {
    "another format": (replace(STILL, format=2), "format is 2, not 1"),
    "a dot in the key": (replace(STILL, key="pictures-a.b"), "other characters than A-Z a-z 0-9 _ -"),
    "a line's end in the key": (replace(STILL, key="pictures-a\n"), "other characters than"),
    "a key of other letters": (replace(STILL, key="pictures-é"), "other characters than"),
    "a key without end": (replace(STILL, key="pictures-" + "a" * 82), "or more than 90"),
    "a key of another entry": (replace(STILL, key="folders-name"), "does not begin with the entry's name 'pictures'"),
    "an entry with a space": (replace(STILL, entry="pic tures", key="pictures-a"), "the entry's name 'pic tures'"),
    "no entry": (replace(STILL, entry=""), "the entry's name ''"),
    "no sample": (replace(STILL, samples=()), "the record has no sample"),
    "a sample twice": (replace(STILL, samples=STILL.samples[:1] * 2), "two samples have the same key"),
    "no width": (replace(with_clip(only(VIDEO, 0), width=0), tubes=()), f"the clip is 0x{HEIGHT} with 10 frames"),
    "a still of two frames": (with_clip(STILL, num_frames=2), "a still has one frame and no duration, not 2"),
    "a still that lasts": (with_clip(STILL, duration=1.0, fps=1.0), "a still has one frame and no duration"),
    "fps without duration": (with_clip(FRAMES, fps=10.0), "both or neither is known"),
    "duration without fps": (with_clip(FRAMES, duration=0.4), "both or neither is known"),
    "no rate": (with_clip(FRAMES, fps=0.0, duration=1.0), "fps is 0.0"),
    "a negative rate": (with_clip(FRAMES, fps=-1.0, duration=-4.0), "fps is -1.0"),
    "a wrong duration": (with_clip(only(VIDEO, 2), duration=1.001), "duration is 1.001, not num_frames / fps = 1.0"),
    "too few times": (with_clip(VIDEO, frame_times=(0.0, 0.5)), "frame_times is not one ascending time per frame"),
    "no times": (with_clip(VIDEO, frame_times=()), "frame_times is not one ascending time per frame"),
    "times from later on": (with_clip(VIDEO, frame_times=tuple(range(1, 11))), "that starts at 0"),
    "times that stand": (with_clip(VIDEO, frame_times=(0.0, *range(9))), "frame_times is not one ascending"),
    "nothing stored": (with_clip(FRAMES, stored_frames=()), "stored_frames is not an ascending list"),
    "stored out of order": (with_clip(FRAMES, stored_frames=(1, 0)), "stored_frames is not an ascending list"),
    "stored twice": (with_clip(FRAMES, stored_frames=(1, 1)), "stored_frames is not an ascending list"),
    "stored outside": (with_clip(FRAMES, stored_frames=(3, 4)), "stored_frames is not an ascending list"),
    "stored before": (with_clip(FRAMES, stored_frames=(-1, 0)), "stored_frames is not an ascending list"),
    "a size without media": (with_clip(NONE, width=1), "a clip of kind none has no size, frames"),
    "a rate without media": (with_clip(NONE, fps=1.0), "a clip of kind none has no size, frames"),
    "a frame list without media": (with_clip(NONE, stored_frames=(0,)), "a clip of kind none has no size, frames"),
    "a masklet twice": (replace(STILL, masklets=(MASKLET, MASKLET)), "two masklets have the same id"),
    "a mask outside": (
        replace(STILL, masklets=(replace(MASKLET, rles={0: square(4), 1: square(4)}),)),
        "masklet cup has frame 1, the clip 0…0",
    ),
    "a mask of no size": (
        replace(STILL, masklets=(MASKLET, Masklet("b", {0: rle.empty(WIDTH, HEIGHT + 1)}))),
        f"the RLE covers more than {WIDTH}x{HEIGHT} pixels: one run alone has {WIDTH * (HEIGHT + 1)}",
    ),
    "a short mask": (
        replace(STILL, masklets=(MASKLET, Masklet("b", {0: rle.empty(WIDTH, HEIGHT - 1)}))),
        f"masklet b, frame 0: the RLE covers {WIDTH * (HEIGHT - 1)} pixels",
    ),
    "no mask": (
        replace(STILL, masklets=(MASKLET, Masklet("b", {0: ""}))),
        "masklet b, frame 0: the RLE counts are empty",
    ),
    "a tube twice": (replace(VIDEO, tubes=(TUBE, TUBE)), "two tubes have the same id"),
    "a box outside in time": (replace(VIDEO, tubes=(Tube("t", {10: None}),)), "tube t has frame 10, the clip 0…9"),
}


@pytest.mark.parametrize("name", BROKEN_RECORDS)
def test_a_broken_record_is_named_with_what_is_wrong(name):
    record, words = BROKEN_RECORDS[name]
    (problem,) = record_problems(record)
    assert problem.startswith(f"{record.key}: ")
    assert words in problem


@pytest.mark.parametrize(
    "box",
    [(-0.1, 0, 1, 1), (0, -1, 1, 1), (0, 0, WIDTH + 0.1, 1), (0, 0, 1, HEIGHT + 1), (2, 0, 2, 1), (0, 3, 1, 2)],
)
def test_a_box_outside_the_frame_or_without_area_is_named(box):
    (problem,) = record_problems(replace(VIDEO, tubes=(Tube("t", {3: box}),)))
    assert "tube t, frame 3:" in problem
    assert f"is not a box inside {WIDTH}x{HEIGHT}" in problem


def test_the_whole_frame_is_a_box():
    assert record_problems(replace(VIDEO, tubes=(Tube("t", {3: (0, 0, WIDTH, HEIGHT)}),))) == []


def test_a_video_has_a_duration():
    problems = record_problems(only(with_clip(VIDEO, fps=None, duration=None), 0))
    assert any(problem.endswith("a video has fps and duration") for problem in problems)


def test_variable_frame_rate_and_stored_frames_are_valid():
    times = (0.0, 0.05, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    assert record_problems(with_clip(VIDEO, frame_times=times)) == []
    assert record_problems(with_clip(FRAMES, stored_frames=(0, 3))) == []


def test_a_frame_folder_may_have_a_rate():
    assert record_problems(with_clip(FRAMES, fps=6.0, duration=4 / 6)) == []


@pytest.mark.parametrize("num_frames", [0, -1])
def test_a_clip_without_frames_is_a_problem_and_no_crash(num_frames):
    record = with_clip(FRAMES, num_frames=num_frames, frame_times=(), stored_frames=())
    assert f"{record.key}: the clip is {WIDTH}x{HEIGHT} with {num_frames} frames" in record_problems(record)


@pytest.mark.parametrize("clip_id", ["a" * 500, "ä/ö.mp4", "", "-_-", "x\n"])
def test_every_record_key_is_valid(clip_id):
    assert record_problems(replace(STILL, key=record_key("pictures", clip_id))) == []


# ------------------------------------------------------------------------------------------- the sample

BROKEN_SAMPLES: dict[str, tuple[Record, int, dict[str, Any], str]] = {
    "a key of another split": (STILL, 0, {"key": "toy/val/0"}, "the key does not begin with toy/train/"),
    "a window in a still": (STILL, 0, {"window": (0.0, 1.0)}, "a window or span needs a clip with a duration"),
    "a span without seconds": (FRAMES, 0, {"spans": ((0.0, 0.1),)}, "a window or span needs a clip with a duration"),
    "a window that ends late": (VIDEO, 0, {"window": (0.0, 1.1)}, "the window [0.0, 1.1] is not inside 0…1.0 s"),
    "a window that begins early": (VIDEO, 0, {"window": (-0.1, 1.0)}, "the window [-0.1, 1.0] is not inside"),
    "a window of no length": (VIDEO, 2, {"window": (1.0, 1.0)}, "the window [1.0, 1.0] is not inside"),
    "a span outside": (VIDEO, 0, {"spans": ((0.1, 1.5),)}, "the span [0.1, 1.5] is not inside 0.0…1.0 s"),
    "a span before 0": (VIDEO, 0, {"spans": ((-0.1, 0.5),)}, "the span [-0.1, 0.5] is not inside"),
    "a span outside the window": (VIDEO, 1, {"spans": ((0.4, 0.75),)}, "the span [0.4, 0.75] is not inside 0.5…1.0 s"),
    "a span backwards": (VIDEO, 0, {"spans": ((0.5, 0.1),)}, "the span [0.5, 0.1] is not inside"),
    "a span at the end of floats": (
        VIDEO,
        0,
        {"window": (0.0, 5e-324), "spans": ((1e300, 1e308),)},
        "the span [1e+300, 1e+308] is not inside 0.0…5e-324 s",
    ),
    "a region of no masklet": (STILL, 1, {"regions": (Region(1, (0,)),)}, "a region points to masklet 1 of 1"),
    "a region counted from the end": (STILL, 1, {"regions": (Region(-1, (0,)),)}, "points to masklet -1 of 1"),
    "a region without frames": (STILL, 1, {"regions": (Region(0, ()),)}, "a region's frames [] do not ascend"),
    "a region that goes back": (
        FRAMES,
        1,
        {"regions": (Region(0, (2, 0)), Region(1, (1, 3)))},
        "a region's frames [2, 0] do not ascend",
    ),
    "a region twice in a frame": (
        FRAMES,
        1,
        {"regions": (Region(0, (0, 0)), Region(1, (1, 3)))},
        "a region's frames [0, 0] do not ascend",
    ),
    "a region without a mask": (
        FRAMES,
        1,
        {"regions": (Region(0, (0,)), Region(1, (0, 1)))},
        "a region is shown on frames [0], for which its masklet has no mask",
    ),
    "an invisible region": (
        FRAMES,
        1,
        {"regions": (Region(0, (2,)), Region(1, (1, 3)))},
        "a region's mask is empty on all its frames",
    ),
    "a target of no masklet": (STILL, 0, {"targets": ((1,),)}, "a target unites masklets [1] of 1"),
    "a target counted from the end": (STILL, 0, {"targets": ((-1,),)}, "a target unites masklets [-1] of 1"),
    "a masklet twice in a target": (STILL, 0, {"targets": ((0, 0),)}, "a target unites masklets [0, 0] of 1"),
    "a tube that is not there": (VIDEO, 1, {"tubes": (1,)}, "the sample points to tubes [1] of 1"),
    "a tube without a span": (
        VIDEO,
        1,
        {"spans": (), "turns": talk("<video>\nWhere?", "There.")},
        "a sample with tubes needs a span",
    ),
    "a right choice among none": (STILL, 1, {"correct": 0}, "correct is 0 of 0 choices"),
    "a right choice too many": (FRAMES, 1, {"correct": 2}, "correct is 2 of 2 choices"),
    "a right choice before": (FRAMES, 1, {"correct": -1}, "correct is -1 of 2 choices"),
    "an event too many": (VIDEO, 3, {"events": ("opens", "shuts")}, "2 events for 1 spans"),
}


@pytest.mark.parametrize("name", BROKEN_SAMPLES)
def test_a_broken_sample_is_named_with_what_is_wrong(name):
    record, at, facts, words = BROKEN_SAMPLES[name]
    broken = with_sample(record, at, **facts)
    problems = [problem for problem in record_problems(broken) if "the time tokens are" not in problem]
    assert problems
    assert all(problem.startswith(f"{broken.samples[at].key}: ") and words in problem for problem in problems)
    assert set(problems) <= set(sample_problems(broken, broken.samples[at]))


# ------------------------------------------------------------------------------------------- the turns

Q, A = "<image>\nWhere is the cup?", "Here: <Seg>."
BROKEN_TURNS: dict[str, tuple[tuple[Turn, ...], str]] = {
    "none": ((), "the turns do not alternate user, assistant from a user turn on"),
    "the assistant first": (talk(Q, A)[::-1], "the turns do not alternate"),
    "two questions": ((Turn("user", Q), Turn("user", A)), "the turns do not alternate"),
    "a blank answer": (talk(Q, A, "And?", " \n"), "a turn is blank"),
    "no last answer": (talk(Q, A, "And?"), "the last user turn has no answer"),
    "no medium": (talk("Where is the cup?", A), "the media placeholders are [], wanted is <image> once"),
    "the medium later": (talk("Where? <image>\n", A), "the media placeholders are ['<image>'], wanted is <image> once"),
    "the medium on the question's line": (
        talk("<image>Where?", A),
        "the media placeholders are ['<image>'], wanted is <image> once, at the very beginning",
    ),
    "the medium twice": (talk(f"<image>\n{Q}", A), "the media placeholders are ['<image>', '<image>']"),
    "the medium in the answer": (talk(Q, f"{A} <image>"), "the media placeholders are ['<image>', '<image>']"),
    "another medium": (talk("<video>\nWhere?", A), "the media placeholders are ['<video>'], wanted is <image>"),
    "another medium besides": (talk(f"{Q} <video>", A), "the media placeholders are ['<image>', '<video>']"),
    "a region of the annotator": (talk(f"{Q} <region>", A), "a checkpoint's token spelling ['<region>'] stands"),
    "the checkpoint's mask": (talk(Q, f"{A} [SEG]"), "a checkpoint's token spelling ['[SEG]'] stands"),
    "the checkpoint's time": (talk(Q, f"{A} <TEMP-007>"), "a checkpoint's token spelling ['<TEMP-007>'] stands"),
    "no mask": (talk(Q, "Here."), "0 <Seg> for 1 attachments"),
    "a mask too many": (talk(Q, "<Seg><Seg>"), "2 <Seg> for 1 attachments"),
    "a region that is not attached": (talk(f"{Q} <Ref>", A), "1 <Ref> for 0 attachments"),
    "a time without a span": (talk(Q, f"{A} <Temp-7>"), "the time tokens are [7], the spans [] give []"),
}


@pytest.mark.parametrize("where", ["turns", "wordings"])
@pytest.mark.parametrize("name", BROKEN_TURNS)
def test_broken_turns_are_named_in_every_wording(name, where):
    turns, words = BROKEN_TURNS[name]
    good = talk("<image>\nThe cup?", "<Seg>")
    sample = replace(STILL.samples[0], **({"turns": turns} if where == "turns" else {"wordings": (good, turns)}))
    (problem,) = sample_problems(STILL, sample)
    assert problem.startswith(f"{sample.key}: {'turns' if where == 'turns' else 'wordings[1]'}: {words}")


def test_text_needs_no_medium_and_takes_none():
    (problem,) = record_problems(with_sample(NONE, 0, turns=talk("<video>\n1 + 1?", "2")))
    assert problem.endswith("the media placeholders are ['<video>'], wanted is None once, at the very beginning")


def test_an_unlabelled_sample_ends_with_its_question():
    (problem,) = record_problems(with_sample(FRAMES, 2, turns=talk("<video>\nWhere is the dog?", "There.")))
    assert problem.endswith("turns: an unlabelled sample has no assistant turn")


@pytest.mark.parametrize("words", ["<Temp-100>", "<Temp-07>", "<Temp-7٣>", "<temp-7>", "<seg>", "<TEMP-100>"])
def test_words_that_only_look_like_a_token_are_words(words):
    assert escape(words) == words
    assert record_problems(with_sample(STILL, 0, turns=talk(f"{Q} {words}", A))) == []


# ------------------------------------------------------------------------------------------- time tokens


def timed(answer: str, **facts: Any) -> list[str]:
    sample = Sample("toy/train/t", "temporal_grounding", VIDEO.samples[0].source, turns=talk("<video>\nWhen?", answer))
    return sample_problems(VIDEO, replace(sample, **facts))


@pytest.mark.parametrize(
    ("facts", "answer"),
    [
        ({"spans": ((0.1, 0.5),)}, "<Temp-10> to <Temp-50>"),
        ({"spans": ((0.0, 1.0),)}, "<Temp-0><Temp-99>"),
        ({"spans": ((0.5, 0.75),), "window": (0.5, 1.0)}, "<Temp-0> to <Temp-50>"),
        ({"spans": ((0.25, 0.25),)}, "at <Temp-25>"),
        ({"spans": ((0.25, 0.25), (0.5, 1.0))}, "at <Temp-25>, then <Temp-50> to <Temp-99>"),
        ({"spans": ((0.1, 0.1001),)}, "<Temp-10><Temp-10>"),
    ],
    ids=["a span", "the whole clip", "in a window", "a single time", "both", "a span within one token"],
)
def test_time_tokens_say_the_spans(facts, answer):
    assert timed(answer, **facts) == []


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("<Temp-10> to <Temp-51>", [10, 51]),
        ("<Temp-50> to <Temp-10>", [50, 10]),
        ("<Temp-10>", [10]),
        ("<Temp-10><Temp-50><Temp-50>", [10, 50, 50]),
        ("never", []),
    ],
    ids=["one off", "backwards", "one too few", "one too many", "none"],
)
def test_time_tokens_that_say_something_else_are_named(answer, found):
    (problem,) = timed(answer, spans=((0.1, 0.5),))
    assert problem.endswith(f"turns: the time tokens are {found}, the spans [[0.1, 0.5]] give [10, 50]")


def test_time_tokens_count_from_the_start_of_the_window():
    (problem,) = timed("<Temp-50> to <Temp-74>", spans=((0.5, 0.75),), window=(0.5, 1.0))
    assert problem.endswith("give [0, 50]")
