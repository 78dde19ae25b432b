"""From the stream to batches: steps are counted from their words, and their pixels decoded ahead of their turn.

Two kinds of work run beside the model: one thread reads records and makes outlines, in order; the others decode
pixels, a micro-batch each. Both stay ahead by a bounded amount, since the pixels of a global batch of the 7B model
weigh 10 GB.
"""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final

from model.batch import Batch
from model.collate import collate
from model.config import ModelConfig
from model.example import Outline, load, outline
from model.losses import Counts
from model.tokenizer import Tokenizer
from shards.stream import Stream

STEPS_AHEAD: Final = 2
"""Steps whose words are read while one is computed."""
BATCHES_PER_WORKER: Final = 2
"""Micro-batches that are decoded or wait, for each thread."""


@dataclass(frozen=True, slots=True)
class Step:
    """This rank's part of one global step. ``after`` is the stream's state when the step is done."""

    epoch: int
    outlines: tuple[Outline, ...]
    after: dict[str, Any]
    _decoding: "_Decoding"
    _parts: tuple["_Part", ...]

    @property
    def counts(self) -> Counts:
        """Supervised tokens and masks of this rank's part."""
        return sum((plan.counts for plan in self.outlines), Counts(0, 0))

    def batches(self) -> Iterator[Batch]:
        """The micro-batches in order, once. Raises what decoding raised: CorpusError, naming record and shard."""
        return (self._decoding.take(part) for part in self._parts)


@dataclass(frozen=True, slots=True)
class Loader:
    """Reads a stream step by step; ``micro_batch`` samples at a time, on ``workers`` threads.

    Iteration raises SampleError for a sample that does not fit, naming its key, and CorpusError for a record that
    cannot be read, when the steps before it have been handed out. Until it ends, the stream belongs to the loader.
    """

    stream: Stream
    config: ModelConfig
    tokenizer: Tokenizer
    micro_batch: int
    max_text_tokens: int
    workers: int

    def __iter__(self) -> Generator[Step, None, None]:
        decoding = _Decoding(self.config, self.tokenizer, self.workers)
        with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
            reading: deque[Future[Step | None]] = deque()
            ended = False
            try:
                while True:
                    while len(reading) <= STEPS_AHEAD:
                        reading.append(reader.submit(self._next, decoding))
                    step = reading.popleft().result()
                    if step is None:
                        ended = True
                        return
                    yield step
            finally:
                reader.shutdown(wait=True, cancel_futures=True)
                decoding.close(cancel=not ended)

    def _next(self, decoding: "_Decoding") -> Step | None:
        """The stream's next step, its pixels on their way; None behind the last."""
        epoch = self.stream.epoch
        draws = next(self.stream, None)
        if draws is None:
            return None
        plans = tuple(
            outline(draw, self.config, self.tokenizer, seed=self.stream.seed, max_text_tokens=self.max_text_tokens)
            for draw in draws
        )
        parts = tuple(_Part(plans[at : at + self.micro_batch]) for at in range(0, len(plans), self.micro_batch))
        decoding.add(parts)
        return Step(epoch, plans, self.stream.state_dict(), decoding, parts)


@dataclass(slots=True, eq=False)
class _Part:
    """A micro-batch: not begun, on its way, or taken."""

    outlines: Sequence[Outline]
    future: "Future[Batch] | None" = field(default=None, repr=False)


class _Decoding:
    """Micro-batches in the order of their steps; so many at a time as the threads can use."""

    def __init__(self, config: ModelConfig, tokenizer: Tokenizer, workers: int) -> None:
        self.config, self.tokenizer = config, tokenizer
        self.most = BATCHES_PER_WORKER * workers
        self.pool: ThreadPoolExecutor | None = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        self.lock = Lock()
        self.waiting: deque[_Part] = deque()
        self.running = 0

    def add(self, parts: Sequence[_Part]) -> None:
        with self.lock:
            self.waiting.extend(parts)
            self._begin()

    def take(self, part: _Part) -> Batch:
        """The batch of a part, which is then forgotten; decoded here and now where no thread has begun it."""
        with self.lock:
            future, part.future = part.future, None
            if future is None and part in self.waiting:
                self.waiting.remove(part)
        if future is None or future.cancelled():
            return self._batch(part.outlines)
        try:
            return future.result()
        finally:
            with self.lock:
                self.running -= 1
                self._begin()

    def close(self, cancel: bool) -> None:
        """Let the threads go. What was handed out can still be taken; with ``cancel``, it is decoded only then."""
        with self.lock:
            pool, self.pool = self.pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=cancel)

    def _begin(self) -> None:
        while self.pool is not None and self.waiting and self.running < self.most:
            part = self.waiting.popleft()
            part.future = self.pool.submit(self._batch, part.outlines)
            self.running += 1

    def _batch(self, plans: Sequence[Outline]) -> Batch:
        return collate([load(plan, self.config) for plan in plans], self.config, self.tokenizer.pad)
