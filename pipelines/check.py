"""``multigrain check``: what of each raw release is present, before any conversion; nothing is written or decoded.

Every thing that a converter's ``release`` names gets a ``Finding``. Where the annotation files are whole, the items
are looked at too: whether each one's media is there decides more than a count of files.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from converters.raw_files import DatasetError
from converters.release import Needed
from pipelines.check_files import Disk
from pipelines.check_findings import Finding, look_at
from pipelines.check_items import Items, look_for_media
from pipelines.check_remedies import get, quoted
from pipelines.check_search import other_root, tree_of
from pipelines.recipe import Entry, Recipe

QUICK_BYTES: Final = 64 << 20
"""Annotation files of this size altogether are scanned in seconds, so their items are looked at unasked."""


@dataclass(frozen=True, slots=True)
class Checked:
    """An entry: the findings, the items where they were looked at, and what a build of it would fail of.

    ``remedy`` are lines to copy, like those of a finding, for what concerns the whole entry.
    """

    entry: Entry
    root: Path
    findings: tuple[Finding, ...]
    items: Items | None = None
    problems: tuple[str, ...] = ()
    remedy: tuple[str, ...] = ()
    note: str = ""

    @property
    def ready(self) -> bool:
        return not self.problems and not any(finding.fails for finding in self.findings)


def check_entry(
    entry: Entry, recipe: Recipe, disk: Disk, items: bool | None, tell: Callable[[int], None] = lambda items: None
) -> Checked:
    """Look at everything that ``entry`` needs; at its items if ``items``, and where it is None if that is quick."""
    root = entry.root.resolve()
    needs = entry.open().release()
    if (other := other_root(root, needs)) is not None:
        return _at_another_root(entry, root, other, needs, recipe.entries.index(entry))
    tree = tree_of(root)
    checked = Checked(entry, root, tuple(look_at(root, need, tree, disk, recipe.max_missing_share) for need in needs))
    if not root.is_dir():
        return replace(checked, problems=(f"there is no folder {root}",))
    if items is False or any(finding.fails and not _per_item(finding.need) for finding in checked.findings):
        return checked
    if items is None and _annotation_bytes(root, needs) > QUICK_BYTES:
        return replace(checked, note="the annotation files are large: --items looks for the media of every item")
    try:
        return _with_items(checked, look_for_media(entry, recipe.seed, tell), recipe)
    except (DatasetError, ValueError) as error:
        return replace(checked, problems=(str(error),))


def _per_item(need: Needed) -> bool:
    return need.media or bool(need.per_clip)


def _annotation_bytes(root: Path, needs: tuple[Needed, ...]) -> int:
    return sum((root / need.path).stat().st_size for need in needs if (root / need.path).is_file())


def _with_items(checked: Checked, items: Items, recipe: Recipe) -> Checked:
    """The items decide about files that only some of them need: what no item asks for may be absent."""
    failures = items.failures(recipe)
    if failures:
        problems = tuple(_too_many(name, lost, items) for name, lost in failures.items())
        return replace(checked, items=items, problems=problems)
    findings = tuple(_excused(found) if _per_item(found.need) else found for found in checked.findings)
    return replace(checked, items=items, findings=findings)


def _too_many(share: str, lost: int, items: Items) -> str:
    allowing = math.ceil(100 * lost / items.items) / 100
    words = f"{lost:,} of {items.items:,} items would be lost"
    return f"{words}: get what is missing, or allow it with --set {share}={allowing}"


def _excused(finding: Finding) -> Finding:
    if not finding.fails:
        return finding
    return Finding(finding.need, "present", f"{finding.remark or 'not there'}, enough for its items")


def _at_another_root(entry: Entry, root: Path, other: Path, needs: tuple[Needed, ...], number: int) -> Checked:
    findings = tuple(
        Finding(need, "misnamed", found_as=str(other / need.path))
        if (other / need.path).exists()
        else Finding(need, "missing", remedy=get(other, need))
        for need in needs
    )
    words = f"the release lies in {other}, not in {root}"
    remedy = (f'# in the recipe: root = "{other}", or for one call', f"--set dataset.{number}.root={quoted(other)}")
    return Checked(entry, root, findings, problems=(words,), remedy=remedy)
