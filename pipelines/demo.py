"""``multigrain demo``: the main job from end to end on a generated world, in a minute or two."""

from pathlib import Path

from rich.console import Console

from converters.world import write_world
from pipelines.build import build
from pipelines.counts import print_counts
from pipelines.preview import write_preview
from pipelines.progress import Progress
from pipelines.recipe import load_recipe
from pipelines.report import write_report
from pipelines.verifying import run_verify
from shards.toml_table import RecipeError

RECIPE_FILE = "demo.toml"
MARKER = "A demonstration written by `multigrain demo`; the folder may be removed.\n"

RECIPE = """\
# The same keys as for the real releases: only `root` points into the generated world.
[corpus]
name = "demo"
seed = 17
shard_size = "1 MiB"
wordings = 2
max_skip_share = 0.01

[[dataset]]
converter = "refcoco"
root = "raw/refer"
split = "train"

[[dataset]]
converter = "refcoco_plus"
root = "raw/refer"
split = "train"

[[dataset]]
converter = "refcocog"
root = "raw/refer"
split = "train"

[[dataset]]
converter = "mevis"
root = "raw/mevis"
split = "train"

[[dataset]]
name = "videorefer-train"
converter = "videorefer"
root = "raw/videorefer"
split = "train"
options = { subset = ["short_caption", "detailed_caption", "qa"] }

[[dataset]]
converter = "charades_sta"
root = "raw/charades_sta"
split = "train"

[[dataset]]
converter = "vidstg"
root = "raw/vidstg"
split = "train"
"""


def run_demo(out: Path, clips: int, workers: int | None) -> int:
    """Generate, build, verify, draw; ends with a table of counts and the path of the gallery."""
    marker = out / "README.txt"
    if out.exists() and any(out.iterdir()) and not marker.exists():
        raise RecipeError(f"--out {out} is not empty and was not made by `multigrain demo`; name a new folder")
    if clips < 1:
        raise RecipeError(f"--clips {clips}: a world has at least one clip")
    out.mkdir(parents=True, exist_ok=True)
    marker.write_text(MARKER, encoding="utf-8")
    progress = Progress()
    with progress.stage("generate", None) as bar:
        truth = write_world(out / "raw", clips=clips, seed=0)
        bar.at(sum(1 for _ in truth), "annotations")
    recipe = out / RECIPE_FILE
    recipe.write_text(RECIPE, encoding="utf-8")
    built = build(load_recipe(recipe), out / "corpus", workers=workers, progress=progress)
    write_report(built)
    if run_verify(built.corpus, as_json=False):
        return 1
    page = write_preview(built.corpus, out / "gallery", 60)
    print_counts(built.outcomes, Console())
    print(f"raw releases  {out / 'raw'}\nrecipe        {recipe}\ncorpus        {built.corpus}")
    print(f"report        {built.corpus / 'report.html'}\ngallery       {page}")
    return 0
