"""What a run has learned: the same samples answered before and after, and scored against the truth.

``predictions/before.json`` and ``after.json`` hold the answers, the masks as RLE, and the scores; ``model.gallery``
draws ``index.html`` and its pictures from them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from model.distributed import Ranks
from model.example import target_mask
from model.gallery import FOLDER, told_span, write_page
from model.metrics import jaccard, temporal_iou, times_right
from model.predict import Prediction, predict
from model.run import Run
from shards import rle
from shards.stream import Draw
from shards.tokens import taus_in
from shards.writer import write_atomically

SEARCHED: Final = 2000
"""Draws of the first epoch among which samples to show are looked for."""


@dataclass(frozen=True, slots=True)
class Score:
    """One sample's answers against the truth; None where it has no masks or times."""

    words_right: bool
    times_right: bool | None
    tiou: float | None
    j: float | None


def show_predictions(run: Run, ranks: Ranks, when: str, stop: Callable[[], bool] = lambda: False) -> None:
    """Let the model answer some samples of its mixture, and write the page; once for ``before``, once for ``after``.

    Rank 0 works, the others wait. Nothing is written once ``stop`` says so.
    """
    if ranks.rank == 0 and run.recipe.show_samples:
        _show(run, when, stop)
    ranks.barrier()


def _show(run: Run, when: str, stop: Callable[[], bool]) -> None:
    folder = run.folder / FOLDER
    folder.mkdir(exist_ok=True)
    draws = choose(run, run.recipe.show_samples)
    if not (folder / f"{when}.json").exists():
        rows = []
        for draw in draws:
            if stop():
                return
            rows.append(_row(draw, predict(run.model, draw, run.config, run.tokenizer, seed=run.stream.seed)))
        write_atomically(folder / f"{when}.json", json.dumps(rows, indent=1).encode("utf-8"))
    write_page(folder, draws)


def choose(run: Run, most: int) -> list[Draw]:
    """Samples of the mixture, from every (entry, task, number of objects shown) in turn, in the order of the plan."""
    groups: dict[tuple[str, str, int], list[Draw]] = {}
    keys: set[str] = set()
    for draw in run.stream.peek(range(min(len(run.stream.plan(0)), SEARCHED))):
        group = groups.setdefault((draw.record.entry, draw.sample.task, len(draw.sample.regions)), [])
        if draw.sample.key not in keys and len(group) < most:
            group.append(draw)
            keys.add(draw.sample.key)
    order = [group[place] for place in range(most) for group in groups.values() if place < len(group)]
    return order[:most]


def score(draw: Draw, prediction: Prediction) -> Score:
    """Exact words, exact time tokens, mean temporal IoU, and mean J over the sample's masks.

    The IoU is that of the stretch from an answer's first time token to its last, so several spans count as one.
    """
    true = [turn.text for turn in draw.turns[1::2]]
    pairs = list(zip(prediction.answers, true, strict=True))
    has_times = any(taus_in(text) for text in true)
    overlaps = [temporal_iou(told_span(said), told_span(text)) for said, text in pairs if taus_in(text)]
    return Score(
        words_right=all(said == text for said, text in pairs),
        times_right=all(times_right(said, text) for said, text in pairs) if has_times else None,
        tiou=float(np.mean(overlaps)) if overlaps else None,
        j=mean_j(draw, prediction),
    )


def mean_j(draw: Draw, prediction: Prediction) -> float | None:
    """Mean J over the sample's (target, mask frame) pairs, 0 where nothing was predicted; None without targets."""
    if not draw.sample.targets:
        return None
    found = [jaccard(mask, target_mask(draw, *pair).numpy() > 0) for pair, mask in prediction.masks.items()]
    return sum(found) / prediction.asked


def _row(draw: Draw, prediction: Prediction) -> dict[str, Any]:
    found = score(draw, prediction)
    return {
        "key": prediction.key,
        "answers": list(prediction.answers),
        "masks": [[target, frame, rle.encode(mask)] for (target, frame), mask in prediction.masks.items()],
        "words_right": found.words_right,
        "times_right": found.times_right,
        "tiou": found.tiou,
        "j": found.j,
    }
