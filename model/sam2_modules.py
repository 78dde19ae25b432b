"""SAM 2 from the sam2 package's own modules and plain constructors, with a mask decoder that takes a language vector.

Settings are those of ``sam2_hiera_l.yaml`` (2.0) and ``sam2.1_hiera_l.yaml`` of sam2 1.1; sizes follow the config.
Memory is built where the config wants it: without it ``memory_attention`` and ``memory_encoder`` are empty.

Shapes: M pairs of a frame and an object, C mask width, Z pixels of a mask frame's side.
"""

from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam.transformer import RoPEAttention
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from model.config import ModelConfig
from model.regions import full_precision

STRIDE: Final = 16
"""Pixels of a mask frame to one place of the coarse level."""
DROPOUT: Final = 0.0
"""Of the memory attention. SAM 2 trains with 0.1, which would make a step depend on its micro-batches."""
LANGUAGE: Final = "language"
"""The key of ``point_inputs`` under which ``track_step`` carries the prompts [M, C] to the mask decoder."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the mask decoder says of M pairs, mask tokens 1…3: mask logits [M, 3, Z/4, Z/4], predicted IoU [M, 3],
    the tokens themselves [M, 3, C], and the logit of whether the object is on the frame [M, 1].
    """

    masks: Tensor
    ious: Tensor
    tokens: Tensor
    presence: Tensor

    def best(self) -> tuple[Tensor, Tensor]:
        """(mask logits [M, Z/4, Z/4], token [M, C]) of the highest predicted IoU."""
        best_M = self.ious.argmax(1)
        pairs = torch.arange(len(best_M), device=best_M.device)
        return self.masks[pairs, best_M], self.tokens[pairs, best_M]


def upsampled(masks_MHW: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Mask logits at another size, float32, bilinear without antialiasing."""
    size = (size, size) if isinstance(size, int) else size
    return F.interpolate(masks_MHW[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0]


class LanguageSAM2(SAM2Base):
    """SAM 2 whose prompt may be a language vector. ``use_score``: the object score decides what memory sees."""

    use_score: bool = False

    def decoded(self, levels: list[Tensor], prompts_MC: Tensor | None) -> Decoded:
        """Decode fine, middle and coarse features. Sparse prompts are two padding points and the language vector.

        In the precision of its weights: under bf16 its gradients turn away (cosine 0.995 with those of fp32), and it
        takes a two-thousandth of the model's FLOP.
        """
        own = self.no_mem_embed.dtype
        with full_precision(levels[0].device):
            return self._decoded(
                [level.to(own) for level in levels], None if prompts_MC is None else prompts_MC.to(own)
            )

    def _decoded(self, levels: list[Tensor], prompts_MC: Tensor | None) -> Decoded:
        fine, middle, coarse = levels
        encoder = self.sam_prompt_encoder
        point = coarse.new_zeros(len(coarse), 1, 2, dtype=torch.float32)
        label = torch.full((len(coarse), 1), -1, dtype=torch.int32, device=coarse.device)
        sparse, dense = encoder(points=(point, label), boxes=None, masks=None)
        if prompts_MC is not None:
            sparse = torch.cat((sparse.to(prompts_MC.dtype), prompts_MC[:, None]), 1)
        return Decoded(
            *self.sam_mask_decoder(
                image_embeddings=coarse,
                image_pe=encoder.get_dense_pe().to(coarse.dtype),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense.to(coarse.dtype),
                multimask_output=True,
                repeat_image=False,
                high_res_features=[fine, middle],
            )
        )

    def _forward_sam_heads(
        self,
        backbone_features: Tensor,
        point_inputs: dict[str, Tensor] | None = None,
        mask_inputs: None = None,
        high_res_features: list[Tensor] | None = None,
        multimask_output: bool = True,
    ) -> tuple[Any, ...]:
        """As SAM2Base's, but the fourth, the chosen mask, is never erased by the object score: a loss wants it whole.

        What memory sees, the last three, is erased where ``use_score`` says so: the mask at the frame's size, the
        object's pointer, and the score. Elsewhere an object counts as present.
        """
        assert high_res_features is not None
        assert multimask_output
        prompts_MC = None if point_inputs is None else point_inputs[LANGUAGE]
        found = self.decoded([*high_res_features, backbone_features], prompts_MC)
        low_res, token = found.best()
        high_res = upsampled(low_res, self.image_size)
        pointer = self.obj_ptr_proj(token)
        score = found.presence if self.use_score else torch.ones_like(found.presence)
        if self.use_score:
            present = score > 0
            high_res = torch.where(present[:, :, None], high_res, NO_OBJ_SCORE)
            pointer = torch.where(present, pointer, self.no_obj_ptr.to(pointer.dtype))
        return found.masks, None, found.presence, low_res, high_res[:, None], pointer, score


class LinspaceOnCpu(TorchFunctionMode):
    """Hiera reads its drop-path rates from a ``linspace`` with .item(), which the meta device cannot answer."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}) | ({"device": "cpu"} if func is torch.linspace else {}))


def sam2(config: ModelConfig) -> LanguageSAM2:
    """SAM 2.0 or 2.1, with or without its memory."""
    with LinspaceOnCpu():
        trunk = hiera(config)
    neck = FpnNeck(
        position_encoding=PositionEmbeddingSine(num_pos_feats=config.mask_width),
        d_model=config.mask_width,
        backbone_channel_list=cast("list[int]", trunk.channel_list),
        fpn_top_down_levels=[2, 3],
        fpn_interp_model="nearest",
    )
    newer = config.memory and config.sam2_version == "2.1"
    built = LanguageSAM2(
        image_encoder=ImageEncoder(trunk=trunk, neck=neck, scalp=1),
        memory_attention=memory_attention(config) if config.memory else nn.Identity(),
        memory_encoder=memory_encoder(config) if config.memory else nn.Identity(),
        num_maskmem=config.memory_frames,
        image_size=config.mask_image_size,
        sigmoid_scale_for_mem_enc=20.0,
        sigmoid_bias_for_mem_enc=-10.0,
        directly_add_no_mem_embed=True,
        use_high_res_features_in_sam=True,
        multimask_output_in_sam=True,
        multimask_min_pt_num=0,
        multimask_max_pt_num=1,
        multimask_output_for_tracking=True,
        use_multimask_token_for_obj_ptr=True,
        iou_prediction_use_sigmoid=True,
        use_obj_ptrs_in_encoder=True,
        add_tpos_enc_to_obj_ptrs=newer,
        proj_tpos_enc_in_obj_ptrs=newer,
        use_signed_tpos_enc_to_obj_ptrs=newer,
        no_obj_embed_spatial=newer,
        only_obj_ptrs_in_the_past_for_eval=True,
        use_mlp_for_obj_ptr_proj=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        fixed_no_obj_ptr=True,
    )
    built.use_score = config.object_score
    return built


def hiera(config: ModelConfig) -> Hiera:
    """SAM 2's image backbone."""
    return Hiera(
        embed_dim=config.hiera_width,
        num_heads=config.hiera_heads,
        stages=config.hiera_stages,
        global_att_blocks=config.hiera_global_blocks,
        window_pos_embed_bkg_spatial_size=config.hiera_background,
        window_spec=config.hiera_windows,
    )


def memory_attention(config: ModelConfig) -> MemoryAttention:
    """What lets a frame look at remembered masks and pointers, before its own mask is decoded."""
    width, side = config.mask_width, config.mask_image_size // STRIDE

    def attention(**more: Any) -> RoPEAttention:
        return RoPEAttention(
            rope_theta=10000.0, feat_sizes=(side, side), embedding_dim=width, num_heads=1, dropout=DROPOUT, **more
        )

    layer = MemoryAttentionLayer(
        activation="relu",
        dim_feedforward=8 * width,
        dropout=DROPOUT,
        pos_enc_at_attn=False,
        self_attention=attention(),
        d_model=width,
        pos_enc_at_cross_attn_keys=True,
        pos_enc_at_cross_attn_queries=False,
        cross_attention=attention(rope_k_repeat=True, kv_in_dim=config.memory_width),
    )
    return MemoryAttention(d_model=width, pos_enc_at_input=True, layer=layer, num_layers=config.memory_layers)


def memory_encoder(config: ModelConfig) -> MemoryEncoder:
    """What makes a frame and its mask a memory."""
    width = config.mask_width
    return MemoryEncoder(
        out_dim=config.memory_width,
        in_dim=width,
        position_encoding=PositionEmbeddingSine(num_pos_feats=config.memory_width),
        mask_downsampler=MaskDownSampler(embed_dim=width, kernel_size=3, stride=2, padding=1),
        fuser=Fuser(CXBlock(dim=width, kernel_size=7, padding=3, layer_scale_init_value=1e-6), num_layers=2),
    )
