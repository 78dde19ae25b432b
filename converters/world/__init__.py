"""A generated world: scenes of moving shapes, written as raw releases of the data sets that the converters read.

    truth = write_world(Path("world"), clips=8, seed=0)
    truth.samples["mevis", "train"]["mevis/train/<video>/0"].target_bitmap(0, frame=3)

Every mask, box, time and word follows from the scenes, so the truth owes nothing to a converter. The demo, the tests
and the benchmarks use it, at any size. The layouts are those of the official releases, warts included; their faults
come on request.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from converters.world.charades import write_charades
from converters.world.mevis import write_mevis
from converters.world.refer import write_refer
from converters.world.truth import (
    Entry,
    Ledger,
    Truth,
    TruthClip,
    TruthMasklet,
    TruthSample,
    TruthTube,
)
from converters.world.videorefer import write_videorefer
from converters.world.vidstg import write_vidstg

__all__ = [
    "DATASETS",
    "Entry",
    "Truth",
    "TruthClip",
    "TruthMasklet",
    "TruthSample",
    "TruthTube",
    "write_world",
]

Writer = Callable[[Path, int, int, int, bool, Ledger], None]

_WRITERS: Final[dict[str, Writer]] = {
    "refer": write_refer,
    "mevis": write_mevis,
    "videorefer": write_videorefer,
    "charades_sta": write_charades,
    "vidstg": write_vidstg,
}
DATASETS: Final = tuple(_WRITERS)
"""The folders of a world; each is the ``root`` of its converter (``refer`` of all three RefCOCOs)."""


def write_world(
    root: Path, *, clips: int = 8, seed: int = 0, faults: bool = False, datasets: Sequence[str] = DATASETS
) -> Truth:
    """Writes ``root/<dataset>`` for each of ``datasets`` and returns what a converter should make of it.

    ``clips`` is the number of training clips of each data set; every other split has an eighth of it, at least two.
    ``faults`` adds items and clips that cannot be used. The same arguments give the same bytes. Raises ValueError
    for a data set that is not one of ``DATASETS``, and where ``clips`` is less than 1.
    """
    unknown = sorted(set(datasets) - set(DATASETS))
    if unknown or clips < 1:
        raise ValueError(f"a world has clips >= 1 and datasets of {DATASETS}, not clips={clips}, {unknown}")
    ledger = Ledger()
    for dataset in datasets:
        _WRITERS[dataset](root / dataset, clips, max(clips // 8, 2), seed, faults, ledger)
    return ledger.close(root)
