"""Gradients of real gloo processes: what one rank lacks, the others neither wait for nor lose.

The ranks are this file run as a program, since a function of a test module cannot be imported by a child process.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch import nn

from model.distributed import Ranks, reduce_gradients, start

ROOT = Path(__file__).parents[2]
WORLD = 2
SMALL_BUCKET = 100
"""Bytes: cuts the parameters below into several buckets, one of them with a single large parameter."""
ALONE = Ranks(0, 1, torch.device("cpu"))


class Parts(nn.Module):
    """A text part on every rank, a mask part on rank 0 only, a part that nobody uses, a frozen one, two dtypes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.text = nn.Linear(8, 8)
        self.mask = nn.Linear(8, 3)
        self.unused = nn.Parameter(torch.ones(5))
        self.coarse = nn.Parameter(torch.ones(8, dtype=torch.bfloat16))
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)
        self.strided = nn.Parameter(torch.randn(8, 4).t())

    def loss(self, rank: int) -> torch.Tensor:
        inputs = torch.randn(4, 8, generator=torch.Generator().manual_seed(rank))
        features = self.text(inputs) * self.coarse.float()
        loss = features.square().sum() + (inputs @ self.strided.t()).sum()
        return loss + self.mask(features).sum() if rank == 0 else loss


def gradients(parts: Parts) -> dict[str, torch.Tensor | None]:
    return {name: parameter.grad for name, parameter in parts.named_parameters()}


def same(these: Mapping[str, torch.Tensor | None], those: Mapping[str, torch.Tensor | None]) -> bool:
    """Whether both have the same gradients, bit by bit, and lack the same ones."""
    bits = [{name: g if g is None else g.tolist() for name, g in one.items()} for one in (these, those)]
    return bits[0] == bits[1]


def rank_program(meeting: str, out: str) -> None:
    """What each rank runs: two optimizer steps' worth of reductions, and the other collectives."""
    with start(f"file://{meeting}", timeout=timedelta(seconds=60)) as ranks:
        parts = Parts()
        for _ in range(2):
            parts.zero_grad()
            parts.loss(ranks.rank).backward()
            assert (parts.mask.weight.grad is None) == (ranks.rank == 1)
            reduce_gradients(parts.parameters(), ranks, bucket_bytes=SMALL_BUCKET)
        counts = torch.tensor([1, 10 * ranks.rank])
        total = ranks.sum_over_ranks(counts)
        ranks.barrier()
        kept = {"gradients": gradients(parts), "counts": counts, "total": total, "ranks": (ranks.rank, ranks.world)}
        torch.save(kept, f"{out}/{ranks.rank}.pt")


@pytest.fixture(scope="module")
def kept_by_ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    ranks = [_started(rank, folder) for rank in range(WORLD)]
    try:
        said = [process.communicate(timeout=120)[0] for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert [process.returncode for process in ranks] == [0] * WORLD, "\n".join(said)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]


def _started(rank: int, folder: Path) -> subprocess.Popen[str]:
    place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(WORLD)}
    quiet = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [sys.executable, __file__, str(folder / "meeting"), str(folder)],
        env=os.environ | place | quiet,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_gradients_of_all_ranks_are_the_sum_of_what_each_computed(kept_by_ranks):
    summed = Parts()
    for rank in range(WORLD):
        summed.loss(rank).backward()
    expected = gradients(summed)
    for kept in kept_by_ranks:
        assert same(kept["gradients"], expected | {"unused": torch.zeros(5)})


def test_every_trainable_parameter_has_a_gradient_on_every_rank_and_a_frozen_one_has_none(kept_by_ranks):
    for kept in kept_by_ranks:
        assert [name for name, gradient in kept["gradients"].items() if gradient is None] == ["frozen"]
        assert torch.equal(kept["gradients"]["unused"], torch.zeros(5))


def test_a_sum_over_ranks_is_new_and_the_same_on_all(kept_by_ranks):
    for rank, kept in enumerate(kept_by_ranks):
        assert kept["total"].tolist() == [2, 10]
        assert kept["counts"].tolist() == [1, 10 * rank]
        assert kept["ranks"] == (rank, WORLD)


def test_alone_gradients_stay_and_missing_ones_become_zeros():
    parts = Parts()
    parts.loss(1).backward()
    before = {name: gradient if gradient is None else gradient.clone() for name, gradient in gradients(parts).items()}
    reduce_gradients(parts.parameters(), ALONE)
    zeros = {"mask.weight": torch.zeros(3, 8), "mask.bias": torch.zeros(3), "unused": torch.zeros(5)}
    assert same(gradients(parts), before | zeros)


def test_adamw_lets_the_moments_of_an_unused_parameter_decay():
    parts = Parts()
    optimizer = torch.optim.AdamW(parts.parameters())
    moments = []
    for rank in (0, 1):  # the loss of rank 1 has no masks
        optimizer.zero_grad()
        parts.loss(rank).backward()
        reduce_gradients(parts.parameters(), ALONE)
        optimizer.step()
        moments.append(optimizer.state[parts.mask.weight]["exp_avg"].clone())
    assert moments[0].count_nonzero() > 0
    torch.testing.assert_close(moments[1], 0.9 * moments[0])


def test_without_torchrun_a_process_is_alone_and_needs_no_group(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with start() as ranks:
        assert (ranks.rank, ranks.world) == (0, 1)
        assert not torch.distributed.is_initialized()
        tensor = torch.ones(2, device=ranks.device)
        total = ranks.sum_over_ranks(tensor)
        ranks.barrier()
        total += 1
        assert tensor.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("rank", "world", "words"), [("2", "2", "RANK is 2 and WORLD_SIZE 2"), ("0", "two", "WORLD_SIZE is 'two'")]
)
def test_a_place_that_cannot_be_is_refused(monkeypatch, rank, world, words):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", world)
    with pytest.raises(ValueError, match=words):
        start()


if __name__ == "__main__":
    rank_program(*sys.argv[1:])
