"""What lies beside the tensors of a folder: configurations, a tokenizer, a report."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from model.checkpoint import STEP_NAME
from model.config import ConfigError, ModelConfig, from_dict
from model.weight_files import WeightsError

CONFIG, RELEASE_CONFIG, REPORT, TOKENIZER = "config.json", "release_config.json", "report.json", "tokenizer"
OURS: Final = "multigrain"
"""Our ModelConfig in the ``config.json`` of an exported folder."""
_TOKENIZER_FILES: Final = ("tokenizer.json", "vocab.json")


def claim(out: Path) -> None:
    if out.exists() and (not out.is_dir() or {path.name for path in out.iterdir()} - {REPORT}):
        raise WeightsError(f"{out} is not empty; name a new folder")


def new_folder(folder: Path) -> Path:
    if folder.exists():  # of a call that was killed
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    return folder


def config_at(path: Path) -> ModelConfig | None:
    """Our ModelConfig of an imported folder, an exported one, or a checkpoint of a run; None where there is none."""
    told = json_at(path / CONFIG)
    if told is None and STEP_NAME.fullmatch(path.name):
        told = (json_at(path.parents[1] / "run.json") or {}).get("model")
    elif told is not None:
        told = told if (path / REPORT).is_file() else told.get(OURS)
    try:
        return None if told is None else from_dict(told)
    except ConfigError as error:
        raise WeightsError(f"{path}: its configuration is not ours: {error}; give --config") from None


def read_config(file: Path) -> ModelConfig:
    """A ModelConfig as JSON, as an imported folder's config.json is. Raises WeightsError."""
    told = json_at(file)
    if told is None:
        raise WeightsError(f"{file} does not exist; give the JSON of a ModelConfig, or --preset")
    try:
        return from_dict(told)
    except ConfigError as error:
        raise WeightsError(f"{file}: {error}") from None


def json_at(file: Path) -> dict[str, Any] | None:
    try:
        told = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise WeightsError(f"{file} is no JSON ({error}); copy it again") from None
    if not isinstance(told, dict):
        raise WeightsError(f"{file} holds a {type(told).__name__} and no settings; copy it again")
    return told


def write_json(file: Path, told: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def tied(path: Path) -> bool:
    return (json_at(path / CONFIG) or {}).get("tie_word_embeddings") is True


def tokenizer_folder(path: Path) -> Path | None:
    beside = [path.parents[1] / TOKENIZER] if STEP_NAME.fullmatch(path.name) else []
    folders = (path, path / TOKENIZER, *beside)
    return next((folder for folder in folders if any((folder / name).is_file() for name in _TOKENIZER_FILES)), None)
