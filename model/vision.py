"""The vision tower: SigLIP (transformers), of which the model takes the input of the last layer."""

from typing import Final

import torch
from torch import Tensor, nn
from transformers import SiglipVisionConfig, SiglipVisionModel

from model.config import ModelConfig

FEATURE_LAYER: Final = -2
"""Of ``hidden_states``: the input of the last layer, before any final norm (release, ``encoder.py``)."""


class VisionTower(nn.Module):
    """Frames [U, 3, S, S], normalised to -1…1, → patch features [U, N, E], N = (S / patch)², row by row.

    The last layer, the final norm and the pooling head take no part; they are kept because checkpoints hold them.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.siglip = SiglipVisionModel(
            SiglipVisionConfig(
                hidden_size=config.vision_width,
                intermediate_size=config.vision_mlp,
                num_hidden_layers=config.vision_layers,
                num_attention_heads=config.vision_heads,
                image_size=config.image_size,
                patch_size=config.patch_size,
            )
        )

    def forward(self, frames_UCHW: Tensor) -> Tensor:
        trained = next(self.parameters()).requires_grad
        with torch.set_grad_enabled(trained and torch.is_grad_enabled()):
            hidden = self.siglip(pixel_values=frames_UCHW, output_hidden_states=True).hidden_states
        assert hidden is not None
        return hidden[FEATURE_LAYER]
