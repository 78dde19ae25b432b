"""The ``ufvideo`` command line: reads the words, calls the room that does the work, turns errors into one line.

Exit codes: 0 done; 1 the data or the run failed; 2 the call or the recipe is wrong. Results go to stdout, progress and
errors to stderr; a traceback appears only with ``--debug``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model.weight_cli import add_weights
from shards.manifest import CorpusError
from shards.toml_table import RecipeError

DESCRIPTION = """\
Train the full UFVideo model (CVPR 2026) from shards that `multigrain build` has written: SigLIP, STC connector, region
encoder, Qwen2 and the mask decoder of SAM 2."""

EPILOG = """\
a first walk:
  multigrain demo                                  a corpus to learn from, on a generated world
  ufvideo train recipes/train/tiny.toml            a tiny model on it, on a CPU
  ufvideo generate --checkpoint demo/run --video FILE.mp4 --prompt "Segment the green circle." --out answer
  torchrun --nproc-per-node 8 -m model.train RECIPE.toml --out runs/mine"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        return _say("stopped; run the same command again to go on from the last checkpoint", 1)
    except ModuleNotFoundError as error:
        if args.debug:
            raise
        return _say(f"{error.name} is not installed; run pip install '.[train]' in the checkout", 1)
    except RecipeError as error:
        if args.debug:
            raise
        return _say(str(error), 2)
    except Exception as error:
        if args.debug:
            raise
        if isinstance(error, (CorpusError, OSError)) or _is_ours(error):
            return _say(str(error), 2 if type(error).__name__ == "AnswerError" else 1)
        return _say(f"unexpected {type(error).__name__}: {error}; run it again with --debug to see where", 1)


def _is_ours(error: Exception) -> bool:
    """Whether the learner raised it on purpose; imported late, since torch takes seconds."""
    from model.checkpoint import CheckpointError
    from model.config import ConfigError
    from model.example import SampleError
    from model.open_clip import AnswerError
    from model.train import FaultElsewhere, NotFinite
    from model.weight_files import WeightsError
    from shards.stream import StateError

    return isinstance(
        error,
        (AnswerError, CheckpointError, SampleError, NotFinite, FaultElsewhere, ConfigError, StateError, WeightsError),
    )


def _say(words: str, code: int) -> int:
    print(f"ufvideo: {words}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "ufvideo", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    train = commands.add_parser(
        "train",
        help="train what a recipe describes, or go on where it stopped",
        description="Train what a recipe describes. Run it again to go on from the last checkpoint. With torchrun, "
        "every process takes its part of each global step.",
    )
    train.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    train.add_argument("--out", type=Path, metavar="DIR", help="the run's folder (default: runs/<name of the recipe>)")
    train.add_argument(
        "--stop-after", type=_steps, metavar="N", help="end this call once N steps are done, with a checkpoint"
    )
    train.add_argument("--debug", action="store_true", help="show the traceback of an error")
    train.set_defaults(run=_train)

    generate = commands.add_parser(
        "generate",
        help="ask a trained model about a video, a still or a folder of frames",
        description="Prints the answer with its times in seconds. Objects are pointed at with <Ref> in the prompt and "
        "one --region each, in the order of the prompts.",
    )
    generate.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        metavar="DIR",
        help="a run, one of its checkpoints, or imported weights",
    )
    media = generate.add_mutually_exclusive_group(required=True)
    media.add_argument("--video", type=Path, dest="media", metavar="FILE")
    media.add_argument("--image", type=Path, dest="media", metavar="FILE")
    media.add_argument("--frames", type=Path, dest="media", metavar="DIR", help="pictures, in the order of their names")
    generate.add_argument(
        "--prompt", action="append", required=True, metavar="TEXT",
        help="a question; several are answered each by itself, and the clip is looked at once",
    )  # fmt: skip
    generate.add_argument(
        "--region", action="append", default=[], metavar="WHAT@FRAME",
        help="a mask's file, a box x1,y1,x2,y2 or a point x,y in pixels, on a frame (0)",
    )  # fmt: skip
    generate.add_argument("--window", type=_window, metavar="A:B", help="look at these seconds only")
    generate.add_argument("--mask-frames", type=_steps, metavar="N", help="masks on N frames only, evenly (all)")
    generate.add_argument(
        "--prompt-frame",
        type=_count,
        metavar="N",
        help="of a model with memory: find objects here, follow them",
    )
    generate.add_argument("--out", type=Path, metavar="DIR", help="write answer.json and overlay.webp here")
    generate.add_argument("--json", action="store_true", help="one JSON object on stdout")
    generate.add_argument("--debug", action="store_true", help="show the traceback of an error")
    generate.set_defaults(run=_generate)
    add_weights(commands)

    describe = commands.add_parser(
        "describe",
        help="what a model weighs, and what a sample costs, part by part",
        description="Parameters, and TFLOP of one sample (a clip and a conversation), forward and with backward as far "
        "as parts are trained. Needs no weights, no GPU and little memory.",
    )
    describe.add_argument(
        "source", nargs="?", default="7b", metavar="PRESET | RECIPE.toml | RUN_DIR", help="tiny, small, 7b (default), …"
    )
    describe.add_argument("--text-tokens", type=_steps, default=150, metavar="N", help="besides the clip's (150)")
    describe.add_argument("--supervised", type=_steps, default=60, metavar="N", help="of them, are learned (60)")
    describe.add_argument("--mask-frames", type=_count, metavar="N", help="frames with masks (the model's, 4)")
    describe.add_argument("--objects", type=_count, default=1, metavar="N", help="<Seg>s on each of them (1)")
    describe.add_argument(
        "--regions", type=_count, default=0, metavar="N", help="frames on which an object is shown for <Ref> (0)"
    )
    describe.add_argument("--json", action="store_true", help="one JSON object on stdout, with FLOP and bytes")
    describe.add_argument("--debug", action="store_true", help="show the traceback of an error")
    describe.set_defaults(run=_describe)
    return parser


def _window(text: str) -> tuple[float, float]:
    start, _, end = text.partition(":")
    try:
        return float(start), float(end)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not A:B in seconds, for example 3.5:10") from None


def _steps(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _train(args: argparse.Namespace) -> int:
    from model.distributed import start
    from model.gallery import FOLDER, summary_line
    from model.recipe import load_train_recipe
    from model.train import train

    recipe = load_train_recipe(args.recipe)
    folder = args.out or Path("runs") / args.recipe.stem
    try:
        joined = start()
    except ValueError as error:
        raise RecipeError(str(error)) from None
    with joined as ranks:
        ended = train(recipe, folder, ranks, stop_after=args.stop_after)
    if ranks.rank:
        return 0
    print(f"run         {ended.folder}, step {ended.steps} of {ended.total}")
    if ended.interrupted:
        return _say(f"stopped after step {ended.steps}; run the same command again to go on", 1)
    if ended.steps < ended.total:
        print("stopped     as asked; without --stop-after, or with a later one, the run goes on")
        return 0
    print(f"loss        {ended.folder / 'loss.png'}")
    if line := summary_line(ended.folder):
        print(f"learned     {line}\npredictions {ended.folder / FOLDER / 'index.html'}")
    return 0


def _generate(args: argparse.Namespace) -> int:
    from model.generate import run_generate

    return run_generate(
        args.checkpoint, args.media, args.prompt, args.region,
        window=args.window, mask_frames=args.mask_frames, prompt_frame=args.prompt_frame,
        out=args.out, as_json=args.json,
    )  # fmt: skip


def _describe(args: argparse.Namespace) -> int:
    from model.describe import Sample, run_describe

    sample = Sample(args.text_tokens, args.supervised, args.mask_frames, args.objects, args.regions)
    return run_describe(args.source, sample, as_json=args.json)


if __name__ == "__main__":
    sys.exit(main())
