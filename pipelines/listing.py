"""``multigrain list``: what there is to build from."""

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from converters.table import CONVERTERS, find_converter
from shards.record import TASKS
from shards.skips import REASONS
from templates import TASKS_WITH_TEMPLATES

RECIPES = Path(__file__).parent.parent / "recipes"


def what_there_is() -> dict[str, Any]:
    """Converters with their splits, options, tasks and licences; tasks; skip reasons; the bundled recipes."""
    return {
        "converters": {name: _converter(name) for name in CONVERTERS},
        "tasks": {task: task in TASKS_WITH_TEMPLATES for task in TASKS},
        "skip_reasons": REASONS,
        "recipes": sorted(path.relative_to(RECIPES.parent).as_posix() for path in RECIPES.rglob("*.toml")),
    }


def _converter(name: str) -> dict[str, Any]:
    converter = find_converter(name)
    return {
        "title": converter.title,
        "splits": converter.splits,
        "tasks": converter.tasks,
        "options": {
            key: {"values": option.choices, "several": option.many, "help": option.help}
            for key, option in converter.options.items()
        },
        "license": converter.license,
        "homepage": converter.homepage,
    }


def run_list(as_json: bool) -> int:
    found = what_there_is()
    if as_json:
        print(json.dumps(found))
        return 0
    console = Console()
    table = Table("converter", "what", "splits", "options (default first)")
    for name, about in found["converters"].items():
        options = "\n".join(f"{key}: {' | '.join(o['values']) or 'a path'}" for key, o in about["options"].items())
        table.add_row(name, about["title"], " ".join(about["splits"]), options)
    console.print(table)
    for name, about in found["converters"].items():
        for key, option in about["options"].items():
            several = " (one or a list)" if option["several"] else ""
            console.print(f"{name}, {key}{several}: {option['help']}", soft_wrap=True)
    console.print("tasks with templates: " + ", ".join(task for task, there in found["tasks"].items() if there))
    console.print("tasks without yet:    " + ", ".join(task for task, there in found["tasks"].items() if not there))
    console.print("recipes: " + (", ".join(found["recipes"]) or "none beside this installation"))
    return 0
