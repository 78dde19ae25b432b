"""The ranks of a run: one process per device, started by torchrun, which meet once per optimizer step.

Gradients are summed here and not by DistributedDataParallel: DDP reduces while backward runs and waits for every
parameter, so a rank whose step has no masks would make the others wait for ever. Here every rank sends all of its
gradients after its last micro-batch, zeros where it has none.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

import torch
from torch import Tensor
from torch import distributed as dist

BUCKET_BYTES: Final = 64 << 20
"""Large enough for the full bandwidth of NVLink, small enough that the flat copy of a bucket costs no memory."""
TIMEOUT: Final = timedelta(minutes=30)
"""How long a rank waits for another: rank 0 may write and hash a checkpoint of 100 GB while the others wait."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process's place in the run: ``rank`` of ``world``, on ``device``. Leaving the context ends the group."""

    rank: int
    world: int
    device: torch.device

    def sum_over_ranks(self, tensor: Tensor) -> Tensor:
        """A new tensor on this rank's device: the sum of every rank's ``tensor``, which has one shape and dtype."""
        total = tensor.detach().to(self.device, copy=True).contiguous()
        if self.world > 1:
            dist.all_reduce(total)
        return total

    def barrier(self) -> None:
        """Wait until every rank is here."""
        if self.world > 1:
            dist.barrier()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.world > 1 and dist.is_initialized():
            dist.destroy_process_group()


def start(rendezvous: str = "env://", timeout: timedelta = TIMEOUT) -> Ranks:
    """Join the other ranks, as RANK, WORLD_SIZE and LOCAL_RANK of torchrun say; without them this process is alone.

    A world of one needs no process group. ``rendezvous`` is where the ranks meet: torchrun's MASTER_ADDR and
    MASTER_PORT, or ``file:///path`` of a file that does not exist yet. Raises ValueError if the numbers do not fit.
    """
    rank, world = _from_environment("RANK", 0), _from_environment("WORLD_SIZE", 1)
    if not 0 <= rank < world:
        raise ValueError(f"RANK is {rank} and WORLD_SIZE {world}; ranks count from 0: start the run with torchrun")
    device = _device(_from_environment("LOCAL_RANK", 0))
    if world > 1:
        on_gpu = device.type == "cuda"
        dist.init_process_group(
            "nccl" if on_gpu else "gloo",
            init_method=rendezvous,
            rank=rank,
            world_size=world,
            timeout=timeout,
            device_id=device if on_gpu else None,
        )
    return Ranks(rank, world, device)


def _from_environment(name: str, default: int) -> int:
    words = os.environ.get(name, str(default))
    try:
        return int(words)
    except ValueError:
        raise ValueError(f"{name} is {words!r}, not a whole number; start the run with torchrun, or unset it") from None


def _device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        raise ValueError(
            f"LOCAL_RANK is {local_rank} and this machine shows {torch.cuda.device_count()} GPUs; "
            "start as many processes as there are GPUs"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def reduce_gradients(parameters: Iterable[torch.nn.Parameter], ranks: Ranks, bucket_bytes: int = BUCKET_BYTES) -> None:
    """Replace every gradient by its sum over the ranks, once per optimizer step, after the last micro-batch.

    A parameter without a gradient counts as zeros, and has one afterwards on every rank, also in a world of one: the
    release's DeepSpeed steps unused parameters with zero gradients, so that AdamW's moments decay. Frozen parameters
    are left alone. Every rank passes the same parameters in the same order; sums are not divided, since the loss is
    already normalised by the counts of the whole step.
    """
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in trainable:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    if ranks.world > 1:
        gradients = [parameter.grad for parameter in trainable if parameter.grad is not None]
        for bucket in _buckets(gradients, bucket_bytes):
            _sum_bucket(bucket)


def _buckets(gradients: list[Tensor], bucket_bytes: int) -> Iterator[list[Tensor]]:
    """Gradients in order, cut into lists of one dtype and at most ``bucket_bytes``; a larger one is alone.

    Depends on shapes and dtypes only, so that every rank cuts alike.
    """
    for dtype in dict.fromkeys(gradient.dtype for gradient in gradients):
        bucket: list[Tensor] = []
        for gradient in gradients:
            if gradient.dtype != dtype:
                continue
            if bucket and sum(one.nbytes for one in bucket) + gradient.nbytes > bucket_bytes:
                yield bucket
                bucket = []
            bucket.append(gradient)
        yield bucket


def _sum_bucket(gradients: list[Tensor]) -> None:
    if len(gradients) == 1 and gradients[0].is_contiguous():
        dist.all_reduce(gradients[0])  # the 2 GB of an embedding need no second copy
        return
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    pieces = flat.split([gradient.numel() for gradient in gradients])
    for gradient, piece in zip(gradients, pieces, strict=True):
        gradient.copy_(piece.view(gradient.shape))
