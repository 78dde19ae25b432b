"""The banks as data: every phrase renders, image and video wording is right, and a bad bank is refused."""

import re

import pytest

from shards.tokens import spellings_in
from templates.asking import FRAMES
from templates.errors import BankError
from templates.phrases import MEDIUM, Bank, ListRule, Medium, Phrase, medium_of, one, parse_bank
from templates.tasks import (
    global_qa,
    referring_description,
    referring_qa,
    referring_segmentation,
    spatio_temporal_grounding,
    temporal_grounding,
)
from tests.templates import sample_strategies as make

BANKS: list[tuple[Bank, dict[str, ListRule]]] = [
    (global_qa.BANK, FRAMES),
    (referring_qa.BANK, referring_qa.RULES),
    (referring_description.BANK, referring_description.RULES),
    (referring_segmentation.BANK, referring_segmentation.RULES),
    (temporal_grounding.BANK, temporal_grounding.RULES),
    (spatio_temporal_grounding.BANK, spatio_temporal_grounding.RULES),
]
SLOTS = {
    "query": "a dog barks.",
    "answer": "It is red.",
    "regions": "R1 and R2",
    "segs": "S1 and S2",
    "spans": "from T1 to T2",
    "times": "T1 T2",
    "first": "B1",
    "middle": "B2",
    "last": "B3",
}


LISTS = [
    pytest.param(bank, name, medium, id=f"{bank.file.split('/')[-1]}-{name}-{medium}")
    for bank, rules in BANKS
    for name in rules
    for medium in bank.media
]
every_list = pytest.mark.parametrize(("bank", "name", "medium"), LISTS)

VIDEO_WORDS = {"video", "videos", "frame", "frames", "watch", "watching", "moment", "footage", "clip", "movement"}
IMAGE_WORDS = {"image", "images", "picture", "photo"}
WRONG_WORDS: dict[Medium, set[str]] = {
    "video": IMAGE_WORDS,
    "image": VIDEO_WORDS | {"when", "time", "times"},
    "none": VIDEO_WORDS | IMAGE_WORDS | {"see", "look", "shown", "visible", "seen"},
}


@every_list
def test_every_phrase_renders_as_a_sentence(bank: Bank, name: str, medium: Medium):
    for phrase in bank.phrases(name, medium):
        text = phrase.fill(SLOTS | {"medium": medium})
        assert not re.search(r"[{}]|  |\.\.|[?!:,]\.|\s[.,?]|\n\n", text), text
        assert not spellings_in(text), text
        assert text[0].isupper() or phrase.text[0] == "{", text
        assert phrase.text.endswith((".", "?", "!", "{query}", "{answer}", '"')), text
        for slot in phrase.slots:
            assert (medium if slot == "medium" else SLOTS[slot].removesuffix(".")) in text


@every_list
def test_every_phrase_speaks_of_its_own_medium(bank: Bank, name: str, medium: Medium):
    for phrase in bank.phrases(name, medium):
        text = phrase.fill(SLOTS | {"medium": medium}).casefold()
        assert not set(re.findall(r"[a-z]+", text)) & WRONG_WORDS[medium], text
        if medium == "image":
            assert not re.search(r"at any point|at any time|beginning|the end\b", text), text


def test_segmentation_answers_neither_count_nor_claim():
    for medium in referring_segmentation.BANK.media:
        for phrase in referring_segmentation.BANK.phrases("answers", medium):
            assert not re.search(r"\b(found|masks?|objects?|it is|they are)\b", phrase.text.casefold()), phrase


@pytest.mark.parametrize(("bank", "rules"), BANKS)
def test_a_task_has_twelve_questions_and_six_answers_for_each_medium(bank: Bank, rules: dict[str, ListRule]):
    questions = {"questions", "short", "detailed", "declarative", "interrogative"} & set(rules)
    for medium in bank.media:
        assert min(len(bank.phrases(name, medium)) for name in questions) >= 12
        assert len(bank.phrases("answers", medium)) >= 6


def test_frames_hold_the_plain_words_too():
    for bank in (global_qa.BANK, referring_qa.BANK):
        assert Phrase.parse("{query}") in bank.phrases("questions", "video")
        assert Phrase.parse("{answer}") in bank.phrases("answers", "video")


def test_a_frame_folder_is_a_video():
    media = [medium_of(clip) for clip in (make.VIDEO, make.FRAMES, make.STILL, make.NONE)]
    assert media == ["video", "video", "image", "none"]


# ------------------------------------------------------------------------------------------- bad banks

RULE = {"questions": ListRule(2, required=(one("query", "text"),), optional=MEDIUM, line_end=frozenset({"text"}))}
GOOD = ["Segment {query}.", "Find {query} in the {medium}."]
BAD = {
    "unknown slot {qurey}": ["Find {qurey} and {query}"],
    "must have {query} or {text} exactly once": ["Find it in the {medium}."],
    "exactly once": ["Find {query} or {query}."],
    "at least 2 are needed": None,
    "is a duplicate of 'Segment {query}.'": ["segment {query}!"],
    "is blank": [" "],
    "white space": ["Find {query}. "],
    "is not text": [3],
    "a brace that is no slot": ["Find {query} {}"],
    "angle bracket": ["<Seg> {query}"],
    "could spell a token": ["[{query}]"],
    "goes on after {text}": ["What is {text} about?"],
    "begins a sentence after {query}": ["{query} Answer briefly."],
    "says 'video'": ["Find {query} in the video."],
    "says 'photo'": ["Find {query} in the photo."],
}


def bank_text(table: str, phrases: list) -> str:
    return f"[{table}]\nquestions = {[*phrases]!r}\n"


@pytest.mark.parametrize("complaint", BAD)
def test_a_bad_phrase_is_refused_by_name(complaint: str):
    phrases = BAD[complaint]
    text = bank_text("any", GOOD[:1] if phrases is None else GOOD + phrases)
    with pytest.raises(BankError, match="^banks/x.toml: ") as raised:
        parse_bank(text, "banks/x.toml", RULE, ("video", "image"))
    assert complaint in str(raised.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[any", "not valid TOML"),
        ("questions = ['a']", "not one of the tables"),
        ("[audio]\nquestions = ['a']", "not one of the tables"),
        ("[any]\nquestions = 'a'", "not a list"),
        ("[any]\nanswers = ['a']", "not one of questions"),
        (bank_text("video", GOOD), "questions for image: 0 phrases"),
        (bank_text("any", GOOD) + bank_text("image", ["Is {query} in the video?"]), "says 'video' in [image]"),
        (bank_text("any", GOOD) + bank_text("video", ["Find {query} in the image."]), "says 'image' in [video]"),
        (bank_text("any", GOOD) + bank_text("video", GOOD[:1]), "for video: 'Segment {query}.' is a duplicate"),
    ],
)
def test_a_bad_file_is_refused_by_name(text: str, complaint: str):
    with pytest.raises(BankError, match=r"^banks/x\.toml: ") as raised:
        parse_bank(text, "banks/x.toml", RULE, ("video", "image"))
    assert complaint in str(raised.value)


def test_a_table_for_a_medium_that_the_task_lacks_is_refused():
    text = bank_text("any", GOOD) + bank_text("image", ["Find {query} in the photo."])
    with pytest.raises(BankError, match="does not have: video"):
        parse_bank(text, "banks/x.toml", RULE, ("video",))


def test_a_phrase_of_one_medium_is_for_no_other():
    text = bank_text("any", GOOD) + bank_text("video", ["Follow {query} through the video."])
    bank = parse_bank(text, "banks/x.toml", RULE, ("video", "image"))
    assert (len(bank.phrases("questions", "video")), len(bank.phrases("questions", "image"))) == (3, 2)
