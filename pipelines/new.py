"""``multigrain new NAME``: a working converter with its worlds, test, golden and page, to be edited into yours.

The modules of ``pipelines.scaffold`` under another name: in a folder of their own, or as a bundled one in a checkout.
"""

import importlib.util
import keyword
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from converters.table import CONVERTERS
from shards.toml_table import RecipeError

SCAFFOLD: Final = Path(__file__).parent / "scaffold"
TASKS: Final = tuple(sorted(path.name.removesuffix("_world.py") for path in SCAFFOLD.glob("*_world.py")))
NAME: Final = re.compile(r"[a-z][a-z0-9_]{1,29}")
CHECKOUT: Final = Path(__file__).parent.parent
TABLE: Final = "converters/table.py"

TEST: Final = '''\
"""{Example} keeps the laws of every converter, and its records are those that a person has read.

After a change that is meant: MULTIGRAIN_GOLDENS=write python -m pytest, and read what is new in golden/.
"""

from pathlib import Path

from pipelines.conformance import ConverterLaws


class Test{Example}(ConverterLaws):
    converter = "{converter}"
    goldens = Path(__file__).parent / "golden"
'''
RECIPE: Final = """\
[corpus]
name = "{example}"
max_skip_share = 0.5        # raw/ has an item for every known fault: leave these two out for the real release
max_missing_share = 0.5

[[dataset]]
converter = "{converter}"   # {example}.py must be importable, on every node
root = "raw"
split = "train"
"""
PROJECT: Final = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{example}"
version = "0.1.0"

[tool.setuptools]
py-modules = ["{example}", "{example}_world"]

[tool.pytest.ini_options]
pythonpath = ["."]
"""
README: Final = """\
# {Example}

A converter for multigrain. What the release holds, whose it is and what is known to be wrong with it stands at the head
of `{example}.py`.

    python -m pytest                                                        the laws of every converter, and the golden
    python {example}_world.py raw                                           a small release in its layout
    PYTHONPATH=. multigrain check {example}.toml                            what of a release is here
    PYTHONPATH=. multigrain build {example}.toml --out corpus --workers 0

Sample keys: `{example}/train/<id>`

| what is odd | what becomes of it |
| --- | --- |
| an item without id or media | skipped as `malformed` |
"""


@dataclass(frozen=True, slots=True)
class Scaffold:
    """What is to be written: text by path, relative to ``out``; and what to do next."""

    out: Path
    files: dict[str, str]
    steps: tuple[str, ...]


def run_new(name: str, task: str, out: Path | None, bundled: bool) -> int:
    """Write the scaffold and print the next steps; RecipeError where something is in the way."""
    if bundled and out is not None:
        raise RecipeError("--bundled writes into the checkout: leave out --out")
    plan = bundled_scaffold(name, task, CHECKOUT) if bundled else own_scaffold(name, task, out or Path(name))
    write(plan)
    if bundled:
        subprocess.run([sys.executable, "-m", "pipelines.dataset_page"], cwd=CHECKOUT, check=True)
    for path in plan.files:
        print(f"wrote {plan.out / path}")
    print("\nnext:")
    for step in plan.steps:
        print(f"  {step}")
    return 0


def own_scaffold(name: str, task: str, out: Path) -> Scaffold:
    """A folder of its own: two modules, test, golden, recipe, page."""
    example = class_of(name, task)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RecipeError(f"{out} is there already: choose another name or --out")
    texts = {"example": name, "Example": example, "converter": f"{name}:{example}"}
    files = {
        f"{name}.py": _renamed(f"{task}.py", name, example),
        f"{name}_world.py": _renamed(f"{task}_world.py", name, example),
        f"test_{name}.py": TEST.format_map(texts),
        f"golden/{name}-train.json": _renamed(f"golden/{task}/example-train.json", name, example),
        f"{name}.toml": RECIPE.format_map(texts),
        "pyproject.toml": PROJECT.format_map(texts),
        "README.md": README.format_map(texts),
    }
    steps = (
        f"cd {out}",
        "python -m pytest    # the laws of every converter, and the golden",
        f"python {name}_world.py raw    # a small release to try it on",
        f"PYTHONPATH=. multigrain build {name}.toml --out corpus --workers 0",
        f"multigrain show corpus {name}/train/0 --png sample.png",
        f"then make {name}.py read your release, and {name}_world.py write one like it, with its faults",
    )
    return Scaffold(out, files, steps)


def bundled_scaffold(name: str, task: str, checkout: Path) -> Scaffold:
    """Where the bundled converters are: converter, writer of worlds, test, golden, and a line in the table."""
    table = checkout / TABLE
    if not (checkout / "tests" / "converters").is_dir() or not table.is_file():
        raise RecipeError(f"--bundled: {checkout} is no checkout of multigrain; leave it out for a folder of your own")
    example = class_of(name, task)
    world = _renamed(f"{task}_world.py", name, example)
    files = {
        f"converters/{name}.py": _renamed(f"{task}.py", name, example),
        f"converters/world/{name}.py": world.replace(f"{name}_world.py", f"-m converters.world.{name}"),
        f"tests/converters/test_{name}.py": TEST.format_map({"Example": example, "converter": name}),
        f"tests/converters/golden/{name}-train.json": _renamed(f"golden/{task}/example-train.json", name, example),
        TABLE: _with_line(table, f'    "{name}": "converters.{name}:{example}",\n'),
    }
    steps = (
        f"python -m pytest tests/converters/test_{name}.py",
        f"python -m converters.world.{name} raw/{name}    # a small release to try it on",
        f"then make converters/{name}.py read your release, and converters/world/{name}.py write one like it",
        "complete its section in docs/datasets.md, and add it to a recipe in recipes/corpus",
    )
    return Scaffold(checkout, files, steps)


def write(plan: Scaffold) -> None:
    """All the files, or none where one is there already. The table of converters is the one that may be."""
    there = [path for path in plan.files if path != TABLE and (plan.out / path).exists()]
    if there:
        raise RecipeError(f"{plan.out / there[0]} is there already: choose another name, or move it away")
    for path, text in plan.files.items():
        (plan.out / path).parent.mkdir(parents=True, exist_ok=True)
        (plan.out / path).write_text(text, encoding="utf-8")


# ----------------------------------------------------------------------------------------------- the names


def class_of(name: str, task: str) -> str:
    """``my_kitchen`` → ``MyKitchen``; RecipeError where that is no name for a module and a class of this scaffold."""
    if task not in TASKS:
        raise RecipeError(f"--task {task}: there are scaffolds for {', '.join(TASKS)}")
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        other = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")
        hint = f"; try {other}" if NAME.fullmatch(other) and not keyword.iskeyword(other) else ""
        raise RecipeError(f"{name!r} is not 2 to 30 of a-z, 0-9 and _, beginning with a letter{hint}")
    example = "".join(part.capitalize() for part in name.split("_"))
    if name in CONVERTERS:
        raise RecipeError(f"{name} is a bundled converter already: choose another name")
    found = importlib.util.find_spec(name)
    if found is not None and found.origin is not None:
        raise RecipeError(f"a Python module {name} is installed already ({found.origin}): choose another name")
    if any(word == example for word in _words_of(task)):
        raise RecipeError(
            f"{name!r} would make a class {example}, which means something else here: choose another name"
        )
    return example


def _words_of(task: str) -> Iterator[str]:
    for file in (f"{task}.py", f"{task}_world.py"):
        yield from re.findall(r"\w+", (SCAFFOLD / file).read_text(encoding="utf-8"))


def _renamed(file: str, name: str, example: str) -> str:
    text = (SCAFFOLD / file).read_text(encoding="utf-8")
    return text.replace("example", name).replace("Example", example)


def _with_line(table: Path, line: str) -> str:
    head, opening, rest = table.read_text(encoding="utf-8").partition("CONVERTERS: Final[dict[str, str]] = {\n")
    lines, closing, tail = rest.partition("}\n")
    if not opening or not closing:
        raise RecipeError(f"{table} has no table of CONVERTERS where one is looked for")
    return head + opening + lines + line + closing + tail
