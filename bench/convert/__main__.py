"""The command: see ``bench.convert``."""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.convert.cases import CASES, Case, official
from bench.convert.memory import peaks
from bench.convert.ours import profile
from bench.convert.probing import probing_costs
from bench.convert.rounds import take_turns

Measure = Callable[[Case, Path, Path, argparse.Namespace], str]


def main() -> None:
    args = _arguments()
    cases = (*CASES, *(official(args.annotations) if args.annotations else ()))
    chosen = [case for case in cases if not args.case or any(part in case.name for part in args.case)]
    work = Path(tempfile.mkdtemp(prefix="convert-", dir=args.work))
    try:
        for path in args.probe:
            print(probing_costs(path), flush=True)
        for case in chosen:
            if args.profile or not args.memory:
                _released(case, work, args.scale or min(args.items / case.items, 1.0), args, _speed)
            for scale in args.memory:
                _released(case, work, scale, args, _memory)
    finally:
        shutil.rmtree(work)


def _released(case: Case, work: Path, scale: float, args: argparse.Namespace, measure: Measure) -> None:
    """Write a release, measure it, and remove it."""
    began, root = time.monotonic(), work / "release"
    case.write(root, scale)
    print(f"{case.name}, {scale:.3g} of a release, written in {time.monotonic() - began:.0f} s: ", end="", flush=True)
    print(measure(case, root, work / "out", args), flush=True)
    shutil.rmtree(root)
    shutil.rmtree(work / "out", ignore_errors=True)


def _speed(case: Case, root: Path, work: Path, args: argparse.Namespace) -> str:
    if args.profile:
        return profile(case, root, work)
    rates = take_turns(case, root, work, args.rounds)
    return (
        f"{rates.samples:,} samples, ours {rates.ours:,.0f}/s, plain {rates.plain:,.0f}/s, ratio {rates.ratio:.2f} "
        f"({min(rates.ratios):.2f} … {max(rates.ratios):.2f}), with probing {rates.whole_ratio:.2f} (ours "
        f"{rates.ours_probing:.1f} s, plain {rates.plain_probing:.1f} s more), scan alone {rates.scan:,.0f}/s, "
        f"facts alone {rates.facts:,.0f}/s"
    )


def _memory(case: Case, root: Path, work: Path, args: argparse.Namespace) -> str:
    found = peaks(case, args.annotations, root, work, args.chunks)
    megabytes = {
        "imports": found.base,
        "scan": found.scan,
        "scan and handing out": found.hand_out,
        "worker": found.worker,
        "plain": found.plain,
    }
    sizes = ", ".join(f"{name} {size / 1e6:,.0f}" for name, size in megabytes.items())
    return (
        f"{found.samples:,} samples in {found.chunks:,} chunks, peak MB: {sizes}; largest chunk "
        f"{found.largest_chunk / 1e6:.1f} MB; scan {found.scan_seconds:.0f} s, worker {found.worker_seconds:.0f} s for "
        f"{found.converted:,} samples, plain {found.plain_seconds:.0f} s"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.convert", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", action="append", help="only cases whose name holds this")
    parser.add_argument("--scale", type=float, help="share of a full release, instead of --items")
    parser.add_argument("--items", type=int, default=2_000, help="items of a release for the rounds")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true", help="say where the time goes, by function")
    parser.add_argument("--memory", type=float, nargs="+", default=[], metavar="SCALE", help="peaks at these scales")
    parser.add_argument("--chunks", type=int, default=1_000_000, help="for the peaks, convert about this many chunks")
    parser.add_argument("--probe", type=Path, nargs="+", default=[], help="videos and stills to probe in earnest")
    parser.add_argument("--annotations", type=Path, help="a folder with the official files of Charades-STA and VidSTG")
    parser.add_argument("--work", type=Path, help="where to write (some GB for a full release)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
