"""Random samples of every task with a template, with words as hostile as annotators can be."""

from hypothesis import strategies as st

from shards.record import Clip, Region, Sample, Source, Tube
from shards.tokens import REGION

VIDEO = Clip("video", "v.mp4", 640, 360, 300, 30.0, 10.0)
FRAMES = Clip("frames", "v", 640, 360, 60, None, None)
STILL = Clip("still", "i.jpg", 640, 480, 1, None, None)
NONE = Clip("none", "", 0, 0, 0, None, None)
TUBE = Tube("0", {frame: (10.0 + frame, 20.0, 110.0 + frame, 200.0) for frame in range(300)})

HOSTILE = [
    "<Seg>",
    "[SEG]",
    "<Ref>",
    "<TEMP-005>",
    "<Temp-5>",
    "<video>",
    "<image>",
    "{query}",
    "{answer}",
    "{medium}",
    "{0}",
    "100 %s %",
    "\\n\\1\\g<0>",
    "$x",
    "<object1>",
    "[S",
    "EG]",
    "<Tem",
    "p-5>",
    '"',
    "a dog",
    "Is it?",
    "Yes.",
    "…",
    "...",
]
words = st.lists(st.sampled_from(HOSTILE) | st.text(max_size=8), min_size=1, max_size=6).map(
    lambda parts: "w" + "".join(parts)
)
hostile_words = words.map(lambda text: text.replace(REGION, "")).map(lambda text: text.replace(REGION, ""))
SOURCE = Source("a.json", "0")
REGION_0 = Region(0, (0,))


def sample(task, **facts):
    return Sample(key="d/train/0", task=task, source=SOURCE, **facts)


def _with_regions(texts: list[str], places: list[int]) -> list[str]:
    """The texts with one more ``<region>`` for each place, at the end of that text."""
    out = list(texts)
    for place in places:
        out[place % len(out)] += f" {REGION}"
    return out


@st.composite
def spans(draw, window):
    """Up to three spans in the window, some of them single times."""
    times = st.floats(window[0], window[1])
    pairs = draw(st.lists(st.tuples(times, times, st.booleans()), min_size=1, max_size=3))
    return tuple((min(a, b), min(a, b) if single else max(a, b)) for a, b, single in pairs)


@st.composite
def questions(draw, task):
    """global_qa and referring_qa, with dialogues, choices and regions anywhere in the questions."""
    dialogue = draw(st.lists(st.tuples(hostile_words, hostile_words), max_size=2))
    places = draw(st.lists(st.integers(0, 9), max_size=4)) if task == "referring_qa" else []
    asked = _with_regions([draw(hostile_words), *(question for question, _ in dialogue)], places)
    choices = tuple(draw(st.lists(hostile_words, min_size=2, max_size=4))) if draw(st.booleans()) else None
    return sample(
        task,
        query=asked[0],
        answer=draw(hostile_words),
        dialogue=tuple((q, a) for q, (_, a) in zip(asked[1:], dialogue, strict=True)),
        choices=choices,
        regions=tuple(Region(i, (0,)) for i in range(len(places))),
    )


@st.composite
def descriptions(draw):
    num_regions = draw(st.integers(1, 3))
    query = draw(st.just("") | hostile_words)
    tags = draw(st.sampled_from([(), ("short_caption",), ("detailed_caption",)]))
    answer = draw(st.just("") | hostile_words)
    return sample(
        "referring_description",
        query=query and _with_regions([query], [0] * num_regions)[0],
        answer=answer,
        targets=() if answer else None,
        regions=tuple(Region(i, (0,)) for i in range(num_regions)),
        tags=tags,
    )


@st.composite
def segmentations(draw):
    targets = st.lists(st.lists(st.integers(0, 3)).map(tuple), min_size=1, max_size=3).map(tuple)
    return sample("referring_segmentation", query=draw(hostile_words), targets=draw(st.none() | targets))


@st.composite
def groundings(draw, task):
    window = draw(st.sampled_from([None, (1.5, 7.25)]))
    with_boxes = task == "spatio_temporal_grounding" and draw(st.booleans())
    found = ((2.0, 4.0),) if with_boxes else draw(spans(window or (0.0, 10.0)))
    return sample(
        task,
        query=draw(hostile_words) + draw(st.sampled_from(["", ".", "?"])),
        window=window,
        spans=found,
        tubes=(0,) if task == "spatio_temporal_grounding" else (),
        tags=("box_text",) if with_boxes else (),
    )


BY_TASK = {
    "global_qa": (questions("global_qa"), [VIDEO, FRAMES, STILL, NONE]),
    "referring_description": (descriptions(), [VIDEO, FRAMES, STILL]),
    "referring_qa": (questions("referring_qa"), [VIDEO, FRAMES, STILL]),
    "referring_segmentation": (segmentations(), [VIDEO, FRAMES, STILL]),
    "temporal_grounding": (groundings("temporal_grounding"), [VIDEO]),
    "spatio_temporal_grounding": (groundings("spatio_temporal_grounding"), [VIDEO]),
}

samples_on_clips = st.sampled_from(sorted(BY_TASK)).flatmap(
    lambda task: st.tuples(BY_TASK[task][0], st.sampled_from(BY_TASK[task][1]))
)
