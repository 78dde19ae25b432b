"""The STC connector v35: spatial-temporal convolutions from patch features to the language model's visual tokens.

Source: UFVideo release d1dbdd4, ``projector.py`` (STCConnectorV35, after VideoLLaMA 2, arXiv 2406.07476, section
2.2), whose stages are timm's RegStage with LayerNorm and SiLU. Parameter names are those of the checkpoint.

Shapes: V clips, T frames, N = G·G patches, E vision width, D language width, X = channels at hand.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

NORM_EPS: Final = 1e-5
"""timm's LayerNormAct2d, not the 1e-6 of its LayerNorm2d."""
SQUEEZE: Final = 0.25
"""Share of a block's input channels that its squeeze-and-excitation keeps."""


class ConvNorm(nn.Module):
    """Convolution without bias, then LayerNorm over the channels: [·, X, G, G] → [·, Y, G, G]."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, groups=groups, bias=False)
        self.bn = nn.LayerNorm(channels_out, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SqueezeExcite(nn.Module):
    """Channels weighted by what the whole frame shows (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(F.silu(self.fc1(mean))))


class Bottleneck(nn.Module):
    """RegNet's block with a depthwise 3x3 convolution (group size 1) and no inner bottleneck."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(channels_in, channels_out)
        self.conv2 = ConvNorm(channels_out, channels_out, kernel=3, groups=channels_out)
        self.se = SqueezeExcite(channels_out, round(channels_in * SQUEEZE))
        self.conv3 = ConvNorm(channels_out, channels_out)
        self.downsample = ConvNorm(channels_in, channels_out) if channels_in != channels_out else None

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.silu(self.conv1(x))
        x = self.se(F.silu(self.conv2(x)))
        return F.silu(self.conv3(x) + shortcut)


def stage(channels_in: int, channels_out: int, depth: int) -> nn.Sequential:
    """``depth`` blocks named b1, b2, …"""
    blocks = nn.Sequential()
    for number in range(depth):
        blocks.add_module(f"b{number + 1}", Bottleneck(channels_in if number == 0 else channels_out, channels_out))
    return blocks


class STCConnector(nn.Module):
    """[V, T, N, E] → [V, T/2 · ⌊G/2⌋², D], in the order time, row, column; an odd last row and column drop out."""

    def __init__(self, vision_width: int, width: int, depth: int) -> None:
        super().__init__()
        self.s1 = stage(vision_width, width, depth)
        self.sampler = nn.Sequential(nn.Conv3d(width, width, kernel_size=2, stride=2), nn.SiLU())
        self.s2 = stage(width, width, depth)
        self.readout = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, features_VTNE: Tensor) -> Tensor:
        v, t, n, e = features_VTNE.shape
        g = round(n**0.5)
        x = features_VTNE.reshape(v * t, g, g, e).permute(0, 3, 1, 2)
        x = self.s1(x)
        x = self.sampler(x.unflatten(0, (v, t)).transpose(1, 2)).transpose(1, 2)
        t = x.shape[1]
        x = self.s2(x.flatten(0, 1)).unflatten(0, (v, t))
        return self.readout(x.permute(0, 1, 3, 4, 2).flatten(1, 3))
