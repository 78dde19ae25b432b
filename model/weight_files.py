"""Files of tensors, read and written one tensor at a time: the host never holds more than one of them.

Read: safetensors and torch's ``.bin``, ``.pt``, ``.pth``, alone or in shards with an ``index.json``. Written:
safetensors, whose header is laid first; the library's own writer wants every tensor at once.
"""

import hashlib
import json
import os
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from model.checkpoint import DTYPES

UNUSED: Final = "unused.safetensors"
"""In an imported folder: what our model has no place for and an export gives back."""
SHARD_BYTES: Final = 5 * 10**9
"""As transformers cut theirs."""
_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}
_INDEXED: Final = ("model.safetensors", "pytorch_model.bin")
_ADAPTER: Final = ("non_lora_trainables.bin", "adapter_model.safetensors", "adapter_model.bin")
_SUFFIXES: Final = (".safetensors", ".bin", ".pt", ".pth")
_TOP_KEYS: Final = ("model", "state_dict", "module")
_AGAIN: Final = "download or copy it again (a git-lfs pointer is no weight file)"


class WeightsError(ValueError):
    """Weights cannot be read, or do not fit; the message names the file, the tensor and the remedy."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor in a file: its name there, and the place of its first byte (-1: torch knows)."""

    file: Path
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int

    @property
    def bytes(self) -> int:
        return torch.Size(self.shape).numel() * self.dtype.itemsize


# --------------------------------------------------------------------------------------------- reading


class TensorFiles:
    """The tensors of one file or folder, by name. Opening reads no more than headers."""

    def __init__(self, path: Path) -> None:
        """Raises WeightsError for a path without weights, a damaged file, or one name in two files."""
        self.path = path
        self._open: tuple[Path, dict[str, Tensor]] | None = None
        self.files, listed = _files_of(path)
        self.stored: dict[str, Stored] = {}
        for file in self.files:
            for stored in self._header(file):
                if (before := self.stored.get(stored.name)) is not None:
                    raise WeightsError(f"{file}: {stored.name} is also in {before.file.name}; leave one of them")
                self.stored[stored.name] = stored
        self.close()
        for name, file in listed.items():
            if name not in self.stored or self.stored[name].file.name != file:
                raise WeightsError(f"{path / file}: {name} is not there, though the index says so; {_AGAIN}")

    def read(self, name: str) -> Tensor:
        """The tensor, in its own dtype. One of torch's files stays mapped until another is read, or ``close``."""
        stored = self.stored[name]
        if stored.offset < 0:
            return self._mapped(stored.file)[name]
        tensor = torch.empty(stored.shape, dtype=stored.dtype)
        with stored.file.open("rb") as file:
            file.seek(stored.offset)
            if file.readinto(_bytes_of(tensor)) != stored.bytes:
                raise WeightsError(f"{stored.file}: {name} is cut off; {_AGAIN}")
        return tensor

    def close(self) -> None:
        """Let go of the mapped file, which counts as memory while it is."""
        self._open = None

    def _header(self, file: Path) -> list[Stored]:
        if file.suffix == ".safetensors":
            return _safetensors_header(file)
        tensors = self._mapped(file)
        return [Stored(file, name, _known(file, name, t.dtype), tuple(t.shape), -1) for name, t in tensors.items()]

    def _mapped(self, file: Path) -> dict[str, Tensor]:
        if self._open is None or self._open[0] != file:
            self._open = None  # the old one goes before the new one comes
            self._open = file, _unpickled(file)
        return self._open[1]


def _files_of(path: Path) -> tuple[list[Path], dict[str, str]]:
    """The files that hold the weights at ``path``, and the file of each tensor where an index says it."""
    if path.is_file():
        return [path], {}
    if not path.is_dir():
        raise WeightsError(f"{path} does not exist; give a weight file, or the folder of a checkpoint")
    kept = [path / UNUSED] if (path / UNUSED).is_file() else []
    for name in _INDEXED:
        if (path / f"{name}.index.json").is_file():
            listed = _index(path / f"{name}.index.json")
            return [path / file for file in sorted(set(listed.values()))] + kept, listed
        if (path / name).is_file():
            return [path / name, *kept], {}
    if found := [path / name for name in _ADAPTER if (path / name).is_file()]:
        return found, {}
    found = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
    if len(found) != 1:
        there = ", ".join(file.name for file in found) or "no weight file"
        raise WeightsError(f"{path} holds {there} and no {' or '.join(_INDEXED)}; name one file")
    return found, {}


def _index(file: Path) -> dict[str, str]:
    try:
        listed = json.loads(file.read_bytes())["weight_map"]
        names = {str(name): str(Path(shard).name) for name, shard in listed.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise WeightsError(f"{file} is no index: it has no `weight_map` of names and files; {_AGAIN}") from None
    for shard in sorted(set(names.values())):
        if not (file.parent / shard).is_file():
            raise WeightsError(f"{file.parent / shard} is missing, though {file.name} names it; {_AGAIN}")
    return names


def _safetensors_header(file: Path) -> list[Stored]:
    try:
        with safe_open(file, "pt"):  # the library looks for gaps, overlaps and a wrong length
            pass
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            header: dict[str, Any] = json.loads(opened.read(length))
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{file} is no whole safetensors file ({error}); {_AGAIN}") from None
    header.pop("__metadata__", None)
    return [
        Stored(file, name, _known(file, name, entry["dtype"]), tuple(entry["shape"]), 8 + length + at)
        for name, entry in header.items()
        for at in entry["data_offsets"][:1]
    ]


def _known(file: Path, name: str, dtype: str | torch.dtype) -> torch.dtype:
    found = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if found not in _NAMES:
        raise WeightsError(f"{file}: {name} is {dtype}, which is not read; convert it to float32, float16 or bfloat16")
    return found


def _unpickled(file: Path) -> dict[str, Tensor]:
    """The tensors of one of torch's files, mapped and not read; under ``model`` in the files of SAM 2."""
    try:
        found = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise WeightsError(
            f"{file} cannot be read as tensors only ({reason}); {_AGAIN}, or save its state_dict as safetensors"
        ) from None
    for key in _TOP_KEYS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping):
        raise WeightsError(f"{file} holds a {type(found).__name__} and no tensors by name; save its state_dict")
    for name, value in found.items():
        if not isinstance(value, Tensor):
            raise WeightsError(f"{file}: {name} is a {type(value).__name__} and no tensor; save the state_dict alone")
    return dict(found)


# --------------------------------------------------------------------------------------------- writing


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A tensor to write. ``pieces`` is called once, when its turn comes: parts of it in order, each contiguous or not,
    with ``shape``'s number of elements together."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    pieces: Callable[[], Iterable[Tensor]]

    @property
    def bytes(self) -> int:
        return torch.Size(self.shape).numel() * self.dtype.itemsize


def write_sharded(folder: Path, tensors: Sequence[Outgoing], most_bytes: int) -> dict[str, dict[str, Any]]:
    """``model.safetensors``, or shards of at most ``most_bytes`` (one tensor at least) with an index, as transformers
    names them. Size and sha256 of every file with tensors. The same tensors give the same bytes."""
    shards = _shards(tensors, most_bytes)
    if len(shards) == 1:
        return {"model.safetensors": write_file(folder / "model.safetensors", shards[0])}
    names = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    sums = {name: write_file(folder / name, shard) for name, shard in zip(names, shards, strict=True)}
    index = {
        "metadata": {"total_size": sum(tensor.bytes for tensor in tensors)},
        "weight_map": {tensor.name: name for name, shard in zip(names, shards, strict=True) for tensor in shard},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return sums


def _shards(tensors: Sequence[Outgoing], most_bytes: int) -> list[list[Outgoing]]:
    shards: list[list[Outgoing]] = [[]]
    room = most_bytes
    for tensor in tensors:
        if shards[-1] and tensor.bytes > room:
            shards.append([])
            room = most_bytes
        shards[-1].append(tensor)
        room -= tensor.bytes
    return shards


def write_file(file: Path, tensors: Iterable[Outgoing]) -> dict[str, Any]:
    """One safetensors file, synced; its size and sha256. Source of the layout: safetensors, README, "Format"."""
    ordered = sorted(tensors, key=lambda tensor: -tensor.dtype.itemsize)  # so that each is aligned, as readers want
    header = _header_bytes(ordered)
    digest = hashlib.sha256(header)
    with file.open("wb") as opened:
        opened.write(header)
        for tensor in ordered:
            before = opened.tell()
            for piece in tensor.pieces():
                chunk = _bytes_of(piece.detach().to(tensor.dtype).contiguous())
                opened.write(chunk)
                digest.update(chunk)
            assert opened.tell() - before == tensor.bytes, tensor.name
        opened.flush()
        os.fsync(opened.fileno())
        return {"bytes": opened.tell(), "sha256": digest.hexdigest()}


def _header_bytes(tensors: Sequence[Outgoing]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for tensor in tensors:
        place = [at, at + tensor.bytes]
        header[tensor.name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": place}
        at += tensor.bytes
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data
