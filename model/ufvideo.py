"""UFVideo: the whole model (CVPR 2026, arXiv 2512.11336, figure 2).

    clip ── SigLIP ── STC connector ──► visual tokens ┐
    objects ── SigLIP ── region encoder ──► <Ref> ────┼── Qwen2 ──► words and time tokens
    words ── embeddings ──────────────────────────────┘     └─► state of <Seg> ── MLP ── SAM2 decoder ──► masks

Shapes as in ``model.batch``, and D language width, E vision width, W vocabulary, Z pixels of a mask frame's side.
"""

from dataclasses import dataclass, replace
from typing import Final

import torch
import transformers
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2ForCausalLM

from model.batch import Batch
from model.config import ModelConfig
from model.connector import STCConnector
from model.losses import Counts, Losses, losses, presence_loss
from model.pixels import for_masks, for_vision
from model.regions import RegionEncoder
from model.segmentation import SegmentationHead, Segmented
from model.vision import VisionTower

_MEMORY: Final = (
    *("memory_attention.", "memory_encoder.", "maskmem_tpos_enc", "obj_ptr_proj."),
    *("obj_ptr_tpos_proj.", "no_obj_ptr", "no_obj_embed_spatial"),
)
PARTS: Final[dict[str, str | tuple[str, ...]]] = {
    "vision": "vision.",
    "connector": "connector.",
    "regions": "regions.",
    "language": "language.",
    "prompt": "segmentation.project.",
    "mask_decoder": "segmentation.sam2.sam_mask_decoder.",
    "mask_encoder": "segmentation.sam2.image_encoder.",
    "memory": tuple(f"segmentation.sam2.{name}" for name in _MEMORY),
}
"""What can be trained, by the beginning of its parameters' names; the rest of SAM2 (prompt encoder, …) never is."""


def parts_of(config: ModelConfig) -> tuple[str, ...]:
    """The PARTS that a model of this description has: ``memory`` only where it is asked for."""
    return tuple(part for part in PARTS if part != "memory" or config.memory)


RELEASE_TRAINS: Final = ("connector", "regions", "language", "prompt", "mask_decoder")
"""What the release trains (paper, section on training): both image encoders stay frozen."""


@dataclass(frozen=True, slots=True)
class Output:
    """Logits of the supervised tokens [C, W], of the masks [M, Z, Z] at the mask frames' size, and of whether the
    object is on the frame [M].
    """

    logits_CW: Tensor
    mask_logits_MZZ: Tensor
    presence_M: Tensor


class UFVideo(nn.Module):
    """The model; ``forward`` answers a batch, ``loss`` weighs the answer."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.vision = VisionTower(config)
        self.connector = STCConnector(config.vision_width, config.width, config.connector_depth)
        self.regions = RegionEncoder(config.vision_width, config.width, config.region_tokens)
        self.language = qwen2(config)
        self.segmentation = SegmentationHead(config)

    def forward(self, batch: Batch) -> Output:
        embeds_BLD, attends_BL = self.embed(batch)
        states_BLD = self.read(embeds_BLD, attends_BL)
        logits_CW = self.language.lm_head(states_BLD[batch.learned_row_C, batch.learned_column_C])
        segmented = self.segment(states_BLD, batch)
        return Output(logits_CW, segmented.logits_MZZ, segmented.presence_M)

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the language model reads, [B, L, D], and which positions there are, bool [B, L]."""
        embeds_BLD, attends_BL = self.language.get_input_embeddings()(batch.ids_BL), batch.attends_BL
        if not len(batch.frames_UHWC):
            return embeds_BLD, attends_BL
        features_UNE = self.vision(for_vision(batch.frames_UHWC))
        if len(batch.clip_row_V):
            visual_VKD = self.connector(features_UNE[batch.clip_frame_VT])
            columns_VK = batch.clip_column_V[:, None] + torch.arange(visual_VKD.shape[1], device=visual_VKD.device)
            rows_VK = batch.clip_row_V[:, None].expand_as(columns_VK)
            embeds_BLD = embeds_BLD.index_put((rows_VK, columns_VK), visual_VKD.to(embeds_BLD.dtype))
        if len(batch.slot_object_Q):
            tokens_RKD, there_RK = self.regions(
                features_UNE, batch.region_frame_P, batch.region_grid_PGG, batch.region_place_RF
            )
            slot, place = (batch.slot_object_Q, batch.slot_token_Q), (batch.slot_row_Q, batch.slot_column_Q)
            embeds_BLD = embeds_BLD.index_put(place, tokens_RKD[slot].to(embeds_BLD.dtype))
            attends_BL = attends_BL.index_put(place, there_RK[slot])
        return embeds_BLD, attends_BL

    def see(self, frames_UHWC: Tensor, clip_frame_T: Tensor) -> Tensor:
        """The visual tokens [K, D] of one clip, whose frames are rows of the table; for questions that share them."""
        return self.connector(self.vision(for_vision(frames_UHWC))[clip_frame_T][None])[0]

    def read(self, embeds_BLD: Tensor, attends_BL: Tensor) -> Tensor:
        """States [B, L, D] behind the final norm; positions count only what there is."""
        positions_BL = (attends_BL.long().cumsum(1) - 1).clamp(min=0)
        return self.language.model(
            inputs_embeds=embeds_BLD, attention_mask=attends_BL, position_ids=positions_BL, use_cache=False
        ).last_hidden_state

    def segment(self, states_BLD: Tensor, batch: Batch) -> Segmented:
        """Masks and presence of the batch's pairs; none where it has no ``<Seg>``."""
        if not len(batch.mask_frame_M):
            side = self.config.mask_image_size
            none = states_BLD.new_zeros(0, dtype=torch.float32)
            return Segmented(none.reshape(0, side, side), none)
        states_ND = states_BLD[batch.seg_row_N, batch.seg_column_N]
        frames_SCZZ, place_NT = for_masks(batch.mask_frames_SHWC), batch.mask_place_NT
        return self.segmentation.answer(states_ND, frames_SCZZ, batch.mask_frame_M, batch.mask_object_M, place_NT)

    def loss(self, batch: Batch, counts: Counts, object_score: float = 0.0) -> Losses:
        """The batch's part of a step's losses; ``counts`` are those of the whole step.

        ``object_score`` weighs the cross-entropy of whether each object is on its frame.
        """
        output, masks, weight_M = self(batch), batch.masks, batch.mask_weight_M
        found = losses(output.logits_CW, batch.label_C, output.mask_logits_MZZ, masks, weight_M, counts)
        if not object_score:
            return found
        presence = presence_loss(output.presence_M, masks, weight_M, counts)
        return replace(found, total=found.total + object_score * presence, presence=presence.detach())

    def train_parts(self, parts: tuple[str, ...] = RELEASE_TRAINS) -> None:
        """Let the parts of PARTS learn and freeze everything else."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(any(name.startswith(PARTS[part]) for part in parts))


def qwen2(config: ModelConfig) -> Qwen2ForCausalLM:
    """Qwen2 with an untied head, initialised as transformers does. Raises ImportError for a transformers before 5."""
    if int(transformers.__version__.split(".")[0]) < 5:  # it would not know rope_parameters, and take another theta
        raise ImportError(f"transformers {transformers.__version__} is too old: pip install 'transformers>=5.17,<6'")
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=config.vocab_size,
            hidden_size=config.width,
            intermediate_size=config.mlp,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.kv_heads,
            rms_norm_eps=1e-6,
            initializer_range=config.init_std,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
            tie_word_embeddings=False,
        )
    )
