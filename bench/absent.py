"""Can the model say that an object is not there? The tiny model overfits three samples of one clip, one of them absent.

    python -m bench.absent --out /tmp/absent            # --memory: the same, followed by SAM 2's memory

Trains with the object score (``[train] object_score``), lets the model answer, and prints for every target its J, its
score on each mask frame, and how many pixels its masks have with and without the score. Fails where the absent object
has a pixel, or one of the others is missed. A minute or two on two cores.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from converters.world import write_world
from model.collate import collate
from model.distributed import start
from model.example import load, outline
from model.inference import load_model
from model.predict import predict
from model.recipe import load_train_recipe
from model.run import open_run
from model.show import choose, mean_j
from model.train import train
from pipelines.build import build
from pipelines.recipe import load_recipe

CORPUS = """
[corpus]
name = "absent"
max_skip_share = 1.0
[[dataset]]
converter = "mevis"
root = "raw/mevis"
split = "train"
"""

TRAIN = """\
[model]
preset = "tiny"
tokenizer_size = 512
memory = {memory}

[train]
parts = "all"
lr = 1e-3
beta2 = 0.95
micro_batch = 3
object_score = 1.0
save_every = 1000

[show]
samples = 0

[stream]
seed = 17
batch_size = 3
epochs = {steps}

[[mixture]]
corpus = "corpus"
entry = "mevis-train"
take = 3
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--memory", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    write_world(args.out / "raw", clips=1, seed=2, datasets=("mevis",))
    (args.out / "corpus.toml").write_text(CORPUS, encoding="utf-8")
    build(load_recipe(args.out / "corpus.toml", ["wordings=0"]), args.out / "corpus", workers=0)
    recipe = args.out / "train.toml"
    recipe.write_text(TRAIN.format(memory=str(args.memory).lower(), steps=args.steps), encoding="utf-8")
    began = time.monotonic()
    with start() as ranks:
        train(load_train_recipe(recipe), args.out / "run", ranks)
        seconds = round(time.monotonic() - began)
        told = measure(recipe, args.out / "run", ranks)
    last = json.loads((args.out / "run" / "metrics.jsonl").read_text("utf-8").splitlines()[-1])
    print(json.dumps({"seconds": seconds, "last": last, "targets": told}, indent=1))
    absent = [one for one in told if one["absent"]]
    if not absent or any(one["pixels"] for one in absent) or min(one["j"] for one in told) < 0.5:
        raise SystemExit("missed: the absent object has a pixel, or another one is not found")


@torch.no_grad()
def measure(recipe: Path, folder: Path, ranks: Any) -> list[dict[str, Any]]:
    """Of every sample: its target's J, scores, and pixels of its masks, with the score and without."""
    run = open_run(load_train_recipe(recipe), folder, ranks)
    run.close()
    trained = load_model(folder)
    model, config = trained.model, trained.config
    told = []
    for draw in choose(run, 8):
        plan = outline(draw, config, trained.tokenizer, seed=run.stream.seed)
        batch = collate([load(plan, config)], config, trained.tokenizer.pad)
        scores = model(batch).presence_M.tolist()
        said = predict(model, draw, config, trained.tokenizer, seed=run.stream.seed)
        model.config = replace(config, object_score=False)
        without = predict(model, draw, config, trained.tokenizer, seed=run.stream.seed)
        model.config = config
        told.append(
            {
                "question": draw.turns[0].text,
                "answer": list(said.answers),
                "absent": not any(draw.sample.targets or ()),
                "scores": [round(score, 2) for score in scores],
                "j": mean_j(draw, said) or 0.0,
                "pixels": sum(int(mask.sum()) for mask in said.masks.values()),
                "pixels_without_score": sum(int(mask.sum()) for mask in without.masks.values()),
            }
        )
    return told


if __name__ == "__main__":
    main()
