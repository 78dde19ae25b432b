"""The laws of a converter as tests. A subclass names the converter and the function that writes its worlds."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converters.world.expected import Writer
from pipelines.conformance import fact_laws, fault_laws, faults, scan_laws, sweep
from pipelines.conformance.golden import golden
from pipelines.conformance.running import Outcome, outcome
from pipelines.conformance.scan_laws import MEDIA
from pipelines.conformance.watching import watch
from pipelines.conformance.world import Case, Worlds
from pipelines.conformance.writers import writer_of

EXAMPLES: Final = int(os.environ.get("MULTIGRAIN_EXAMPLES", "12"))
POOL: Final = max(2, EXAMPLES // 12)
"""How many worlds there are to draw from."""
SHOWN: Final = 8


def trying(examples: int) -> settings:
    """No deadline and few health checks: writing a world and decoding its videos takes what it takes."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.differing_executors]
    return settings(max_examples=examples, deadline=None, suppress_health_check=slow, report_multiple_bugs=False)


def hold(law: str, problems: Iterable[str]) -> None:
    """Fail with the law and what breaks it."""
    __tracebackhide__ = True
    found = list(problems)
    if found:
        more = [f"… and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        pytest.fail("\n  - ".join([f"law: {law}", *found[:SHOWN], *more]), pytrace=False)


class ConverterLaws:
    """Subclass it as ``Test…``. Without ``write`` the worlds are those of ``writers.writer_of``; with ``goldens``, a
    folder, the records of the first world are compared with the files there."""

    converter: ClassVar[str]
    write: ClassVar[Writer | None] = None
    goldens: ClassVar[Path | None] = None

    @pytest.fixture(scope="class")
    @classmethod
    def worlds(cls, tmp_path_factory: pytest.TempPathFactory) -> "Tried":
        return cls.tried(tmp_path_factory.mktemp("laws"), cls.write or writer_of(cls.converter))

    @classmethod
    def tried(cls, folder: Path, write: Writer) -> "Tried":
        """The worlds of this converter, and what will be learnt about them."""
        return Tried(Worlds(cls.converter, write, folder))

    # ------------------------------------------------------------------------------------------------ scan

    def test_every_item_becomes_what_the_world_foresees(self, worlds: "Tried") -> None:
        law = "every item is a sample or a counted skip, as the world foresees"
        worlds.all(law, lambda case: scan_laws.unexpected_outcome(case, worlds.clean(case)))

    def test_keys_are_unique_and_bear_the_name_and_the_split(self, worlds: "Tried") -> None:
        worlds.all("keys are unique and begin with dataset and split", scan_laws.bad_keys)

    def test_scan_yields_the_same_twice(self, worlds: "Tried") -> None:
        worlds.all("scan yields the same sequence twice", scan_laws.unsteady_scan)

    def test_scan_touches_no_media(self, worlds: "Tried") -> None:
        worlds.all("scan touches no media and nothing outside the root", scan_laws.media_touched)

    def test_items_are_plain_json(self, worlds: "Tried") -> None:
        worlds.all("items and shared are plain JSON", scan_laws.not_plain_json)

    def test_what_travels_is_small(self, worlds: "Tried") -> None:
        worlds.all("what travels to a worker is a small multiple of the annotation", scan_laws.too_large)

    def test_memory_is_bounded(self, worlds: "Tried") -> None:
        law = "a scan holds at most a small multiple of its largest annotation file"
        hold(law, scan_laws.memory_beyond(worlds.first))

    @trying(EXAMPLES)
    @given(data=st.data())
    def test_the_order_of_the_raw_files_does_not_matter(self, worlds: "Tried", data: st.DataObject) -> None:
        case = worlds.drawn(data)
        seed = data.draw(st.integers(0, 2**32), label="shuffled with seed")
        law = f"keys, reasons and facts are stable under shuffling of the raw files ({case} of {case.base.name})"
        hold(law, scan_laws.order_matters(case, seed, worlds.clean(case)))

    # ------------------------------------------------------------------------------------------------ facts

    def test_a_clip_becomes_the_same_record_everywhere(self, worlds: "Tried") -> None:
        worlds.all("convert is pure", fact_laws.impure)

    def test_spans_lie_in_clip_and_window(self, worlds: "Tried") -> None:
        worlds.facts("0 ≤ start ≤ end ≤ duration, inside the window", fact_laws.bad_spans)

    def test_spans_are_what_was_filmed(self, worlds: "Tried") -> None:
        law = "spans are those that the world filmed"
        worlds.all(law, lambda case: fact_laws.other_spans(case.expected.spans, worlds.facts_of(case)))

    def test_masks_and_boxes_fit_the_clip(self, worlds: "Tried") -> None:
        worlds.facts("masks have the clip's size, boxes lie in it, both on its frames", fact_laws.bad_masks)

    def test_placeholders_equal_attachments(self, worlds: "Tried") -> None:
        worlds.facts("placeholders equal attachments after rendering", fact_laws.bad_placeholders)

    def test_facts_survive_the_codec(self, worlds: "Tried") -> None:
        worlds.facts("facts survive the codec", fact_laws.lost_in_the_codec)

    def test_facts_have_no_wording(self, worlds: "Tried") -> None:
        worlds.facts("facts hold the annotator's words and no others", fact_laws.worded)

    def test_the_source_is_named(self, worlds: "Tried") -> None:
        hold("a converter names title, citation and licence", fact_laws.license_missing(worlds.first))

    # ----------------------------------------------------------------------------------------------- faults

    @trying(4 * EXAMPLES)
    @given(data=st.data())
    def test_a_broken_annotation_ends_in_counted_reasons(self, worlds: "Tried", data: st.DataObject) -> None:
        case = worlds.drawn(data)
        fault = data.draw(faults.annotation_faults(case, worlds.annotation(case)), label="fault")
        _holds_with(case, fault, worlds.clean(case))

    def test_every_file_may_be_broken(self, worlds: "Tried") -> None:
        seen: set[str] = set()
        for case in worlds.cases:
            for file in worlds.annotation(case):
                if (kind := re.sub(r"\d+", "*", file)) not in seen:
                    seen.add(kind)
                    content = (case.root / file).read_bytes()
                    for fault in faults.file_faults(file, content, len(content) // 2):
                        _holds_with(case, fault, worlds.clean(case))

    def test_every_field_may_be_anything(self, worlds: "Tried") -> None:
        known: set[sweep.Shape] = set()
        for case in worlds.cases:
            problems = sweep.harm(case, worlds.annotation(case), known)
            hold(f"an odd value ends in a counted reason ({case})", problems)

    @trying(EXAMPLES)
    @given(data=st.data())
    def test_paths_that_lead_out_are_not_followed(self, worlds: "Tried", data: st.DataObject) -> None:
        case = worlds.drawn(data)
        files, out = worlds.annotation(case), faults.baits(case, worlds.media(case))
        _holds_with(case, data.draw(faults.annotation_faults(case, files, out), label="fault"), worlds.clean(case))

    @trying(EXAMPLES)
    @given(data=st.data())
    def test_broken_media_ends_in_counted_reasons(self, worlds: "Tried", data: st.DataObject) -> None:
        case = worlds.drawn(data)
        media = worlds.media(case)
        if not media:
            pytest.skip("the world has no media")
        path, other = data.draw(st.sampled_from(media)), data.draw(st.sampled_from(media))
        _holds_with(case, data.draw(faults.media_faults(case, path, other), label="fault"), worlds.clean(case))

    def test_links_that_lead_out_are_not_followed(self, worlds: "Tried") -> None:
        for case in worlds.cases:
            for path in worlds.media(case)[:3]:
                _holds_with(case, faults.link_out(case, path), worlds.clean(case))

    # ----------------------------------------------------------------------------------------------- golden

    def test_the_records_are_those_that_a_person_has_read(self, worlds: "Tried") -> None:
        folder = self.goldens
        if folder is None:
            pytest.skip("no folder of goldens is named")
        problems = [_against_golden(case, folder, worlds.clean(case)) for case in worlds.cases]
        hold("records equal their goldens", [words for words in problems if words])


class Tried:
    """The worlds of one converter, and what was learnt about each: the outcome without faults, the files it reads."""

    def __init__(self, worlds: Worlds) -> None:
        self._worlds = worlds
        self._outcomes: dict[Case, Outcome] = {}
        self._read: dict[Case, tuple[list[str], list[Path]]] = {}
        self._facts: dict[Case, list[fact_laws.Fact]] = {}

    @property
    def cases(self) -> list[Case]:
        """All entries of the first world."""
        return self._worlds.cases()

    @property
    def first(self) -> Case:
        return self.cases[0]

    def drawn(self, data: st.DataObject) -> Case:
        """An entry of one of the worlds."""
        number = data.draw(st.integers(0, POOL - 1), label="world")
        return data.draw(st.sampled_from(self._worlds.cases(number)).map(_Named), label="entry").case

    def clean(self, case: Case) -> Outcome:
        if case not in self._outcomes:
            with watch(case.base) as accesses:
                self._outcomes[case] = outcome(case)
            root = case.root.resolve()
            below = [access.path for access in accesses if access.path.is_relative_to(root) and access.path.is_file()]
            files = sorted({path.relative_to(root).as_posix() for path in below if path.suffix.lower() not in MEDIA})
            media = {path for path in below if path.suffix.lower() in MEDIA}
            self._read[case] = files, sorted(case.root / path.relative_to(root) for path in media)
        return self._outcomes[case]

    def annotation(self, case: Case) -> Sequence[str]:
        """The annotation files that the entry reads."""
        self.clean(case)
        return self._read[case][0]

    def media(self, case: Case) -> Sequence[Path]:
        self.clean(case)
        return self._read[case][1]

    def all(self, law: str, problems: Callable[[Case], Iterable[str]]) -> None:
        __tracebackhide__ = True
        for case in self.cases:
            hold(f"{law} ({case})", problems(case))

    def facts(self, law: str, problems: Callable[[Any], Iterable[str]]) -> None:
        __tracebackhide__ = True
        self.all(law, lambda case: problems(self.facts_of(case)))

    def facts_of(self, case: Case) -> list[Any]:
        if case not in self._facts:
            self._facts[case] = list(fact_laws.facts_of(case))
        return self._facts[case]


class _Named:
    """A case that Hypothesis prints by its name."""

    def __init__(self, case: Case) -> None:
        self.case = case

    def __repr__(self) -> str:
        return str(self.case)


def _holds_with(case: Case, fault: faults.Fault, clean: Outcome) -> None:
    __tracebackhide__ = True
    law = f"every fault ends in a counted reason ({case} of {case.base.name}; {fault})"
    hold(law, fault_laws.harm(case, fault, clean))


def _against_golden(case: Case, folder: Path, clean: Outcome) -> str:
    """What is wrong, or nothing; writes the golden where ``MULTIGRAIN_GOLDENS=write``."""
    path, found = folder / f"{case}.json", golden(case, clean)
    if os.environ.get("MULTIGRAIN_GOLDENS") == "write":
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(found, encoding="utf-8")
        return ""
    if not path.exists():
        return f"{path} does not exist: MULTIGRAIN_GOLDENS=write writes it; read it before you commit it"
    lines, golden_lines = found.splitlines(), path.read_text(encoding="utf-8").splitlines()
    differs = next((i for i, pair in enumerate(zip(lines, golden_lines, strict=False)) if pair[0] != pair[1]), None)
    if differs is None:
        return "" if lines == golden_lines else f"{path.name} has {len(golden_lines)} lines, not {len(lines)}"
    return (
        f"{path.name}, line {differs + 1}: is {lines[differs].strip()}, was {golden_lines[differs].strip()} "
        "(MULTIGRAIN_GOLDENS=write takes the new one; say why in the commit)"
    )
