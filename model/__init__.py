"""THE LEARNER: the UFVideo model, from stream to checkpoint to answers.

``model.load(folder)`` gives a trained model that answers questions (``model.inference.Answerer``). torch is imported
only then.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.inference import Answerer


def load(folder: str | Path) -> "Answerer":
    """The model of a run, of one of its checkpoints, or of imported weights, on the GPU where there is one."""
    from model.inference import load_model

    return load_model(Path(folder))
