"""The segmentation head: a language state becomes a prompt of SAM2's mask decoder.

Source: UFVideo release d1dbdd4, ``sam2.py: get_sam2_embeddings_train / language_embd_inference``: the memory of SAM 2
is never read, so a clip is segmented frame by frame with one prompt per object. With ``ModelConfig.memory`` the prompt
is for each object's first frame, and memory carries it over the others (``model.memory``).

Shapes: N objects (one per ``<Seg>``), S distinct mask frames, M (frame, object) pairs, T frames of the object with
most, D language width, C mask width, Z pixels of a mask frame's side.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.memory import Track, by_pair, in_time
from model.sam2_modules import Decoded, sam2, upsampled

__all__ = ["SegmentationHead", "Segmented", "upsampled"]


@dataclass(frozen=True, slots=True)
class Segmented:
    """Mask logits [M, Z, Z], float32, and logits of whether the object is on the frame [M]."""

    logits_MZZ: Tensor
    presence_M: Tensor


class SegmentationHead(nn.Module):
    """Prompts and frames → mask logits at the frames' size, one per (frame, object) pair."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width, prompt = config.width, config.mask_width
        self.project = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, prompt))
        self.sam2 = sam2(config)

    def forward(self, states_ND: Tensor, frames_SCZZ: Tensor, frame_M: Tensor, object_M: Tensor) -> Tensor:
        """Mask logits [M, Z, Z], float32. ``states_ND`` are those that predict ``<Seg>``."""
        return self.answer(states_ND, frames_SCZZ, frame_M, object_M).logits_MZZ

    def answer(
        self,
        states_ND: Tensor,
        frames_SCZZ: Tensor,
        frame_M: Tensor,
        object_M: Tensor,
        place_NT: Tensor | None = None,
    ) -> Segmented:
        """Masks and presence. With memory, the pairs of an object ascend in time.

        ``place_NT``: the pairs of each object, as ``memory.in_time`` gives them and finds them by itself.
        """
        prompts_NC, maps = self.project(states_ND), self.maps(frames_SCZZ)
        if self.config.memory:
            place_NT = in_time(object_M, len(states_ND)).to(object_M.device) if place_NT is None else place_NT
            low_res, presence = self._followed(prompts_NC, maps, frame_M, place_NT)
        else:
            found = self.decoded([level[frame_M] for level in self._prompted(maps)], prompts_NC[object_M])
            low_res, presence = found.best()[0], found.presence
        return Segmented(upsampled(low_res, frames_SCZZ.shape[-1]), presence[:, 0].float())

    def _followed(
        self, prompts_NC: Tensor, maps: list[Tensor], frame_M: Tensor, place_NT: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(mask logits [M, Z/4, Z/4], presence [M, 1]), each object from its first frame on."""
        track, num_frames = Track(self.sam2, prompts_NC), place_NT.shape[1]
        row_NT = frame_M[place_NT.clamp(min=0)]  # behind an object's last frame anything may come; nothing reads it
        steps = [
            track.step([level[row_NT[:, t]] for level in maps], remember=t + 1 < num_frames) for t in range(num_frames)
        ]
        masks, presence = (torch.stack(told, 1) for told in zip(*steps, strict=True))
        return by_pair(masks, place_NT, len(frame_M)), by_pair(presence, place_NT, len(frame_M))

    def maps(self, frames_SCZZ: Tensor) -> list[Tensor]:
        """Three levels of image features, fine to coarse, [S, C/8 | C/4 | C, Z/4 | Z/8 | Z/16, same].

        The encoder may be frozen; the two convolutions that narrow the fine levels belong to the mask decoder.
        """
        trained = next(self.sam2.image_encoder.parameters()).requires_grad
        with torch.set_grad_enabled(trained and torch.is_grad_enabled()):
            fine, middle, coarse = self.sam2.image_encoder(frames_SCZZ)["backbone_fpn"]
        decoder = self.sam2.sam_mask_decoder
        return [decoder.conv_s0(fine), decoder.conv_s1(middle), coarse]

    def features(self, frames_SCZZ: Tensor) -> list[Tensor]:
        """The levels as a prompted frame's decoder takes them: the coarse one with ``no_mem_embed`` added."""
        return self._prompted(self.maps(frames_SCZZ))

    def _prompted(self, maps: list[Tensor]) -> list[Tensor]:
        fine, middle, coarse = maps
        return [fine, middle, coarse + self.sam2.no_mem_embed.reshape(1, -1, 1, 1)]

    def decode(self, levels: list[Tensor], prompts_MC: Tensor) -> tuple[Tensor, Tensor]:
        """(mask logits [M, 3, Z/4, Z/4], predicted IoU [M, 3]) of the mask tokens 1…3; scores erase nothing."""
        found = self.decoded(levels, prompts_MC)
        return found.masks, found.ious

    def decoded(self, levels: list[Tensor], prompts_MC: Tensor) -> Decoded:
        """All that the mask decoder says, with the object's score and the tokens that become its pointer."""
        return self.sam2.decoded(levels, prompts_MC)
