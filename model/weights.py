"""Weights of others become ours, and ours become a folder in the release's layout.

An imported folder holds

- ``model.safetensors`` or shards with an index: every tensor of our model's ``state_dict``;
- ``unused.safetensors``: what our model has no place for and an export gives back (SAM 2's memory);
- ``config.json``: our ModelConfig; ``release_config.json``: that of the release's folder, where one was a source;
- ``tokenizer/``: the language source's, with the learned tokens;
- ``report.json``: what became of every tensor (``model.weight_plan``), and the sums of the files.

``docs/weights.md`` is the manual. The release loses a trained segmentation head when a second stage starts from the
first one's folder (its SAM 2 is read anew, ``text_hidden_fcs`` drawn anew); here every part is read where it is.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from model.config import PRESETS, ModelConfig, to_dict
from model.tokenizer import Tokenizer
from model.weight_files import SHARD_BYTES, UNUSED, TensorFiles, WeightsError, write_file, write_sharded
from model.weight_folders import (
    CONFIG,
    OURS,
    RELEASE_CONFIG,
    REPORT,
    TOKENIZER,
    claim,
    config_at,
    json_at,
    new_folder,
    tied,
    tokenizer_folder,
    write_json,
)
from model.weight_names import PARTS, kind_of, our_name, part_of
from model.weight_plan import Plan, Source, place_of, plan_import, shapes_of, skeleton

FORMAT: Final = 1
"""Raised when a file of an imported folder changes its meaning."""
FREE: Final = (
    *("vocab_size", "num_frames", "num_mask_frames", "max_region_frames", "region_tokens", "init_std"),
    *("object_score", "compat"),
)
"""Fields of ModelConfig that no weight depends on; a run may set them as it likes."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A source as the caller names it: the option (``from``, ``language``, ``vision``, ``sam2``) and a path."""

    role: str
    path: Path


# --------------------------------------------------------------------------------------------- import


def import_weights(
    origins: Sequence[Origin],
    out: Path,
    config: ModelConfig | None = None,
    *,
    dtype: torch.dtype | None = None,
    seed: int = 0,
    allow: Sequence[str] = (),
    shard_bytes: int = SHARD_BYTES,
) -> dict[str, Any]:
    """Write the folder ``out`` and return its report.

    Without a ``config`` that of the first source that has ours is taken, else the 7B model's; the tokenizer says its
    ``vocab_size``. Without a ``dtype`` tensors keep their own. Raises WeightsError, and leaves at most ``report.json``,
    where a tensor is missing or unexpected (``allow``: beginnings of names that are let go) or does not fit.
    """
    claim(out)
    sources = [Source(origin.role, TensorFiles(origin.path), tied(origin.path)) for origin in origins]
    tokenizer = _tokenizer(origins, sources)
    config = config or next(filter(None, (config_at(origin.path) for origin in origins)), PRESETS["7b"])
    config = replace(config, vocab_size=len(tokenizer) if tokenizer else config.vocab_size)
    plan = plan_import(sources, config, tokenizer, dtype, seed, tuple(allow))
    report = _report(plan, config, dtype, seed)
    _judge(plan, report, out)

    partial_out = new_folder(out.with_name(f"{out.name}.partial"))
    report["files"] = write_sharded(partial_out, plan.outgoing, shard_bytes)
    if plan.kept:
        report["files"][UNUSED] = write_file(partial_out / UNUSED, plan.kept)
    for source in sources:
        source.files.close()
    if tokenizer is not None:
        tokenizer.save(partial_out / TOKENIZER)
    if (told := _release_config(origins)) is not None:
        write_json(partial_out / RELEASE_CONFIG, told)
    write_json(partial_out / CONFIG, to_dict(config))
    write_json(partial_out / REPORT, report)
    (out / REPORT).unlink(missing_ok=True)  # of an import that failed
    partial_out.replace(out)
    return report


def _report(plan: Plan, config: ModelConfig, dtype: torch.dtype | None, seed: int) -> dict[str, Any]:
    parts = {part: Counter() for part in PARTS}
    for name, told in plan.model.items():
        parts[part_of(name)][told["status"]] += 1
    counts = [Counter(told["status"] for told in source["tensors"].values()) for source in plan.sources]
    return {
        "format": FORMAT,
        "dtype": "as stored" if dtype is None else str(dtype).removeprefix("torch."),
        "seed": seed,
        "vocab_size": config.vocab_size,
        "parts": {part: dict(count) for part, count in parts.items()},
        "model": plan.model,
        "sources": [{**source, "counts": dict(count)} for source, count in zip(plan.sources, counts, strict=True)],
    }


def _judge(plan: Plan, report: dict[str, Any], out: Path) -> None:
    """Raise WeightsError for what is missing or unexpected, with the whole list in ``out``'s report."""
    missing, unexpected = plan.with_status("missing"), plan.with_status("unexpected")
    if not missing and not unexpected:
        return
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / REPORT, report)
    reasons = []
    if missing:
        whole = {part for part in PARTS if report["parts"][part].keys() == {"missing"}}
        remedy = (
            f"give {' and '.join(_option(part) for part in PARTS if part in whole)}" if whole else "take a whole copy"
        )
        reasons.append(f"missing {_some(missing)} ({plan.model[missing[0]]['why']}): {remedy}")
    if unexpected:
        first = next(source for source in report["sources"] if unexpected[0] in source["tensors"])
        why = first["tensors"][unexpected[0]]["why"]
        reasons.append(
            f"{first['path']}: unexpected {_some(unexpected)} ({why}): let go of what you know with --allow-unexpected"
        )
    raise WeightsError(f"{'; '.join(reasons)}; all names are in {out / REPORT}")


def _option(part: str) -> str:
    return f"--{part}" if part in ("language", "vision", "sam2") else "--from a folder with all of its parts"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _release_config(origins: Sequence[Origin]) -> dict[str, Any] | None:
    """The config.json of the first source that is a release's folder, without ours; or the one an import kept."""
    for path in (origin.path for origin in origins if origin.role == "from"):
        told = json_at(path / RELEASE_CONFIG) or json_at(path / CONFIG)
        if told is not None and "model_type" in told:
            return {name: value for name, value in told.items() if name != OURS}
    return None


def _tokenizer(origins: Sequence[Origin], sources: Sequence[Source]) -> Tokenizer | None:
    """That of the source which gives the language model: another's ids would mean other rows."""
    named = [n for n, origin in enumerate(origins) if origin.role == "language"]
    having = [n for n, source in enumerate(sources) if origins[n].role == "from" and _has_language(source.files)]
    for number in (named + having)[:1]:
        if (folder := tokenizer_folder(origins[number].path)) is not None:
            try:
                return Tokenizer.load(folder)
            except ValueError as error:
                raise WeightsError(str(error)) from None
    return None


def _has_language(files: TensorFiles) -> bool:
    return any((our_name(name) or "").startswith(PARTS["language"]) for name in files.stored)


# --------------------------------------------------------------------------------------------- start of a run


def fingerprint(folder: Path) -> str:
    """What a run records of the imported folder that it starts from: a hash of its files' sums, configuration
    and tokenizer.

    Raises WeightsError if the folder is not an import's, or a file has another size than its report says.
    """
    report, config = json_at(folder / REPORT), json_at(folder / CONFIG)
    if report is None or config is None or "files" not in report:
        raise WeightsError(f"{folder} is no imported folder; write one with `ufvideo weights import --out {folder} …`")
    for name, entry in report["files"].items():
        size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size != entry["bytes"]:
            raise WeightsError(f"{folder / name} has {size} bytes and not {entry['bytes']}; import it again")
    words = {file.name: file.read_text("utf-8") for file in sorted((folder / TOKENIZER).glob("*.json"))}
    told = json.dumps([report["files"], config, words], sort_keys=True)
    return hashlib.sha256(told.encode("utf-8")).hexdigest()


def check_config(folder: Path, config: ModelConfig) -> None:
    """Raise WeightsError, naming what differs, unless ``config`` describes the model of an imported folder."""
    there = config_at(folder)
    if there is None:
        raise WeightsError(
            f"{folder} is no imported folder: it has no {CONFIG}; write one with `ufvideo weights import`"
        )
    before, now = asdict(there), asdict(config)
    differing = [
        f"`{name}` is {before[name]} there and {now[name]} in the recipe"
        for name in before
        if before[name] != now[name] and name not in FREE
    ]
    if differing:
        raise WeightsError(
            f"{folder / CONFIG}: {'; '.join(differing[:4])}; set the recipe's preset and fields to match"
        )


def load_weights(folder: Path, model: nn.Module) -> None:
    """Copy an imported folder into ``model``, tensor by tensor, in the model's own dtype and on its device.

    Raises WeightsError, before anything is changed, where a tensor is missing or has another shape.
    """
    files = TensorFiles(folder)
    targets = model.state_dict()
    for name, target in targets.items():
        if name not in files.stored or files.stored[name].shape != tuple(target.shape):
            there = list(files.stored[name].shape) if name in files.stored else "not there"
            raise WeightsError(
                f"{folder}: {name} is {there}, {list(target.shape)} in the model; import it again for this recipe"
            )
    for name, target in targets.items():
        target.copy_(files.read(name))
    files.close()


# --------------------------------------------------------------------------------------------- inspect


def inspect_weights(path: Path, config: ModelConfig | None = None) -> dict[str, Any]:
    """What a file or folder holds, as JSON: kind, files, and per part its tensors, bytes, dtypes and places.

    Places are those in the model of ``config``, by default the path's own, else the 7B model.
    """
    files = TensorFiles(path)
    shapes = shapes_of(skeleton(config or config_at(path) or PRESETS["7b"]))
    parts: dict[str, dict[str, Any]] = {}
    names: dict[str, dict[str, str]] = {"other shape": {}, "no place": {}, "unexpected": {}}
    for name, stored in files.stored.items():
        place = place_of(name, stored.shape, shapes)
        ours = our_name(name)
        part = parts.setdefault(part_of(ours) if ours else "other", _empty_part())
        part["tensors"] += 1
        part["bytes"] += stored.bytes
        dtype = str(stored.dtype).removeprefix("torch.")
        part["dtypes"][dtype] = part["dtypes"].get(dtype, 0) + 1
        part[place.status] += 1
        if place.status != "place":
            names[place.status][name] = place.why
    order: Callable[[str], int] = (*PARTS, "other").index
    return {
        "path": str(path),
        "kind": kind_of(files.stored),
        "files": {file.name: file.stat().st_size for file in files.files},
        "parts": {part: parts[part] for part in sorted(parts, key=order)},
        "names": names,
    }


def _empty_part() -> dict[str, Any]:
    return {"tensors": 0, "bytes": 0, "dtypes": {}, "place": 0, "other shape": 0, "no place": 0, "unexpected": 0}
