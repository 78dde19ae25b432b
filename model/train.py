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
from typing import Any, Final

import torch

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


class FaultElsewhere(RuntimeError):
    """Another rank could not go on, so this one leaves with it."""


FAULTS: Final = (SampleError, CorpusError)
"""What a sample may do to a rank; all ranks leave together, with a checkpoint of what was learned before."""


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
        stop.agreed = _any(stop.requested, ranks)
        began, finished = time.monotonic(), None
        with closing(iter(loader)) as steps:
            try:
                while done < last and not stop.agreed:
                    step = _next(steps)
                    numbers = train_step(run, step, done, ranks, stop)
                    assert isinstance(step, Step)
                    done, finished = done + 1, step
                    if log is not None:
                        began, seconds = time.monotonic(), time.monotonic() - began
                        rate = numbers["samples"] / seconds
                        log.log(done - 1, numbers | {"samples_per_second": rate, "seconds": seconds})
                    if done % settings.save_every == 0 or done == last or stop.agreed:
                        _save(run, done, step, ranks)
            except (*FAULTS, FaultElsewhere, NotFinite):
                # All ranks are here, since they agree on faults; what was learned before is kept.
                if finished is not None:
                    _save(run, done, finished, ranks)
                raise
        if done == run.steps:
            show_predictions(run, ranks, "after", lambda: stop.requested)
    return Trained(folder, done, run.steps, interrupted=stop.agreed or stop.requested)


def _next(steps: Iterator[Step]) -> Step | Exception:
    """The next step, or what is wrong with it: the other ranks must hear of it before this one leaves."""
    try:
        return next(steps)
    except FAULTS as fault:
        return fault


def train_step(run: Run, step: Step | Exception, number: int, ranks: Ranks, stop: "Stop") -> dict[str, float]:
    """One optimizer step; returns its numbers, the same on every rank.

    Raises, on all ranks and before anything moves: NotFinite; this rank's fault; FaultElsewhere for another's.
    """
    settings, device = run.recipe.train, ranks.device
    fault = None if isinstance(step, Step) else step
    own, samples = (step.counts, len(step.outlines)) if isinstance(step, Step) else (Counts(0, 0), 0)
    sums = ranks.sum_over_ranks(torch.tensor([own.tokens, own.masks, samples, fault is not None], dtype=F64)).tolist()
    _raise(fault, sums[3])
    assert isinstance(step, Step)
    counts = Counts(sums[0], sums[1])
    parts = torch.zeros(5, dtype=F64, device=device)
    try:
        for batch in step.batches():
            with autocast(device, settings.precision):
                loss = run.model.loss(batch.to(device), counts, settings.object_score)
            if loss.total.requires_grad:  # words alone teach no mask part
                loss.total.backward()
            presence = loss.ce.new_zeros(()) if loss.presence is None else loss.presence
            parts += torch.stack([loss.total.detach(), loss.ce, loss.bce, loss.dice, presence]).to(F64)
    except CorpusError as error:
        fault = error
    told = torch.cat([parts, parts.new_tensor([stop.requested, fault is not None])])
    total, ce, bce, dice, presence, asked, faults = ranks.sum_over_ranks(told).tolist()
    _raise(fault, faults)
    stop.agreed = asked > 0
    norm = _move(run, step, number, total, ranks)
    numbers = {"epoch": float(step.epoch), "loss": total, "ce": ce, "lr": run.optimizer.param_groups[0]["lr"]}
    if counts.masks:
        numbers |= {"bce": bce, "dice": dice}
        numbers |= {"object_score": presence} if settings.object_score else {}
    return numbers | {"grad_norm": norm, "samples": sums[2], "tokens": counts.tokens, "masks": counts.masks}


def _raise(fault: Exception | None, faults: float) -> None:
    """Leave together where any rank has a fault."""
    if fault is not None:
        raise fault
    if faults:
        raise FaultElsewhere("another rank met a sample that cannot be used; its own message names it")


def _move(run: Run, step: Step, number: int, loss: float, ranks: Ranks) -> float:
    """Add up the ranks' gradients, clip them and let AdamW move; returns the norm before clipping."""
    settings = run.recipe.train
    parameters = run.optimizer.param_groups[0]["params"]
    reduce_gradients(parameters, ranks)
    norm = float(torch.nn.utils.clip_grad_norm_(parameters, settings.clip))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        keys = ", ".join(plan.key for plan in step.outlines)
        raise NotFinite(
            f"step {number}: the loss is {loss} and the gradient's norm {norm}; the samples of rank {ranks.rank} are "
            f"{keys}. The weights are those before the step: lower `lr`, or leave a faulty sample out of the mixture"
        )
    rate = learning_rate(number, steps=run.steps, peak=settings.lr, warmup=settings.warmup, floor=settings.lr_floor)
    for group in run.optimizer.param_groups:
        group["lr"] = rate
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    return norm


F64 = torch.float64


def _any(asked: bool, ranks: Ranks) -> bool:
    """Whether any rank was asked."""
    return bool(ranks.sum_over_ranks(torch.tensor([float(asked)])).item())


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
