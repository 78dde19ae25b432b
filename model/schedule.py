"""The learning rate of each step: a linear warm-up, then half a cosine down to a floor.

DeepSpeed's ``WarmupCosineLR`` (``deepspeed/runtime/lr_schedules.py``), as the release sets it up: ``warmup_type``
linear, ``warmup_min_ratio`` 0, ``cos_min_ratio`` 0.03 (UFVideo ``scripts/zero2.json``) and a warm-up of 3 % of the
steps to a peak of 2e-5 (``scripts/train/train_1121v1.sh``).
"""

import math
from typing import Final

PEAK: Final = 2e-5
WARMUP: Final = 0.03
FLOOR: Final = 0.03
ROUNDING: Final = 1e-9
"""0.07 · 100 is 7.000000000000001 in binary; without this slack it would be 8 steps of warm-up."""


def learning_rate(step: int, *, steps: int, peak: float = PEAK, warmup: float = WARMUP, floor: float = FLOOR) -> float:
    """The learning rate of ``step``, one of 0 … ``steps`` - 1.

    ``warmup`` is a share of the steps and ``floor`` one of ``peak``, both in [0, 1]. The warm-up takes
    ceil(warmup · steps) steps and ends on ``peak``; the last step has ``floor`` · ``peak``, unless the warm-up takes
    all steps. The warm-up counts from step + 1, since DeepSpeed's own step / warm-up spends the first step on a rate
    of 0; the cosine is DeepSpeed's to the step. Raises ValueError for anything out of range.
    """
    _check(step, steps, peak, warmup, floor)
    warm_steps = math.ceil(warmup * steps - ROUNDING)
    if step < warm_steps:
        return peak * ((step + 1) / warm_steps)
    progress = (step + 1 - warm_steps) / (steps - warm_steps)
    return peak * (floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2)


def _check(step: int, steps: int, peak: float, warmup: float, floor: float) -> None:
    if not 0 <= step < steps:
        raise ValueError(f"step {step} is not one of the {steps} steps of the run, which count from 0")
    if not (peak > 0 and math.isfinite(peak)):
        raise ValueError(f"the peak learning rate is {peak}; give a number above 0, such as {PEAK}")
    for name, share in (("warmup", warmup), ("floor", floor)):
        if not 0 <= share <= 1:
            raise ValueError(f"{name} is {share}, not a share between 0 and 1")
