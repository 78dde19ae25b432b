"""``ufvideo describe``: what a model weighs and what one sample costs, part by part, without weights or a GPU.

``model.flops`` counts, along the graph that training walks.
"""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from model.batch import Batch
from model.config import PRESETS, ConfigError, ModelConfig, from_dict
from model.flops import META, count, parameters_by_row, rows_of
from model.recipe import TrainRecipe, load_train_recipe
from model.run import RUN_FILE, TOKENIZER
from model.tokenizer import CONTROL_TOKENS, Tokenizer
from model.ufvideo import PARTS, RELEASE_TRAINS, UFVideo
from shards.tokens import SPECIAL_TOKENS
from shards.toml_table import RecipeError, nearest

STATE_BYTES: Final = 16
"""Of a trained parameter: weight, gradient and AdamW's two moments in fp32."""
TERA: Final = 10**12
GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class Sample:
    """One clip with its conversation; ``mask_frames`` None: as many as the model has.

    ``regions`` is the number of frames on which one object is shown for ``<Ref>``; each goes through the vision tower
    besides the clip's.
    """

    text_tokens: int = 150
    supervised: int = 60
    mask_frames: int | None = None
    objects: int = 1
    regions: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.supervised <= self.text_tokens:
            raise RecipeError(f"--supervised {self.supervised} is not in 1…{self.text_tokens}, what --text-tokens says")
        for name in ("mask_frames", "objects", "regions"):
            if (getattr(self, name) or 0) < 0:
                raise RecipeError(f"--{name.replace('_', '-')} {getattr(self, name)} is not 0 or more")


@dataclass(frozen=True, slots=True)
class Row:
    """A part's size and cost; ``step`` is forward and backward."""

    name: str
    parameters: int
    trained: bool
    forward: int
    step: int


@dataclass(frozen=True, slots=True)
class Description:
    """A model, the sample it was measured with, and its rows."""

    model: str
    parts: tuple[str, ...]
    sample: Sample
    tokens: int
    rows: tuple[Row, ...]

    @property
    def total(self) -> Row:
        return Row(
            "total",
            sum(row.parameters for row in self.rows),
            True,
            sum(row.forward for row in self.rows),
            sum(row.step for row in self.rows),
        )

    @property
    def trained_parameters(self) -> int:
        return sum(row.parameters for row in self.rows if row.trained)

    def bytes(self) -> dict[str, int]:
        """Of the weights, and of what training holds for what it trains."""
        weights = self.total.parameters
        return {
            "weights_fp32": 4 * weights,
            "weights_bf16": 2 * weights,
            "training_state": STATE_BYTES * self.trained_parameters,
        }

    def to_dict(self) -> dict[str, Any]:
        """As JSON: FLOP and bytes as whole numbers."""
        rows = [dataclasses.asdict(row) for row in self.rows]
        total = dataclasses.asdict(self.total) | {"trained": self.trained_parameters}
        return {
            "model": self.model,
            "parts": list(self.parts),
            "sample": dataclasses.asdict(self.sample) | {"tokens": self.tokens},
            "rows": rows,
            "total": {name: total[name] for name in ("parameters", "trained", "forward", "step")},
            "bytes": self.bytes(),
        }


def describe(
    config: ModelConfig, parts: tuple[str, ...] = RELEASE_TRAINS, sample: Sample | None = None, name: str = "model"
) -> Description:
    """What a model of this description weighs, and what one sample costs while ``parts`` are trained."""
    sample = sample or Sample()
    if sample.mask_frames is None:
        sample = dataclasses.replace(sample, mask_frames=config.num_mask_frames)
    model = meta_model(config, parts)
    batch = meta_batch(config, sample)
    forward, backward = count(model, batch)
    sizes = parameters_by_row(model)
    rows = (
        Row(row, sizes[row], part in parts, forward[row], forward[row] + backward[row])
        for row, (part, _) in rows_of(config).items()
    )
    return Description(name, parts, sample, batch.ids_BL.shape[1], tuple(rows))


def meta_model(config: ModelConfig, parts: tuple[str, ...]) -> UFVideo:
    """The model without storage. Attention of Qwen2 is eager, since its sdpa looks for padding, which meta lacks."""
    with META:
        model = UFVideo(config)
    model.train_parts(parts)
    model.language.set_attn_implementation("eager")
    return model.eval()


def meta_batch(config: ModelConfig, sample: Sample) -> Batch:
    """One sample without storage: the clip, then its words; every index has its shape and no value."""
    length = config.visual_tokens + sample.text_tokens
    masks = (sample.mask_frames or 0) * sample.objects
    region_tokens = min(sample.regions, config.region_tokens)

    def index(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.int64, device=META)

    def pixels(frames: int, side: int) -> Tensor:
        return torch.empty(frames, side, side, 3, dtype=torch.uint8, device=META)

    return Batch(
        keys=("sample",),
        ids_BL=index(1, length),
        attends_BL=torch.empty(1, length, dtype=torch.bool, device=META),
        frames_UHWC=pixels(config.num_frames + sample.regions, config.image_size),
        clip_frame_VT=index(1, config.num_frames),
        clip_row_V=index(1),
        clip_column_V=index(1),
        region_frame_P=index(sample.regions),
        region_grid_PGG=torch.empty(sample.regions, config.grid, config.grid, dtype=torch.bool, device=META),
        region_place_RF=index(min(sample.regions, 1), sample.regions),
        slot_object_Q=index(region_tokens),
        slot_token_Q=index(region_tokens),
        slot_row_Q=index(region_tokens),
        slot_column_Q=index(region_tokens),
        learned_row_C=index(sample.supervised),
        learned_column_C=index(sample.supervised),
        label_C=index(sample.supervised),
        seg_row_N=index(sample.objects),
        seg_column_N=index(sample.objects),
        mask_frames_SHWC=pixels(sample.mask_frames or 0, config.mask_image_size),
        mask_frame_M=index(masks),
        mask_object_M=index(masks),
        mask_weight_M=torch.empty(masks, device=META),
        masks=(),
        mask_place_NT=index(sample.objects, sample.mask_frames or 0),
    )


# ---------------------------------------------------------------------------------------------- what to describe


@dataclass(frozen=True, slots=True)
class Source:
    """What the command line names: a description of a model, and what is trained of it."""

    name: str
    config: ModelConfig
    parts: tuple[str, ...] = RELEASE_TRAINS


def read_source(text: str) -> Source:
    """A preset, a train recipe's file or a run's folder. Raises RecipeError with what it could be."""
    if text in PRESETS:
        return Source(text, PRESETS[text])
    path = Path(text)
    if path.is_dir():
        return _of_run(path)
    if path.suffix == ".toml" or path.is_file():
        return _of_recipe(path)
    raise RecipeError(
        f"{text} is no preset ({', '.join(PRESETS)}), recipe or run's folder{nearest(text, PRESETS)}; name one of them"
    )


def _of_recipe(path: Path) -> Source:
    recipe = load_train_recipe(path)
    config = dataclasses.replace(recipe.config, vocab_size=_vocabulary(recipe))
    return Source(str(path), config, recipe.train.parts)


def _vocabulary(recipe: TrainRecipe) -> int:
    """Of the recipe's tokenizer or that of its weights; of one that training would make, the most it can have."""
    folder = recipe.tokenizer or (recipe.weights / TOKENIZER if recipe.weights else None)
    if folder is None:
        return recipe.tokenizer_size + len(CONTROL_TOKENS) + len(SPECIAL_TOKENS)
    try:
        return len(Tokenizer.load(folder))
    except ValueError as error:
        key = "tokenizer" if recipe.tokenizer else "weights"
        raise RecipeError(f"{recipe.path}: [model]: `{key}`: {error}") from None


def _of_run(folder: Path) -> Source:
    path = folder / RUN_FILE
    try:
        about = json.loads(path.read_text("utf-8"))
        parts = tuple(about["train"]["parts"])
        if wrong := set(parts) - set(PARTS):
            raise RecipeError(f"{path}: `train.parts` has {min(wrong)!r}; there are {', '.join(PARTS)}")
        return Source(str(folder), from_dict(about["model"]), parts)
    except FileNotFoundError:
        raise RecipeError(f"{folder} is no run's folder: it has no {RUN_FILE}; name one that has") from None
    except ConfigError as error:
        raise RecipeError(f"{path}: `model`: {error}; name a preset or a recipe") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise RecipeError(f"{path} is damaged ({type(error).__name__}: {error}); name the run's recipe") from None


# ------------------------------------------------------------------------------------------------------ telling


def run_describe(source: str, sample: Sample, *, as_json: bool = False) -> int:
    """Print the table, or JSON; returns the exit code."""
    found = read_source(source)
    about = describe(found.config, found.parts, sample, found.name)
    if as_json:
        print(json.dumps(about.to_dict(), indent=1))
        return 0
    console = Console(highlight=False)
    console.print(_table(about))
    for line in _lines(about):
        console.print(line, markup=False, soft_wrap=True)
    return 0


def _table(about: Description) -> Table:
    title = f"{about.model}: millions of parameters, TFLOP of one sample"
    table = Table(title=Text(title), title_justify="left", show_footer=True)
    total = about.total
    for heading, footer in (
        ("part", "total"),
        ("parameters", _number(total.parameters / 1e6, 1)),
        ("trained", _number(about.trained_parameters / 1e6, 1)),
        ("forward", _number(total.forward / TERA, 3)),
        ("and backward", _number(total.step / TERA, 3)),
    ):
        table.add_column(heading, footer, justify="left" if heading == "part" else "right", no_wrap=True)
    for row in about.rows:
        size = _number(row.parameters / 1e6, 1)
        flops = (_number(count / TERA, 3) for count in (row.forward, row.step))
        table.add_row(row.name, size, size if row.trained else "-", *flops)
    return table


def _number(value: float, digits: int) -> str:
    """With so many digits behind the point; below 1 with three that count, and nothing as a dash."""
    return f"{value:,.{digits}f}" if value >= 1 else f"{value:.3g}" if value else "-"


def _lines(about: Description) -> Iterator[str]:
    one = about.sample
    objects = f"{one.objects} object{'s' * (one.objects != 1)}"
    yield (
        f"one sample    {about.tokens} tokens: {about.tokens - one.text_tokens} of the clip, {one.text_tokens} of "
        f"text, {one.supervised} of them learned; {one.mask_frames} mask frames x {objects}; "
        f"{one.regions} region frames"
    )
    gib = {name: f"{size / GIB:,.2f} GiB" for name, size in about.bytes().items()}
    yield f"weights       {gib['weights_fp32']} in fp32, {gib['weights_bf16']} in bf16"
    yield f"training      {gib['training_state']}: {STATE_BYTES} bytes per trained parameter; activations besides"
