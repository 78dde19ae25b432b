"""What the model answers: decoding with a cache reads what training reads, and each <Seg> finds its target."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.batch import Batch
from model.collate import collate
from model.example import load, outline, question
from model.predict import MAX_NEW_TOKENS, ROOM, Prediction, generate, predict
from model.segmentation import upsampled
from model.tokenizer import Tokenizer
from model.ufvideo import UFVideo
from shards.stream import Draw
from tests.model.small_clips import HEIGHT, WIDTH, clip, draw, masklet, record, regions, sample

TALK = record(
    sample("<video>\nWhere is the dog?", "It is <Seg>.", "And it?", "<Seg> and <Seg>", targets=((0,), (1,), ()))
)
WORDS = record(sample("1 + 1?", "It runs.", "And?", "2"), shows=clip("none"))
HIDDEN = masklet(0, [2], hidden=range(3, 8))
"""Shown on six frames and visible on one: all its neighbours are alike, so it becomes one token of four slots."""
MERGED = record(
    sample("<video>\nWhat does <Ref> do, and <Ref>?", "It runs.", regions=regions(range(2, 8), (1, 5))),
    masklets=[HIDDEN, masklet(1, range(9))],
)


@pytest.fixture
def model(clip_config, filled) -> UFVideo:
    """One that a test may change."""
    return filled(UFVideo(clip_config)).eval()


@pytest.fixture
def prompt(clip_config, clip_words) -> Callable[..., Batch]:
    """The batch that asks for an answer of a draw."""

    def asking(drawn: Draw, answer: int = 0) -> Batch:
        example = load(question(drawn, answer, clip_config, clip_words), clip_config)
        return collate([example], clip_config, clip_words.pad)

    return asking


class Script(nn.Module):
    """A head that says the given ids, one a call, whatever the state; then it says the last one for ever."""

    def __init__(self, ids: Iterable[int], vocabulary: int) -> None:
        super().__init__()
        self.ids, self.vocabulary = list(ids), vocabulary

    def forward(self, state: Tensor) -> Tensor:
        said = self.ids.pop(0) if len(self.ids) > 1 else self.ids[0]
        return nn.functional.one_hot(torch.tensor(said), self.vocabulary).float()


@pytest.fixture
def says(model: UFVideo, clip_words: Tokenizer) -> Callable[..., UFVideo]:
    """The model with a head that gives these answers; its states are its own."""

    def saying(*answers: str) -> UFVideo:
        ids = [i for answer in answers for i in (*clip_words.encode(answer), clip_words.im_end)]
        model.language.lm_head = Script(ids, len(clip_words))  # pyright: ignore[reportAttributeAccessIssue]
        return model

    return saying


@torch.no_grad()
def read_through(model: UFVideo, batch: Batch, ids: list[int]) -> Tensor:
    """The states [1 + len(ids), D] that predict ``ids`` and what follows, read at once and without a cache."""
    embeds, attends = model.embed(batch)
    more = model.language.get_input_embeddings()(torch.tensor([ids], dtype=torch.int64))
    states = model.read(torch.cat((embeds, more), 1), torch.cat((attends, attends.new_ones(1, len(ids))), 1))
    return states[0, -1 - len(ids) :]


# ------------------------------------------------------------------------------------------------------- generation

PROMPTS = {"words": WORDS, "a clip": TALK, "regions with holes": MERGED}


@pytest.mark.parametrize("told", PROMPTS.values(), ids=PROMPTS)
@torch.no_grad()
def test_a_cache_changes_no_word(told, model, prompt, clip_words):
    batch = prompt(draw(told))
    ids, _ = generate(model, batch, clip_words, 12)
    assert len(set(ids)) > 2, "or the model says one thing for ever and shows nothing"
    states = read_through(model, batch, ids[:-1])
    assert model.language.lm_head(states).argmax(1).tolist() == ids


@pytest.mark.parametrize("told", PROMPTS.values(), ids=PROMPTS)
@torch.no_grad()
def test_the_state_that_says_a_target_is_the_one_that_training_reads(told, says, prompt, clip_words):
    answer = "<Seg> and <Seg>."
    model, batch = says(answer), prompt(draw(told))
    ids, segs = generate(model, batch, clip_words, 99)
    assert clip_words.decode(ids) == answer
    states = read_through(model, batch, ids)
    expected = states[[at for at, i in enumerate(ids) if i == clip_words.seg]]
    torch.testing.assert_close(torch.stack(segs), expected, rtol=0, atol=1e-4)
    assert (expected[0] - expected[1]).abs().max() > 1e-2


@torch.no_grad()
def test_slots_without_a_token_are_not_there(model, prompt, clip_words):
    """The prompt above has holes, and whoever reads them reads something else."""
    batch = prompt(draw(MERGED))
    embeds, attends = model.embed(batch)
    hidden = batch.attends_BL & ~attends
    assert hidden.sum() == 3
    assert not hidden[0, -4:].any()
    _, (state,) = generate_one_target(model, batch, clip_words)
    filled_up = model.read(embeds, batch.attends_BL)[0, -1]
    assert (state - filled_up).abs().max() > 1e-3
    without = model.read(embeds[:, attends[0]], attends[:, attends[0]])[0, -1]
    torch.testing.assert_close(state, without, rtol=0, atol=1e-4)


def generate_one_target(model: UFVideo, batch: Batch, words: Tokenizer) -> tuple[list[int], list[Tensor]]:
    model.language.lm_head = Script([words.seg, words.im_end], len(words))  # pyright: ignore[reportAttributeAccessIssue]
    return generate(model, batch, words, 5)


@torch.no_grad()
def test_an_answer_ends_with_its_end_or_where_it_must(says, prompt, clip_words):
    batch = prompt(draw(WORDS))
    assert generate(says(""), batch, clip_words, 9) == ([], [])
    assert clip_words.decode(generate(says("It runs."), batch, clip_words, 99)[0]) == "It runs."
    assert len(generate(says("dog " * 50), batch, clip_words, 9)[0]) == 9


# ------------------------------------------------------------------------------------------------------ predictions


@pytest.fixture
def predicted(says, clip_config, clip_words) -> Callable[..., Prediction]:
    def predict_with(told: Any, *answers: str) -> Prediction:
        return predict(says(*answers), draw(told), clip_config, clip_words)

    return predict_with


def test_every_user_turn_gets_an_answer(predicted):
    said = predicted(WORDS, "<Temp-3> it is", "dog")
    assert (said.key, said.answers, said.masks) == ("toy/train/clip/0", ("<Temp-3> it is", "dog"), {})


def test_an_answer_that_never_ends_is_cut(predicted, clip_words):
    answers = predicted(WORDS, "x" * 999).answers
    for answer, true in zip(answers, ("It runs.", "2"), strict=True):
        assert answer == "x" * (2 * len(clip_words.encode(true)) + ROOM)
    long = record(sample("Say it.", "x" * 999), shows=clip("none"))
    assert predicted(long, "x" * 999).answers == ("x" * MAX_NEW_TOKENS,)


def targets(prediction: Prediction) -> list[int]:
    """The targets that have masks, each on four frames."""
    found = [target for target, _ in prediction.masks]
    assert all(found.count(target) == 4 for target in found)
    return sorted(set(found))


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ("<Seg>", "<Seg><Seg>", [0, 1, 2]),
        ("<Seg><Seg>", "<Seg><Seg>", [0, 1, 2]),
        ("<Seg>", "<Seg><Seg><Seg>", [0, 1, 2]),
        ("<Seg><Seg>", "no", [0]),
        ("no", "<Seg>", [1]),
        ("no", "no", []),
    ],
)
def test_targets_said_too_often_are_dropped_and_those_not_said_have_no_masks(predicted, first, second, found):
    said = predicted(TALK, first, second)
    assert said.answers == (first, second)
    assert targets(said) == found
    assert all((mask.shape, mask.dtype) == ((HEIGHT, WIDTH), bool) for mask in said.masks.values())


@torch.no_grad()
def test_masks_of_the_true_answers_are_those_of_training(predicted, says, clip_config, clip_words):
    """Defect D2 of the release: what generation segments is not what training taught."""
    said = predicted(TALK, *(turn.text for turn in TALK.samples[0].turns[1::2]))
    example = load(outline(draw(TALK), clip_config, clip_words, seed=0), clip_config)
    batch, model = collate([example], clip_config, clip_words.pad), says("")
    logits = upsampled(model.segment(model.read(*model.embed(batch)), batch).logits_MZZ, (HEIGHT, WIDTH))
    assert tuple(said.masks) == example.outline.masks
    expected = logits.numpy() > 0
    sure = np.abs(logits.numpy()) > 1e-3
    for mask, true, counted in zip(said.masks.values(), expected, sure, strict=True):
        np.testing.assert_array_equal(mask[counted], true[counted])
    assert expected.any()
    assert len({mask.tobytes() for mask in expected}) > 4, "or any order would do"


@torch.no_grad()
def test_a_target_left_unsaid_takes_no_other_targets_masks(predicted):
    both = predicted(TALK, "<Seg>", "<Seg><Seg>")
    second = predicted(TALK, "no", "<Seg>")
    for pair, mask in second.masks.items():
        np.testing.assert_array_equal(mask, both.masks[pair])


def test_an_answer_is_asked_for_after_the_true_turns_before_it(predicted):
    """What the model said before does not change what it reads."""
    one, other = predicted(TALK, "<Seg>", "<Seg><Seg>"), predicted(TALK, "no, no, no", "<Seg><Seg>")
    for pair in other.masks:
        np.testing.assert_array_equal(other.masks[pair], one.masks[pair])


def test_a_question_shows_only_the_objects_that_were_mentioned(prompt):
    told = record(
        sample("<video>\nWhat is <Ref>?", "A dog.", "And <Ref>?", "A cat.", regions=regions((0, 3), (1, 2, 4)))
    )
    assert prompt(draw(told), 0).region_place_RF.tolist() == [[0, 1]]
    assert prompt(draw(told), 1).region_place_RF.tolist() == [[0, 1, -1], [2, 3, 4]]


def test_mask_frames_follow_the_seed(says, clip_config, clip_words):
    told = replace(TALK, key="toy-seeds")
    frames = {
        tuple(predict(says("<Seg>", "no"), draw(told), clip_config, clip_words, seed=seed).masks) for seed in range(4)
    }
    assert len(frames) > 1
