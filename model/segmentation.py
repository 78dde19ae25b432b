"""The segmentation head: a language state becomes a prompt of SAM2's mask decoder, on each frame by itself.

Source: UFVideo release d1dbdd4, ``sam2.py: get_sam2_embeddings_train / language_embd_inference``: the memory of SAM 2
is never read, so a clip is segmented frame by frame with one prompt per object.

Shapes: N objects (one per ``<Seg>``), S distinct mask frames, M (frame, object) pairs, D language width, C mask
width, Z pixels of a mask frame's side.
"""

from typing import Any, cast

import torch
from sam2.modeling.backbones.hieradet import Hiera
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
from sam2.modeling.position_encoding import PositionEmbeddingSine
from sam2.modeling.sam2_base import SAM2Base
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from model.config import ModelConfig


class SegmentationHead(nn.Module):
    """Prompts and frames → mask logits at the frames' size, one per (frame, object) pair."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, prompt = config.width, config.mask_width
        self.project = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, prompt))
        self.sam2 = sam2_without_memory(config)

    def forward(self, states_ND: Tensor, frames_SCZZ: Tensor, frame_M: Tensor, object_M: Tensor) -> Tensor:
        """Mask logits [M, Z, Z], float32. ``states_ND`` are those that predict ``<Seg>``."""
        prompts_NC = self.project(states_ND)
        levels = self.features(frames_SCZZ)
        low_res, scores = self.decode([level[frame_M] for level in levels], prompts_NC[object_M])
        best_M = scores.argmax(1)
        chosen = low_res[torch.arange(len(best_M), device=best_M.device), best_M]
        return upsampled(chosen, frames_SCZZ.shape[-1])

    def features(self, frames_SCZZ: Tensor) -> list[Tensor]:
        """Three levels of image features, fine to coarse, [S, C/8 | C/4 | C, Z/4 | Z/8 | Z/16, same].

        The encoder may be frozen; the two convolutions that narrow the fine levels belong to the mask decoder.
        """
        trained = next(self.sam2.image_encoder.parameters()).requires_grad
        with torch.set_grad_enabled(trained and torch.is_grad_enabled()):
            fine, middle, coarse = self.sam2.image_encoder(frames_SCZZ)["backbone_fpn"]
        decoder = self.sam2.sam_mask_decoder
        no_memory = self.sam2.no_mem_embed.reshape(1, -1, 1, 1)
        return [decoder.conv_s0(fine), decoder.conv_s1(middle), coarse + no_memory]

    def decode(self, levels: list[Tensor], prompts_MC: Tensor) -> tuple[Tensor, Tensor]:
        """(mask logits [M, 3, Z/4, Z/4], predicted IoU [M, 3]) of the mask tokens 1…3.

        Sparse prompts are two padding points and the language vector. The object score is not applied (release).
        """
        fine, middle, coarse = levels
        encoder = self.sam2.sam_prompt_encoder
        point = coarse.new_zeros(len(coarse), 1, 2, dtype=torch.float32)
        label = torch.full((len(coarse), 1), -1, dtype=torch.int32, device=coarse.device)
        sparse, dense = encoder(points=(point, label), boxes=None, masks=None)
        masks, scores, _, _ = self.sam2.sam_mask_decoder(
            image_embeddings=coarse,
            image_pe=encoder.get_dense_pe().to(coarse.dtype),
            sparse_prompt_embeddings=torch.cat((sparse.to(prompts_MC.dtype), prompts_MC[:, None]), 1),
            dense_prompt_embeddings=dense.to(coarse.dtype),
            multimask_output=True,
            repeat_image=False,
            high_res_features=[fine, middle],
        )
        return masks, scores


def upsampled(masks_MHW: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Mask logits at another size, float32, bilinear without antialiasing."""
    size = (size, size) if isinstance(size, int) else size
    return F.interpolate(masks_MHW[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0]


class LinspaceOnCpu(TorchFunctionMode):
    """Hiera reads its drop-path rates from a ``linspace`` with .item(), which the meta device cannot answer."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}) | ({"device": "cpu"} if func is torch.linspace else {}))


def sam2_without_memory(config: ModelConfig) -> SAM2Base:
    """SAM 2.0 from the sam2 package's plain constructors, with the settings of ``sam2_hiera_l.yaml``."""
    with LinspaceOnCpu():
        trunk = hiera(config)
    neck = FpnNeck(
        position_encoding=PositionEmbeddingSine(num_pos_feats=config.mask_width),
        d_model=config.mask_width,
        backbone_channel_list=cast("list[int]", trunk.channel_list),
        fpn_top_down_levels=[2, 3],
        fpn_interp_model="nearest",
    )
    return SAM2Base(
        image_encoder=ImageEncoder(trunk=trunk, neck=neck, scalp=1),
        memory_attention=nn.Identity(),
        memory_encoder=nn.Identity(),
        image_size=config.mask_image_size,
        directly_add_no_mem_embed=True,
        use_high_res_features_in_sam=True,
        multimask_output_in_sam=True,
        multimask_min_pt_num=0,
        multimask_max_pt_num=1,
        multimask_output_for_tracking=True,
        use_multimask_token_for_obj_ptr=True,
        iou_prediction_use_sigmoid=True,
        use_obj_ptrs_in_encoder=True,
        add_tpos_enc_to_obj_ptrs=False,
        use_mlp_for_obj_ptr_proj=True,
        pred_obj_scores=True,
        pred_obj_scores_mlp=True,
        fixed_no_obj_ptr=True,
    )


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
