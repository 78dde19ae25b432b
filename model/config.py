"""One dataclass that describes the model, and its presets.

Numbers of the ``7b`` preset: UFVideo release d1dbdd4 (``videorefer_arch.py``, ``projector.py``, ``sam2_hiera_l.yaml``)
and the configurations of google/siglip-so400m-patch14-384, Qwen/Qwen2-7B-Instruct and SAM 2.0 Hiera-L.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final


class ConfigError(ValueError):
    """A description of a model that cannot be; the message names the field, the value and what is allowed."""


SAM2_VERSIONS: Final = ("2.0", "2.1")
COMPAT: Final = ("object_order", "seg_state", "frame_order", "first_mask")
"""Faults of the release that can be had on purpose: defects D1, D2, D4 and D3 of docs/defects.md."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Every size of UFVideo; the defaults are the 7B model. ``vocab_size`` follows from the tokenizer."""

    # What the model sees: frames of the clip (or its window), and frames on which masks are predicted.
    num_frames: int = 32
    num_mask_frames: int = 4
    max_region_frames: int = 150
    """Frames on which one region is shown at most, evenly chosen; the release fails above 150 in a sample."""

    # SigLIP-so400m/14-384. Features are the input of the last layer (``hidden_states[-2]``).
    image_size: int = 384
    patch_size: int = 14
    vision_width: int = 1152
    vision_layers: int = 27
    vision_heads: int = 16
    vision_mlp: int = 4304

    # STC connector v35: RegStage, Conv3d 2x2x2, RegStage, MLP.
    connector_depth: int = 4

    # Region encoder: an object becomes at most this many tokens.
    region_tokens: int = 4

    # Qwen2-7B.
    width: int = 3584
    layers: int = 28
    heads: int = 28
    kv_heads: int = 4
    mlp: int = 18944
    rope_theta: float = 1e6
    vocab_size: int = 151748
    init_std: float = 0.02
    """Of Qwen2's weights before training; widths far below 3584 want more."""

    # SAM 2, Hiera-L.
    sam2_version: str = "2.0"
    """2.1 differs in its memory only: times of the object pointers, and a vector for frames without the object."""
    mask_image_size: int = 1024
    hiera_width: int = 144
    hiera_heads: int = 2
    hiera_stages: tuple[int, ...] = (2, 6, 36, 4)
    hiera_windows: tuple[int, ...] = (8, 4, 16, 8)
    hiera_global_blocks: tuple[int, ...] = (23, 33, 43)
    hiera_background: tuple[int, int] = (7, 7)
    mask_width: int = 256

    # SAM 2's memory. The release never reads it: each frame is segmented on its own.
    memory: bool = False
    """``<Seg>`` prompts the first mask frame only, and memory carries the object over the others."""
    memory_frames: int = 7
    """Masks that are remembered: that of the prompted frame, and those of the frames just before."""
    memory_layers: int = 4

    object_score: bool = False
    """An object whose score is 0 or less has an empty mask; for a score that was trained (``[train] object_score``)."""

    compat: tuple[str, ...] = ()
    """What is done as the release does it, of COMPAT; docs/defects.md."""

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if isinstance(value, float) and not value > 0:
                raise ConfigError(f"`{name}` is {value}, not above 0")
            sizes = value if isinstance(value, tuple) else (value,)
            if any(type(size) is int and size < 1 for size in sizes):
                raise ConfigError(f"`{name}` is {value}, not 1 or more")
        for name, told, allowed in (
            ("sam2_version", (self.sam2_version,), SAM2_VERSIONS),
            ("compat", self.compat, COMPAT),
        ):
            if wrong := set(told) - set(allowed):
                raise ConfigError(f"`{name}` has {min(wrong)!r}; there are {', '.join(allowed)}")
        if self.num_frames % 2:
            raise ConfigError(f"`num_frames` is {self.num_frames}; the connector joins frames in pairs: make it even")
        if self.grid < 2:
            raise ConfigError(f"`image_size` {self.image_size} is less than two patches of {self.patch_size} pixels")
        for whole, part in (("vision_width", "vision_heads"), ("width", "heads"), ("heads", "kv_heads")):
            if getattr(self, whole) % getattr(self, part):
                raise ConfigError(f"`{whole}` {getattr(self, whole)} is no multiple of `{part}` {getattr(self, part)}")
        for name, unit in (("mask_image_size", 32), ("mask_width", 16)):  # of SAM 2's levels and attention heads
            if getattr(self, name) % unit:
                raise ConfigError(f"`{name}` is {getattr(self, name)}, not a multiple of {unit}")
        if len(self.hiera_stages) != 4 or len(self.hiera_windows) != 4:
            raise ConfigError("`hiera_stages` and `hiera_windows` have four numbers each")
        firsts = {sum(self.hiera_stages[:stage]) for stage in (1, 2, 3)}  # they pool inside windows
        inner = [block for block in range(1, sum(self.hiera_stages)) if block not in firsts]
        if wrong := set(self.hiera_global_blocks) - set(inner):
            raise ConfigError(f"`hiera_global_blocks` holds {min(wrong)}, which is not one of the blocks {inner}")

    @property
    def grid(self) -> int:
        """Patches along one side of a frame: 27 for so400m/14-384."""
        return self.image_size // self.patch_size

    @property
    def memory_width(self) -> int:
        """Channels of a memory: 64 for SAM 2 (``out_dim`` of its memory encoder)."""
        return self.mask_width // 4

    @property
    def visual_tokens(self) -> int:
        """Tokens of one clip after the connector: 16 · 13 · 13 = 2704 for the 7B model."""
        return (self.num_frames // 2) * (self.grid // 2) ** 2


TINY: Final = ModelConfig(
    num_frames=8,
    image_size=84,
    vision_width=96,
    vision_layers=3,
    vision_heads=4,
    vision_mlp=192,
    connector_depth=1,
    width=128,
    layers=3,
    heads=4,
    kv_heads=2,
    mlp=256,
    vocab_size=1024,
    init_std=0.06,
    mask_image_size=128,
    hiera_width=24,
    hiera_heads=1,
    hiera_stages=(1, 1, 2, 1),
    hiera_windows=(8, 4, 4, 4),
    hiera_global_blocks=(3,),
    mask_width=64,
)
"""Every part at a size that a laptop trains in minutes; nothing pretrained fits it, so all of it is trained."""

SMALL: Final = dataclasses.replace(
    TINY,
    num_frames=16,
    image_size=224,
    vision_width=384,
    vision_layers=6,
    vision_heads=6,
    vision_mlp=1536,
    connector_depth=4,
    width=896,
    layers=12,
    heads=14,
    kv_heads=2,
    mlp=4864,
    vocab_size=8192,
    init_std=0.02,
    mask_image_size=512,
    hiera_width=96,
    hiera_stages=(1, 2, 7, 2),
    hiera_windows=(8, 4, 14, 7),
    hiera_global_blocks=(5, 7, 9),
    mask_width=256,
)
"""One GPU, minutes a run: half the layers of Qwen2-0.5B, a small SigLIP and SAM 2.0 Hiera-T."""

PRESETS: Final[dict[str, ModelConfig]] = {"tiny": TINY, "small": SMALL, "7b": ModelConfig()}


def to_dict(config: ModelConfig) -> dict[str, Any]:
    """The description as JSON can hold it; ``from_dict`` reads it back."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(config).items()}


def from_dict(raw: Mapping[str, Any], base: ModelConfig | None = None) -> ModelConfig:
    """``base`` with the fields of ``raw``. Raises ConfigError for an unknown field and for a value of another kind."""
    base = base or ModelConfig()
    changes: dict[str, Any] = {}
    for name, value in raw.items():
        if name not in FIELDS:
            raise ConfigError(f"a model has no `{name}`; it has {', '.join(FIELDS)}")
        changes[name] = _like(name, value, getattr(base, name))
    return dataclasses.replace(base, **changes)


FIELDS: Final = tuple(field.name for field in dataclasses.fields(ModelConfig))


def _like(name: str, value: Any, before: Any) -> Any:
    """``value`` as the kind of ``before``: yes or no, a word, a number, or several of one kind."""
    if isinstance(before, tuple):
        kind = str if name == "compat" else int
        if isinstance(value, Sequence) and all(type(part) is kind for part in value) and not isinstance(value, str):
            return tuple(value)
        raise ConfigError(f"`{name}` is {value!r}, not a list of {'words' if kind is str else 'whole numbers'}")
    if type(value) is type(before):
        return value
    if isinstance(before, float) and type(value) is int:
        return float(value)
    raise ConfigError(f"`{name}` is {value!r}, not {KINDS[type(before)]}")


KINDS: Final = {float: "a number", int: "a whole number", bool: "true or false", str: "text in quotes"}
