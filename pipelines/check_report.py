"""The page of ``multigrain check``: a table for each entry, and below it what to do, in lines that can be copied."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.check import Checked, Finding, check_entry
from pipelines.check_files import Disk
from pipelines.check_items import Items
from pipelines.progress import Progress, Stage
from pipelines.recipe import Recipe, load_recipe

COLOURS: Final = {
    "present": "green", "incomplete": "yellow", "misnamed": "yellow", "missing": "red", "corrupt": "red",
}  # fmt: skip


def run_check(path: Path, changes: list[str], items: bool | None, as_json: bool) -> int:
    """Check the releases that a recipe names; 0 where a build finds all that it needs, else 1."""
    recipe = load_recipe(path, changes, roots_exist=False)
    with Progress().stage("looking at releases", len(recipe.entries)) as bar:
        checked = _check_all(recipe, items, bar)
    if as_json:
        print(json.dumps(as_plain(path, checked)))
    else:
        print_checked(checked, recipe, Console())
    return 0 if all(one.ready for one in checked) else 1


def _check_all(recipe: Recipe, items: bool | None, bar: Stage) -> list[Checked]:
    """Every entry in order; the bar counts entries, and MiB while a large file is hashed."""
    checked: list[Checked] = []

    def tell(words: str, done: int, total: int) -> None:
        bar.bars.update(bar.task, description=words, completed=done, total=total)

    def tell_items(count: int) -> None:
        tell(f"{recipe.entries[len(checked)].name}: {count:,} items", len(checked), len(recipe.entries))

    disk = Disk(lambda path, done, total: tell(f"hashing {path.name}, MiB", done >> 20, total >> 20))
    for entry in recipe.entries:
        tell_items(0)
        checked.append(check_entry(entry, recipe, disk, items, tell_items))
    bar.done = len(checked)
    tell("looking at releases", len(checked), len(recipe.entries))
    return checked


# ------------------------------------------------------------------------------------------------ for people


def print_checked(checked: list[Checked], recipe: Recipe, console: Console) -> None:
    """Every entry, what to do about it unless that was said before, and how many entries a build can begin with."""
    said: set[tuple[Path, Finding]] = set()
    for one in checked:
        title = Text().append("ready      " if one.ready else "not ready  ", "bold green" if one.ready else "bold red")
        title.append(one.entry.name, "bold").append(f"  {one.entry.converter}, {one.entry.split}, in {one.root}", "dim")
        console.print(title, soft_wrap=True)
        before = {finding for finding in one.findings if (one.root, finding) in said}
        if one.findings:
            console.print(_table(one.findings, before))
        for words, style in _lines(one, recipe, before):
            console.print(Text(words, style), soft_wrap=True)
        said |= {(one.root, finding) for finding in one.findings}
        console.print()
    ready = sum(one.ready for one in checked)
    console.print(f"{ready} of {len(checked)} entries are ready to be built", highlight=False)


def _table(findings: tuple[Finding, ...], before: set[Finding]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, overflow="fold")
    table.add_column()
    for finding in findings:
        state = Text(f"  {finding.state}", COLOURS[finding.state])
        remark = finding.remark if finding.state == "present" else "as above" if finding in before else ""
        table.add_row(state, Text(finding.need.path), Text(remark))
    return table


def _lines(one: Checked, recipe: Recipe, before: set[Finding]) -> Iterator[tuple[str, str]]:
    """What is below the table: words, and their style."""
    if not one.findings and one.items is None:
        yield "  the converter does not say what its release consists of", ""
    if one.items is not None:
        yield f"  {items_words(one.items, recipe)}", ""
        if one.items.example:
            yield f"  the first: {one.items.example}", ""
    if one.note:
        yield f"  {one.note}", ""
    for problem in one.problems:
        yield f"  {problem}", "red"
    for line in one.remedy:
        yield f"    {line}", "cyan"
    for finding in one.findings:
        if finding.state == "present" or finding in before or not (finding.remark or finding.remedy):
            continue
        remark = f": {finding.remark}" if finding.remark else ""
        yield f"  {finding.state} {finding.need.path} ({finding.need.what}){remark}", COLOURS[finding.state]
        for line in finding.remedy:
            yield f"    {line}", "cyan"


def items_words(items: Items, recipe: Recipe) -> str:
    """How many items have their media, and what becomes of the others."""
    words = f"{items.with_media:,} of {items.items:,} items have their media"
    if items.lost:
        lost = ", ".join(f"{count:,} as {reason}" for reason, count in items.lost.items())
        words += f"; a build would skip {lost}"
    if items.missing:
        share = items.missing / items.items
        words += f" ({share:.1%} missing, max_missing_share is {recipe.max_missing_share:g})"
    return words


# ---------------------------------------------------------------------------------------------- for machines


def as_plain(recipe: Path, checked: list[Checked]) -> dict[str, Any]:
    """The same as plain JSON."""
    return {
        "recipe": str(recipe),
        "ready": all(one.ready for one in checked),
        "entries": [_entry_plain(one) for one in checked],
    }


def _entry_plain(one: Checked) -> dict[str, Any]:
    return {
        "entry": one.entry.name,
        "converter": one.entry.converter,
        "split": one.entry.split,
        "root": str(one.root),
        "ready": one.ready,
        "problems": one.problems,
        "remedy": one.remedy,
        "needed": [_finding_plain(finding) for finding in one.findings],
        "items": None if one.items is None else asdict(one.items) | {"with_media": one.items.with_media},
    }


def _finding_plain(finding: Finding) -> dict[str, Any]:
    need = finding.need
    told = {name: getattr(need, name) for name in ("path", "what", "page", "archive", "count", "checksum", "optional")}
    said = {name: getattr(finding, name) for name in ("state", "remark", "found_as", "remedy")}
    return told | said
