"""Peak memory: the scan, a worker that converts every chunk, and the plain script, each in a fresh process.

Linux only: the peak is VmHWM of /proc, because ``ru_maxrss`` of a child begins with its parent's.
"""

import multiprocessing
import shutil
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from bench.convert.cases import CASES, Case, official
from bench.convert.media import probed_once
from bench.convert.ours import run
from pipelines.plan import Chunk, chunks_of, make_plan

FRESH: Final = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Peaks:
    """Peaks in bytes; ``base`` is that of a process that has only imported everything. Seconds of the processor.

    ``samples`` are plain's, so all; the worker made ``converted`` of them, from some of the ``chunks``.
    """

    base: int
    scan: int
    hand_out: int
    worker: int
    plain: int
    samples: int
    chunks: int
    converted: int
    largest_chunk: int
    scan_seconds: float
    worker_seconds: float
    plain_seconds: float


def peaks(case: Case, annotations: Path | None, root: Path, work: Path, most: int) -> Peaks:
    """Convert the release twice: with ours (the scan in one process, the chunks in another), and with the plain script.

    The worker converts at most ``most`` chunks, spread over all of them.
    """
    asked = (case.name, annotations, root, work)
    scan = _in_fresh_process(_scan, *asked, most)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    plain = _in_fresh_process(_plain, *asked)
    shutil.rmtree(work)
    worker = scan["worker"]
    return Peaks(
        base=worker["base"],
        scan=scan["scan"],
        hand_out=scan["peak"],
        worker=worker["peak"],
        plain=plain["peak"],
        samples=plain["samples"],
        chunks=scan["chunks"],
        converted=worker["samples"],
        largest_chunk=worker["largest"],
        scan_seconds=scan["seconds"],
        worker_seconds=worker["seconds"],
        plain_seconds=plain["seconds"],
    )


def _in_fresh_process(target: Any, *args: Any) -> dict[str, Any]:
    here, there = FRESH.Pipe()
    process = FRESH.Process(target=target, args=(there, *args))
    process.start()
    there.close()
    try:
        return here.recv()
    except EOFError:
        raise RuntimeError(f"{target.__name__} died: its own words stand above") from None
    finally:
        process.join()


def _case(name: str, annotations: Path | None) -> Case:
    cases = (*CASES, *(official(annotations) if annotations else ()))
    return next(case for case in cases if case.name == name)


def _scan(out: Connection, name: str, annotations: Path | None, root: Path, work: Path, most: int) -> None:
    """The driver: scan, then hand every chunk to a worker, one at a time."""
    case = _case(name, annotations)
    recipe = case.recipe(root)
    here, there = FRESH.Pipe()
    worker = FRESH.Process(target=_work, args=(there, work))
    worker.start()
    there.close()
    began = time.process_time()
    plan = make_plan(recipe, work / "spool")
    seconds, scanned = time.process_time() - began, _peak()
    count = sum(1 for _ in chunks_of(plan, recipe))
    for number, (chunk, _) in enumerate(chunks_of(plan, recipe)):
        if number % -(-count // most) == 0:
            here.send(chunk)
            here.recv()
    here.send(None)
    found = here.recv()
    worker.join()
    out.send({"scan": scanned, "peak": _peak(), "seconds": seconds, "chunks": count, "worker": found})


def _work(chunks: Connection, work: Path) -> None:
    """A worker: converts what it is handed and throws the records away."""
    base, samples, largest, began = _peak(), 0, 0, time.process_time()
    with probed_once():
        while True:
            chunk: Chunk | None = chunks.recv()
            if chunk is None:
                break
            result = run(chunk, work)
            samples += sum(written.samples for written in result.records)
            largest = max(largest, len(chunk.payload))
            shutil.rmtree(work / "chunks")
            chunks.send(None)
    found = {"base": base, "peak": _peak(), "samples": samples, "largest": largest}
    chunks.send(found | {"seconds": time.process_time() - began})


def _plain(out: Connection, name: str, annotations: Path | None, root: Path, work: Path) -> None:
    case, began = _case(name, annotations), time.process_time()
    samples = sum(case.plain(root, split, work / f"plain {split}.jsonl") for split in case.splits)
    out.send({"peak": _peak(), "samples": samples, "seconds": time.process_time() - began})


def _peak() -> int:
    """The largest resident memory of this process so far, in bytes."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) << 10
