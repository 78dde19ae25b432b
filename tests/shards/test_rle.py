"""Laws of the RLE codec: it agrees with pycocotools, hostile input never gets through."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from shards import rle

bitmaps = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40))


@given(bitmaps)
def test_a_bitmap_survives_and_reads_the_same_in_pycocotools(bitmap):
    counts = rle.encode(bitmap)
    assert (rle.decode(counts, *bitmap.shape) == bitmap).all()
    assert rle.area(counts) == bitmap.sum()
    assert rle.run_lengths(counts).sum() == bitmap.size
    theirs: Any = coco.encode(np.asfortranarray(bitmap, dtype=np.uint8))
    assert counts == theirs["counts"].decode()
    assert (coco.decode({"size": list(bitmap.shape), "counts": counts.encode()}) == bitmap).all()


@given(st.lists(hnp.arrays(bool, (13, 17)), max_size=4))
def test_union_is_a_logical_or(masks):
    united = rle.decode(rle.union([rle.encode(mask) for mask in masks], 13, 17), 13, 17)
    assert (united == np.any(masks, axis=0) if masks else ~united).all()


@given(bitmaps)
def test_uncompressed_counts_are_the_same_mask(bitmap):
    counts = rle.encode(bitmap)
    raw = {"size": list(bitmap.shape), "counts": rle.run_lengths(counts).tolist()}
    assert rle.from_coco(raw, *bitmap.shape) == counts
    assert rle.from_coco({"size": list(bitmap.shape), "counts": counts}, *bitmap.shape) == counts


def test_large_masks_use_numbers_of_several_characters():
    bitmap = np.zeros((720, 1280), bool)
    bitmap[100:600, 300:1100] = True
    counts = rle.encode(bitmap)
    assert rle.area(counts) == 500 * 800
    assert (rle.decode(counts, 720, 1280) == bitmap).all()


def test_an_empty_mask_is_one_run_of_zeros():
    assert rle.empty(360, 640) == "PPQ7"
    assert rle.is_empty(rle.empty(360, 640))
    assert rle.encode(np.zeros((360, 640))) == rle.empty(360, 640)
    assert not rle.decode(rle.empty(4, 3), 4, 3).any()


def test_polygons_with_several_parts_are_one_object():
    left = [2, 2, 8, 2, 8, 8, 2, 8]
    right = [12, 2, 18, 2, 18, 8, 12, 8]
    both = rle.decode(rle.from_coco([left, right], 10, 20), 10, 20)
    assert both[5, 5]
    assert both[5, 15]
    assert not both[5, 10]
    parts = [rle.from_coco([part], 10, 20) for part in (left, right)]
    assert rle.area(rle.union(parts, 10, 20)) == both.sum()


@pytest.mark.parametrize(
    ("segmentation", "words"),
    [
        ({"size": [10, 20], "counts": ""}, "empty"),
        ({"size": [10, 20], "counts": "PPQ7"}, "covers"),
        ({"size": [10, 20], "counts": "é"}, "ASCII"),
        ({"size": [10, 20], "counts": "\x7f\x7f"}, "does not use"),
        ({"size": [10, 20], "counts": "X"}, "middle of a number"),
        ({"size": [10, 20], "counts": [100, -100, 200]}, "negative"),
        ({"size": [10, 20], "counts": [100, 99]}, "covers 199 pixels"),
        ({"size": [10, 20], "counts": [0, 100] * 2 + [1]}, "covers 201 pixels"),
        ({"size": [10, 20], "counts": rle._to_text([1 << 58] * 64 + [200])}, "covers more"),  # 200, modulo 2**64
        ({"size": [10, 20], "counts": [1 << 70]}, "longer"),
        ({"size": [10, 20], "counts": [-1 << 70]}, "negative"),
        ({"size": [10, 20], "counts": [1.5]}, "neither"),
        ({"size": [10, 20]}, "neither"),
        ({"size": "10x20", "counts": "PPQ7"}, "size"),
        ({"counts": "PPQ7"}, "size"),
        ([], "no polygon"),
        ([[1, 2, 3, 4]], "three points"),
        ([[1, 2, 3, 4, float("nan"), 5]], "not a number"),
        ([[1, 2, 3, 4, 1e12, 5]], "far outside"),
        ([[1, 2, 3, 4, "5", 5]], "not a number"),
        ("PPQ7", "list of polygons"),
        (None, "list of polygons"),
    ],
)
def test_hostile_segmentations_are_refused_with_words(segmentation, words):
    with pytest.raises(rle.MaskError, match=words):
        rle.from_coco(segmentation, 10, 20)


def test_another_size_is_never_resampled():
    with pytest.raises(rle.SizeMismatch, match="20x10.*40x20"):
        rle.from_coco({"size": [10, 20], "counts": rle.empty(10, 20)}, 20, 40)


def test_masks_are_read_without_pycocotools_and_polygons_say_what_is_missing(monkeypatch):
    monkeypatch.setattr(rle, "coco", None)
    assert rle.decode(rle.encode(np.eye(3)), 3, 3).sum() == 3
    with pytest.raises(rle.MaskError, match="pip install pycocotools"):
        rle.from_coco([[1, 1, 5, 1, 5, 5]], 10, 10)


def test_a_million_pixels_a_side_takes_no_memory():
    with pytest.raises(rle.MaskError):
        rle.decode(rle.empty(1_000_000, 1_000_000), 1_000_000, 1_000_000)


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=40))
@settings(max_examples=300)
def test_any_text_decodes_to_a_full_mask_or_is_refused(counts):
    try:
        mask = rle.decode(counts, 6, 7)
    except rle.MaskError:
        return
    assert mask.shape == (6, 7)
    assert mask.sum() == rle.area(counts)


def answer(call) -> int | str:
    try:
        return call()
    except rle.MaskError as error:
        return str(error)


@given(
    st.lists(hnp.arrays(bool, (5, 7)), max_size=6),
    st.lists(st.text("0123456789:;<=>?@PQRSTo~", max_size=6), max_size=4),
)
def test_masks_looked_at_together_are_what_each_is_alone(bitmaps, others):
    rle.forget()
    masks = [rle.encode(bitmap) for bitmap in bitmaps] + others
    alone = [answer(lambda m=mask: int(rle.check(m, 5, 7)[1::2].sum())) for mask in masks]
    rle.look_at([*masks, None, 7], 5, 7)
    assert [answer(lambda m=mask: rle.checked_area(m, 5, 7)) for mask in masks] == alone
    assert [rle.decode(rle.encode(bitmap), 5, 7).sum() for bitmap in bitmaps] == alone[: len(bitmaps)]


def test_a_mask_that_is_known_at_one_size_is_wrong_at_another():
    counts = rle.empty(4, 6)
    assert rle.checked_area(counts, 4, 6) == rle.checked_area(counts, 6, 4) == 0
    with pytest.raises(rle.MaskError, match="covers 24 pixels"):
        rle.checked_area(counts, 4, 7)


def test_the_masks_that_are_remembered_are_bounded(monkeypatch):
    rle.forget()
    monkeypatch.setattr(rle, "REMEMBERED", 10)
    for width in range(1, 40):
        assert rle.checked_area(rle.empty(3, width), 3, width) == 0
        assert sum(len(counts) for counts, _, _ in rle._areas) <= 10
    rle.look_at([rle.empty(2, 4), rle.encode(np.eye(2, 4))] * 9, 2, 4)
    assert sum(len(counts) for counts, _, _ in rle._areas) <= 10


@pytest.mark.parametrize("counts", ["0" * 200, [0] * 200])
def test_more_runs_than_a_mask_can_have_are_refused_before_they_are_read(counts, monkeypatch):
    monkeypatch.setattr(rle, "run_lengths", None)
    with pytest.raises(rle.MaskError, match="more than any mask of 6x4"):
        rle.from_coco({"size": [4, 6], "counts": counts}, 4, 6)
    rle.look_at([counts, counts], 4, 6)


def test_many_masks_take_the_memory_of_a_batch():
    rle.forget()
    masks = [rle.encode(np.random.default_rng(seed).random((60, 80)) > 0.5) for seed in range(400)]
    tracemalloc.start()
    try:
        rle.look_at(masks, 60, 80)
        assert tracemalloc.get_traced_memory()[1] < 200 * rle.BATCH < 100 * sum(map(len, masks))
    finally:
        tracemalloc.stop()
    assert all((mask, 60, 80) in rle._areas for mask in masks)
