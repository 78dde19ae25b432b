"""What a build does with one core, but for writing shards: scan, choose, convert, word, check, write JSON."""

import cProfile
import io
import pstats
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.convert.cases import Case
from bench.convert.media import probed_once
from converters.convert import convert_clip
from pipelines.chunk import ChunkResult, run_chunk
from pipelines.plan import Chunk, chunks_of, make_plan, raw_clips
from shards import rle


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of the processor: the scan and its choice, the chunks with their payloads, and in all."""

    scan: float
    chunks: float
    samples: int
    skipped: int

    @property
    def seconds(self) -> float:
        return self.scan + self.chunks


def ours(case: Case, root: Path, work: Path) -> tuple[Took, list[ChunkResult]]:
    """Convert the whole release in this process; the records stay below ``work`` until the next call."""
    shutil.rmtree(work, ignore_errors=True)
    recipe = case.recipe(root)
    rle.forget()  # nothing may be known from an earlier turn
    with probed_once():
        began = time.process_time()
        plan = make_plan(recipe, work / "spool")
        scanned = time.process_time()
        results = [run(chunk, work) for chunk, _ in chunks_of(plan, recipe)]
        ended = time.process_time()
    samples = sum(written.samples for result in results for written in result.records)
    skipped = sum(len(entry.skipped) for entry in plan.entries) + sum(len(result.skipped) for result in results)
    return Took(scanned - began, ended - scanned, samples, skipped), results


def run(chunk: Chunk, work: Path) -> ChunkResult:
    return run_chunk(chunk, work / "chunks", chunk.digest("bench"))


def facts_alone(case: Case, root: Path, work: Path) -> float:
    """Seconds of the processor in ``convert_clip``: the facts, without words, JSON and the checks of a record."""
    recipe, seconds = case.recipe(root), 0.0
    rle.forget()
    with probed_once():
        plan = make_plan(recipe, work / "facts spool")
        for chunk, _ in chunks_of(plan, recipe):
            converter, clips = chunk.entry.open(), list(raw_clips(chunk.payload))
            began = time.process_time()
            for raw in clips:
                convert_clip(converter, raw, chunk.entry.name)
            seconds += time.process_time() - began
    shutil.rmtree(work / "facts spool")
    return seconds


def profile(case: Case, root: Path, work: Path, lines: int = 45) -> str:
    """Where the time of ``ours`` goes, by function."""
    watch = cProfile.Profile()
    watch.enable()
    ours(case, root, work)
    watch.disable()
    out = io.StringIO()
    pstats.Stats(watch, stream=out).sort_stats("tottime").print_stats(lines)
    return out.getvalue()


def records(results: list[ChunkResult]) -> Iterator[bytes]:
    """The JSON of every record that was written."""
    for result in results:
        content = result.records_file.read_bytes()
        for written in result.records:
            yield content[written.offset : written.offset + written.size]
