"""``multigrain preview``: a folder that opens in any browser, with samples drawn on their frames."""

from html import escape
from pathlib import Path

from PIL import Image

from pipelines.progress import Progress
from shards.draw import draw_sample
from shards.keys import hash64
from shards.page import page
from shards.reader import Corpus
from shards.toml_table import RecipeError

FILTER = """
<p><input id="find" type="search" placeholder="search keys and words" aria-label="search">
<select id="entry" aria-label="entry"><option value="">every entry</option>{entries}</select>
<select id="task" aria-label="task"><option value="">every task</option>{tasks}</select>
<span class="soft" id="count"></span></p>"""

SCRIPT = """
<script>
const find = document.getElementById('find'), entry = document.getElementById('entry'),
      task = document.getElementById('task'), count = document.getElementById('count'),
      cards = [...document.querySelectorAll('figure')];
function sift() {
  let shown = 0;
  for (const card of cards) {
    const hit = (!entry.value || card.dataset.entry === entry.value)
      && (!task.value || card.dataset.task === task.value)
      && card.textContent.toLowerCase().includes(find.value.toLowerCase());
    card.hidden = !hit; shown += hit;
  }
  count.textContent = shown + ' of ' + cards.length + ' samples';
}
for (const control of [find, entry, task]) control.addEventListener('input', sift);
sift();
</script>"""


def write_preview(path: Path, out: Path, most: int) -> Path:
    """Draw up to ``most`` samples, spread over entries and tasks, into ``out``; returns the page."""
    corpus = Corpus.open(path)
    if out.resolve() == path.resolve():
        raise RecipeError(f"--out {out} is the corpus itself; name another folder")
    chosen = choose(corpus, most)
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    cards = []
    with Progress().stage("draw", len(chosen)) as bar:
        for number, (key, entry, task) in enumerate(chosen):
            picture = f"pictures/{number:05d}.jpg"
            cards.append(_card(corpus, key, entry, task, out, picture))
            bar.at(number + 1, "samples")
    index = out / "index.html"
    controls = FILTER.format(
        entries=_options({entry for _, entry, _ in chosen}), tasks=_options({task for _, _, task in chosen})
    )
    body = f'{controls}<div class="gallery">\n{"".join(cards)}</div>{SCRIPT}'
    index.write_text(page(f"Samples of {corpus.manifest['name']}", body), encoding="utf-8")
    return index


def choose(corpus: Corpus, most: int) -> list[tuple[str, str, str]]:
    """(sample key, entry, task), from every (entry, task) in turn, so that a page begins with one of each kind.

    Within a kind the order follows from the keys alone."""
    columns = [corpus.samples.column(name).to_pylist() for name in ("sample_key", "entry", "task")]
    groups: dict[tuple[str, str], list[str]] = {}
    for key, entry, task in zip(*columns, strict=True):
        groups.setdefault((entry, task), []).append(key)
    order = {group: iter(sorted(keys, key=hash64)) for group, keys in sorted(groups.items())}
    chosen: list[tuple[str, str, str]] = []
    while order and len(chosen) < most:
        for group in list(order):
            key = next(order[group], None)
            if key is None:
                del order[group]
            elif len(chosen) < most:
                chosen.append((key, *group))
    return chosen


def _card(corpus: Corpus, key: str, entry: str, task: str, out: Path, picture: str) -> str:
    row, record, sample = corpus.sample(key)
    drawn: Image.Image = draw_sample(record, sample, lambda frames: corpus.frames(row, record, frames), width=1120)
    drawn.convert("RGB").save(out / picture, quality=85)
    words = "<br>".join(f"<b>{turn.role}</b> {escape(turn.text)}" for turn in sample.turns)
    return (
        f'<figure data-entry="{escape(entry)}" data-task="{escape(task)}">'
        f'<a href="{picture}"><img loading="lazy" src="{picture}" width="{drawn.width}" height="{drawn.height}" '
        f'alt="{escape(key)}"></a><figcaption><code>{escape(key)}</code><br>{words}</figcaption></figure>\n'
    )


def _options(values: set[str]) -> str:
    return "".join(_option(value) for value in sorted(values))


def _option(value: str) -> str:
    return f'<option value="{escape(value)}">{escape(value)}</option>'
