"""The laws of a rendering: tokens equal attachments, choices are stable, wordings differ."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.record import TASKS, Record, Turn
from shards.tokens import CHECKPOINT_SPELLING, IMAGE, REF, SEG, VIDEO, spellings_in, taus_in, taus_of, text_of
from shards.validate import sample_problems
from templates import TASKS_WITH_TEMPLATES, CannotRender, UnknownTask, render
from tests.templates import sample_strategies as make

seeds = st.integers(0, 2**32)


@given(make.samples_on_clips, seeds, st.integers(0, 20))
def test_the_tokens_of_every_wording_equal_the_attachments(drawn, seed, wordings):
    sample, clip = drawn
    rendered = render(sample, clip, seed=seed, wordings=wordings, tubes=[make.TUBE])
    assert len(rendered.wordings) == wordings
    for turns in rendered.renderings():
        text = text_of(turns)
        found = spellings_in(text)
        assert [turn.role for turn in turns] == [("user", "assistant")[i % 2] for i in range(len(turns))]
        assert found.count(REF) == len(sample.regions)
        assert found.count(SEG) == len(sample.targets or ())
        assert taus_in(text) == taus_of(sample.spans, sample.window or (0.0, clip.duration or 0.0))
        assert not set(found) & set(CHECKPOINT_SPELLING.values())
        placeholder = {"still": IMAGE, "none": ""}.get(clip.kind, VIDEO)
        assert found.count(IMAGE) + found.count(VIDEO) == bool(placeholder)
        assert not placeholder or turns[0].text.startswith(f"{placeholder}\n")


@given(make.samples_on_clips, seeds)
def test_the_validator_of_the_format_accepts_the_turns(drawn, seed):
    sample, clip = drawn
    rendered = render(sample, clip, seed=seed, wordings=3, tubes=[make.TUBE])
    record = Record("e-0", "e", "d", "train", "unknown", clip, samples=(rendered,))
    problems = [line for line in sample_problems(record, rendered) if "turns: " in line or "wordings[" in line]
    assert problems == []


@given(make.samples_on_clips, seeds, st.integers(0, 5), st.integers(0, 5))
def test_a_wording_does_not_depend_on_how_many_there_are(drawn, seed, few, more):
    sample, clip = drawn
    short = render(sample, clip, seed=seed, wordings=few, tubes=[make.TUBE])
    long = render(sample, clip, seed=seed, wordings=few + more, tubes=[make.TUBE])
    assert long.turns == short.turns
    assert long.wordings[:few] == short.wordings


@given(make.samples_on_clips, seeds)
def test_twelve_wordings_differ(drawn, seed):
    sample, clip = drawn
    fewest = 6 if sample.task == "referring_description" else 12
    renderings = render(sample, clip, seed=seed, wordings=fewest - 1, tubes=[make.TUBE]).renderings()
    assert len(set(renderings)) == fewest


@given(make.samples_on_clips, seeds)
def test_only_turns_and_wordings_are_filled_in(drawn, seed):
    sample, clip = drawn
    rendered = render(sample, clip, seed=seed, wordings=2, tubes=[make.TUBE])
    assert replace(rendered, turns=(), wordings=()) == sample


def test_wordings_repeat_in_order_once_the_bank_is_used_up():
    sample = make.sample("temporal_grounding", query="a dog barks.", spans=((1.0, 2.0),))
    renderings = render(sample, make.VIDEO, seed=1, wordings=299).renderings()
    different = len(set(renderings))
    assert 12 * 6 <= different < 300
    assert len(set(renderings[:different])) == different
    assert renderings[different:] == renderings[: 300 - different]


def test_seed_and_key_choose_the_phrases():
    sample = make.sample("temporal_grounding", query="a dog barks.", spans=((1.0, 2.0),))
    by_seed = {render(sample, make.VIDEO, seed=seed).turns for seed in range(200)}
    by_key = {render(replace(sample, key=f"d/train/{k}"), make.VIDEO, seed=0).turns for k in range(200)}
    assert min(len(by_seed), len(by_key)) > 60


def test_a_rendering_is_the_same_on_every_machine():
    """A pinned choice: it changes only with the bank or the rule of choice, which users must hear of."""
    sample = make.sample("referring_segmentation", query="the left cup", targets=((0,),))
    rendered = render(sample, make.STILL, seed=17)
    assert rendered.turns == (
        Turn("user", "<image>\nDescription: the left cup\nSegment what it describes in the image."),
        Turn("assistant", "The expression corresponds to <Seg>."),
    )


@pytest.mark.parametrize("task", sorted(set(TASKS) - set(TASKS_WITH_TEMPLATES)))
def test_a_task_without_a_template_is_named(task):
    with pytest.raises(UnknownTask, match=f"d/train/0: there is no template for {task} yet"):
        render(make.sample(task), make.VIDEO, seed=0)


IMPOSSIBLE = {
    "no duration": (make.sample("temporal_grounding", query="a", spans=((0.0, 1.0),)), make.FRAMES),
    "no duration and the sample no window": (make.sample("temporal_grounding", query="a"), make.FRAMES),
    "not for clips of kind": (make.sample("temporal_grounding", query="a", window=(0.0, 1.0)), make.STILL),
    "needs a query": (make.sample("global_qa", answer="a"), make.VIDEO),
    "has no length": (
        make.sample("temporal_grounding", query="a", window=(1.0, 1.0), spans=((1.0, 1.0),)),
        make.VIDEO,
    ),
    "no target": (make.sample("referring_segmentation", query="a"), make.STILL),
    "neither a query nor a region": (make.sample("referring_description"), make.STILL),
    "1 regions for 0 <Ref>": (make.sample("referring_qa", query="a", regions=(make.REGION_0,)), make.STILL),
    "not those of the spans": (make.sample("global_qa", query="a", answer="b", spans=((0.0, 1.0),)), make.VIDEO),
    "follows one that has no answer": (make.sample("global_qa", query="a", dialogue=(("b", "c"),)), make.NONE),
    "dialogue is empty": (make.sample("global_qa", query="a", answer="b", dialogue=(("", "c"),)), make.NONE),
    "correct is 2 of 2": (make.sample("global_qa", query="a", choices=("b", "c"), correct=2), make.NONE),
    "more than there are letters": (make.sample("global_qa", query="a", choices=("b",) * 27), make.NONE),
    "exactly one tube": (
        make.sample("spatio_temporal_grounding", query="a", spans=((0.0, 1.0),), tags=("box_text",)),
        make.VIDEO,
    ),
}


@pytest.mark.parametrize("message", IMPOSSIBLE)
def test_facts_that_cannot_be_said_raise_with_the_sample_key(message):
    sample, clip = IMPOSSIBLE[message]
    with pytest.raises(CannotRender, match="^d/train/0: ") as raised:
        render(sample, clip, seed=0)
    assert message in str(raised.value)
    assert isinstance(raised.value, ValueError)
