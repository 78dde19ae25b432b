"""The vision tower: SigLIP (transformers), of which the model takes the input of the last layer."""

from typing import Final

import torch
from torch import Tensor, nn
from transformers import SiglipVisionConfig, SiglipVisionModel

from model.config import ModelConfig

FEATURE_LAYER: Final = -2
"""Of ``hidden_states``: the input of the last layer, before any final norm (release, ``encoder.py``)."""
FRAMES_AT_ONCE: Final = 32
"""Of a frozen tower, whose activations nobody keeps: a clip with 150 region frames must not need 16 GB."""


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
        if next(self.parameters()).requires_grad and torch.is_grad_enabled():
            return self._features(frames_UCHW)
        with torch.no_grad():
            return torch.cat([self._features(part) for part in frames_UCHW.split(FRAMES_AT_ONCE)])

    def _features(self, frames_UCHW: Tensor) -> Tensor:
        hidden = self.siglip.embeddings(frames_UCHW)
        for layer in self.siglip.encoder.layers[: FEATURE_LAYER + 1]:
            hidden = layer(hidden, attention_mask=None)
        return hidden
