"""Our own numbers of the day of parity (``derive.py``): they hold the golden cases still where those are absent."""

import json
from typing import Any

import pytest
import torch

from tests.model.derive import FILE, numbers

KEPT = json.loads(FILE.read_text("utf-8"))
SIZES = 1e-4
"""Of the largest number of a list; gradients 1e-2, for the reason that test_golden's GRADIENT has."""


def close(name: str, ours: Any, kept: Any) -> None:
    if isinstance(kept, dict):
        assert ours.keys() == kept.keys(), name
        for key, value in kept.items():
            close(f"{name}, {key}", ours[key], value)
    elif isinstance(kept, list) and kept and isinstance(kept[0], float):
        assert ours == pytest.approx(kept, abs=SIZES * max(map(abs, kept))), name
    elif isinstance(kept, float):
        assert ours == pytest.approx(kept, rel=1e-2 if "gradients" in name else 1e-5), name
    else:
        assert ours == kept, name


@pytest.mark.parametrize("name", numbers())
def test_the_numbers_are_those_from_the_day_of_parity(name) -> None:
    with torch.no_grad():
        close(name, numbers()[name](), KEPT[name])


def test_the_file_says_where_its_numbers_come_from() -> None:
    assert "none of the reference" in KEPT["provenance"]
    assert KEPT.keys() - {"provenance"} == numbers().keys()
    assert FILE.stat().st_size < 12_000
