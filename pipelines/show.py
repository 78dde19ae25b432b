"""``multigrain show``: one sample as a person reads it, in the terminal or drawn on its frames."""

import difflib
import json
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from shards.draw import draw_sample
from shards.reader import Corpus
from shards.record import Record, Sample, sample_dict
from shards.rle import area
from shards.toml_table import RecipeError


def run_show(path: Path, sample_key: str, png: Path | None, as_json: bool) -> int:
    corpus = Corpus.open(path)
    try:
        row, record, sample = corpus.sample(sample_key)
    except KeyError:
        keys = corpus.samples.column("sample_key").to_pylist()
        near = difflib.get_close_matches(sample_key, keys, n=3, cutoff=0.3) or keys[:3]
        raise RecipeError(f"no sample {sample_key!r} in {path}; near it: {', '.join(near)}") from None
    if png is not None:
        draw_sample(record, sample, lambda frames: corpus.frames(row, record, frames)).save(png, format="PNG")
    if as_json:
        print(json.dumps(sample_dict(sample), ensure_ascii=False))
    else:
        _print(record, sample, Console())
        if png is not None:
            print(f"drawn in {png}")
    return 0


def _print(record: Record, sample: Sample, console: Console) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in _facts(record, sample):
        table.add_row(name, escape(value))
    console.print(table)
    for number, turns in enumerate(sample.renderings()):
        console.print(f"\n[bold]{'turns' if number == 0 else f'wording {number}'}[/bold]")
        for turn in turns:
            colour = "cyan" if turn.role == "user" else "green"
            console.print(f"[{colour}]{turn.role:>9}[/{colour}]  {escape(turn.text)}", soft_wrap=True)


def _facts(record: Record, sample: Sample) -> list[tuple[str, str]]:
    clip = record.clip
    length = "" if clip.duration is None else f", {clip.duration:.2f} s at {clip.fps:.6g} fps"
    facts = [
        ("sample", sample.key),
        ("task", f"{sample.task}  {' '.join(sample.tags)}"),
        ("record", record.key),
        ("clip", f"{clip.kind} {clip.source}, {clip.width}x{clip.height}, {clip.num_frames} frames{length}"),
        ("query", sample.query),
        ("answer", sample.answer),
        ("window", "" if sample.window is None else f"{sample.window[0]:.3f} … {sample.window[1]:.3f} s"),
        ("spans", ", ".join(f"{start:.3f} … {end:.3f} s" for start, end in sample.spans)),
        ("regions", "; ".join(_mask_words(record, [r.masklet], r.frames) for r in sample.regions)),
        ("targets", _targets_words(record, sample)),
        ("tubes", ", ".join(f"{record.tubes[i].id} ({len(record.tubes[i].boxes)} frames)" for i in sample.tubes)),
        ("source", f"{sample.source.file} {sample.source.id}"),
    ]
    return [(name, value) for name, value in facts if value.strip()]


def _targets_words(record: Record, sample: Sample) -> str:
    if sample.targets is None:
        return "unlabelled"
    return "; ".join(_target_words(record, target) for target in sample.targets)


def _target_words(record: Record, target: tuple[int, ...]) -> str:
    if not target:
        return "no such object"
    frames = sorted({frame for index in target for frame in record.masklets[index].rles})
    return _mask_words(record, target, frames)


def _mask_words(record: Record, masklets: list[int] | tuple[int, ...], frames: list[int] | tuple[int, ...]) -> str:
    names = " + ".join(record.masklets[index].id for index in masklets)
    visible = [f for f in frames if any(area(record.masklets[i].rles.get(f, "0")) for i in masklets)]
    return f"masklet {names}: {len(frames)} frames, visible on {len(visible)}"
