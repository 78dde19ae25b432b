"""From the stream to batches: steps are counted from their words, and their pixels decoded ahead of their turn."""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from model.batch import Batch
from model.collate import collate
from model.config import ModelConfig
from model.example import Outline, SampleError, load, outline
from model.losses import Counts
from model.tokenizer import Tokenizer
from shards.manifest import CorpusError
from shards.stream import Stream

STEPS_AHEAD: Final = 2
"""Steps that are decoded while one is computed."""


@dataclass(frozen=True, slots=True)
class Step:
    """This rank's part of one global step. ``after`` is the stream's state when the step is done."""

    epoch: int
    outlines: tuple[Outline, ...]
    after: dict[str, Any]
    _batches: tuple["Future[Batch]", ...]

    @property
    def counts(self) -> Counts:
        """Supervised tokens and masks of this rank's part."""
        return sum((plan.counts for plan in self.outlines), Counts(0, 0))

    def batches(self) -> Iterator[Batch]:
        """The micro-batches in order. Raises what decoding raised: CorpusError, naming record and shard."""
        return (future.result() for future in self._batches)


@dataclass(frozen=True, slots=True)
class Loader:
    """Reads a stream step by step; ``micro_batch`` samples at a time, on ``workers`` threads.

    Iteration raises SampleError for a sample that does not fit, naming its key, before that step is computed.
    """

    stream: Stream
    config: ModelConfig
    tokenizer: Tokenizer
    micro_batch: int
    max_text_tokens: int
    workers: int

    def __iter__(self) -> Generator[Step, None, None]:
        with ThreadPoolExecutor(self.workers, thread_name_prefix="decode") as pool:
            waiting: deque[Step] = deque()
            try:
                fault = None
                while fault is None:
                    try:
                        if (step := self._next(pool)) is None:
                            break
                    except (SampleError, CorpusError) as error:  # found ahead of its turn: first what comes before it
                        fault = error
                    else:
                        waiting.append(step)
                        if len(waiting) > STEPS_AHEAD:
                            yield waiting.popleft()
                while waiting:
                    yield waiting.popleft()
                if fault is not None:
                    raise fault
            finally:
                # Steps that were handed out keep their batches; those of a loop that was left are not decoded.
                pool.shutdown(wait=True, cancel_futures=bool(waiting))

    def _next(self, pool: ThreadPoolExecutor) -> Step | None:
        """The stream's next step, its batches on their way; None behind the last."""
        epoch = self.stream.epoch
        draws = next(self.stream, None)
        if draws is None:
            return None
        plans = tuple(
            outline(draw, self.config, self.tokenizer, seed=self.stream.seed, max_text_tokens=self.max_text_tokens)
            for draw in draws
        )
        parts = [plans[at : at + self.micro_batch] for at in range(0, len(plans), self.micro_batch)]
        return Step(epoch, plans, self.stream.state_dict(), tuple(pool.submit(self._batch, part) for part in parts))

    def _batch(self, plans: Sequence[Outline]) -> Batch:
        return collate([load(plan, self.config) for plan in plans], self.config, self.tokenizer.pad)
