"""The picture of a sample: which frames it shows, and that masks, boxes and marks land on the right pixels."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards import rle
from shards.clip_time import span_frames
from shards.draw import COLOURS, draw_sample, evenly, panel, panel_frames, panel_size, tick_step
from shards.draw import _layers as layers_of
from shards.record import Clip, Masklet, Record, Region, Sample, Source, Tube, Turn

WIDTH, HEIGHT, N = 64, 48, 40
SOURCE = Source("annotations.json", "1")
GREY = 100


def video(**changes) -> Clip:
    return replace(Clip("video", "clip.mp4", WIDTH, HEIGHT, N, 10.0, N / 10), **changes)


def box_mask(x1: int, y1: int, x2: int, y2: int) -> str:
    bitmap = np.zeros((HEIGHT, WIDTH), bool)
    bitmap[y1:y2, x1:x2] = True
    return rle.encode(bitmap)


HIDDEN = rle.empty(HEIGHT, WIDTH)


def record_of(clip: Clip, masklets=(), tubes=()) -> Record:
    return Record("entry-clip", "entry", "mevis", "train", "unknown", clip, tuple(masklets), tuple(tubes))


def grey_frames(frames) -> list[np.ndarray]:
    return [np.full((HEIGHT, WIDTH, 3), GREY, np.uint8) for _ in frames]


def draw_panel(record: Record, sample: Sample, frame: int, scale: int = 1) -> np.ndarray:
    size = (WIDTH * scale, HEIGHT * scale)
    return np.asarray(panel(record, sample, layers_of(record, sample, [frame]), frame, grey_frames([0])[0], size))


def is_like(pixel: np.ndarray, colour) -> bool:
    """Blended with grey, the pixel leans towards the colour."""
    blend = 0.55 * GREY + 0.45 * np.array(colour)
    return bool(np.abs(pixel.astype(float) - blend).max() < 3)


# ---------------------------------------------------------------------------------------------- which frames


@given(
    num_frames=st.integers(1, 60),
    most=st.integers(0, 8),
    span=st.none() | st.tuples(st.floats(0, 6), st.floats(0, 6)).map(lambda s: (min(s), max(s))),
    stored=st.none() | st.sets(st.integers(0, 59), min_size=1),
    known=st.dictionaries(st.integers(0, 59), st.booleans()),
)
@settings(max_examples=200, deadline=None)
def test_panels_are_few_ascending_and_stored(num_frames, most, span, stored, known) -> None:
    kept = None if stored is None else tuple(sorted({f % num_frames for f in stored}))
    clip = video(num_frames=num_frames, duration=num_frames / 10, stored_frames=kept)
    rles = {f: box_mask(1, 1, 5, 5) if seen else HIDDEN for f, seen in known.items() if f < num_frames}
    record = record_of(clip, [Masklet("a", rles)])
    sample = Sample("k", "pix_trqa", SOURCE, spans=(span,) if span else (), targets=((0,),))
    chosen = panel_frames(record, sample, most)
    assert chosen == sorted(set(chosen))
    assert len(chosen) <= most
    assert set(chosen) <= set(range(num_frames) if kept is None else kept)
    if most and not rles:
        assert chosen


def test_visible_frames_come_first_and_hidden_ones_fill_up() -> None:
    rles = {f: box_mask(0, 0, 9, 9) if f in (3, 20, 30) else HIDDEN for f in range(0, N, 1)}
    record = record_of(video(), [Masklet("a", rles)])
    sample = Sample("k", "referring_segmentation", SOURCE, targets=((0,),))
    assert panel_frames(record, sample, 2) == [3, 30]
    assert set(panel_frames(record, sample, 6)) > {3, 20, 30}
    region = Sample("k", "referring_qa", SOURCE, regions=(Region(0, (3, 5)),))
    assert panel_frames(record, region) == [3, 5]


def test_a_span_is_shown_from_just_before_to_just_after() -> None:
    sample = Sample("k", "temporal_grounding", SOURCE, spans=((1.0, 2.0),))
    assert panel_frames(record_of(video()), sample) == [9, 10, 13, 16, 19, 20]
    whole = replace(sample, spans=((0.0, 4.0),))
    assert panel_frames(record_of(video()), whole) == [0, 13, 26, 39]
    several = replace(sample, spans=((0.0, 1.0), (2.0, 3.0)))
    assert panel_frames(record_of(video()), several) == [5, 25]
    windowed = replace(sample, spans=(), window=(1.0, 2.0))
    assert panel_frames(record_of(video()), windowed, 3) == [10, 14, 19]


def test_spans_follow_the_frame_times_where_there_are_some() -> None:
    clip = video(num_frames=4, fps=1.0, duration=4.0, frame_times=(0.0, 0.5, 3.0, 3.5))
    assert span_frames(clip, (0.5, 3.0)) == (1, 2)
    assert span_frames(clip, (3.0, 4.0)) == (2, 4)


def test_stills_have_one_panel_and_text_none() -> None:
    sample = Sample("k", "global_qa", SOURCE)
    assert panel_frames(record_of(video(kind="still", num_frames=1, fps=None, duration=None)), sample) == [0]
    assert panel_frames(record_of(Clip("none", "", 0, 0, 0, None, None)), sample) == []


@given(st.lists(st.integers(), unique=True).map(sorted), st.integers(0, 9))
def test_evenly_keeps_both_ends(frames, most) -> None:
    picked = evenly(frames, most)
    assert len(picked) == min(len(frames), most)
    assert picked == sorted(set(picked))
    if most > 1 and frames:
        assert (picked[0], picked[-1]) == (frames[0], frames[-1])


# ---------------------------------------------------------------------------------------------- which pixels


@pytest.mark.parametrize("scale", [2, 5])
def test_masks_are_drawn_where_they_are(scale) -> None:
    record = record_of(video(), [Masklet("a", {5: box_mask(32, 8, 56, 40)}), Masklet("b", {5: box_mask(4, 4, 24, 20)})])
    sample = Sample("k", "referring_segmentation", SOURCE, targets=((0,),), regions=(Region(1, (5,)),))
    pixels = draw_panel(record, sample, 5, scale)
    assert is_like(pixels[12 * scale, 38 * scale], COLOURS[0])
    assert is_like(pixels[6 * scale, 6 * scale], COLOURS[1])
    assert tuple(pixels[20 * scale, 32 * scale]) == COLOURS[0]  # outline, inside the mask
    assert tuple(pixels[20 * scale, 32 * scale - 1]) == (255, 255, 255)  # and the line around it
    assert (pixels[44 * scale, 60 * scale] == GREY).all()
    assert (pixels[30 * scale, 10 * scale] == GREY).all()


def test_a_target_is_the_union_of_its_masklets() -> None:
    record = record_of(video(), [Masklet("a", {0: box_mask(0, 0, 20, 20)}), Masklet("b", {0: box_mask(10, 0, 40, 20)})])
    pixels = draw_panel(record, Sample("k", "referring_segmentation", SOURCE, targets=((0, 1),)), 0, 4)
    assert all(is_like(pixels[20, 4 * x], COLOURS[0]) for x in (5, 15, 35))


def test_a_region_is_drawn_on_its_frames_only() -> None:
    record = record_of(video(), [Masklet("a", {f: box_mask(8, 8, 40, 40) for f in (0, 1)})])
    sample = Sample("k", "referring_qa", SOURCE, regions=(Region(0, (1,)),))
    assert (draw_panel(record, sample, 0) == GREY).all()
    assert not (draw_panel(record, sample, 1) == GREY).all()


def test_a_tiny_mask_does_not_vanish() -> None:
    record = record_of(video(), [Masklet("a", {0: box_mask(31, 20, 32, 21)})])
    sample = Sample("k", "referring_segmentation", SOURCE, targets=((0,),))
    size = (WIDTH // 4, HEIGHT // 4)
    image = panel(record, sample, layers_of(record, sample, [0]), 0, grey_frames([0])[0], size)
    assert not (np.asarray(image) == GREY).all()


def test_boxes_are_solid_in_the_span_and_dashed_outside() -> None:
    tube = Tube("t", dict.fromkeys(range(N), (8.0, 10.0, 56.0, 40.0)) | {15: None})
    record = record_of(video(), tubes=[tube])
    sample = Sample("k", "spatio_temporal_grounding", SOURCE, spans=((1.0, 2.0),), tubes=(0,))
    lines = {f: (draw_panel(record, sample, f)[39, 8:56] == COLOURS[0]).all(axis=1).mean() for f in (9, 10, 19, 20)}
    assert lines[10] == lines[19] == 1
    assert 0.3 < lines[9] < 0.8
    assert 0.3 < lines[20] < 0.8
    assert (draw_panel(record, sample, 15) == GREY).all()


# ---------------------------------------------------------------------------------------------- the whole page


def samples_of_every_kind() -> list[tuple[Record, Sample]]:
    masklets = [Masklet("a", {f: box_mask(f, 8, 24 + f, 40) for f in range(0, N, 2)} | {39: HIDDEN})]
    tubes = [Tube("t", dict.fromkeys(range(N), (8.0, 10.0, 56.0, 40.0)))]
    turns = (
        Turn("user", "<video>\nWhere is “Zoë”?\t\x07 " + "word " * 300),
        Turn("assistant", "<Seg> <Temp-3> " + "x" * 500),
    )
    rich = Sample(
        "a/b/c",
        "pix_trqa",
        SOURCE,
        window=(0.5, 3.5),
        spans=((1.0, 2.0), (2.5, 2.5)),
        regions=(Region(0, (2, 4)),),
        targets=((0,), ()),
        tubes=(0,),
        tags=("one", "two"),
        turns=turns,
        wordings=(turns,),
    )
    full = record_of(video(), masklets, tubes)
    silent = record_of(video(kind="frames", fps=None, duration=None), masklets)
    still = record_of(video(kind="still", num_frames=1, fps=None, duration=None), [Masklet("a", {0: HIDDEN})])
    timed = video(frame_times=tuple(i / 10 for i in range(N)))
    return [
        (full, rich),
        (replace(full, clip=timed), rich),
        (full, Sample("k", "temporal_grounding", SOURCE, query="q", spans=((0.0, 4.0),))),
        (full, Sample("k", "global_qa", SOURCE, targets=None)),
        (silent, Sample("k", "referring_segmentation", SOURCE, targets=((0,),))),
        (still, Sample("k", "referring_segmentation", SOURCE, targets=((0,),))),
        (record_of(Clip("none", "", 0, 0, 0, None, None)), Sample("k", "global_qa", SOURCE, query="q", answer="a")),
    ]


@pytest.mark.parametrize("case", range(7))
@pytest.mark.parametrize("width", [320, 1280])
def test_every_kind_of_sample_becomes_one_page(case, width) -> None:
    record, sample = samples_of_every_kind()[case]
    asked: list[int] = []

    def frames(indices) -> list[np.ndarray]:
        asked.extend(indices)
        return grey_frames(indices)

    page = draw_sample(record, sample, frames, width=width)
    assert (page.mode, page.width) == ("RGB", width)
    assert asked == panel_frames(record, sample)
    assert page.tobytes() == draw_sample(record, sample, frames, width=width).tobytes()


def test_panels_fit_side_by_side() -> None:
    for num_panels in range(1, 7):
        width, height = panel_size(video(), num_panels, 1280)
        assert min(num_panels, 3) * (width + 16) + 16 <= 1280 + 3
        assert width / height == pytest.approx(WIDTH / HEIGHT, rel=0.02)


@given(st.floats(0.01, 1e5))
def test_the_axis_has_few_ticks(length) -> None:
    assert 1 <= length / tick_step(length) <= 12
