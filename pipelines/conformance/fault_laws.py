"""Laws of broken releases: what goes wrong is counted, is told in words, and harms nobody else."""

import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from converters.base import UnknownSplit
from converters.convert import UNEXPECTED
from converters.raw_files import DatasetError
from pipelines.conformance.faults import Fault, applied
from pipelines.conformance.running import Outcome, outcome
from pipelines.conformance.scan_laws import REPEATS, difference
from pipelines.conformance.watching import Access, watch
from pipelines.conformance.world import Case

OF_THE_RELEASE: Final = (DatasetError, UnknownSplit)
"""What a scan may raise: the annotation as a whole is of no use."""


def harm(case: Case, fault: Fault, clean: Outcome) -> Iterator[str]:
    """What breaks the laws while ``fault`` is in the release; ``clean`` is the outcome without it."""
    with applied(case, fault.file, fault.content), watch(case.base) as accesses:
        found = attempt(case)
    yield from left_the_root(case, accesses)
    if isinstance(found, Exception):
        yield from _bad_end(case, fault, found)
        if isinstance(found, OF_THE_RELEASE):
            yield from _all_lost(case, fault, found, clean)
        return
    yield from bad_account(case, found)
    yield from _others_harmed(case, fault, found, clean)


def attempt(case: Case) -> Outcome | Exception:
    try:
        return outcome(case)
    except Exception as error:
        return error


def left_the_root(case: Case, accesses: Sequence[Access]) -> Iterator[str]:
    root, work = case.root.resolve(), case.work.resolve()
    for access in dict.fromkeys(accesses):
        if access.path.is_relative_to(work):
            continue
        if not access.path.is_relative_to(root):
            yield f"{access.path.relative_to(case.base.resolve())} is read, which lies outside the root"
        elif access.writes:
            yield f"{access.path.relative_to(root)} of the release is written to"


def _bad_end(case: Case, fault: Fault, error: Exception) -> Iterator[str]:
    """An error must be of the release, and name the file."""
    if not isinstance(error, OF_THE_RELEASE):
        frame = traceback.extract_tb(error.__traceback__)[-1]
        yield f"ends in {type(error).__name__}: {error!s:.200} ({Path(frame.filename).name}, line {frame.lineno})"
    elif Path(fault.file).name not in str(error):
        yield f"ends in {type(error).__name__} that does not name the file: {error!s:.300}"


def _all_lost(case: Case, fault: Fault, error: Exception, clean: Outcome) -> Iterator[str]:
    """One broken element of a table is no reason to refuse the whole release."""
    if told := _told_without(case, fault, clean):
        yield f"the whole release is refused ({error!s:.150}), though {len(told)} samples do not depend on the fault"


def bad_account(case: Case, found: Outcome) -> Iterator[str]:
    if found.items != len(found.stated) + len(found.skipped):
        yield f"{found.items} items, but {len(found.stated)} samples and {len(found.skipped)} skips"
    for skip in found.skipped:
        if skip.detail.startswith(UNEXPECTED):
            yield f"{skip.key!a} is skipped for a reason that the converter did not foresee: {skip.detail!a:.300}"
        elif not skip.detail.strip():
            yield f"{skip.key!a} is skipped as {skip.reason} without a detail"
        elif str(case.root) in skip.detail:
            yield f"{skip.key!a}: the detail names a folder of this machine: {skip.detail!a:.300}"


def _others_harmed(case: Case, fault: Fault, found: Outcome, clean: Outcome) -> Iterator[str]:
    """What is told without the broken element, or of other media, is still told, and the same."""
    repeats = {skip.key for skip in found.skipped if skip.reason in REPEATS}
    for key in sorted(_told_without(case, fault, clean) - repeats):
        if key not in found.stated:
            words = found.reasons().get(key, "nothing")
            detail = next((skip.detail for skip in found.skipped if skip.key == key), "")
            yield f"{key} does not depend on it, and became {words}: {detail!a:.200}"
        elif found.stated[key] != clean.stated[key]:
            words = difference(clean.stated[key], found.stated[key])
            yield f"{key} does not depend on it, and states something else: {words}"


def _told_without(case: Case, fault: Fault, clean: Outcome) -> set[str]:
    """The keys that state the same whether what is broken is there or not."""
    place = case.root / fault.file
    if any(place in paths for paths in clean.media.values()):
        return {key for key, paths in clean.media.items() if place not in paths}
    with applied(case, fault.file, fault.without):
        rest = attempt(case)
    if isinstance(rest, Exception):
        return set()
    return {key for key, said in rest.stated.items() if clean.stated.get(key) == said}
