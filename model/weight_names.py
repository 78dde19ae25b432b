"""Names of tensors: how others spell what our model holds, and what it has no place for.

Four spellings are read: the release's (UFVideo and VideoRefer folders; names of a 7B checkpoint, release d1dbdd4),
those of its parts (Qwen2 and SigLIP as transformers writes them, SAM 2 as its authors do), and our own
``state_dict``. Their beginnings differ, so one table reads all of them.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

PARTS: Final[dict[str, str]] = {
    "language": "language.",
    "vision": "vision.",
    "connector": "connector.",
    "regions": "regions.",
    "prompt": "segmentation.project.",
    "sam2": "segmentation.sam2.",
}
"""What weights come in, by the beginning of our names; a part is taken whole from one source."""

RELEASE: Final[dict[str, str]] = {
    "model.vision_tower.vision_tower.vision_model.": "vision.siglip.",
    "model.mm_projector.": "connector.",
    "model.region_encoder.": "regions.",
    "model.text_hidden_fcs.0.": "segmentation.project.",
    "model.mask_encoder.sam2_model.": "segmentation.sam2.",
    "model.embed_tokens.": "language.model.embed_tokens.",
    "model.layers.": "language.model.layers.",
    "model.norm.": "language.model.norm.",
    "lm_head.": "language.lm_head.",
}
"""The release's beginnings → ours; read backwards for an export."""

_SAM2: Final = (
    *("image_encoder.", "sam_mask_decoder.", "sam_prompt_encoder.", "memory_attention.", "memory_encoder."),
    *("maskmem_tpos_enc", "no_mem_embed", "no_mem_pos_enc", "no_obj_ptr", "mask_downsample.", "obj_ptr_proj."),
    *("obj_ptr_tpos_proj.", "no_obj_embed_spatial"),
)
_SIGLIP: Final = ("embeddings.", "encoder.", "post_layernorm.", "head.")
_OTHERS: Final[dict[str, str]] = {
    "model.vision_tower.vision_tower.": "vision.siglip.",  # without a level that transformers 5 has dropped
    "vision_model.": "vision.siglip.",
    **{name: f"vision.siglip.{name}" for name in _SIGLIP},
    **{name: f"segmentation.sam2.{name}" for name in _SAM2},
    **{name: name for name in PARTS.values()},
}
_BEGINNINGS: Final = RELEASE | _OTHERS  # the release's first: one of the others is the beginning of one of its
_PEFT: Final = "base_model.model."
"""What peft puts before every name of a model that it wraps."""
_GAMMA: Final = re.compile(r"(memory_encoder\.fuser\.layers\.\d+\.)(gamma|g_weight)$")
"""SAM 2's own name and ours; the release calls it ``g_weight``, since transformers renames a ``gamma`` it loads."""

EMBEDDING: Final = "language.model.embed_tokens.weight"
HEAD: Final = "language.lm_head.weight"
VOCABULARY: Final = (EMBEDDING, HEAD)
"""One row per token id: cut or lengthened to the tokenizer."""
MEMORY_PLACES: Final = "segmentation.sam2.maskmem_tpos_enc"
"""[7, 1, 1, width of memories]; without a memory encoder it is never read, and SAM2Base takes another width."""
NO_MEMORY: Final = "SAM 2's memory is not built: `memory` is false"
_ONLY_OF_2_1: Final = "no_obj_embed_spatial"
_ONLY_WITH_MEMORY: Final = "memory_attention.norm.weight"

_NO_PLACE: Final = (
    (
        r"segmentation\.sam2\.(memory_(attention|encoder)\.|obj_ptr_tpos_proj\.|no_obj_embed_spatial$)",
        NO_MEMORY,
        True,
    ),
    (r".*\.rotary_emb\.inv_freq$", "rotary frequencies are computed", False),
    (r".*\.position_ids$", "positions are counted", False),
    (r"text_model\.|logit_(scale|bias)$", "the text side of SigLIP", False),
)
"""Pattern of our name (theirs where we have none), why it has no place, whether an import keeps it for an export."""


@dataclass(frozen=True, slots=True)
class NoPlace:
    """Why our model has no place for a tensor, and whether an import keeps it for an export."""

    why: str
    kept: bool


def our_name(name: str) -> str | None:
    """The name in our model's ``state_dict`` of a tensor in any spelling; None where no rule reads it.

    A rule looks at beginnings only, so whether the model has that tensor is another question.
    """
    name = name.removeprefix(_PEFT)
    for theirs, ours in _BEGINNINGS.items():
        if name.startswith(theirs):
            return _GAMMA.sub(r"\1gamma", ours + name.removeprefix(theirs))
    return None


def release_name(ours: str) -> str:
    """The name in the release's checkpoints of a tensor in our spelling. Raises ValueError for any other."""
    for theirs, beginning in RELEASE.items():
        if ours.startswith(beginning):
            return _GAMMA.sub(r"\1g_weight", theirs + ours.removeprefix(beginning))
    raise ValueError(f"{ours!r} is no name of our model; they begin with {', '.join(PARTS.values())}")


def no_place(name: str) -> NoPlace | None:
    """Why a tensor in any spelling has no place by design; None where a rule gives it one, or none knows it.

    Of a model without memory: whoever builds one asks the model first.
    """
    read = our_name(name) or name.removeprefix(_PEFT)
    return next((NoPlace(why, kept) for pattern, why, kept in _NO_PLACE if re.match(pattern, read)), None)


def part_of(ours: str) -> str:
    """The key of PARTS that a tensor in our spelling belongs to."""
    return next(part for part, beginning in PARTS.items() if ours.startswith(beginning))


def sam2_version_of(names: Iterable[str]) -> str | None:
    """Which SAM 2 a set of names in any spelling is of: 2.0 or 2.1; None where its memory is not among them."""
    bare = {(our_name(name) or "").removeprefix(PARTS["sam2"]) for name in names}
    return "2.1" if _ONLY_OF_2_1 in bare else "2.0" if _ONLY_WITH_MEMORY in bare else None


_KINDS: Final = (
    (tuple(PARTS.values()), "multigrain"),
    (("model.mask_encoder.", "model.text_hidden_fcs."), "UFVideo"),
    (("model.mm_projector.", "model.region_encoder.", "model.vision_tower."), "VideoRefer"),
    (("model.layers.",), "Qwen2"),
    (("image_encoder.", "sam_mask_decoder."), "SAM 2"),
    (("vision_model.", "embeddings.patch_embedding."), "SigLIP"),
)


def kind_of(names: Iterable[str]) -> str:
    """Who wrote names: the first of multigrain, UFVideo, VideoRefer, Qwen2, SAM 2 (its version), SigLIP that fits."""
    bare = [name.removeprefix(_PEFT) for name in names]
    kind = next((kind for begins, kind in _KINDS if any(name.startswith(begins) for name in bare)), "unknown")
    version = sam2_version_of(bare) if kind == "SAM 2" else None
    return f"SAM {version}" if version else kind
