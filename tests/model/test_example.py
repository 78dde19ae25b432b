"""One draw as the model wants it: its words and frames, then its pixels; what does not fit is refused by name."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.example import Outline, SampleError, load, outline, resized, target_mask
from model.losses import Counts
from model.regions import grids_of
from shards import rle
from shards.manifest import CorpusError
from shards.mixture import Mixture, Source
from shards.record import ClipKind
from shards.stream import Draw, Stream
from tests.model.small_clips import (
    EVERYWHERE,
    HEIGHT,
    WIDTH,
    Painted,
    bicubic,
    block,
    clip,
    draw,
    masklet,
    painted,
    record,
    regions,
    sample,
    talk,
)
from tests.shards.small_corpus import small_items, write_corpus


@pytest.fixture
def plan(clip_config, clip_words):
    """The outline of a draw with seed 0."""

    def outlined(drawn: Draw, seed: int = 0, **settings: Any) -> Outline:
        return outline(drawn, clip_config, clip_words, seed=seed, **settings)

    return outlined


@pytest.fixture
def loaded(plan, clip_config):
    return lambda drawn, **settings: load(plan(drawn, **settings), clip_config)


ASKED = "<video>\nWhere is the dog?"
TWO = sample(ASKED, "<Seg> and <Seg>.", "And no cat?", "No: <Seg>", targets=((0,), (1, 2), ()))
SHOWN = sample("<video>\nIs <Ref> left of <Ref>?", "Yes.", regions=regions((0, 3), (1, 2, 4)))


# ------------------------------------------------------------------------------------------------- the outline


def test_words_alone_have_no_frames(plan):
    told = plan(draw(record(sample("1 + 1?", "2"), shows=clip("none"))))
    assert (told.clip, told.regions, told.masks) == ((), (), ())
    assert told.counts == Counts(3, 0), "2, its end, the line break"


def test_a_clip_is_shown_on_as_many_frames_as_the_model_reads(plan, clip_config):
    assert plan(draw(record(sample(ASKED, "Here.")))).clip == (2, 7, 12, 17)
    still = record(sample("<image>\nWhat?", "A dog."), shows=clip("still"))
    assert plan(draw(still)).clip == (0,) * clip_config.num_frames
    film = clip("video", fps=10.0, duration=2.0)
    assert plan(draw(record(sample(ASKED, "Here.", window=(1.0, 1.8)), shows=film))).clip == (11, 13, 14, 16)


def test_objects_are_shown_in_the_order_of_the_words_on_no_more_frames_than_allowed(clip_config, clip_words):
    few = replace(clip_config, max_region_frames=2)
    for config, second in ((clip_config, (1, 2, 4)), (few, (2, 4))):
        told = outline(draw(record(SHOWN)), config, clip_words, seed=0)
        assert told.regions == ((0, (0, 3)), (1, second))


def test_every_target_is_predicted_on_each_mask_frame(plan):
    told = plan(draw(record(TWO)))
    frames = sorted({frame for _, frame in told.masks})
    assert len(frames) == 4
    assert told.masks == tuple((number, frame) for frame in frames for number in range(3))
    assert told.mask_weight == 1
    assert told.counts.masks == 12


def test_a_target_is_left_out_where_it_is_not_annotated(plan):
    apart = masklet(0, range(2)), masklet(1, range(15, 17))
    told = plan(draw(record(sample(ASKED, "<Seg><Seg>", targets=((0,), (1,))), masklets=apart)))
    assert told.masks == ((0, 0), (0, 1), (1, 15), (1, 16))


@pytest.mark.parametrize(("frames", "weight"), [(1, 4), (2, 2), (3, 4 / 3), (4, 1), (9, 1)])
def test_fewer_masks_weigh_as_much_as_four(plan, frames, weight):
    told = plan(draw(record(sample(ASKED, "<Seg>", targets=((0,),)), masklets=[masklet(0, range(frames))])))
    assert len(told.masks) == min(frames, 4)
    assert told.mask_weight == weight
    assert told.counts.masks == pytest.approx(4)


def test_a_still_has_one_mask_of_weight_four(plan):
    still = record(sample("<image>\nWhere?", "<Seg>", targets=((0,),)), shows=clip("still"), masklets=[masklet(0, [0])])
    told = plan(draw(still))
    assert (told.masks, told.mask_weight) == (((0, 0),), 4)


def test_the_turns_are_those_of_the_repetition(plan, clip_words):
    told = record(sample(ASKED, "Here.", wordings=(talk(ASKED, "It runs."),)))
    said = [clip_words.decode(plan(draw(told, repetition=r)).words.ids) for r in range(3)]
    assert said[0].endswith("assistant\nHere.\n")
    assert said[1].endswith("assistant\nIt runs.\n")
    assert said[2] == said[0]


def test_epoch_repetition_and_seed_change_the_mask_frames_and_nothing_else(plan):
    def again(seed: int = 0, epoch: int = 0, repetition: int = 0) -> Outline:
        return plan(draw(record(TWO), epoch=epoch, repetition=repetition), seed)

    first = again()
    others = [found for n in range(1, 9) for found in (again(epoch=n), again(repetition=n), again(seed=n))]
    assert again().masks == first.masks
    assert len({other.masks for other in others}) > 20
    for other in others:
        assert (other.words, other.clip, other.regions) == (first.words, first.clip, first.regions)
        assert (other.mask_weight, other.counts) == (first.mask_weight, first.counts)


# ------------------------------------------------------------------------------------------------ what is refused


def refused(plan: Any, *texts: str, shows: ClipKind = "frames", **facts: Any) -> str:
    """The words with which a sample is refused; its key is known to stand before them."""
    told = record(sample(*texts, name="7", **facts), shows=clip(shows))
    with pytest.raises(SampleError, match=r"^toy/train/clip/7: ") as error:
        plan(draw(told))
    return str(error.value)


def test_an_unlabelled_sample_is_refused(plan):
    assert "filter it out of the mixture" in refused(plan, ASKED, targets=None)


def test_a_conversation_that_is_too_long_is_refused_and_not_cut(plan):
    told = draw(record(TWO))
    length = len(plan(told).words.ids)
    assert len(plan(told, max_text_tokens=length).words.ids) == length
    with pytest.raises(SampleError, match=rf"^toy/train/clip/0: .*{length} tokens, {length - 1} .*max_text_tokens"):
        plan(told, max_text_tokens=length - 1)


@pytest.mark.parametrize(
    ("texts", "facts", "words"),
    [
        (("<video>\nWhat is <Ref>?", "A dog."), {}, "1 <Ref> stand for 0 objects"),
        (("<video>\nWhat?", "A dog."), {"regions": regions((0,))}, "0 <Ref> stand for 1 objects"),
        ((ASKED, "<Seg><Seg>"), {"targets": ((0,),)}, "2 <Seg> stand for 1 objects"),
        ((ASKED, "<Seg>"), {"targets": None}, "1 <Seg> stand for 0 objects"),
    ],
)
def test_tokens_without_objects_and_objects_without_tokens_are_refused(plan, texts, facts, words):
    found = refused(plan, *texts, **facts)
    assert words in found
    assert "multigrain verify" in found


@pytest.mark.parametrize(("shows", "question"), [("frames", "What?"), ("none", "<video>\nWhat?")])
def test_a_clip_without_a_place_and_a_place_without_a_clip_are_refused(plan, shows, question):
    assert "multigrain verify" in refused(plan, question, "A dog.", shows=shows)


def test_targets_without_an_annotated_frame_in_the_window_are_refused(plan):
    film = clip("video", fps=10.0, duration=2.0)
    told = record(
        sample(ASKED, "<Seg>", targets=((0,),), window=(1.0, 2.0)), shows=film, masklets=[masklet(0, range(5))]
    )
    with pytest.raises(SampleError, match=r"^toy/train/clip/0: .*window.*; leave it out"):
        plan(draw(told))


# ------------------------------------------------------------------------------------------------------ the pixels


def test_pictures_are_pil_bicubic_at_the_sizes_of_both_encoders(loaded, clip_config):
    told = record(sample("<video>\nAnd <Ref>?", "<Seg>", regions=regions((0, 3)), targets=((0,),)))
    example = loaded(draw(told))
    assert set(example.frames) == {0, 2, 3, 7, 12, 17}
    for frame, pixels in example.frames.items():
        np.testing.assert_array_equal(pixels, bicubic(painted(told, frame), clip_config.image_size))
    assert set(example.mask_pixels) == {frame for _, frame in example.outline.masks}
    for frame, pixels in example.mask_pixels.items():
        np.testing.assert_array_equal(pixels, bicubic(painted(told, frame), clip_config.mask_image_size))


def test_a_picture_gives_up_its_aspect():
    wide = np.zeros((4, 8, 3), np.uint8)
    wide[:, 4:] = 255
    small = resized(wide, 4)
    assert small.shape == (4, 4, 3)
    assert (small[:, 0].max(), small[:, 3].min()) == (0, 255)


def test_words_alone_load_nothing(loaded):
    example = loaded(draw(record(sample("1 + 1?", "2"), shows=clip("none"))))
    assert (example.frames, example.mask_pixels, example.grids, example.masks) == ({}, {}, (), ())


def test_an_objects_grid_is_that_of_its_mask_on_each_frame(loaded, clip_config):
    first, second = loaded(draw(record(SHOWN))).grids
    for grids, number, frames in ((first, 0, (0, 3)), (second, 1, (1, 2, 4))):
        assert len(grids) == len(frames)
        for grid, frame in zip(grids, frames, strict=True):
            alone = grids_of(torch.from_numpy(block(number, frame))[None], clip_config.grid)[0]
            assert alone.any()
            assert grid.tolist() == alone.tolist()


def test_a_target_is_the_union_of_its_masklets_at_the_clips_size(loaded):
    example = loaded(draw(record(TWO)))
    for (target, frame), mask in zip(example.outline.masks, example.masks, strict=True):
        assert mask.shape == (HEIGHT, WIDTH)
        union = [block(0, frame), block(1, frame) | block(2, frame), np.zeros((HEIGHT, WIDTH), bool)][target]
        np.testing.assert_array_equal(mask.numpy(), union.astype(np.uint8))


def test_overlapping_masklets_do_not_add_up():
    told = record(
        sample(ASKED, "<Seg>", targets=((0, 1),)), masklets=[EVERYWHERE[0], replace(EVERYWHERE[0], id="again")]
    )
    assert target_mask(draw(told), 0, 5).unique().tolist() == [0, 1]
    assert int(target_mask(draw(told), 0, 5).sum()) == rle.area(EVERYWHERE[0].rles[5])


def test_a_clip_that_cannot_be_read_is_named(plan, clip_config):
    corpus = Painted(record(TWO), broken=["toy-clip"])
    with pytest.raises(CorpusError, match=r"painted/shards/x\.tar: record toy-clip .*checksum"):
        load(plan(draw(corpus)), clip_config)


def test_every_kind_of_clip_is_read_from_a_corpus_on_disk(loaded, clip_config, tmp_path: Path):
    """Pictures of the small corpus have a grey of their own in their left half."""
    root = write_corpus(tmp_path / "corpus", small_items(tmp_path / "media"))
    stream = Stream(Mixture((Source(root),)), seed=1, batch_size=1)
    draws = {one.sample.key: one for step in stream for one in step if one.sample.targets is not None}
    examples = {key: loaded(one) for key, one in draws.items()}
    assert {one.record.clip.kind for one in draws.values()} == {"still", "frames", "video", "none"}
    greys = {key: {f: int(p[35, 10, 0]) for f, p in one.frames.items()} for key, one in examples.items()}
    still, folder, film = (f"toy/train/{place}" for place in ("pictures/mug/0", "folders/dogs/1", "videos/door/1"))
    assert greys[still] == pytest.approx({0: 150}, abs=4)
    assert greys[folder] == pytest.approx({0: 50, 1: 100, 2: 150, 3: 200}, abs=4)
    assert greys[film] == pytest.approx({6: 120, 7: 140, 8: 160, 9: 180}, abs=12), "the last half second"
    assert examples[folder].outline.words.refs
    both = examples["toy/train/folders/dogs/0"]
    assert both.outline.masks == ((0, 1), (1, 1), (0, 3), (1, 3)), "frames 1 and 3 know both dogs"
    assert [int(mask.sum()) for mask in both.masks] == [72, 0, 72, 0]
    assert both.outline.mask_weight == 2
