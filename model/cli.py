"""The ``ufvideo`` command line: reads the words, calls the room that does the work, turns errors into one line.

Exit codes: 0 done; 1 the data or the run failed; 2 the call or the recipe is wrong. Results go to stdout, progress and
errors to stderr; a traceback appears only with ``--debug``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from shards.manifest import CorpusError
from shards.toml_table import RecipeError

DESCRIPTION = """\
Train the full UFVideo model (CVPR 2026) from shards that `multigrain build` has written: SigLIP, STC connector, region
encoder, Qwen2 and the mask decoder of SAM 2."""

EPILOG = """\
a first walk:
  multigrain demo                                  a corpus to learn from, on a generated world
  ufvideo train recipes/train/tiny.toml            a tiny model on it, on a CPU
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
            return _say(str(error), 1)
        return _say(f"unexpected {type(error).__name__}: {error}; run it again with --debug to see where", 1)


def _is_ours(error: Exception) -> bool:
    """Whether the learner raised it on purpose; imported late, since torch takes seconds."""
    from model.checkpoint import CheckpointError
    from model.example import SampleError
    from model.train import NotFinite
    from shards.stream import StateError

    return isinstance(error, (CheckpointError, SampleError, NotFinite, StateError))


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
    return parser


def _steps(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("is 1 or more")
    return number


def _train(args: argparse.Namespace) -> int:
    from model.distributed import start
    from model.gallery import FOLDER, summary_line
    from model.recipe import load_train_recipe
    from model.train import train

    recipe = load_train_recipe(args.recipe)
    folder = args.out or Path("runs") / args.recipe.stem
    with start() as ranks:
        ended = train(recipe, folder, ranks, stop_after=args.stop_after)
    if ranks.rank:
        return 0
    print(f"run         {ended.folder}, step {ended.steps} of {ended.total}")
    if ended.stopped:
        print("stopped     run the same command again to go on")
        return 0
    print(f"loss        {ended.folder / 'loss.png'}")
    if line := summary_line(ended.folder):
        print(f"learned     {line}\npredictions {ended.folder / FOLDER / 'index.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
