"""Steps are those of the stream, whatever is read ahead and by however many."""

import dataclasses
from collections.abc import Callable, Iterator
from itertools import islice

import pytest
import torch

from model.batch import Batch
from model.example import SampleError
from model.loader import Loader, Step
from model.losses import Counts
from shards.manifest import CorpusError
from shards.mixture import Mixture, Source
from shards.stream import Stream
from tests.model.small_clips import Painted, clip, record, regions, sample

CLIPS = [
    record(
        sample("<video>\nWhere?", "<Seg> and <Seg>", targets=((0,), (number % 4, 1))),
        sample("<video>\nWhat is <Ref>?", "A dog. " * number, name="1", regions=regions((number, number + 2))),
        name=f"clip{number}",
    )
    for number in range(3)
]
TOLD = (*CLIPS, record(sample("1 + 1?", "2"), name="words", shows=clip("none")))
UNLABELLED = record(sample("<video>\nWhere?", targets=None), name="test")


@pytest.fixture
def loader(clip_config, clip_words):
    """Seven samples twice, three a step: the last step of each epoch has one."""

    def open_loader(
        *told, micro_batch: int = 2, workers: int = 2, broken: tuple[str, ...] = (), **place: int
    ) -> Loader:
        corpus = Painted(*(told or TOLD), broken=broken)
        settings = {"seed": 5, "batch_size": 3, "epochs": 2} | place
        stream = Stream(Mixture((Source("painted"),)), open_corpus=lambda _: corpus, **settings)
        return Loader(stream, clip_config, clip_words, micro_batch, 500, workers)

    return open_loader


Open = Callable[..., Loader]


def keys(step: Step) -> list[str]:
    return [plan.key for plan in step.outlines]


def same(one: Batch, other: Batch) -> bool:
    for field in dataclasses.fields(Batch):
        a, b = getattr(one, field.name), getattr(other, field.name)
        if field.name == "masks":
            equal = len(a) == len(b) and all(map(torch.equal, a, b))
        else:
            equal = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        if not equal:
            return False
    return True


def test_steps_come_in_the_order_of_the_stream(loader: Open):
    expected = [(draws[0].epoch, [one.sample.key for one in draws]) for draws in loader().stream]
    steps = list(loader())
    assert [(step.epoch, keys(step)) for step in steps] == expected
    assert [len(step.outlines) for step in steps] == [3, 3, 1, 3, 3, 1]
    assert [step.epoch for step in steps] == [0, 0, 0, 1, 1, 1]


def test_a_step_is_cut_into_micro_batches_in_order(loader: Open):
    for step in loader():
        rows = [batch.keys for batch in step.batches()]
        assert [key for batch in rows for key in batch] == keys(step)
        assert [len(batch) for batch in rows] == ([2, 1] if len(step.outlines) == 3 else [1])


@pytest.mark.parametrize("done", [1, 2, 3, 5])
def test_a_run_goes_on_from_the_state_after_a_step_whatever_was_read_ahead(loader: Open, done):
    steps = list(loader())
    taken = iter(loader())
    *_, last = islice(taken, done)
    again = loader()
    again.stream.load_state_dict(last.after)
    rest = list(again)
    assert [(step.epoch, keys(step)) for step in rest] == [(step.epoch, keys(step)) for step in steps[done:]]
    assert [step.after for step in rest] == [step.after for step in steps[done:]]
    for one, other in zip(rest, steps[done:], strict=True):
        assert all(map(same, one.batches(), other.batches())), "also the mask frames"


def test_the_number_of_workers_changes_nothing(loader: Open):
    for one, other in zip(loader(workers=1), loader(workers=3), strict=True):
        assert one.after == other.after
        pairs = list(zip(one.batches(), other.batches(), strict=True))
        assert all(same(a, b) for a, b in pairs)


def test_the_same_sample_has_other_mask_frames_in_the_next_epoch(loader: Open):
    masks = [
        {plan.key: plan.masks for step in steps for plan in step.outlines if plan.masks} for steps in epochs(loader)
    ]
    assert masks[0].keys() == masks[1].keys()
    assert all(masks[0][key] != masks[1][key] for key in masks[0])


def epochs(loader: Open) -> Iterator[list[Step]]:
    steps = list(loader())
    return iter((steps[:3], steps[3:]))


def test_the_counts_of_a_step_are_known_before_its_pixels(loader: Open):
    found = [step.counts for step in loader(broken=tuple(told.key for told in TOLD))]
    for counts, step in zip(found, loader(), strict=True):
        assert counts == step.counts == sum((batch.counts() for batch in step.batches()), Counts(0, 0))
    assert sum(counts.masks for counts in found) == 2 * 3 * 8


def test_ranks_share_each_step(loader: Open):
    whole = list(loader(batch_size=2))
    ranks = [list(loader(batch_size=2, rank=rank, world=2)) for rank in (0, 1)]
    for step, *parts in zip(whole, *ranks, strict=True):
        assert [key for part in parts for key in keys(part)] == keys(step)
        assert {part.epoch for part in parts} == {step.epoch}
        assert [part.after for part in parts] == [step.after] * 2
        assert sum((part.counts for part in parts), Counts(0, 0)) == step.counts


def test_a_rank_without_samples_in_a_step_has_no_batch_and_is_in_the_same_epoch(loader: Open):
    """The last step of an epoch may have fewer samples than ranks; rank 0 is the one that goes without."""
    last = list(loader(batch_size=3, rank=0, world=2))[2]
    assert (last.outlines, list(last.batches()), last.counts) == ((), [], Counts(0, 0))
    assert last.epoch == 0
    assert last.after["epoch"] == 1


def test_a_sample_that_does_not_fit_stops_the_steps_by_name(loader: Open):
    with pytest.raises(SampleError, match=r"^toy/train/test/0: "):
        list(loader(*TOLD, UNLABELLED))


def test_the_steps_before_one_that_does_not_fit_are_handed_out_first(loader: Open):
    """Words are read ahead; a fault in step k must not cost the steps before it, nor the checkpoint they lead to."""
    planned = list(loader(*TOLD, UNLABELLED).stream.draws(0))
    faulty = next(draw.step for draw in planned if draw.sample_keys == ("toy/train/test/0",))
    assert faulty > 0
    steps = iter(loader(*TOLD, UNLABELLED))
    told = [keys(next(steps)) for _ in range(faulty)]
    assert told == [[d.sample_keys[0] for d in planned if d.step == number] for number in range(faulty)]
    with pytest.raises(SampleError):
        next(steps)


def test_a_clip_that_cannot_be_read_stops_its_batch_by_name(loader: Open):
    named = r"painted/shards/x\.tar: record toy-clip1 .*checksum"
    for step in loader(broken=("toy-clip1",), epochs=1):
        if any(key.startswith("toy/train/clip1/") for key in keys(step)):
            with pytest.raises(CorpusError, match=named):
                list(step.batches())
        else:
            assert sum(len(batch.keys) for batch in step.batches()) == len(step.outlines)


def test_reading_stops_when_the_steps_are_left(loader: Open):
    left = loader()
    steps = iter(left)
    next(steps)
    steps.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert left.stream.state_dict()["step"] <= 3, "no more than two steps ahead"
