"""A batch keeps apart what belongs apart: rows, columns, frames, objects, masks; and changes no loss."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from model.batch import Batch
from model.collate import collate
from model.config import ModelConfig
from model.example import Example, load, outline
from model.losses import Counts
from model.tokenizer import Tokenizer
from model.ufvideo import UFVideo
from shards.stream import Draw
from tests.model.small_clips import bicubic, block, clip, draw, painted, record, regions, sample

WORDS = record(sample("1 + 1?", "2", "And 1?", "It is 3."), name="words", shows=clip("none"))
LONG_WORDS = record(sample("What does the dog do?" * 3, "It runs. " * 5), name="long", shows=clip("none"))
STILL = record(sample("<image>\nWhere is the dog?", "Here: <Seg>", targets=((0,),)), name="still", shows=clip("still"))
PLAIN = record(sample("<video>\nWhat?", "A dog, from <Temp-5> to <Temp-9>."), name="plain")
SHOWN = record(
    sample("<video>\nIs <Ref> left of <Ref>, or <Ref>?", "Yes.", regions=regions((0,), range(3, 9), (2, 5))),
    name="shown",
)
TWO = record(sample("<video>\nWhere?", "<Seg> and <Seg>.", "No cat?", "<Seg>.", targets=((2,), (0,), ())), name="two")
BOTH = record(
    sample("<video>\nWhere does <Ref> go?", "To <Seg>.", regions=regions((2, 7)), targets=((1,),)),
    sample("<video>\nAnd <Ref>?", "No: <Seg>", name="1", regions=regions((7, 8)), targets=((3,),)),
    name="both",
)
ALL = (*map(draw, (WORDS, STILL, PLAIN, SHOWN, TWO, BOTH, LONG_WORDS)), draw(BOTH, 1))


@pytest.fixture(scope="module")
def examples(clip_config, clip_words):
    def read(*draws: Draw) -> list[Example]:
        return [load(outline(one, clip_config, clip_words, seed=3), clip_config) for one in draws]

    return read


@pytest.fixture(scope="module")
def batch_of(examples, clip_config, clip_words):
    return lambda *draws: collate(examples(*draws), clip_config, clip_words.pad)


@pytest.fixture(scope="module")
def everything(batch_of) -> Batch:
    return batch_of(*ALL)


def spelled(batch: Batch, row: int, words: Tokenizer, columns: Any = None) -> str:
    ids = batch.ids_BL[row][batch.attends_BL[row]] if columns is None else batch.ids_BL[row, columns]
    return words.hf.batch_decode([ids.tolist()], skip_special_tokens=False)[0]


# ------------------------------------------------------------------------------------------------ rows and columns


def test_rows_are_the_samples_filled_up_behind_their_end(everything, clip_words):
    assert everything.keys == tuple(one.sample.key for one in ALL)
    lengths = everything.attends_BL.sum(1)
    assert lengths.max() == everything.ids_BL.shape[1]
    assert len(set(lengths.tolist())) > 3, "or there is nothing to fill"
    for row, length in enumerate(lengths.tolist()):
        assert everything.attends_BL[row, :length].all()
        assert everything.ids_BL[row, length:].eq(clip_words.pad).all()
        assert spelled(everything, row, clip_words).endswith("<|im_end|>\n")


def test_visual_tokens_stand_where_the_placeholder_stood(batch_of, clip_config, clip_words):
    batch = batch_of(draw(WORDS), draw(PLAIN), draw(STILL))
    assert batch.clip_row_V.tolist() == [1, 2]
    for row, first in zip(batch.clip_row_V.tolist(), batch.clip_column_V.tolist(), strict=True):
        last = first + clip_config.visual_tokens
        assert batch.ids_BL[row, first:last].eq(clip_words.pad).all()
        assert spelled(batch, row, clip_words, slice(first)).endswith("<|im_start|>user\n")
        assert spelled(batch, row, clip_words, slice(last, last + 4)).startswith("\nWh")


def test_each_object_takes_as_many_columns_as_it_has_frames_and_tokens(batch_of, clip_config, clip_words):
    batch = batch_of(draw(BOTH), draw(SHOWN))
    assert batch.slot_row_Q.tolist() == [0] * 2 + [1] * (1 + 4 + 2), "one object of six frames in the middle"
    assert batch.slot_object_Q.tolist() == [0, 0, 1, 2, 2, 2, 2, 3, 3]
    assert batch.slot_token_Q.tolist() == [0, 1, 0, 0, 1, 2, 3, 0, 1]
    assert clip_config.region_tokens == 4
    for row in (0, 1):
        columns = batch.slot_column_Q[batch.slot_row_Q == row]
        refs = (batch.ids_BL[row] == clip_words.ref).nonzero()[:, 0]
        assert columns.tolist() == refs.tolist()


def test_the_labels_are_the_answers_and_each_is_predicted_one_column_before(everything, clip_words):
    for row, one in enumerate(ALL):
        mine = everything.learned_row_C == row
        answers = "".join(f"{turn.text}<|im_end|>\n" for turn in one.turns if turn.role == "assistant")
        labels = everything.label_C[mine]
        found = clip_words.hf.batch_decode([labels.tolist()], skip_special_tokens=False)[0]
        assert found.replace("[SEG]", "<Seg>").replace("TEMP-00", "Temp-") == answers
        assert torch.equal(everything.ids_BL[row, everything.learned_column_C[mine] + 1], labels)


def test_the_state_before_each_target_makes_its_prompt(everything, clip_words):
    targets = [(row, number) for row, one in enumerate(ALL) for number in range(len(one.sample.targets or ()))]
    assert everything.seg_row_N.tolist() == [row for row, _ in targets]
    assert everything.ids_BL[everything.seg_row_N, everything.seg_column_N + 1].eq(clip_words.seg).all()
    places = list(zip(everything.seg_row_N.tolist(), everything.seg_column_N.tolist(), strict=True))
    assert places == sorted(set(places)), "in the order of the words"
    learned = zip(everything.learned_row_C.tolist(), everything.learned_column_C.tolist(), strict=True)
    assert set(places) <= set(learned)


# ------------------------------------------------------------------------------------------------------ the frames


def seen(told: Any, frame: int, side: int, root: str = "painted") -> np.ndarray:
    return bicubic(painted(told, frame, root), side)


def test_every_index_points_at_the_frame_it_means(everything, examples, clip_config):
    side, plans = clip_config.image_size, [example.outline for example in examples(*ALL)]
    clips = [plan for plan in plans if plan.clip]
    for plan, rows in zip(clips, everything.clip_frame_VT, strict=True):
        for frame, row in zip(plan.clip, rows, strict=True):
            np.testing.assert_array_equal(everything.frames_UHWC[row], seen(plan.draw.record, frame, side))
    shown = [(plan, frame) for plan in plans for _, frames in plan.regions for frame in frames]
    for (plan, frame), row in zip(shown, everything.region_frame_P, strict=True):
        np.testing.assert_array_equal(everything.frames_UHWC[row], seen(plan.draw.record, frame, side))


def test_an_objects_pairs_are_its_own_frames_with_its_own_grids(everything, examples):
    objects = [
        (frames, grid)
        for example in examples(*ALL)
        for (_, frames), grid in zip(example.outline.regions, example.grids, strict=True)
    ]
    assert everything.region_place_RF.shape == (len(objects), 6)
    pairs = 0
    for (frames, grids), place in zip(objects, everything.region_place_RF.tolist(), strict=True):
        assert place == [*range(pairs, pairs + len(frames)), *[-1] * (6 - len(frames))]
        assert torch.equal(everything.region_grid_PGG[pairs : pairs + len(frames)], grids)
        pairs += len(frames)
    assert pairs == len(everything.region_grid_PGG) == len(everything.region_frame_P)


def test_a_frame_stands_once_whatever_shows_it(batch_of, examples, clip_config):
    """Two samples of one clip, whose clips are the same and whose objects share frame 7 with them."""
    batch = batch_of(draw(BOTH), draw(BOTH, 1), draw(BOTH))
    assert len(batch.frames_UHWC) == len({2, 7, 12, 17} | {2, 7} | {7, 8})
    assert batch.clip_frame_VT.tolist() == [batch.clip_frame_VT[0].tolist()] * 3
    predicted = {frame for example in examples(draw(BOTH), draw(BOTH, 1)) for _, frame in example.outline.masks}
    assert len(batch.mask_frames_SHWC) == len(predicted)


def test_frames_of_other_records_and_corpora_are_not_taken_for_the_same(batch_of, clip_config):
    same = replace(PLAIN, key="toy-other")
    batch = batch_of(draw(PLAIN), draw(same), draw(PLAIN, root="elsewhere"))
    assert len(batch.frames_UHWC) == 12
    rows = batch.clip_frame_VT[:, 0]
    for row, (told, root) in zip(rows, [(PLAIN, "painted"), (same, "painted"), (PLAIN, "elsewhere")], strict=True):
        np.testing.assert_array_equal(batch.frames_UHWC[row], seen(told, 2, clip_config.image_size, root))


# ------------------------------------------------------------------------------------------------------- the masks


def test_each_mask_meets_its_own_object_and_frame(everything, examples, clip_config):
    """Defect D1 of the release: with two objects its masks met another object or another frame."""
    segs = [(one, target) for one in ALL for target in one.sample.targets or ()]
    met = []
    for mask, frame_row, seg in zip(everything.masks, everything.mask_frame_M, everything.mask_object_M, strict=True):
        one, target = segs[int(seg)]
        (frame,) = (
            frame
            for frame in range(one.record.clip.num_frames)
            if np.array_equal(
                everything.mask_frames_SHWC[frame_row], seen(one.record, frame, clip_config.mask_image_size)
            )
        )
        expected = block(target[0], frame) if target else np.zeros_like(block(0, 0))
        np.testing.assert_array_equal(mask.numpy(), expected)
        met.append((int(seg), frame))
    asked, first = [], 0
    for example in examples(*ALL):
        asked += [(first + number, frame) for number, frame in example.outline.masks]
        first += len(example.outline.words.segs)
    assert met == asked
    assert len(set(met)) == len(met) == 1 + 3 * 4 + 4 + 4


def test_masks_bring_their_weight_and_counts_are_those_of_the_outlines(everything, examples):
    plans = [example.outline for example in examples(*ALL)]
    assert everything.mask_weight_M.tolist() == [4.0] + [1.0] * 20
    total = sum((plan.counts for plan in plans), Counts(0, 0))
    assert everything.counts() == total
    assert total.masks == 4 + 20


# -------------------------------------------------------------------------------------------------------- the model


def test_words_alone_run_through_the_model(batch_of, clip_model):
    batch = batch_of(draw(WORDS), draw(LONG_WORDS))
    assert len(batch.frames_UHWC) == len(batch.clip_row_V) == len(batch.region_frame_P) == len(batch.masks) == 0
    found = clip_model.loss(batch, batch.counts())
    assert found.total.isfinite()
    assert (found.total, found.bce, found.dice) == (found.ce, 0, 0)


MIXES = {
    "words of two lengths": (0, 6),
    "words and a clip": (0, 2, 6),
    "objects shown": (2, 3, 5),
    "a still, two targets, one": (1, 4, 5),
    "everything": tuple(range(len(ALL))),
}


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
def test_a_batch_loses_what_its_samples_lose_one_by_one(mix, batch_of, clip_model):
    """Neither padding nor neighbours change a loss, when all are divided by the counts of the step."""
    draws = [ALL[i] for i in mix]
    whole = batch_of(*draws)
    counts = whole.counts()
    with torch.no_grad():
        together = clip_model.loss(whole, counts)
        alone = [clip_model.loss(batch_of(one), counts) for one in draws]
    for part in ("total", "ce", "bce", "dice"):
        summed = sum(float(getattr(one, part)) for one in alone)
        assert float(getattr(together, part)) == pytest.approx(summed, rel=1e-5, abs=1e-5), part
    assert together.ce > 1
    assert (together.bce > 0) == (counts.masks > 0)


def test_a_batch_teaches_what_its_samples_teach_one_by_one(batch_of, clip_config, filled):
    model = filled(UFVideo(clip_config))
    draws = [ALL[i] for i in (0, 1, 3, 4)]

    def gradients(*batches: Batch) -> dict[str, torch.Tensor]:
        model.zero_grad(set_to_none=True)
        for batch in batches:
            model.loss(batch, counts).total.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    whole = batch_of(*draws)
    counts = whole.counts()
    together, alone = gradients(whole), gradients(*(batch_of(one) for one in draws))
    assert together.keys() == alone.keys()
    largest = max(float(gradient.abs().max()) for gradient in together.values())
    for name, gradient in together.items():
        torch.testing.assert_close(gradient, alone[name], rtol=1e-2, atol=1e-5 * largest, msg=name)


def test_words_in_double_precision_lose_the_same_to_the_last_digits(batch_of, clip_config, filled):
    model = filled(UFVideo(clip_config)).double().eval()
    whole = batch_of(draw(WORDS), draw(LONG_WORDS))
    with torch.no_grad():
        together = model(whole).logits_CW
        alone = torch.cat([model(batch_of(draw(told))).logits_CW for told in (WORDS, LONG_WORDS)])
    assert together.dtype == torch.float64
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


def test_what_stands_behind_a_row_is_never_read(batch_of, clip_model):
    batch = batch_of(draw(WORDS), draw(LONG_WORDS))
    other = replace(batch, ids_BL=torch.where(batch.attends_BL, batch.ids_BL, 7))
    assert not torch.equal(other.ids_BL, batch.ids_BL)
    with torch.no_grad():
        torch.testing.assert_close(clip_model(other).logits_CW, clip_model(batch).logits_CW)


@pytest.mark.parametrize("swapped", ["clip_frame_VT", "region_frame_P", "region_grid_PGG", "mask_frame_M"])
def test_the_model_reads_every_pointer(swapped, everything, clip_model):
    """Or the tests above would hold of a model that looks at nothing."""
    other = replace(everything, **{swapped: getattr(everything, swapped).flip(0)})
    with torch.no_grad():
        before, after = (clip_model.loss(batch, everything.counts()).total for batch in (everything, other))
    assert abs(float(before) - float(after)) > 1e-4


def test_a_batch_moves_whole(everything):
    moved = everything.to(torch.device("meta"))
    tensors = [getattr(moved, name) for name in Batch.__slots__ if name not in ("keys", "masks")]
    assert all(tensor.is_meta for tensor in (*tensors, *moved.masks))


def test_a_config_with_fewer_region_tokens_gives_fewer_slots(clip_config: ModelConfig, clip_words):
    two = replace(clip_config, region_tokens=2)
    example = load(outline(draw(SHOWN), two, clip_words, seed=0), two)
    assert collate([example], two, clip_words.pad).slot_object_Q.tolist() == [0, 1, 1, 2, 2]
