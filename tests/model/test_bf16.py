"""Gradients in bf16 point where those in fp32 do, in every part."""

from dataclasses import replace

import pytest
import torch

from bench.bf16_gradients import cosines
from model.config import TINY


@pytest.mark.parametrize("memory", [False, True])
def test_gradients_in_bf16_point_where_those_in_fp32_do(memory) -> None:
    """Under autocast, as the trainer runs it; ``python -m bench.bf16_gradients`` for other sizes."""
    told = cosines(replace(TINY, memory=memory, memory_layers=1), torch.device("cpu"))
    assert all(value > 0.999 for value in told.values()), told
    assert len(told) == 8 + memory
