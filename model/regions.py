"""The region encoder: an object's masks on its frames become at most four tokens, which stand for ``<Ref>``.

Source: UFVideo release d1dbdd4, ``MaskExtractor`` with type "pooling" and its ``token_merge`` (after VideoRefer,
arXiv 2501.00599, section 3.2). Pooling and merging run in float32.

Shapes: U frames, N = G·G patches, E vision width, D language width, P (object, frame) pairs, R objects, F frames of
the object with most, K region tokens.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

POOL_EPS: Final = 1e-8
PAIRS_AT_ONCE: Final = 64
"""Each gathers the features of a whole frame in float32, 3.4 MB at 729 patches."""


def grids_of(masks_PHW: Tensor, grid: int) -> Tensor:
    """Masks of one size on the patch grid, bool [P, G, G]: bilinear without antialiasing, then above 0."""
    small = F.interpolate(masks_PHW[:, None].float(), (grid, grid), mode="bilinear", align_corners=False)
    return small[:, 0] > 0


class RegionEncoder(nn.Module):
    """Mean features under each mask, similar neighbours in time merged, then a two-layer MLP."""

    def __init__(self, vision_width: int, width: int, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.feat_linear = nn.Sequential(nn.Linear(vision_width, width), nn.GELU(), nn.Linear(width, width))

    def forward(
        self, features_UNE: Tensor, frame_P: Tensor, grids_PGG: Tensor, place_RF: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens [R, K, D] and which of them there are, bool [R, K] (the first ones of each object).

        ``frame_P`` is each pair's row in the features; ``place_RF`` the pairs of each object in time, -1 behind them.
        """
        with full_precision(features_UNE.device):
            parts = zip(frame_P.split(PAIRS_AT_ONCE), grids_PGG.flatten(1).split(PAIRS_AT_ONCE), strict=True)
            pooled_PE = torch.cat([pool(features_UNE[frame], inside) for frame, inside in parts])
            merged_RKE, there_RK = merge(pooled_PE[place_RF.clamp(min=0)], place_RF >= 0, self.tokens)
        return self.feat_linear(merged_RKE), there_RK


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """No autocast inside; a device that knows none, such as meta, needs nothing."""
    known = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if known else nullcontext()


def pool(features_PNE: Tensor, inside_PN: Tensor) -> Tensor:
    """Mean of the features inside each mask, float32 [P, E]; zero for an empty mask."""
    weight_PN = inside_PN.float()
    total_PE = torch.einsum("pn,pne->pe", weight_PN, features_PNE.float())
    return total_PE / (weight_PN.sum(1, keepdim=True) + POOL_EPS)


def merge(pooled_RFE: Tensor, there_RF: Tensor, tokens: int) -> tuple[Tensor, Tensor]:
    """Of n > ``tokens`` rows of an object, the n - ``tokens`` most similar neighbours are joined; [R, K, E], [R, K].

    Neighbours with a cosine at or above the (n - tokens)-th largest are linked; each run of linked rows becomes the
    plain mean of all its rows. Equal cosines at the threshold all link, so there can be fewer than ``tokens``.
    """
    surplus_R = there_RF.sum(1) - tokens
    cosine = F.cosine_similarity(pooled_RFE[:, 1:], pooled_RFE[:, :-1], dim=-1)
    cosine = cosine.masked_fill(~there_RF[:, 1:], -torch.inf)
    if there_RF.shape[1] > tokens:
        descending = cosine.detach().sort(dim=1, descending=True).values
        threshold_R = descending.gather(1, (surplus_R - 1).clamp(min=0)[:, None])[:, 0]
        linked = (cosine >= threshold_R[:, None]) & (surplus_R > 0)[:, None] & there_RF[:, 1:]
    else:
        linked = torch.zeros_like(cosine, dtype=torch.bool)
    starts = torch.cat((torch.ones_like(there_RF[:, :1]), ~linked), 1)
    group_RF = starts.long().cumsum(1) - 1
    slots = torch.arange(tokens, device=pooled_RFE.device)
    belongs_RFK = ((group_RF[:, :, None] == slots) & there_RF[:, :, None]).to(pooled_RFE.dtype)
    size_RK = belongs_RFK.sum(1)
    merged_RKE = torch.einsum("rfk,rfe->rke", belongs_RFK, pooled_RFE) / size_RK.clamp(min=1)[:, :, None]
    return merged_RKE, size_RK > 0
