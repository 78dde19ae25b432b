"""Does the whole path learn? The tiny model overfits eight mixed samples: raw → shards → stream → model.

    python -m bench.overfit --out /tmp/overfit

Writes a world of one clip per data set, builds its corpus, trains the ``tiny`` preset on eight samples, and lets the
model answer them freely. Three ask for masks in one clip (one object, two at once, one that is not there) and two in
one still, so the pictures alone cannot tell what to segment: the state of ``<Seg>`` must. Prints the figures that
``bench/RESULTS.md`` holds, fails where one is missed, and leaves the run with its pictures in ``--out``. About six
minutes on two cores.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from PIL import Image

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

[[mixture]]                # one object, a union of two, and one that is not there: the same clip
corpus = "corpus"
entry = "mevis-train"
take = 3

[[mixture]]                # two objects of one still
corpus = "corpus"
entry = "refcoco-train"
take = 2

[[mixture]]                # two objects shown
corpus = "corpus"
entry = "videorefer-train"
tag = "qa"
take = 1

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
    parser.add_argument("--steps", type=int, default=600)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    recipe = args.out / "overfit.toml"
    recipe.write_text(TRAIN.format(epochs=args.steps), encoding="utf-8")
    write_world(args.out / "raw", clips=1, seed=2)
    corpus_recipe = args.out / "corpus.toml"
    corpus_recipe.write_text(DEMO_RECIPE, encoding="utf-8")
    build(load_recipe(corpus_recipe, ["wordings=0"]), args.out / "corpus", workers=0)
    began = time.monotonic()
    with start() as ranks:
        train(load_train_recipe(recipe), args.out / "run", ranks)
    write_sheet(args.out / "run" / FOLDER / "pictures", args.out / "answers.png")
    figures = measure(args.out, time.monotonic() - began)
    print(json.dumps(figures, indent=1))
    if not (figures["text_loss"] < TEXT_LOSS and figures["worst_j"] > J and figures["times_right"]):
        raise SystemExit("missed: text loss, J or time tokens; see the figures above")


def measure(out: Path, seconds: float) -> dict[str, Any]:
    """The last step's losses, and what the model answered after."""
    last = json.loads((out / "run" / "metrics.jsonl").read_text("utf-8").splitlines()[-1])
    rows = json.loads((out / "run" / FOLDER / "after.json").read_text("utf-8"))
    corpus = Corpus.open(out / "corpus")
    samples = {row["key"]: corpus.sample(row["key"])[2] for row in rows}
    return {
        "steps": last["step"] + 1,
        "seconds": round(seconds),
        "text_loss": last["ce"],
        "bce": last["bce"],
        "dice": last["dice"],
        "samples": len(rows),
        "objects_shown": {key: len(sample.regions) for key, sample in samples.items()},
        "targets": {key: [list(target) for target in sample.targets or ()] for key, sample in samples.items()},
        "words_right": sum(row["words_right"] for row in rows),
        "times_right": all(row["times_right"] for row in rows if row["times_right"] is not None),
        "worst_j": min(row["j"] for row in rows if row["j"] is not None),
        "j": {row["key"]: round(row["j"], 3) for row in rows if row["j"] is not None},
    }


def write_sheet(pictures: Path, out: Path) -> None:
    """The pictures of all samples on one sheet, in two columns."""
    sheets = [Image.open(path) for path in sorted(pictures.glob("*.png"))]
    width = max(sheet.width for sheet in sheets) + 12
    columns = [sheets[::2], sheets[1::2]]
    height = max(sum(sheet.height + 12 for sheet in column) for column in columns)
    page = Image.new("RGB", (2 * width, height), "white")
    for number, column in enumerate(columns):
        top = 0
        for sheet in column:
            page.paste(sheet, (number * width, top), sheet)
            top += sheet.height + 12
    page.quantize(64).save(out, optimize=True)


if __name__ == "__main__":
    main()
