"""The parts of docs/datasets.md that follow from the code: ``python -m pipelines.dataset_page`` writes them anew.

They stand between ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->``; what people wrote around them stays. A converter
of the table that has no section yet gets one, to be completed by hand.
"""

import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, Final

from converters.base import Converter
from converters.release import Needed
from converters.table import CONVERTERS, find_converter
from shards.skips import ADJUSTMENTS, FREE_REASONS, REASONS

PAGE: Final = Path(__file__).parent.parent / "docs" / "datasets.md"
REASONS_BLOCK: Final = "skip reasons"


def updated(page: str) -> str:
    """``page`` with all its generated parts as the code has them now."""
    for name in CONVERTERS:
        if _begin(name) not in page:
            head, mark, tail = page.partition("\n## Why items are skipped\n")
            page = f"{head}\n{_new_section(name)}{mark}{tail}"
        page = _filled(page, name, section(find_converter(name)))
    return _filled(page, REASONS_BLOCK, reasons())


def _begin(name: str) -> str:
    return f"<!-- begin: {name} -->"


def _filled(page: str, name: str, text: str) -> str:
    end = f"<!-- end: {name} -->"
    block = re.compile(f"{re.escape(_begin(name))}\n.*?{re.escape(end)}", re.DOTALL)
    if not block.search(page):
        raise ValueError(f"{PAGE.name} has no part {_begin(name)} … {end}")
    return block.sub(lambda _: f"{_begin(name)}\n{text}{end}", page)


def _new_section(name: str) -> str:
    return (
        f"## `{name}`\n\n{_begin(name)}\n<!-- end: {name} -->\n\nSample keys: `{name}/<split>/…`\n\n"
        "| what is odd | what becomes of it |\n| --- | --- |\n"
    )


# -------------------------------------------------------------------------------------------- one converter


def section(converter: type[Converter]) -> str:
    """What a converter's class says about itself, as Markdown."""
    rows = {
        "citation": converter.citation,
        "licence of the annotations": converter.license,
        "page": f"<{converter.homepage}>" if converter.homepage else "",
        "tasks": ", ".join(f"`{task}`" for task in converter.tasks),
        "splits": ", ".join(f"`{split}`" for split in converter.splits),
        **{f"option `{name}`": _option(converter, name) for name in converter.options},
    }
    table = "".join(f"| {name} | {words} |\n" for name, words in rows.items() if words)
    needs = all_needed(converter)
    parts = [f"{converter.title}.\n", f"| | |\n| --- | --- |\n{table}"]
    if needs:
        parts += [f"```text\n{tree(needs)}```\n", published(needs)]
    return "\n".join(parts)


def _option(converter: type[Converter], name: str) -> str:
    option = converter.options[name]
    choices = ", ".join(f"`{choice}`" for choice in option.choices) or "a path"
    several = "; one or a list" if option.many else ""
    return f"{option.help}: {choices}{several}"


def all_needed(converter: type[Converter]) -> list[Needed]:
    """What any split needs with any options, in the order of the splits."""
    needs: dict[Needed, None] = {}
    for split in converter.splits:
        for options in _combinations(converter):
            needs |= dict.fromkeys(converter(Path(), split, options).release())
    return list(needs)


def _combinations(converter: type[Converter]) -> Iterator[dict[str, Any]]:
    choices = [option.choices or (None,) for option in converter.options.values()]
    for values in product(*choices):
        yield dict(zip(converter.options, values, strict=True))


def tree(needs: list[Needed]) -> str:
    """The folders and files below the root, and what they hold; a folder that splits share stands there once."""
    lines: list[tuple[str, str]] = [("<root>/", "")]
    shown: set[str] = set()
    for path in sorted({need.path for need in needs}, key=lambda path: path.split("/")):
        *folders, name = path.split("/")
        for depth, folder in enumerate(folders):
            above = "/".join(folders[: depth + 1])
            if above not in shown:
                lines.append((f"{'  ' * (depth + 1)}{folder}/", ""))
                shown.add(above)
        same = [need for need in needs if need.path == path]
        leaf = f"{name}/{same[0].holds}" if same[0].holds else name
        counts = " + ".join(f"{count:,}" for count in dict.fromkeys(need.count for need in same) if count)
        lines.append((f"{'  ' * (len(folders) + 1)}{leaf}", same[0].what + (f" ({counts})" if counts else "")))
    width = max(len(left) for left, _ in lines) + 2
    return "".join(f"{left:{width}}{right}".rstrip() + "\n" for left, right in lines)


def published(needs: list[Needed]) -> str:
    """Where the owners publish it, and what they call it there."""
    pages: dict[str, dict[str, None]] = {}
    for need in needs:
        pages.setdefault(need.page, {})[need.archive or need.path] = None
    lines = "".join(f"- <{page}>: {', '.join(f'`{name}`' for name in names)}\n" for page, names in pages.items())
    sums = "".join(f"- `{need.path}`: `{need.checksum}`\n" for need in needs if need.checksum)
    return f"Published by its owners at\n\n{lines}" + (f"\nwith these checksums:\n\n{sums}" if sums else "")


# -------------------------------------------------------------------------------------------------- reasons


def reasons() -> str:
    """The table of reasons, and that of what is changed about items that are kept."""
    skips = "".join(
        f"| `{name}` | {words} | {'no' if name in FREE_REASONS else 'yes'} |\n" for name, words in REASONS.items()
    )
    kept = "".join(f"| `{name}` | {words} |\n" for name, words in ADJUSTMENTS.items())
    return (
        f"| reason | meaning | counts towards `max_skip_share` |\n| --- | --- | --- |\n{skips}\n"
        "What may be changed about an item that is kept, counted per entry:\n\n"
        f"| change | meaning |\n| --- | --- |\n{kept}"
    )


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text("utf-8")), encoding="utf-8")
