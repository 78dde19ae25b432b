"""The plain scripts of the benchmark state the same facts as the converters, or its ratios compare nothing."""

import json
from pathlib import Path

import pytest

from bench.convert.agree import check
from bench.convert.cases import CASES, Case
from bench.convert.ours import ours, records

ITEMS = 6
DIFFERENT = [case for case in CASES if case.name not in ("videorefer short_caption", "videorefer detailed_caption")]
"""The files of VideoRefer-700K share a script."""


@pytest.mark.parametrize("case", DIFFERENT, ids=lambda case: case.name)
def test_the_plain_script_and_ours_agree(case: Case, tmp_path: Path):
    took, written, lines = _both(case, tmp_path)
    assert took.skipped == 0
    assert check(written, lines, took.skipped) == took.samples >= ITEMS // 2


def test_a_plain_script_that_says_something_else_is_noticed(tmp_path: Path):
    case = next(case for case in CASES if case.name == "refcoco")
    _, written, (line,) = _both(case, tmp_path)
    clips = [json.loads(text) for text in line.read_text("utf-8").splitlines()]

    def said(clips: list[dict]) -> Path:
        other = tmp_path / "other.jsonl"
        other.write_text("\n".join(map(json.dumps, clips)), encoding="utf-8")
        return other

    with pytest.raises(ValueError, match="keys differ"):
        check(written, [said(clips[1:])], 0)
    clips[0]["samples"][0]["query"] += "?"
    with pytest.raises(ValueError, match="differs between ours and plain"):
        check(written, [said(clips)], 0)
    clips[0]["samples"][0]["query"] = clips[0]["samples"][0]["query"][:-1]
    some_id = next(iter(clips[0]["masks"]))
    clips[0]["masks"][some_id] = {"0": "0"}
    with pytest.raises(ValueError, match="differs between ours and plain"):
        check(written, [said(clips)], 0)


def _both(case: Case, folder: Path):
    case.write(folder / "release", ITEMS / case.items)
    took, results = ours(case, folder / "release", folder / "work")
    lines = [folder / f"{split}.jsonl" for split in case.splits]
    for split, line in zip(case.splits, lines, strict=True):
        case.plain(folder / "release", split, line)
    return took, list(records(results)), lines
