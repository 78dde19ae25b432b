"""Training: ``ufvideo train RECIPE``, or ``torchrun --nproc-per-node 8 -m model.train RECIPE`` on many GPUs.

One step: every rank takes its part of the stream's global step, sums gradients over its micro-batches with losses
divided by the counts of the whole step, the ranks add their gradients, and AdamW moves. So what is learned does not
depend on micro-batches or ranks, beyond rounding.
"""

import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.distributed import Ranks, reduce_gradients
from model.example import SampleError
from model.loader import Loader, Step
from model.logbook import Logbook
from model.losses import Counts
from model.recipe import TrainRecipe
from model.run import Run, open_run
from model.schedule import learning_rate
from model.show import show_predictions
from shards.manifest import CorpusError


class NotFinite(RuntimeError):
    """The loss or a gradient is no number; the weights are those before the step."""


@dataclass(frozen=True, slots=True)
class Trained:
    """How a call ended: after ``steps`` of ``total`` steps; ``interrupted`` by a signal, or not."""

    folder: Path
    steps: int
    total: int
    interrupted: bool


def train(recipe: TrainRecipe, folder: Path, ranks: Ranks, *, stop_after: int | None = None) -> Trained:
    """Train, or go on training, in ``folder``; ``stop_after`` ends this call early, after so many finished steps.

    Raises RecipeError, CorpusError, SampleError and CheckpointError as ``open_run`` and the loader do, NotFinite when
    the loss is.
    """
    if ranks.device.type == "cuda" and recipe.train.precision != "fp32":
        torch.set_float32_matmul_precision("high")  # TF32 for what autocast leaves in fp32, as in the release
    run = open_run(recipe, folder, ranks)
    last = run.steps if stop_after is None else min(stop_after, run.steps)
    done = run.first
    settings = recipe.train
    loader = Loader(
        run.stream, run.config, run.tokenizer, settings.micro_batch, settings.max_text_tokens, settings.workers
    )
    with closing(run), _logbook(run, ranks) as log, _stop_signals() as stop:
        if done == 0:
            show_predictions(run, ranks, "before", lambda: stop.requested)
        began, before = time.monotonic(), None
        with closing(iter(loader)) as steps:
            try:
                while done < last and not stop.agreed:
                    step = next(steps)
                    numbers = train_step(run, step, done, ranks, stop)
                    done, before = done + 1, step
                    if log is not None:
                        began, seconds = time.monotonic(), time.monotonic() - began
                        rate = numbers["samples"] / seconds
                        log.log(done - 1, numbers | {"samples_per_second": rate, "seconds": seconds})
                    if done % settings.save_every == 0 or done == last or stop.agreed:
                        _save(run, done, step, ranks)
            except (SampleError, CorpusError, NotFinite):
                # What was learned before is kept. The other ranks are not here, so nobody is waited for.
                if before is not None and ranks.rank == 0:
                    run.save(done, before.after)
                raise
        if done == run.steps:
            show_predictions(run, ranks, "after", lambda: stop.requested)
    return Trained(folder, done, run.steps, interrupted=stop.agreed)


def train_step(run: Run, step: Step, number: int, ranks: Ranks, stop: "Stop") -> dict[str, float]:
    """One optimizer step; returns its numbers, the same on every rank. Raises NotFinite before anything moves."""
    settings, device = run.recipe.train, ranks.device
    sums = ranks.sum_over_ranks(torch.tensor([step.counts.tokens, step.counts.masks, len(step.outlines)], dtype=F64))
    counts = Counts(float(sums[0]), float(sums[1]))
    parts = torch.zeros(4, dtype=F64, device=device)
    for batch in step.batches():
        with autocast(device, settings.precision):
            loss = run.model.loss(batch.to(device), counts)
        loss.total.backward()
        parts += torch.stack([loss.total.detach(), loss.ce, loss.bce, loss.dice]).to(F64)
    total, ce, bce, dice, asked = _gather(parts, stop, ranks)
    stop.agreed = asked > 0
    parameters = run.optimizer.param_groups[0]["params"]
    reduce_gradients(parameters, ranks)
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, settings.clip))
    if not (math.isfinite(total) and math.isfinite(norm)):
        keys = ", ".join(plan.key for plan in step.outlines)
        raise NotFinite(
            f"step {number}: the loss is {total} and the gradient's norm {norm}; the samples of rank {ranks.rank} are "
            f"{keys}. The weights are those before the step: lower `lr`, or leave a faulty sample out of the mixture"
        )
    rate = learning_rate(number, steps=run.steps, peak=settings.lr, warmup=settings.warmup, floor=settings.lr_floor)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    numbers = {"epoch": float(step.epoch), "loss": total, "ce": ce, "lr": rate, "grad_norm": norm}
    if counts.masks:
        numbers |= {"bce": bce, "dice": dice}
    return numbers | {"samples": float(sums[2]), "tokens": counts.tokens, "masks": counts.masks}


F64 = torch.float64


def _gather(parts: Tensor, stop: "Stop", ranks: Ranks) -> list[float]:
    """The step's losses summed over ranks, and how many ranks were asked to stop."""
    return ranks.sum_over_ranks(torch.cat([parts, parts.new_tensor([float(stop.requested)])])).tolist()


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """bf16 where ``precision`` asks for it or, for ``auto``, where the device is a GPU that has it."""
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    if precision == "bf16" or (precision == "auto" and has_bf16):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def _save(run: Run, done: int, step: Step, ranks: Ranks) -> None:
    if ranks.rank == 0:
        run.save(done, step.after)
    ranks.barrier()


@contextmanager
def _logbook(run: Run, ranks: Ranks) -> Iterator[Logbook | None]:
    """Rank 0's logbook; the others keep none."""
    if ranks.rank:
        yield None
        return
    with Logbook(run.folder, run.steps) as log:
        log.resume_at(run.first)
        if run.first:
            log.note(f"going on in {run.folder} at step {run.first} of {run.steps}")
        yield log


@dataclass(slots=True)
class Stop:
    """Whether a run is to stop: ``requested`` of this rank by a signal, ``agreed`` by all ranks at a step's end.

    Only what is agreed ends a run, after that step and with a checkpoint: a rank that left alone would let the others
    wait for ever.
    """

    requested: bool = False
    agreed: bool = False


@contextmanager
def _stop_signals() -> Iterator[Stop]:
    """The first SIGTERM or Ctrl-C asks to stop; a second one interrupts at once."""
    stop = Stop()

    def ask(_number: int, _frame: object) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True
        print("stopping after this step; once more to stop at once", file=sys.stderr)

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    from model.cli import main

    sys.exit(main(["train", *sys.argv[1:]]))
