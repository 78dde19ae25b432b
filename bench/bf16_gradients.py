"""Do gradients in bf16 point where those in fp32 do, module by module? Random weights as a new model has them.

    python -m bench.bf16_gradients --preset tiny            # or small; --memory, --device cuda

One forward and backward of two samples (two ``<Seg>`` on two frames; an object shown on six frames) in fp32 and under
bf16 autocast, as the trainer runs it. Prints the cosine of the two gradients of every part, and of the whole.
"""

import argparse
import json
import time
from dataclasses import replace

import torch
from torch import Tensor

from model.batch import Batch
from model.config import PRESETS, ModelConfig
from model.memory import in_time
from model.train import autocast
from model.ufvideo import PARTS, UFVideo, parts_of


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, default="tiny")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    config = replace(PRESETS[args.preset], memory=args.memory)
    began = time.monotonic()
    told = cosines(config, torch.device(args.device), args.seed)
    print(json.dumps({"seconds": round(time.monotonic() - began), "cosines": told}, indent=1))


def cosines(config: ModelConfig, device: torch.device, seed: int = 0) -> dict[str, float]:
    """The cosine of the gradients in bf16 and in fp32, of each part and of all together."""
    torch.manual_seed(seed)
    with device:
        model = UFVideo(config)
    model.train_parts(parts_of(config))
    batch = two_samples(config).to(device)
    fp32, bf16 = (gradients(model, batch, precision) for precision in ("fp32", "bf16"))
    groups = {part: [name for name in fp32 if name.startswith(PARTS[part])] for part in parts_of(config)}
    return {part: cosine(fp32, bf16, names) for part, names in (groups | {"all": list(fp32)}).items()}


def gradients(model: UFVideo, batch: Batch, precision: str) -> dict[str, Tensor]:
    """By name, of the parameters that have one."""
    model.zero_grad(set_to_none=True)
    with autocast(batch.ids_BL.device, precision):
        loss = model.loss(batch, batch.counts())
    loss.total.backward()
    return {name: p.grad.detach().clone() for name, p in model.named_parameters() if p.grad is not None}


def cosine(one: dict[str, Tensor], other: dict[str, Tensor], names: list[str]) -> float:
    pairs = (one, other), (one, one), (other, other)
    products = [sum(float((a[n].double() * b[n].double()).sum()) for n in names) for a, b in pairs]
    return products[0] / (products[1] * products[2]) ** 0.5


def two_samples(config: ModelConfig) -> Batch:
    """Row 0: a clip and two ``<Seg>`` on two frames. Row 1: a clip and an object on six frames."""
    seeded = torch.Generator().manual_seed(7)
    visual, frames, shown = config.visual_tokens, config.num_frames, 6
    length = visual + 40

    def pixels(count: int, side: int) -> Tensor:
        """Coarse noise, which has something to see at every scale."""
        small = torch.randint(256, (count, 3, 8, 8), generator=seeded).float()
        large = torch.nn.functional.interpolate(small, (side, side), mode="bicubic").clamp(0, 255)
        return large.permute(0, 2, 3, 1).to(torch.uint8)

    learned = torch.tensor([(0, visual + i) for i in range(14, 34)] + [(1, visual + i) for i in range(14, 34)])
    blocks = [torch.zeros(96, 128, dtype=torch.uint8) for _ in range(4)]
    for number, block in enumerate(blocks):
        block[10 * number : 10 * number + 40, 20 * number : 20 * number + 50] = 1
    objects = torch.tensor([0, 1, 0, 1])
    return Batch(
        keys=("seg", "ref"),
        ids_BL=torch.randint(config.vocab_size, (2, length), generator=seeded),
        attends_BL=torch.ones(2, length, dtype=torch.bool),
        frames_UHWC=pixels(2 * frames + shown, config.image_size),
        clip_frame_VT=torch.arange(2 * frames).reshape(2, frames),
        clip_row_V=torch.arange(2),
        clip_column_V=torch.tensor([3, 3]),
        region_frame_P=torch.arange(2 * frames, 2 * frames + shown),
        region_grid_PGG=torch.rand(shown, config.grid, config.grid, generator=seeded) > 0.5,
        region_place_RF=torch.arange(shown)[None],
        slot_object_Q=torch.zeros(4, dtype=torch.int64),
        slot_token_Q=torch.arange(4),
        slot_row_Q=torch.ones(4, dtype=torch.int64),
        slot_column_Q=torch.arange(4) + visual + 6,
        learned_row_C=learned[:, 0],
        learned_column_C=learned[:, 1],
        label_C=torch.randint(config.vocab_size, (len(learned),), generator=seeded),
        seg_row_N=torch.tensor([0, 0]),
        seg_column_N=torch.tensor([visual + 18, visual + 25]),
        mask_frames_SHWC=pixels(2, config.mask_image_size),
        mask_frame_M=torch.tensor([0, 0, 1, 1]),
        mask_object_M=objects,
        mask_weight_M=torch.ones(4),
        masks=tuple(blocks),
        mask_place_NT=in_time(objects, 2),
    )


if __name__ == "__main__":
    main()
