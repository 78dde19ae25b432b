"""Does the whole path learn? The tiny model overfits eight mixed samples: raw → shards → stream → model.

    python -m bench.overfit --out /tmp/overfit

Writes a world, builds its corpus, trains the ``tiny`` preset on eight samples (two segmentations of one clip, two
stills, two questions about objects of which one shows two, two temporal groundings), and lets the model answer them
freely. Prints the figures that ``bench/RESULTS.md`` holds, fails where one is missed, and leaves the run with its
pictures in ``--out``. About five minutes on two cores.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from converters.world import write_world
from model.distributed import start
from model.gallery import FOLDER
from model.recipe import load_train_recipe
from model.train import train
from pipelines.build import build
from pipelines.demo import RECIPE as DEMO_RECIPE
from pipelines.recipe import load_recipe
from shards.reader import Corpus

TEXT_LOSS, J = 0.05, 0.8

TRAIN = """\
[model]
preset = "tiny"
tokenizer_size = 1024

[train]
parts = "all"              # nothing pretrained is at hand
lr = 1e-3
beta2 = 0.95
micro_batch = 8
save_every = 1000

[show]
samples = 8

[stream]
seed = 17
batch_size = 8
epochs = {epochs}

[[mixture]]
corpus = "corpus"
entry = "mevis-train"
take = 2

[[mixture]]
corpus = "corpus"
entry = "refcoco-train"
take = 2

[[mixture]]
corpus = "corpus"
entry = "videorefer-train"
tag = "qa"
take = 2

[[mixture]]
corpus = "corpus"
entry = "charades_sta-train"
take = 1

[[mixture]]
corpus = "corpus"
entry = "vidstg-train"
take = 1
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    recipe = args.out / "overfit.toml"
    recipe.write_text(TRAIN.format(epochs=args.steps), encoding="utf-8")
    write_world(args.out / "raw", clips=8, seed=0)
    corpus_recipe = args.out / "corpus.toml"
    corpus_recipe.write_text(DEMO_RECIPE, encoding="utf-8")
    build(load_recipe(corpus_recipe, ["wordings=0"]), args.out / "corpus", workers=0)
    began = time.monotonic()
    with start() as ranks:
        train(load_train_recipe(recipe), args.out / "run", ranks)
    figures = measure(args.out, time.monotonic() - began)
    print(json.dumps(figures, indent=1))
    if not (figures["text_loss"] < TEXT_LOSS and figures["worst_j"] > J and figures["times_right"]):
        raise SystemExit("missed: text loss, J or time tokens; see the figures above")


def measure(out: Path, seconds: float) -> dict[str, Any]:
    """The last step's losses, and what the model answered after."""
    last = json.loads((out / "run" / "metrics.jsonl").read_text("utf-8").splitlines()[-1])
    rows = json.loads((out / "run" / FOLDER / "after.json").read_text("utf-8"))
    corpus = Corpus.open(out / "corpus")
    regions = {row["key"]: len(corpus.sample(row["key"])[2].regions) for row in rows}
    return {
        "steps": last["step"] + 1,
        "seconds": round(seconds),
        "text_loss": last["ce"],
        "bce": last["bce"],
        "dice": last["dice"],
        "samples": len(rows),
        "objects_shown": regions,
        "words_right": sum(row["words_right"] for row in rows),
        "times_right": all(row["times_right"] for row in rows if row["times_right"] is not None),
        "worst_j": min(row["j"] for row in rows if row["j"] is not None),
        "j": {row["key"]: round(row["j"], 3) for row in rows if row["j"] is not None},
    }


if __name__ == "__main__":
    main()
