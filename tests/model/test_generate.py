"""Questions about files: answered as training samples are, in seconds and masks, and refused in one line."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import model
from converters.world import write_world
from model import checkpoint
from model.cli import main
from model.distributed import Ranks
from model.generate import in_seconds, parse_region
from model.inference import Answerer, Question, Shown, spans_of
from model.open_clip import AnswerError, OpenClip
from model.predict import Prediction, predict
from model.recipe import load_train_recipe
from model.run import open_run
from model.segmenting import begin, segment
from model.ufvideo import UFVideo
from pipelines.build import build
from pipelines.recipe import load_recipe
from shards import rle, video
from shards.reader import Corpus
from shards.record import Clip
from shards.stream import Draw
from tests.model.small_model import MODEL

CORPUS = """
[corpus]
name = "asked"
max_skip_share = 1.0
[[dataset]]
converter = "refcoco"
root = "raw/refer"
split = "train"
[[dataset]]
converter = "mevis"
root = "raw/mevis"
split = "train"
[[dataset]]
converter = "videorefer"
root = "raw/videorefer"
split = "train"
"""

RECIPE = f"""{MODEL}[[mixture]]
corpus = "corpus"
"""


@dataclass(frozen=True)
class Asked:
    """A world with its corpus, and a run of random weights."""

    root: Path
    corpus: Corpus

    @property
    def run(self) -> Path:
        return self.root / "run"

    def draw(self, entry: str) -> Draw:
        rows = [row for row, of in enumerate(self.corpus.samples.column("entry").to_pylist()) if of == entry]
        row, record, sample = self.corpus.sample(self.corpus.samples.column("sample_key")[rows[0]].as_py())
        return Draw(0, 0, 0, 0, record, sample, self.corpus, row)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    root = tmp_path_factory.mktemp("asked")
    write_world(root / "raw", clips=1, seed=3, datasets=("refer", "mevis", "videorefer"))
    (root / "corpus.toml").write_text(CORPUS)
    build(load_recipe(root / "corpus.toml"), root / "corpus", workers=0)
    (root / "train.toml").write_text(RECIPE)
    run = open_run(load_train_recipe(root / "train.toml"), root / "run", Ranks(0, 1, torch.device("cpu")))
    run.close()
    checkpoint.save(run.folder, 1, run.model, run.optimizer, {"stream": run.stream.state_dict()})
    return Asked(root, Corpus.open(root / "corpus"))


@pytest.fixture(scope="module")
def answerer(asked: Asked) -> Answerer:
    return model.load(asked.run)


def media_of(asked: Asked, draw: Draw) -> Path:
    folder = {"refcoco": "refer", "mevis": "mevis", "videorefer": "videorefer"}[draw.record.dataset]
    return asked.root / "raw" / folder / draw.record.clip.source


@pytest.fixture
def says_seg(answerer: Answerer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model says ``<Seg>`` twice and stops; its states are its own."""
    seg, end = answerer.tokenizer.seg, answerer.tokenizer.im_end
    script: list[int] = []

    def head(states: torch.Tensor) -> torch.Tensor:
        if not script:
            script.extend([seg, seg, end])
        said = torch.full((len(states),), script.pop(0))
        return torch.nn.functional.one_hot(said, len(answerer.tokenizer)).float()

    monkeypatch.setattr(answerer.model.language.lm_head, "forward", head)


@pytest.mark.parametrize("entry", ["refcoco-train", "mevis-train", "videorefer-train-short_caption"])
def test_a_question_about_a_file_is_answered_as_the_sample_that_was_made_of_it(
    asked: Asked, answerer: Answerer, entry: str
) -> None:
    draw = asked.draw(entry)
    clip, sample = draw.record.clip, draw.sample
    words = sample.turns[0].text.partition("\n")[2]
    masklets = draw.record.masklets
    shown = [
        Shown(region.frames[0], rle.decode(masklets[region.masklet].rles[region.frames[0]], clip.height, clip.width))
        for region in sample.regions
    ]
    wanted: Prediction = predict(answerer.model, draw, answerer.config, answerer.tokenizer)
    answer = answerer.answer(media_of(asked, draw), words, shown, max_new_tokens=24)
    length = min(len(answer.text), len(wanted.answers[0]))
    assert length > 5
    assert answer.text[:length] == wanted.answers[0][:length]


@pytest.mark.usefixtures("says_seg")
def test_every_seg_has_a_mask_on_every_frame_and_frames_do_not_disturb_each_other(
    asked: Asked, answerer: Answerer
) -> None:
    draw = asked.draw("mevis-train")
    opened = OpenClip.open(media_of(asked, draw))
    whole = answerer.answer(opened, "Segment it.")
    few = answerer.answer(opened, "Segment it.", mask_frames=3)
    assert len(whole.masklets) == 2
    assert all(sorted(masklet) == list(range(opened.clip.num_frames)) for masklet in whole.masklets)
    assert all(len(masklet) == 3 for masklet in few.masklets)
    for all_of_it, part in zip(whole.masklets, few.masklets, strict=True):
        assert all(mask.shape == (opened.clip.height, opened.clip.width) for mask in part.values())
        assert all(np.array_equal(all_of_it[frame], mask) for frame, mask in part.items())


WORDS = ["What is it?", "Where does the red circle go, and why does it go there at all?", "When?", "Hm."]


def test_several_questions_are_answered_as_one_by_one(asked: Asked, answerer: Answerer) -> None:
    """Their prompts differ in length, and one shows an object."""
    draw = asked.draw("mevis-train")
    opened = OpenClip.open(media_of(asked, draw))
    mask = np.zeros((opened.clip.height, opened.clip.width), bool)
    mask[5:20, 5:25] = True
    questions = [*map(Question, WORDS), Question("What does <Ref> do?", [Shown(1, mask)])]
    alone = [answerer.answer(opened, one.words, one.shown, max_new_tokens=16).text for one in questions]
    together = answerer.answers(opened, questions, max_new_tokens=16)
    assert [answer.text for answer in together] == alone
    assert len(set(alone)) > 1, "or any order would do"
    assert answerer.answers(opened, []) == []


@pytest.mark.usefixtures("says_seg")
def test_a_clip_is_seen_once_for_all_questions(asked: Asked, answerer: Answerer, monkeypatch) -> None:
    opened = OpenClip.open(media_of(asked, asked.draw("mevis-train")))
    seen: dict[str, list[int]] = {}
    for name in ("vision", "connector", "segmentation.sam2.image_encoder"):
        part = answerer.model.get_submodule(name)
        count = seen.setdefault(name, [])
        forward = part.forward
        monkeypatch.setattr(part, "forward", lambda x, count=count, forward=forward: count.append(len(x)) or forward(x))
    monkeypatch.setattr("model.inference.QUESTIONS_AT_ONCE", 2)
    answers = answerer.answers(opened, [Question(words) for words in WORDS[:3]], mask_frames=5)
    assert seen == {
        "vision": [answerer.config.num_frames],
        "connector": [1],
        "segmentation.sam2.image_encoder": [5],
    }
    assert [len(answer.masklets) for answer in answers] == [2, 2, 2]


def test_a_long_video_is_decoded_once_and_in_order(asked: Asked, monkeypatch) -> None:
    (path, *_) = sorted((asked.root / "raw").rglob("*.mp4"))
    opened = OpenClip.open(path)
    wanted = range(0, opened.clip.num_frames, 3)
    decodes: list[object] = []
    monkeypatch.setattr("model.open_clip.FRAMES_READ", 4)
    opened_by = video._opened
    monkeypatch.setattr(video, "_opened", lambda *given: decodes.append(given) or opened_by(*given))
    for one, other in zip(opened.in_order(wanted), opened.frames(wanted), strict=True):
        assert np.array_equal(one, other)
    assert len(decodes) == 2
    assert len(list(opened.in_order(wanted[-4:]))) == 4
    back = list(opened.backwards(wanted))
    assert all(np.array_equal(one, other) for one, other in zip(back[::-1], opened.frames(wanted), strict=True))
    assert list(opened.in_order([])) == []


@pytest.fixture
def remembers(answerer: Answerer, monkeypatch) -> Answerer:
    """The same model, with a memory of random weights."""
    config = replace(answerer.config, memory=True, memory_layers=1)
    torch.manual_seed(3)
    remembering = UFVideo(config).eval()
    state = {n: t for n, t in answerer.model.state_dict().items() if not n.endswith("maskmem_tpos_enc")}
    remembering.load_state_dict(state, strict=False)
    monkeypatch.setattr(remembering.language.lm_head, "forward", answerer.model.language.lm_head.forward)
    return Answerer(remembering, config, answerer.tokenizer)


@pytest.mark.usefixtures("says_seg")
def test_with_memory_an_object_is_found_on_one_frame_and_followed_both_ways(
    asked: Asked, answerer: Answerer, remembers: Answerer, monkeypatch
) -> None:
    opened = OpenClip.open(media_of(asked, asked.draw("mevis-train")))
    clip, at = opened.clip, 7
    monkeypatch.setattr("model.segmenting.FRAMES_AT_ONCE", 3)
    monkeypatch.setattr("model.open_clip.FRAMES_READ", 4)
    alone = answerer.answer(opened, "Segment it.").masklets[0]
    forth = remembers.answer(opened, "Segment it.").masklets[0]
    both = remembers.answer(opened, "Segment it.", prompt_frame=at).masklets[0]
    with pytest.raises(AnswerError, match=f"the prompt frame is {clip.num_frames}; the clip has 0…"):
        remembers.answer(opened, "Segment it.", prompt_frame=clip.num_frames)
    assert list(forth) == list(both) == list(range(clip.num_frames))
    assert (both[at] ^ alone[at]).mean() < 0.01, "the prompted frame is segmented as without memory"
    assert (forth[0] ^ alone[0]).mean() < 0.01
    turned = OpenClip(opened.path, clip, opened.frame_paths[::-1])
    # The words come from the clip, so the state of <Seg> is another in a turned one: follow the same state.
    state = remembers.model.language.model.norm.weight.detach()[None]
    track = begin(remembers.model, state, at)
    list(segment(remembers.model, state, opened.in_order([at]), track))
    back = list(segment(remembers.model, state, opened.backwards(range(at)), track.turned()))
    mirrored = segment(remembers.model, state, turned.in_order(range(clip.num_frames - 1 - at, clip.num_frames)))
    for one, other in zip(back, list(mirrored)[1:], strict=True):
        assert (one ^ other).mean() < 0.01


def test_without_memory_there_is_no_prompt_frame(asked: Asked, capsys) -> None:
    picture = media_of(asked, asked.draw("refcoco-train"))
    call = ["generate", "--checkpoint", str(asked.run), "--image", str(picture), "--prompt", "Hm?"]
    assert main([*call, "--prompt-frame", "0"]) == 2
    assert "the model has no memory" in capsys.readouterr().err


@pytest.mark.usefixtures("says_seg")
def test_an_object_whose_score_is_negative_has_an_empty_mask(asked: Asked, answerer: Answerer) -> None:
    opened = OpenClip.open(media_of(asked, asked.draw("mevis-train")))
    config = replace(answerer.config, object_score=True)
    scoring = UFVideo(config).eval()
    scoring.load_state_dict(answerer.model.state_dict())
    scoring.language.lm_head.forward = answerer.model.language.lm_head.forward
    head = "segmentation.sam2.sam_mask_decoder.pred_obj_score_head.layers.2.bias"
    for value, seen in ((-99.0, False), (99.0, True)):
        torch.nn.init.constant_(scoring.get_parameter(head), value)
        answer = Answerer(scoring, config, answerer.tokenizer).answer(opened, "Segment it.", mask_frames=3)
        plain = answerer.answer(opened, "Segment it.", mask_frames=3)
        assert any(mask.any() for mask in plain.masklets[0].values())
        for frame, mask in answer.masklets[0].items():
            assert np.array_equal(mask, plain.masklets[0][frame] & seen)


@pytest.mark.usefixtures("says_seg")
def test_the_command_takes_several_prompts(asked: Asked, answerer, monkeypatch, capsys) -> None:
    monkeypatch.setattr("model.generate.load_model", lambda folder: answerer)
    picture, out = media_of(asked, asked.draw("refcoco-train")), asked.root / "several"
    call = ["generate", "--checkpoint", str(asked.run), "--image", str(picture), "--out", str(out), "--json"]
    call += ["--region", "9,9", "--region", "20,9", "--prompt", "Where is <Ref>?"]
    assert main([*call, "--prompt", "And <Ref>?"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["prompts"] == ["Where is <Ref>?", "And <Ref>?"]
    assert [answer["text"] for answer in told["answers"]] == ["<Seg><Seg>", "<Seg><Seg>"]
    assert json.loads((out / "answer.json").read_text()) == told
    assert (out / "overlay.webp").is_file()
    assert main([*call, "--prompt", "And?"]) == 2
    assert "0 <Ref> for 1 objects" in capsys.readouterr().err


@pytest.mark.usefixtures("says_seg")
def test_the_command_writes_masks_as_coco_rle_and_a_picture(asked: Asked, answerer, monkeypatch, capsys) -> None:
    monkeypatch.setattr("model.generate.load_model", lambda folder: answerer)
    folder, out = media_of(asked, asked.draw("mevis-train")), asked.root / "out"
    call = ["generate", "--checkpoint", str(asked.run), "--frames", str(folder), "--prompt", "Segment it."]
    assert main([*call, "--mask-frames", "2", "--out", str(out)]) == 0
    assert "<Seg> 1" in capsys.readouterr().out
    told = json.loads((out / "answer.json").read_text())
    assert told["text"] == "<Seg><Seg>"
    assert len(told["masklets"]) == 2
    for masklet in told["masklets"]:
        assert len(masklet) == 2
        for mask in masklet.values():
            rle.check(mask["counts"], *mask["size"])
    with Image.open(out / "overlay.webp") as picture:
        assert getattr(picture, "n_frames", 1) == 2


def test_the_command_can_answer_in_json_alone(asked: Asked, capsys) -> None:
    picture = media_of(asked, asked.draw("refcoco-train"))
    call = ["generate", "--checkpoint", str(asked.run), "--image", str(picture), "--prompt", "What is it?", "--json"]
    assert main(call) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["spans"] == []


@pytest.fixture
def clip() -> Clip:
    return Clip("video", "x.mp4", 40, 30, 50, 10.0, 5.0)


def test_times_are_told_in_seconds_of_the_window(clip: Clip) -> None:
    text = "From <Temp-0> to <Temp-99>, then <Temp-33>."
    assert spans_of(text, clip, None) == ((0.0, 5.0), (pytest.approx(5 / 3), pytest.approx(5 / 3)))
    assert in_seconds(text, clip, (1.0, 4.0)) == "From 1.00 s to 4.00 s, then 2.00 s."
    assert spans_of(text, Clip("frames", "x", 4, 3, 5, None, None), None) == ()


def test_regions_are_boxes_points_or_masks_on_a_frame(clip: Clip, tmp_path: Path) -> None:
    box = parse_region("10,5,20,15@7", clip)
    assert box.frame == 7
    assert box.mask_HW.sum() == 100
    assert box.mask_HW[5:15, 10:20].all()
    point = parse_region("10,5", clip)
    assert (point.frame, point.mask_HW[5, 10], point.mask_HW[5, 14]) == (0, True, False)
    mask = np.zeros((30, 40), np.uint8)
    mask[2, 3] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert np.array_equal(parse_region(f"{tmp_path / 'mask.png'}@3", clip).mask_HW, mask > 0)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--region", "1,2"], "0 <Ref> for 1 objects"),
        (["--region", "nowhere.png"], "write a mask's file, a box"),
        (["--window", "0:1"], "the window"),
        (["--video", "nowhere.mp4"], "nowhere.mp4"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(asked: Asked, capsys, more, words) -> None:
    media = [] if "--video" in more else ["--image", str(media_of(asked, asked.draw("refcoco-train")))]
    assert main(["generate", "--checkpoint", str(asked.run), "--prompt", "Hm?", *media, *more]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (Shown(0, np.ones((3, 3), bool)), "give it the clip's size"),
        (Shown(9, np.ones((30, 40), bool)), "on frame 9; the clip has 0…0"),
        (Shown(0, np.zeros((30, 40), bool)), "no pixel inside the picture"),
    ],
)
def test_an_object_that_cannot_be_shown_is_refused(answerer, tmp_path, shown, words) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "still.png")
    with pytest.raises(AnswerError, match=words):
        answerer.answer(tmp_path / "still.png", "What is <Ref>?", [shown])


def test_frames_of_a_folder_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (0, 2, 10):
        Image.new("RGB", (4, 3), (number, 0, 0)).save(tmp_path / f"f{number}.png")
    (tmp_path / "._f1.png").write_bytes(b"of another file system")
    (tmp_path / "d.png").mkdir()
    opened = OpenClip.open(tmp_path)
    assert [int(picture[0, 0, 0]) for picture in opened.frames(range(opened.clip.num_frames))] == [0, 2, 10]
    with pytest.raises(AnswerError, match=r"d\.png holds no frames, which end in \.jpg"):
        OpenClip.open(tmp_path / "d.png")


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnswerError, match="holds no run with a checkpoint"):
        model.load(tmp_path)


def test_one_checkpoint_of_a_run_can_be_named(asked: Asked, answerer: Answerer) -> None:
    found: Callable[[str], Answerer] = model.load
    again = found(str(checkpoint.latest(asked.run)))
    ours, theirs = answerer.model.state_dict(), again.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_imported_weights_answer_as_the_checkpoint_that_they_come_from(
    asked: Asked, answerer: Answerer, tmp_path
) -> None:
    call = ["weights", "import", "--out", str(tmp_path / "imported"), "--from", str(checkpoint.latest(asked.run))]
    assert main(call) == 0
    ours, theirs = answerer.model.state_dict(), model.load(tmp_path / "imported").model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
