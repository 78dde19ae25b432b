"""The format room needs numpy, Pillow and pyarrow: a machine without decoders, Ray or torch reads and verifies."""

import subprocess
import sys
from pathlib import Path

import shards

ROOT = Path(__file__).parents[2]
FOREIGN = ("ray", "decord", "av", "pycocotools", "webdataset", "datasets", "obstore", "msgspec", "torch")

PROGRAM = f"""
import sys
for name in {FOREIGN!r}:
    sys.modules[name] = None

import importlib, pkgutil
from pathlib import Path
import shards
for module in pkgutil.iter_modules(shards.__path__):
    importlib.import_module(f"shards.{{module.name}}")

from shards import rle
from shards.reader import Corpus
from shards.verify import verify

corpus = Corpus.open(sys.argv[1])
assert sum(1 for _ in corpus) == len(corpus) == 5
for key, frames in (("toy/train/pictures/cup/0", [0]), ("toy/train/folders/dogs/0", [3, 1])):
    row, record, sample = corpus.sample(key)
    images = corpus.frames(row, record, frames)
    assert [image.shape for image in images] == [(24, 32, 3)] * len(frames)
    (target, *_) = sample.targets
    masks = [rle.decode(record.masklets[i].rles[frames[0]], 24, 32) for i in target]
    assert all(mask.sum() == 36 for mask in masks)
found = verify(Path(sys.argv[1]))
assert not found.faults, found.faults
assert found.records == 5
print("all right")
"""


def test_a_corpus_is_read_and_verified_without_decoders_ray_or_torch(pristine: Path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(pristine)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "all right\n"), done.stderr


def test_the_record_module_needs_the_standard_library_alone():
    program = "import sys; import shards.record; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & {"numpy", "PIL", "pyarrow", "rich", *FOREIGN} == set()
    assert Path(shards.__path__[0]) == ROOT / "shards"
