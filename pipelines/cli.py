"""The ``multigrain`` command line: reads the words, calls the room that does the work, turns errors into one line.

Exit codes: 0 done; 1 the data or the run failed; 2 the call or the recipe is wrong. Results go to stdout, progress and
errors to stderr; a traceback appears only with ``--debug``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from converters.base import UnknownSplit
from converters.convert import UNEXPECTED
from converters.raw_files import DatasetError
from converters.table import UnknownConverter
from pipelines.build import BuildFailed, Built
from pipelines.needs import MissingLibrary
from pipelines.new import TASKS
from shards.frame_zip import MediaChanged
from shards.manifest import CorpusError
from shards.media import MediaError
from shards.toml_table import RecipeError

WRONG_CALL = (RecipeError, UnknownSplit, UnknownConverter)
FAILED = (DatasetError, CorpusError, MediaChanged, MediaError, MissingLibrary, OSError)

DESCRIPTION = """\
Build the training corpora of multi-grained video LLMs: official releases of video and image annotation datasets
become verified WebDataset shards of instruction samples, with an account of every item that was dropped."""

EPILOG = """\
a first walk:
  multigrain demo                                  the whole job on a small generated world
  multigrain list                                  which datasets and tasks there are
  multigrain check recipes/corpus/five.toml        what of the raw releases is here, and what is missing
  multigrain build recipes/corpus/five.toml --out corpora/five
  multigrain verify corpora/five
  multigrain show corpora/five mevis/train/<video>/0 --png sample.png
  multigrain preview corpora/five --out gallery"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        return args.run(args)
    except KeyboardInterrupt:
        return _say("stopped; run the same command again to go on where it stopped", 1)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except BuildFailed as failure:
        from pipelines.counts import print_counts

        print_counts(failure.entries, Console(stderr=True))
        return _say(
            f"{failure}. Every skipped item is listed in {failure.skipped_file}; no new manifest was written", 1
        )
    except WRONG_CALL as error:
        if args.debug:
            raise
        return _say(str(error), 2)
    except FAILED as error:
        if args.debug:
            raise
        return _say(str(error), 1)
    except Exception as error:
        if args.debug:
            raise
        words = f"unexpected {type(error).__name__}: {error}"
        return _say(
            f"{words}; a fault of multigrain, or of a converter of yours: run it again with --debug to see where", 1
        )


def _say(words: str, code: int) -> int:
    print(f"multigrain: {words}", file=sys.stderr)
    return code


# ------------------------------------------------------------------------------------------------ the words


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "multigrain", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, run: str, help: str, more: str = "") -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, parents=[common], help=help, description=f"{help[0].upper()}{help[1:]}. {more}"
        )
        added.set_defaults(run=globals()[run])
        return added

    build = command(
        "build",
        "_build",
        "convert, render, shard, index and report what a recipe names",
        "Run it again to resume a build that was stopped. Two builds of the same inputs are byte-identical.",
    )
    build.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    build.add_argument("--out", metavar="DIR", help="the corpus (default: `out` of the recipe, or its name here)")
    build.add_argument(
        "--workers", type=_workers, metavar="N", help="processes; 0: this process, without Ray (default: all CPUs)"
    )
    build.add_argument("--address", metavar="RAY", help="a running Ray cluster, e.g. auto or ray://head:10001")
    build.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="changes",
        help="change the recipe, e.g. wordings=2 or dataset.mevis-train.take=100",
    )  # fmt: skip

    check = command(
        "check",
        "_check",
        "what of each raw release is present, missing, misnamed or corrupt, before any conversion",
        "Says where its owners publish what is missing, and the command that puts right what is misnamed.",
    )
    check.add_argument("recipe", type=Path, metavar="RECIPE.toml")
    check.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="changes", help="as for build")
    check.add_argument(
        "--items", action=argparse.BooleanOptionalAction,
        help="look for the media of every item (default: where the annotation files are small)",
    )  # fmt: skip
    check.add_argument("--json", action="store_true", help="one JSON object on stdout")

    verify = command("verify", "_verify", "read a whole corpus again and check everything that is said about it")
    verify.add_argument("corpus", type=Path)
    verify.add_argument("--json", action="store_true", help="one JSON object on stdout")

    stats = command(
        "stats",
        "_stats",
        "what a corpus holds, and what became of every raw item",
        "Raw items, kept, share; skip reasons and adjustments; tasks, lengths, licences, leaks. No shard is read.",
    )
    stats.add_argument("corpus", type=Path)
    stats.add_argument("--json", action="store_true", help="one JSON object on stdout")

    leaks = command(
        "leaks",
        "_leaks",
        "the same picture or video in a train split and in another one",
        "Within a corpus and across corpora, by the id that its owner gave it and by content.",
    )
    leaks.add_argument("corpora", type=Path, nargs="+", metavar="CORPUS")
    leaks.add_argument("--json", action="store_true", help="one JSON object on stdout")
    leaks.add_argument("--out", type=Path, metavar="FILE", help="list the train samples to leave out, as JSON lines")
    leaks.add_argument("--fail", action="store_true", help="exit with 1 if there is any leak")

    show = command("show", "_show", "one sample in the terminal, or drawn on its frames")
    show.add_argument("corpus", type=Path)
    show.add_argument("sample_key", metavar="SAMPLE_KEY", help="e.g. mevis/train/<video>/0")
    show.add_argument("--png", type=Path, metavar="FILE", help="draw masks, boxes and spans on the sample's frames")
    show.add_argument("--json", action="store_true", help="the sample as it stands in the shard")

    preview = command("preview", "_preview", "a static HTML gallery of samples")
    preview.add_argument("corpus", type=Path)
    preview.add_argument("--out", type=Path, required=True, metavar="DIR")
    preview.add_argument("--samples", type=_samples, default=60, metavar="N", help="how many, spread over entries (60)")

    draws = command(
        "draws",
        "_draws",
        "what the stream of a train recipe will deliver",
        "One line per draw: step, record key, sample keys, repetition. Only the indexes are read.",
    )
    draws.add_argument("recipe", type=Path, metavar="TRAIN.toml")
    draws.add_argument("--epoch", type=int, default=0, metavar="E", help="counted from 0 (0)")
    draws.add_argument("--steps", metavar="A:B", help="steps A ≤ k < B, either end open (all)")
    draws.add_argument("--rank", type=int, default=0, metavar="R", help="the draws of this rank of --world (0)")
    draws.add_argument("--world", type=int, default=1, metavar="N", help="number of ranks (1: all draws)")
    draws.add_argument("--json", action="store_true", help="one JSON object per line")

    listing = command("list", "_list", "the converters, tasks and recipes there are")
    listing.add_argument("--json", action="store_true", help="one JSON object on stdout")

    new = command(
        "new",
        "_new",
        "the scaffold of a converter: it builds and passes its tests at once, then is edited into yours",
        "In a folder of its own, which needs no change of multigrain.",
    )
    new.add_argument("name", metavar="NAME", help="of the data set, e.g. kitchen or my_kitchen")
    new.add_argument("--task", choices=TASKS, default="temporal_grounding", help="what its samples are for")
    new.add_argument("--out", type=Path, metavar="DIR", help="a new folder (default: NAME)")
    new.add_argument("--bundled", action="store_true", help="beside the bundled ones, in a checkout of multigrain")

    demo = command("demo", "_demo", "the main job on a generated world: five raw releases, shards, pictures")
    demo.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR", help="a new folder (default: demo)")
    demo.add_argument("--clips", type=int, default=8, metavar="N", help="clips per dataset (8)")
    demo.add_argument("--workers", type=_workers, metavar="N", help="as for build")
    return parser


def _workers(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("is 0 or more")
    return number


def _samples(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("is 1 or more")
    return number


# --------------------------------------------------------------------------------------------- the commands


def _build(args: argparse.Namespace) -> int:
    from pipelines.build import build
    from pipelines.counts import print_counts
    from pipelines.progress import Progress
    from pipelines.recipe import load_recipe
    from pipelines.report import write_report

    recipe = load_recipe(args.recipe, args.changes)
    out = args.out or (str(args.recipe.parent / recipe.out) if recipe.out else recipe.name)
    if "://" in out:
        raise RecipeError(f"--out {out}: this version writes to local disk only; build there and copy the folder")
    built = build(recipe, Path(out), workers=args.workers, address=args.address, progress=Progress())
    write_report(built)
    print_counts(built.outcomes, Console())
    _warn_of_the_unexpected(built)
    print(f"corpus {built.corpus}\nreport {built.corpus / 'report.html'}")
    return 0


def _warn_of_the_unexpected(built: Built) -> None:
    details = [skip.detail for outcome in built.outcomes for skip in outcome.skipped]
    if found := [detail for detail in details if detail.startswith(UNEXPECTED)]:
        _say(f"{len(found)} items were skipped for reasons that no converter foresaw, the first is {found[0]!r}", 0)


def _check(args: argparse.Namespace) -> int:
    from pipelines.check_report import run_check

    return run_check(args.recipe, args.changes, args.items, args.json)


def _verify(args: argparse.Namespace) -> int:
    from pipelines.verifying import run_verify

    return run_verify(_corpus(args.corpus), args.json)


def _stats(args: argparse.Namespace) -> int:
    from pipelines.stats import run_stats

    return run_stats(_corpus(args.corpus), args.json)


def _leaks(args: argparse.Namespace) -> int:
    from pipelines.leak_report import run_leaks

    return run_leaks([_corpus(path) for path in args.corpora], args.json, args.out, args.fail)


def _show(args: argparse.Namespace) -> int:
    from pipelines.show import run_show

    return run_show(_corpus(args.corpus), args.sample_key, args.png, args.json)


def _preview(args: argparse.Namespace) -> int:
    from pipelines.preview import write_preview

    page = write_preview(_corpus(args.corpus), args.out, args.samples)
    print(f"gallery {page}")
    return 0


def _draws(args: argparse.Namespace) -> int:
    from pipelines.draws import print_draws

    return print_draws(args.recipe, args.epoch, args.steps, args.rank, args.world, args.json)


def _list(args: argparse.Namespace) -> int:
    from pipelines.listing import run_list

    return run_list(args.json)


def _new(args: argparse.Namespace) -> int:
    from pipelines.new import run_new

    return run_new(args.name, args.task, args.out, args.bundled)


def _demo(args: argparse.Namespace) -> int:
    from pipelines.needs import CONVERSION, require

    require(*CONVERSION)
    from pipelines.demo import run_demo

    return run_demo(args.out, args.clips, args.workers)


def _corpus(path: Path) -> Path:
    if not path.exists() and "://" not in str(path):
        raise RecipeError(f"{path} does not exist; name the folder of a built corpus")
    return path


if __name__ == "__main__":
    sys.exit(main())
