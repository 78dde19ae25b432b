"""For tests of the converters: raw releases written by hand, with tiny media, and the corpora built of them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from pipelines.build import build
from pipelines.recipe import load_recipe
from shards.manifest import read_skipped
from shards.reader import Corpus
from shards.record import Record, Sample
from shards.rle import decode
from shards.verify import verify

WIDTH, HEIGHT = 64, 48


@dataclass(frozen=True)
class Built:
    """What became of a release: (record, sample) and (reason, detail) by sample key, and the entry of the manifest."""

    root: Path
    samples: dict[str, tuple[Record, Sample]]
    skips: dict[str, tuple[str, str]]
    entry: dict[str, Any]

    @property
    def reasons(self) -> dict[str, str]:
        """Skip reasons by what follows ``<dataset>/<split>/`` in the key."""
        return {key.split("/", 2)[2]: reason for key, (reason, _) in self.skips.items()}

    @property
    def adjusted(self) -> dict[str, int]:
        return self.entry["adjusted"]

    def sample(self, ending: str) -> Sample:
        return self._one(ending)[1]

    def record(self, ending: str) -> Record:
        return self._one(ending)[0]

    def _one(self, ending: str) -> tuple[Record, Sample]:
        (found,) = (value for key, value in self.samples.items() if key.endswith(f"/{ending}"))
        return found


def built(root: Path, converter: str, split: str = "train", options: str = "") -> Built:
    """The corpus of one entry: it verifies, accounts for every item, and no skip was unforeseen."""
    recipe = root.parent / f"{converter}.toml"
    recipe.write_text(
        "[corpus]\nmax_skip_share = 1.0\nmax_missing_share = 1.0\nwordings = 2\n"
        f"[[dataset]]\nconverter = '{converter}'\nroot = '{root}'\nsplit = '{split}'\noptions = {{ {options} }}\n"
    )
    corpus = build(load_recipe(recipe), root.parent / f"{converter}-corpus", workers=0).corpus
    assert verify(corpus).faults == ()
    samples = {sample.key: (record, sample) for record, _ in Corpus.open(corpus) for sample in record.samples}
    lines = read_skipped(corpus)
    (entry,) = json.loads((corpus / "manifest.json").read_bytes())["entries"]
    assert entry["items"] == len(samples) + len(lines)
    assert not any("unexpected" in line["detail"] for line in lines)
    skips = {line["key"]: (line["reason"], line["detail"]) for line in lines}
    return Built(corpus, samples, skips, entry)


def written(path: Path, content: Any) -> Path:
    """JSON, or the bytes or text as they are, with the folders above."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8", newline="")
    return path


def bitmap(counts: str, record: Record) -> np.ndarray:
    return decode(counts, record.clip.height, record.clip.width)


def uncompressed(mask: np.ndarray) -> dict[str, Any]:
    """COCO's uncompressed RLE of a [height, width] mask, run by run in column-major order, the first run zeros."""
    runs, value = [0], False
    for pixel in mask.T.reshape(-1).tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return {"size": list(mask.shape), "counts": runs}


def box_mask(x1: int, y1: int, x2: int, y2: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """[height, width], True for x1 ≤ x < x2 and y1 ≤ y < y2."""
    mask = np.zeros((height, width), bool)
    mask[y1:y2, x1:x2] = True
    return mask


# -------------------------------------------------------------------------------------------------------- media


def grey(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    return np.full((height, width, 3), 60, np.uint8)


def write_still(path: Path, picture: np.ndarray | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey() if picture is None else picture).save(path, quality=95, subsampling=0, **options)
    return path


def write_video(
    path: Path,
    num_frames: int = 30,
    rate: Fraction | int = 10,
    *,
    draw: Callable[[int], np.ndarray] = lambda frame: grey(),
    times_ms: Sequence[int] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
) -> Path:
    """A video of ``draw(frame)``; its frames begin at ``times_ms``, by default at a steady ``rate``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    base = Fraction(1, 1000) if times_ms else 1 / Fraction(rate)
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream(
            codec, rate=Fraction(rate), options={"preset": "ultrafast"} if "26" in codec else {}
        )
        stream.height, stream.width = draw(0).shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = base
        for index in range(num_frames):
            frame = av.VideoFrame.from_ndarray(draw(index), "rgb24")
            frame.pts, frame.time_base = times_ms[index] if times_ms else index, base
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path
