"""What an import will do, before a byte is written: where each tensor of our model comes from, and what becomes of
each tensor of the sources.

Every tensor of the model is ``loaded``, ``initialised`` by a rule, or ``missing``. Every tensor of a source is
``used``, has ``no place`` by design, is ``overruled`` by a source that comes before it, or is ``unexpected``
(``allowed`` where the caller says so). docs/weights.md says what each means.
"""

import copy
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Final

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.tokenizer import Tokenizer
from model.ufvideo import UFVideo
from model.weight_files import Outgoing, TensorFiles, WeightsError
from model.weight_names import (
    EMBEDDING,
    HEAD,
    MEMORY_PLACES,
    NO_MEMORY,
    PARTS,
    VOCABULARY,
    kind_of,
    no_place,
    our_name,
    part_of,
    release_name,
    sam2_version_of,
)
from shards.tokens import SPECIAL_TOKENS

ROLES: Final[dict[str, tuple[str, ...]]] = {
    "language": ("language",),
    "vision": ("vision",),
    "sam2": ("sam2",),
    "from": tuple(PARTS),
}
"""What a source may give, by the option that names it, in order of precedence."""

FRESH: Final = ("connector", "regions", "prompt")
"""Parts that begin anew where no source holds any of them: they are what the papers train on top of the others."""

Pieces = Callable[[], Iterable[Tensor]]
"""A tensor's content when its turn comes, in parts."""

COVARIANCE_SHARE: Final = 1e-9
"""Of the old rows' covariance, in drawn rows (transformers 5.23, modeling_utils.py: _init_added_embeddings_…)."""


@dataclass(frozen=True, slots=True)
class Source:
    """A source as it was opened: by which option, and who wrote it. ``tied``: its head is its embedding."""

    role: str
    files: TensorFiles
    tied: bool = False

    @property
    def told(self) -> str:
        return f"--{self.role} {self.files.path}"


@dataclass(frozen=True, slots=True)
class Place:
    """What a source's tensor is to our model: ``ours`` is its name, or there is none because of ``why``."""

    status: str
    ours: str = ""
    why: str = ""
    kept: bool = False


@dataclass(slots=True)
class Plan:
    """``model`` and ``sources`` are report.json's; ``outgoing`` and ``kept`` are what will be written."""

    model: dict[str, dict[str, Any]]
    sources: list[dict[str, Any]]
    outgoing: list[Outgoing]
    kept: list[Outgoing]

    def with_status(self, status: str) -> list[str]:
        """The names of the model's tensors, or of the sources', in that status."""
        told = [self.model, *(source["tensors"] for source in self.sources)]
        return [name for entries in told for name, entry in entries.items() if entry["status"] == status]


def skeleton(config: ModelConfig) -> UFVideo:
    """The model on the meta device: names, shapes and modules without memory."""
    with torch.device("meta"):
        return UFVideo(config)


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


# --------------------------------------------------------------------------------------------- the sources' tensors


def place_of(name: str, shape: tuple[int, ...], shapes: Mapping[str, tuple[int, ...]]) -> Place:
    """Where a source's tensor belongs: ``place``, ``no place`` by design, ``other shape`` or ``unexpected``."""
    ours = our_name(name)
    if ours not in shapes and (gone := no_place(name)) is not None:
        return Place("no place", why=gone.why, kept=gone.kept)
    if ours is None or ours not in shapes:
        adapter = ".lora_" in name or ".base_layer." in name
        why = "a LoRA adapter: merge it into its base first" if adapter else "no rule knows this name"
        return Place("unexpected", why=why)
    wanted = shapes[ours]
    if shape == wanted or (ours in VOCABULARY and shape[1:] == wanted[1:]):
        return Place("place", ours)
    if ours == MEMORY_PLACES and _remembers(shapes):
        return Place("no place", why="of another width: it stands for a memory that was not built")
    if ours == MEMORY_PLACES:
        return Place("no place", why=NO_MEMORY, kept=True)
    return Place("other shape", ours, f"{list(shape)} there, {list(wanted)} in the model")


def _remembers(shapes: Mapping[str, object]) -> bool:
    """Whether a model with tensors of these names has SAM 2's memory."""
    return any(name.startswith(f"{PARTS['sam2']}memory_attention.") for name in shapes)


def _places(source: Source, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Place]:
    """Of every tensor of the source. Raises WeightsError for another shape, or two tensors in one place."""
    places: dict[str, Place] = {}
    taken: dict[str, str] = {}
    for name, stored in source.files.stored.items():
        place = places[name] = place_of(name, stored.shape, shapes)
        if place.status == "other shape":
            raise WeightsError(
                f"{stored.file}: {name} is {place.why}; choose the --preset or --config that these weights are of"
            )
        if place.ours and taken.setdefault(place.ours, name) != name:
            raise WeightsError(f"{stored.file}: {name} and {taken[place.ours]} are both {place.ours}; leave one out")
    return places


def _chosen(sources: list[Source], places: list[dict[str, Place]]) -> dict[str, int]:
    """The number of the source of each part: the first that may give it and holds any of it."""
    held = [{part_of(place.ours) for place in of.values() if place.ours} for of in places]
    for source, parts in zip(sources, held, strict=True):
        if source.role != "from" and not parts & set(ROLES[source.role]):
            kind = kind_of(source.files.stored)
            raise WeightsError(
                f"{source.told} holds nothing of that part (it looks like {kind}); give the right folder"
            )
    chosen: dict[str, int] = {}
    for part in PARTS:
        for number, source in enumerate(sources):
            if part in ROLES[source.role] and part in held[number]:
                chosen.setdefault(part, number)
    return chosen


def _told_source(
    number: int, sources: list[Source], places: dict[str, Place], chosen: dict[str, int], allow: tuple[str, ...]
) -> dict[str, Any]:
    source = sources[number]
    tensors: dict[str, dict[str, Any]] = {}
    for name, place in places.items():
        if place.status == "place":
            by = chosen.get(part_of(place.ours))
            why = "not asked for" if by is None else f"{part_of(place.ours)} is taken from {sources[by].told}"
            tensors[name] = (
                {"status": "used", "as": place.ours} if by == number else {"status": "overruled", "why": why}
            )
        elif place.status == "no place":
            kept = place.kept and chosen.get("sam2") == number
            tensors[name] = {"status": "no place", "why": place.why, "kept": kept}
        else:
            tensors[name] = {"status": "allowed" if name.startswith(allow) else "unexpected", "why": place.why}
    files = {file.name: file.stat().st_size for file in source.files.files}
    kind = kind_of(source.files.stored)
    return {
        "option": f"--{source.role}",
        "path": str(source.files.path),
        "kind": kind,
        "files": files,
        "tensors": tensors,
    }


# --------------------------------------------------------------------------------------------- the plan


def plan_import(
    sources: list[Source],
    config: ModelConfig,
    tokenizer: Tokenizer | None,
    dtype: torch.dtype | None,
    seed: int,
    allow: tuple[str, ...],
) -> Plan:
    """The plan for a model of ``config``, in the sources' dtypes or in ``dtype``.

    ``allow`` are beginnings of unexpected names that are let go. Raises WeightsError for shapes that do not fit and
    for a vocabulary that lacks rows of ordinary words; what is missing or unexpected is for the caller to judge.
    """
    model = skeleton(config)
    shapes = shapes_of(model)
    sources = sorted(sources, key=lambda source: tuple(ROLES).index(source.role))
    places = [_places(source, shapes) for source in sources]
    chosen = _chosen(sources, places)
    if "sam2" in chosen:
        _check_version(sources[chosen["sam2"]], config)
    givers = {part: _Giver(sources[n], {p.ours: name for name, p in places[n].items()}) for part, n in chosen.items()}
    filler = _Filler(model, givers, _Reader(), tokenizer, dtype, seed)
    filled = {ours: filler.fill(ours, shape) for ours, shape in shapes.items()}
    told = [_told_source(n, sources, places[n], chosen, allow) for n in range(len(sources))]
    return Plan(
        model={ours: entry for ours, (entry, _) in filled.items()},
        sources=told,
        outgoing=[outgoing for _, outgoing in filled.values() if outgoing is not None],
        kept=[out for source, of in zip(sources, told, strict=True) for out in filler.kept(source, of["tensors"])],
    )


def _check_version(source: Source, config: ModelConfig) -> None:
    """Raise WeightsError where a source's SAM 2 is not the version that the model is of."""
    found = sam2_version_of(source.files.stored)
    if found not in (None, config.sam2_version):
        raise WeightsError(
            f"{source.told} holds SAM {found}, the model is described with {config.sam2_version}: add "
            f"--set sam2_version={found}, or give the files of SAM {config.sam2_version}"
        )


@dataclass(frozen=True, slots=True)
class _Giver:
    """The source of a part, and its names of our tensors."""

    source: Source
    names: Mapping[str, str]

    def name_of(self, ours: str) -> str | None:
        tied = EMBEDDING if ours == HEAD and self.source.tied else ours
        return self.names.get(ours, self.names.get(tied))


Filled = tuple[dict[str, Any], Outgoing | None]
"""A tensor's entry in the report, and what will be written."""


class _Filler:
    """Says of each tensor of the model how it comes about."""

    def __init__(
        self,
        model: nn.Module,
        givers: Mapping[str, _Giver],
        reader: "_Reader",
        tokenizer: Tokenizer | None,
        dtype: torch.dtype | None,
        seed: int,
    ) -> None:
        self.givers, self.reader, self.tokenizer, self.dtype, self.seed = givers, reader, tokenizer, dtype, seed
        self.remembers = _remembers(model.state_dict())
        self._new_part = lru_cache(maxsize=1)(partial(_fresh, model, seed))

    def fill(self, ours: str, shape: tuple[int, ...]) -> Filled:
        part = part_of(ours)
        giver = self.givers.get(part)
        if giver is not None and (name := giver.name_of(ours)) is not None:
            return self._loaded(ours, shape, giver.source, name)
        if giver is not None and ours == MEMORY_PLACES and not self.remembers:
            return self._initialised(ours, shape, "zeros: never read", partial(_zeros, shape))
        if giver is None and part in FRESH:
            rule = f"as a new model's {part}, seed {self.seed}: no source holds it"
            return self._initialised(ours, shape, rule, partial(_piece_of, self._new_part, part, ours))
        lacking = f"no source holds the part {part}" if giver is None else f"{giver.source.told} lacks it"
        return {"status": "missing", "why": lacking}, None

    def _initialised(self, ours: str, shape: tuple[int, ...], rule: str, pieces: Pieces) -> Filled:
        return {"status": "initialised", "rule": rule}, Outgoing(ours, self.dtype or torch.float32, shape, pieces)

    def _loaded(self, ours: str, shape: tuple[int, ...], source: Source, name: str) -> Filled:
        stored = source.files.stored[name]
        told: dict[str, Any] = {"status": "loaded", "from": source.told, "file": stored.file.name, "name": name}
        told["dtype"] = _word(stored.dtype)
        if self.dtype not in (None, stored.dtype):
            told["cast"] = _word(self.dtype)
        pieces: Pieces = partial(_whole, self.reader, source.files, name)
        if ours in VOCABULARY:
            told |= self._told_rows(source, name, stored.shape[0], shape[0])
            seed = self.seed + zlib.crc32(ours.encode())
            pieces = partial(_rows, self.reader, source.files, name, shape[0], seed)
        return told, Outgoing(ours, self.dtype or stored.dtype, shape, pieces)

    def _told_rows(self, source: Source, name: str, rows: int, wanted: int) -> dict[str, Any]:
        if rows == wanted:
            return {}
        if rows > wanted:
            return {"rows": {"loaded": wanted, "cut": rows - wanted, "rule": "padding behind the tokenizer's ids"}}
        _check_new_rows(source, name, rows, wanted, self.tokenizer)
        rule = f"normal with the mean of the {rows} old rows and 1e-9 of their covariance, seed {self.seed}"
        return {"rows": {"loaded": rows, "drawn": wanted - rows, "rule": rule}}

    def kept(self, source: Source, tensors: Mapping[str, dict[str, Any]]) -> list[Outgoing]:
        """What an export gives back, under the release's names, in their order."""
        names = {_release(name): name for name, told in tensors.items() if told.get("kept")}
        stored = source.files.stored
        return [
            Outgoing(new, stored[old].dtype, stored[old].shape, partial(_whole, self.reader, source.files, old))
            for new, old in sorted(names.items())
        ]


class _Reader:
    """Reads from one source at a time, so that two sources are never mapped at once."""

    def __init__(self) -> None:
        self._last: TensorFiles | None = None

    def __call__(self, files: TensorFiles, name: str) -> Tensor:
        if self._last is not None and self._last is not files:
            self._last.close()
        self._last = files
        return files.read(name)


def _release(name: str) -> str:
    ours = our_name(name)
    assert ours is not None, name
    return release_name(ours)


# --------------------------------------------------------------------------------------------- tensors' contents


def _whole(reader: _Reader, files: TensorFiles, name: str) -> Iterable[Tensor]:
    yield reader(files, name)


def _rows(reader: _Reader, files: TensorFiles, name: str, wanted: int, seed: int) -> Iterable[Tensor]:
    old = reader(files, name)
    yield old[:wanted]
    if len(old) < wanted:
        yield drawn_rows(old, wanted - len(old), seed)


def _zeros(shape: tuple[int, ...]) -> Iterable[Tensor]:
    yield torch.zeros(shape)


def _piece_of(fresh: Callable[[str], Mapping[str, Tensor]], part: str, ours: str) -> Iterable[Tensor]:
    yield fresh(part)[ours]


def _fresh(model: nn.Module, seed: int, part: str) -> dict[str, Tensor]:
    """A new part, float32, by our names: what its modules' own initialisation draws, without touching the caller's
    random state."""
    prefix = PARTS[part]
    module = copy.deepcopy(model.get_submodule(prefix.rstrip("."))).to_empty(device="cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + zlib.crc32(part.encode()))
        for inner in module.modules():
            if next(inner.parameters(recurse=False), None) is not None:
                assert callable(inner.reset_parameters), type(inner)
                inner.reset_parameters()
    return {prefix + name: tensor.detach() for name, tensor in module.state_dict().items()}


def drawn_rows(old_RD: Tensor, count: int, seed: int) -> Tensor:
    """``count`` new rows, float32 [count, D], from a normal with the mean of the old rows and 1e-9 of their covariance.

    The distribution of transformers' ``mean_resizing``, which the release uses. Its covariance matrix is not built: a
    normal weight per old row, summed over the rows less their mean, has exactly that covariance.
    """
    generator = torch.Generator().manual_seed(seed)
    mean_D = old_RD.new_zeros(old_RD.shape[1], dtype=torch.float64)
    noise_CD = mean_D.new_zeros(count, old_RD.shape[1])
    weight_C = mean_D.new_zeros(count)
    for block_BD in old_RD.split(1024):
        weights_CB = torch.randn(count, len(block_BD), generator=generator, dtype=torch.float64)
        rows_BD = block_BD.double()
        mean_D += rows_BD.sum(0) / len(old_RD)
        noise_CD += weights_CB @ rows_BD
        weight_C += weights_CB.sum(1)
    noise_CD -= weight_C[:, None] * mean_D
    return (mean_D + noise_CD * (COVARIANCE_SHARE / len(old_RD)) ** 0.5).float()


def _check_new_rows(source: Source, name: str, rows: int, wanted: int, tokenizer: Tokenizer | None) -> None:
    """Only learned tokens may be drawn anew: a row that is missing for a word is a wrong file."""
    learned = (
        {tokenizer.id_of(token) for token in SPECIAL_TOKENS}
        if tokenizer
        else set(range(wanted)[-len(SPECIAL_TOKENS) :])
    )
    if lacking := set(range(rows, wanted)) - learned:
        raise WeightsError(
            f"{source.files.stored[name].file}: {name} has {rows} rows and none for id {min(lacking)}, an ordinary "
            f"word of the {wanted} in the vocabulary; the weights and the tokenizer belong to different models"
        )


def _word(dtype: torch.dtype | None) -> str:
    return str(dtype).removeprefix("torch.")
