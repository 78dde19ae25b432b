"""``ufvideo weights``: inspect, import and export on the command line."""

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.config import PRESETS, ModelConfig, from_dict
from shards.toml_table import RecipeError

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")
GB = 10**9
KNOWN = ("loaded", "initialised", "missing")
PLACES = ("place", "other shape", "no place", "unexpected")


def _path(text: str) -> Path:
    """Absolute, so that a checkpoint named from inside its run is known for what it is."""
    return Path(text).resolve()


def add_weights(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The subcommands, below ``ufvideo``; torch is imported when one of them runs."""
    weights = commands.add_parser("weights", help="read the weights of others, and write ours for others")
    ways = weights.add_subparsers(metavar="WAY", required=True)
    _add_inspect(ways)
    _add_import(ways)
    _add_export(ways)
    for way in ways.choices.values():
        way.add_argument("--debug", action="store_true", help="show the traceback of an error")


def _add_inspect(ways: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    inspect = ways.add_parser("inspect", help="what files or folders of weights hold")
    inspect.add_argument("paths", type=_path, nargs="+", metavar="PATH")
    inspect.add_argument("--json", action="store_true", help="as JSON, with the names that have no place")
    _add_config(inspect)
    inspect.set_defaults(run=_inspect)


def _add_import(ways: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    bring = ways.add_parser(
        "import",
        help="write a folder that a run can start from",
        description="Of each part, the first source that holds it gives all of it: --language, --vision and --sam2 "
        "come before --from, and those in their order. Exit code 1, with all names in report.json, where a tensor of "
        "the model is missing or one of a source is unexpected.",
    )
    bring.add_argument("--out", type=_path, required=True, metavar="DIR")
    bring.add_argument(
        "--from",
        type=_path,
        action="append",
        default=[],
        metavar="PATH",
        help="a UFVideo or VideoRefer folder, or ours",
    )
    bring.add_argument("--language", type=_path, metavar="PATH", help="a Qwen2 folder")
    bring.add_argument("--vision", type=_path, metavar="PATH", help="a SigLIP folder")
    bring.add_argument("--sam2", type=_path, metavar="PATH", help="sam2_hiera_large.pt, or its folder")
    _add_config(bring)
    _add_written(bring)
    bring.add_argument("--seed", type=int, default=0, help="of rows and parts that are drawn (default 0)")
    bring.add_argument(
        "--allow-unexpected", action="append", default=[], metavar="PREFIX", help="let go of names that begin so"
    )
    bring.set_defaults(run=_import)


def _add_export(ways: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    export = ways.add_parser("export", help="write an imported folder or a checkpoint in the release's names")
    export.add_argument("folder", type=_path, metavar="FOLDER", help="an imported folder, or checkpoints/step-000100")
    export.add_argument("--to", type=_path, required=True, metavar="DIR")
    export.add_argument(
        "--unused", type=_path, metavar="DIR", help="the imported folder whose unused.safetensors comes along"
    )
    _add_written(export)
    export.set_defaults(run=_export)


def _add_config(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--preset", choices=PRESETS, help="the model's size (default: the source's own, else 7b)")
    which.add_argument("--config", type=_path, metavar="FILE", help="the model's sizes as JSON")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE",
        help="change a field of it, for example memory=true or sam2_version=2.1",
    )  # fmt: skip


def _add_written(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dtype", choices=DTYPES, help="of what is written (default: as it is stored)")
    parser.add_argument("--shard-gb", type=_positive, default=5.0, metavar="N", help="most of one file (default 5)")


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError("is above 0")
    return number


def _config(args: argparse.Namespace, paths: Iterable[Path]) -> ModelConfig | None:
    """What is asked for; None where nothing is, and the sources say it."""
    from model.weight_folders import config_at, read_config

    named = read_config(args.config) if args.config else PRESETS[args.preset] if args.preset else None
    if not args.set:
        return named
    named = named or next(filter(None, map(config_at, paths)), PRESETS["7b"])
    return from_dict(dict(map(_field, args.set)), named)


def _field(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    if isinstance(getattr(PRESETS["7b"], name, None), str):
        return name, value
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _dtype(args: argparse.Namespace) -> "torch.dtype | None":
    import torch

    return getattr(torch, args.dtype) if args.dtype else None


# --------------------------------------------------------------------------------------------- what they do


def _inspect(args: argparse.Namespace) -> int:
    from model.weights import inspect_weights

    config = _config(args, args.paths)
    found = [inspect_weights(path, config) for path in args.paths]
    if args.json:
        print(json.dumps(found, indent=1))
    else:
        for one in found:
            _print_inspected(one)
    return 0


def _import(args: argparse.Namespace) -> int:
    from model.weights import Origin, import_weights

    named = [(role, getattr(args, role)) for role in ("language", "vision", "sam2")]
    named += [("from", path) for path in getattr(args, "from")]
    origins = [Origin(role, path) for role, path in named if path is not None]
    if not origins:
        raise RecipeError("no source is named; give --from, or --language, --vision and --sam2")
    report = import_weights(
        origins,
        args.out,
        _config(args, (origin.path for origin in origins)),
        dtype=_dtype(args),
        seed=args.seed,
        allow=args.allow_unexpected,
        shard_bytes=int(args.shard_gb * GB),
    )
    _print_imported(report, args.out)
    return 0


def _export(args: argparse.Namespace) -> int:
    from model.weight_export import export_weights

    counts = export_weights(
        args.folder, args.to, unused=args.unused, dtype=_dtype(args), shard_bytes=int(args.shard_gb * GB)
    )
    print(
        f"written     {args.to}\ntensors     {counts['model']} of the model, {counts['unused']} without a place in it"
    )
    return 0


# --------------------------------------------------------------------------------------------- what they say


def _print_inspected(found: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    files = f"{len(found['files'])} file{'s' * (len(found['files']) > 1)}"
    size = sum(found["files"].values()) / GB
    table = Table(title=f"{found['path']}: {found['kind']}, {files}, {size:.3f} GB", title_justify="left")
    counted = [name for name in PLACES if any(row[name] for row in found["parts"].values())]
    for column in ("part", "tensors", "GB", *counted, "dtypes"):
        table.add_column(column, justify="left" if column in ("part", "dtypes") else "right", no_wrap=True)
    for part, row in found["parts"].items():
        counts = (f"{row[name]:,}" for name in counted)
        table.add_row(part, f"{row['tensors']:,}", f"{row['bytes'] / GB:.3f}", *counts, ", ".join(row["dtypes"]))
    console = Console()
    console.print(table)
    for status in ("other shape", "unexpected"):
        for name, why in list(found["names"][status].items())[:3]:
            console.print(f"{status}: {name} ({why})", markup=False, highlight=False)


def _print_imported(report: Mapping[str, Any], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("part", *KNOWN, title="the model's tensors", title_justify="left")
    for part, counts in report["parts"].items():
        table.add_row(part, *(str(counts.get(status, 0)) for status in KNOWN))
    console = Console()
    console.print(table)
    for told in report["sources"]:
        counts = ", ".join(f"{count} {status}" for status, count in sorted(told["counts"].items()))
        print(f"{told['option']:<11} {told['path']} ({told['kind']}): {counts}")
    for name, told in report["model"].items():
        if "drawn" in told.get("rows", {}):
            print(f"drawn       {told['rows']['drawn']} rows of {name}")
        if "cut" in told.get("rows", {}):
            print(f"cut         {told['rows']['cut']} rows of {name}")
    print(f"written     {out}")
