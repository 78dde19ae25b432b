"""Training runs on a small corpus: stopped and resumed, cut into micro-batches and ranks, refused and interrupted."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from converters.world import write_world
from model import checkpoint
from model.cli import main
from model.distributed import Ranks
from model.loader import Loader, Step
from model.logbook import TIMING, Logbook
from model.predict import predict
from model.recipe import load_train_recipe
from model.run import Run, open_run
from model.train import NotFinite, Stop, Trained, train, train_step
from model.ufvideo import PARTS
from pipelines.build import build
from pipelines.recipe import load_recipe
from shards.manifest import CorpusError
from shards.stream import Draw
from shards.toml_table import RecipeError
from tests.model.small_model import MODEL

ROOT = Path(__file__).parents[2]
ALONE = Ranks(0, 1, torch.device("cpu"))

CORPUS = """
[corpus]
name = "lesson"
[[dataset]]
converter = "refcoco"
root = "raw/refer"
split = "train"
take = 3
[[dataset]]
converter = "mevis"
root = "raw/mevis"
split = "train"
take = 3
[[dataset]]
converter = "charades_sta"
root = "raw/charades_sta"
split = "train"
take = 4
"""

RECIPE = f"""{MODEL}
[train]
parts = "all"
lr = 1e-3
save_every = 100
micro_batch = 2
workers = 1

[show]
samples = 0

[stream]
seed = 1
batch_size = 4
epochs = 2

[[mixture]]
corpus = "corpus"
"""


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus of ten samples."""
    root = tmp_path_factory.mktemp("lesson")
    write_world(root / "raw", clips=2, seed=3, datasets=("refer", "mevis", "charades_sta"))
    (root / "corpus.toml").write_text(CORPUS)
    build(load_recipe(root / "corpus.toml"), root / "corpus", workers=0)
    return root


@pytest.fixture
def written(lesson: Path) -> Callable[..., Path]:
    """Writes a train recipe beside the corpus, with words of RECIPE replaced."""

    def write(name: str = "train", changes: dict[str, str] | None = None) -> Path:
        text = RECIPE
        for old, new in (changes or {}).items():
            assert old in text
            text = text.replace(old, new)
        path = lesson / f"{name}.toml"
        path.write_text(text)
        return path

    return write


def trained(recipe: Path, folder: Path, stop_after: int | None = None) -> Trained:
    return train(load_train_recipe(recipe), folder, ALONE, stop_after=stop_after)


def numbers(folder: Path) -> list[dict[str, float]]:
    """What a run logged, without times."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMING} for line in lines]


def digests(folder: Path) -> dict[str, str]:
    """The checksums of the last checkpoint's files."""
    last = checkpoint.latest(folder)
    assert last is not None
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(last.iterdir())}


def test_a_run_that_is_stopped_and_resumed_equals_the_uninterrupted_one_bit_for_bit(written, tmp_path) -> None:
    recipe = written()
    whole = trained(recipe, tmp_path / "whole")
    assert whole == Trained(tmp_path / "whole", 6, 6, interrupted=False)
    for stop in (1, 4, None):
        part = trained(recipe, tmp_path / "parts", stop)
    assert part == Trained(tmp_path / "parts", 6, 6, interrupted=False)
    assert numbers(tmp_path / "parts") == numbers(tmp_path / "whole")
    assert digests(tmp_path / "parts") == digests(tmp_path / "whole")


def test_a_run_that_dies_between_checkpoints_goes_on_from_the_last_one(written, tmp_path, monkeypatch) -> None:
    recipe = written(changes={"save_every = 100": "save_every = 2"})
    trained(recipe, tmp_path / "whole")
    log = Logbook.log

    def die(self: Logbook, step: int, told: dict[str, float]) -> None:
        log(self, step, told)
        if step == 2:
            raise RuntimeError("the machine is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Logbook, "log", die)
        with pytest.raises(RuntimeError, match="gone"):
            trained(recipe, tmp_path / "died")
    assert len(numbers(tmp_path / "died")) == 3
    trained(recipe, tmp_path / "died")
    assert numbers(tmp_path / "died") == numbers(tmp_path / "whole")
    assert digests(tmp_path / "died") == digests(tmp_path / "whole")


def test_micro_batches_change_nothing_but_rounding(written, tmp_path) -> None:
    trained(written("one", {"micro_batch = 2": "micro_batch = 1"}), tmp_path / "one", 3)
    trained(written("four", {"micro_batch = 2": "micro_batch = 4"}), tmp_path / "four", 3)
    for one, four in zip(numbers(tmp_path / "one"), numbers(tmp_path / "four"), strict=True):
        assert one == pytest.approx(four, rel=2e-3, abs=1e-5)


REMEMBERS = {"layers = 1\nvision": 'layers = 1\nmemory = true\nsam2_version = "2.1"\nvision'}
SCORES = {'parts = "all"': 'parts = "all"\nobject_score = 0.5'}


def test_micro_batches_change_nothing_with_memory_and_object_score_either(written, tmp_path) -> None:
    """Each micro-batch of one holds a sample with masks, or one of words alone."""
    more = REMEMBERS | SCORES
    trained(written("one", more | {"micro_batch = 2": "micro_batch = 1"}), tmp_path / "one", 2)
    trained(written("four", more | {"micro_batch = 2": "micro_batch = 4"}), tmp_path / "four", 2)
    for one, four in zip(numbers(tmp_path / "one"), numbers(tmp_path / "four"), strict=True):
        assert one == pytest.approx(four, rel=2e-3, abs=1e-5)
        assert one["object_score"] > 0


def test_memory_learns_where_it_is_asked_to(written, tmp_path) -> None:
    run = opened(written("memory", REMEMBERS | {'"all"': '["memory"]'}), tmp_path / "run")
    before = {name: parameter.detach().clone() for name, parameter in run.model.named_parameters()}
    step = next_step(run, lambda step: any(len({frame for _, frame in plan.masks}) > 1 for plan in step.outlines))
    train_step(run, step, 0, ALONE, Stop())
    moved = {name for name, parameter in run.model.named_parameters() if not torch.equal(before[name], parameter)}
    assert all(name.startswith(PARTS["memory"]) for name in moved)
    for part in ("memory_attention.layers.0.cross_attn_image.", "memory_encoder.mask_downsampler.", "obj_ptr_proj."):
        assert any(name.startswith(f"segmentation.sam2.{part}") for name in moved), part


def test_a_run_from_before_a_field_was_there_goes_on(written, tmp_path) -> None:
    opened(written(), tmp_path / "run")
    told = json.loads((tmp_path / "run" / "run.json").read_text())
    for name in ("memory", "sam2_version", "memory_frames", "memory_layers", "object_score", "compat"):
        del told["model"][name]
    del told["train"]["object_score"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(told))
    opened(written(), tmp_path / "run")
    with pytest.raises(RecipeError, match="model.memory was False, is True"):
        opened(written("other", REMEMBERS), tmp_path / "run")


def test_bf16_takes_nearly_the_same_first_steps(written, tmp_path) -> None:
    trained(written("fp32", {'parts = "all"': 'parts = "all"\nprecision = "fp32"'}), tmp_path / "fp32", 2)
    trained(written("bf16", {'parts = "all"': 'parts = "all"\nprecision = "bf16"'}), tmp_path / "bf16", 2)
    for full, half in zip(numbers(tmp_path / "fp32"), numbers(tmp_path / "bf16"), strict=True):
        assert half != full
        assert half == pytest.approx(full, rel=3e-2)


@pytest.mark.slow
def test_two_ranks_see_the_same_global_batches_as_one(written, tmp_path) -> None:
    recipe = written()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    call = [*torchrun, "-m", "model.train", str(recipe), "--out", str(tmp_path / "two"), "--stop-after", "3"]
    ran = subprocess.run(call, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, timeout=300)
    assert ran.returncode == 0, ran.stderr.decode()[-2000:]
    trained(recipe, tmp_path / "one", 3)
    one, two = numbers(tmp_path / "one"), numbers(tmp_path / "two")
    # The first step's losses are those of equal weights on equal samples; later ones carry rounding along.
    assert two[0] == pytest.approx(one[0], rel=1e-5)
    for a, b in zip(one, two, strict=True):
        assert b == pytest.approx(a, rel=2e-3, abs=1e-5)
    # A run may go on with another number of ranks.
    trained(recipe, tmp_path / "two")
    assert len(numbers(tmp_path / "two")) == 6


FAULTY = """
import os, sys
from shards.manifest import CorpusError
from shards.stream import Draw

frames = Draw.frames

def fail(self, indices):
    if os.environ["RANK"] == "1" and self.step == 2:
        raise CorpusError(f"{self.record.key} cannot be delivered")
    return frames(self, indices)

Draw.frames = fail

from model.cli import main

sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_fault_of_one_rank_ends_all_of_them_with_a_checkpoint(written, tmp_path) -> None:
    (tmp_path / "faulty.py").write_text(FAULTY)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    call = [*torchrun, str(tmp_path / "faulty.py"), "train", str(written()), "--out", str(tmp_path / "run")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, timeout=300)
    told = ran.stderr.decode()
    assert ran.returncode != 0
    assert "cannot be delivered" in told, told[-2000:]
    assert "Traceback" not in told.partition("elastic")[0]
    last = checkpoint.latest(tmp_path / "run")
    assert last is not None
    assert last.name == "step-000002"


def test_a_loss_that_is_no_number_stops_the_run_before_the_weights_move(written, tmp_path) -> None:
    run = opened(written(), tmp_path / "run")
    with torch.no_grad():
        run.model.language.lm_head.weight[0, 0] = torch.inf
    before = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    with pytest.raises(NotFinite, match=r"step 0: the loss is (nan|inf).*samples of rank 0 are .*train/"):
        train_step(run, first_step(run), 0, ALONE, Stop())
    assert not run.optimizer.state
    assert all(torch.equal(before[name], tensor) for name, tensor in run.model.state_dict().items())


def test_only_the_parts_that_the_recipe_names_learn(written, tmp_path) -> None:
    run = opened(written("parts", {'"all"': '["connector", "prompt"]'}), tmp_path / "run")
    before = {name: parameter.detach().clone() for name, parameter in run.model.named_parameters()}
    train_step(run, first_step(run), 0, ALONE, Stop())
    moved = {name for name, parameter in run.model.named_parameters() if not torch.equal(before[name], parameter)}
    assert moved
    assert all(name.startswith(("connector.", "segmentation.project.")) for name in moved)
    assert any(name.startswith("segmentation.project.") for name in moved)


def opened(recipe: Path, folder: Path) -> Run:
    """A run that is ready, its folder free for others."""
    run = open_run(load_train_recipe(recipe), folder, ALONE)
    run.close()
    return run


def first_step(run: Run) -> Step:
    """The first step with its batches decoded, since they go when the loader does."""
    return next_step(run, lambda step: True)


def next_step(run: Run, wanted: Callable[[Step], bool]) -> Step:
    """The first step that is wanted, likewise."""
    loader = iter(Loader(run.stream, run.config, run.tokenizer, 2, 2048, 1))
    step = next(step for step in loader if wanted(step))
    list(step.batches())
    loader.close()
    return step


def test_sigterm_ends_the_run_after_the_step_with_a_checkpoint(written, tmp_path, monkeypatch) -> None:
    log = Logbook.log

    def ask(self: Logbook, step: int, told: dict[str, float]) -> None:
        log(self, step, told)
        if step == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Logbook, "log", ask)
        ended = trained(written(), tmp_path / "run")
    assert ended.interrupted
    assert ended.steps in (2, 3)  # the step at hand is finished
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    trained(written(), tmp_path / "whole", ended.steps)
    assert digests(tmp_path / "run") == digests(tmp_path / "whole")


def test_the_text_loss_falls(written, tmp_path) -> None:
    trained(written("longer", {"epochs = 2": "epochs = 12"}), tmp_path / "run")
    told = numbers(tmp_path / "run")
    assert sum(line["ce"] for line in told[-5:]) < 0.5 * sum(line["ce"] for line in told[:5])


def test_a_finished_run_shows_what_it_answers_before_and_after(written, tmp_path, capsys) -> None:
    recipe = written("shown", {"samples = 0": "samples = 4"})
    assert main(["train", str(recipe), "--out", str(tmp_path / "run")]) == 0
    folder = tmp_path / "run" / "predictions"
    before, after = (json.loads((folder / f"{when}.json").read_text()) for when in ("before", "after"))
    assert [row["key"] for row in before] == [row["key"] for row in after]
    assert len(before) == 4
    page = (folder / "index.html").read_text()
    assert all(row["key"] in page for row in before)
    assert len(list((folder / "pictures").glob("*.png"))) == 4
    assert "4 samples answered" in capsys.readouterr().out
    assert (tmp_path / "run" / "loss.png").stat().st_size > 10_000
    assert main(["train", str(recipe), "--out", str(tmp_path / "run")]) == 0  # nothing is left to do
    assert len(numbers(tmp_path / "run")) == 6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lr = 1e-3": "lr = 2e-3"}, "train.lr was 0.001, is 0.002"),
        ({"layers = 1\nvision": "layers = 2\nvision"}, "model.layers was 1, is 2"),
        ({"batch_size = 4": "batch_size = 5"}, "stream.batch_size was 4, is 5"),
        ({"epochs = 2": "epochs = 3"}, "steps was 6, is 9"),
        ({"tokenizer_size = 300": "tokenizer_size = 301"}, "tokenizer.size was 300, is 301"),
    ],
)
def test_a_folder_that_holds_another_run_is_refused_with_what_differs(written, tmp_path, changes, words) -> None:
    opened(written(), tmp_path / "run")
    with pytest.raises(RecipeError) as caught:
        opened(written("other", changes), tmp_path / "run")
    assert words in str(caught.value)
    assert "new folder" in str(caught.value)


def test_what_only_keeps_house_may_change_between_calls(written, tmp_path) -> None:
    trained(written(), tmp_path / "run", 1)
    trained(written("house", {"save_every = 100": "save_every = 1", "workers = 1": "workers = 2"}), tmp_path / "run", 2)
    assert len(numbers(tmp_path / "run")) == 2


def test_a_folder_in_which_another_process_trains_is_refused(written, tmp_path) -> None:
    run = open_run(load_train_recipe(written()), tmp_path / "run", ALONE)
    with pytest.raises(RecipeError, match="another process trains there"):
        opened(written(), tmp_path / "run")
    run.close()
    opened(written(), tmp_path / "run")


def test_a_kill_while_the_tokenizer_is_written_does_no_harm(written, tmp_path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda self, target: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            opened(written(), tmp_path / "run")
    assert not (tmp_path / "run" / "tokenizer").exists()
    assert len(opened(written(), tmp_path / "run").tokenizer) > 256


def test_a_tokenizer_that_cannot_be_read_is_found_before_the_folder_is_made(written, tmp_path) -> None:
    recipe = written("words", {"tokenizer_size = 300": 'tokenizer = "nowhere"'})
    with pytest.raises(RecipeError, match=r"words\.toml: \[model\]: `tokenizer`: .*nowhere has no tokenizer"):
        opened(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_signal_is_never_lost_whenever_it_comes(written, tmp_path, monkeypatch) -> None:
    """On a GPU most signals come while the ranks add up their losses."""
    summed = Ranks.sum_over_ranks
    calls = []

    def ask(self: Ranks, tensor: torch.Tensor) -> torch.Tensor:
        total = summed(self, tensor)
        calls.append(1)
        if len(calls) == 3:  # the losses of the first step, after what was asked before and its counts
            os.kill(os.getpid(), signal.SIGINT)
        return total

    with monkeypatch.context() as patch:
        patch.setattr(Ranks, "sum_over_ranks", ask)
        ended = trained(written(), tmp_path / "run")
    assert ended.interrupted
    assert ended.steps == 2, "what was asked during a step's sum is agreed on in the next one"
    assert checkpoint.latest(tmp_path / "run") is not None


def test_a_signal_during_the_first_predictions_costs_no_step_and_no_page(written, tmp_path, monkeypatch) -> None:
    recipe = written("shown", {"samples = 0": "samples = 3"})
    with monkeypatch.context() as patch:
        patch.setattr(
            "model.show.predict",
            lambda *given, **more: (os.kill(os.getpid(), signal.SIGINT), predict(*given, **more))[1],
        )
        ended = trained(recipe, tmp_path / "run")
    assert ended == Trained(tmp_path / "run", 0, 6, interrupted=True)
    trained(recipe, tmp_path / "run")
    assert {path.name for path in (tmp_path / "run" / "predictions").glob("*.json")} == {"before.json", "after.json"}


def test_a_run_may_be_copied_without_its_hidden_files_but_not_with_a_torn_description(written, tmp_path) -> None:
    opened(written(), tmp_path / "run")
    (tmp_path / "run" / ".lock").unlink()
    opened(written(), tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text('{"model": ')
    with pytest.raises(RecipeError, match=r"run\.json is damaged .*; copy it again, or name a new folder"):
        opened(written(), tmp_path / "run")


def test_predictions_are_the_same_with_activation_checkpointing(written, tmp_path) -> None:
    answers = []
    for name, flag in (("plain", "false"), ("saving", "true")):
        run = opened(
            written(name, {'parts = "all"': f'parts = "all"\ncheckpoint_activations = {flag}'}), tmp_path / name
        )
        draw = next(iter(run.stream.peek([0])))
        answers.append(predict(run.model, draw, run.config, run.tokenizer).answers)
        assert run.model.training
    assert answers[0] == answers[1]


def test_other_samples_may_be_shown_in_a_later_call(written, tmp_path) -> None:
    trained(written("few", {"samples = 0": "samples = 1"}), tmp_path / "run", 1)
    trained(written("more", {"samples = 0": "samples = 3"}), tmp_path / "run")
    folder = tmp_path / "run" / "predictions"
    assert len(json.loads((folder / "before.json").read_text())) == 1
    rows = json.loads((folder / "after.json").read_text())
    assert len(rows) == 3
    assert all(row["key"] in (folder / "index.html").read_text() for row in rows)


def test_a_folder_with_other_files_is_refused(written, tmp_path, capsys) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    assert main(["train", str(written()), "--out", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_a_sample_that_does_not_fit_stops_the_run_by_its_key(written, tmp_path, capsys) -> None:
    recipe = written("short", {'parts = "all"': 'parts = "all"\nmax_text_tokens = 40'})
    assert main(["train", str(recipe), "--out", str(tmp_path / "run")]) == 1
    told = capsys.readouterr().err
    assert "train/" in told
    assert "max_text_tokens" in told
    # The remedy works: the same run goes on.
    assert main(["train", str(written()), "--out", str(tmp_path / "run"), "--stop-after", "1"]) == 0


def test_what_was_learned_before_a_sample_that_cannot_be_used_is_kept(written, tmp_path, monkeypatch) -> None:
    frames = Draw.frames

    def fail(self: Draw, indices: list[int]) -> list:
        if self.step == 2:
            raise CorpusError(f"{self.record.key} cannot be delivered")
        return frames(self, indices)

    monkeypatch.setattr(Draw, "frames", fail)
    with pytest.raises(CorpusError, match="cannot be delivered"):
        trained(written(), tmp_path / "run")
    last = checkpoint.latest(tmp_path / "run")
    assert last is not None
    assert last.name == "step-000002"
    monkeypatch.undo()
    trained(written(), tmp_path / "run")
    trained(written(), tmp_path / "whole")
    assert digests(tmp_path / "run") == digests(tmp_path / "whole")


def test_media_that_cannot_be_read_stops_the_run_by_name(written, tmp_path, capsys, monkeypatch) -> None:
    def fail(self: Draw, indices: list[int]) -> list:
        raise CorpusError(f"{self.record.key} cannot be delivered")

    monkeypatch.setattr(Draw, "frames", fail)
    assert main(["train", str(written()), "--out", str(tmp_path / "run")]) == 1
    assert "cannot be delivered" in capsys.readouterr().err
