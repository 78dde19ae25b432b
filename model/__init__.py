"""THE LEARNER: the UFVideo model, from stream to checkpoint to answers.

``model.load(folder)`` gives a trained model that answers questions (``model.inference.Answerer``). torch is imported
only then.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.inference import Answerer


def load(folder: str | Path) -> "Answerer":
    """The trained model of a run's folder, or of one of its checkpoints, on the GPU where there is one."""
    from model.inference import load_run

    return load_run(Path(folder))
