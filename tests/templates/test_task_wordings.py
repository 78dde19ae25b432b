"""What each task says, by example."""

from dataclasses import replace

import pytest

from shards.record import Region, Tube, Turns
from shards.tokens import REF
from templates import render
from templates.boxes import box_text, visible_boxes
from templates.multiple_choice import labelled_choices
from templates.tasks import referring_description, referring_qa, spatio_temporal_grounding
from tests.templates import sample_strategies as make

ONE_REGION = (Region(0, (0,)),)


def lines(turns: Turns) -> list[str]:
    return [turn.text for turn in turns]


# ----------------------------------------------------------------------------------------- questions


def test_wording_0_of_a_question_is_the_annotators_own():
    sample = make.sample("global_qa", query="What is 2+2?", answer="4.", dialogue=(("And 3+3?", "6."),))
    assert lines(render(sample, make.NONE, seed=5).turns) == ["What is 2+2?", "4.", "And 3+3?", "6."]


def test_choices_stand_one_per_line_and_the_answer_is_the_annotators():
    sample = make.sample(
        "referring_qa",
        query="What is <object1><region> doing?",
        answer="(B) Running",
        choices=("(A) Sitting", "(B) Running"),
        correct=1,
        regions=ONE_REGION,
    )
    question, answer = lines(render(sample, make.FRAMES, seed=5).turns)
    assert question.startswith("<video>\nWhat is <object1><Ref> doing?\n(A) Sitting\n(B) Running\n")
    instructions = referring_qa.BANK.phrases("instructions", "video")
    assert question.splitlines()[-1] in [phrase.fill({"medium": "video"}) for phrase in instructions]
    assert answer == "(B) Running"


def test_an_empty_answer_becomes_the_correct_choice_with_its_letter():
    sample = make.sample("global_qa", query="Which?", choices=("red", "blue"), correct=1)
    assert lines(render(sample, make.STILL, seed=5).turns)[1] == "(B) blue"


@pytest.mark.parametrize(
    ("choices", "labelled"),
    [
        (["(A) red", "(B) blue"], ["(A) red", "(B) blue"]),
        (["A. red", "B. blue"], ["A. red", "B. blue"]),
        (["A) red", "B) blue"], ["A) red", "B) blue"]),
        (["A: red", "blue"], ["(A) A: red", "(B) blue"]),
        (["red", "blue"], ["(A) red", "(B) blue"]),
        (["A cat", "B vitamins"], ["(A) A cat", "(B) B vitamins"]),
        (["(B) red", "(A) blue"], ["(A) (B) red", "(B) (A) blue"]),
    ],
)
def test_choices_get_letters_unless_they_have_them(choices, labelled):
    assert labelled_choices(choices) == labelled


def test_an_unlabelled_question_is_asked_only():
    for facts in ({"answer": ""}, {"answer": "x", "targets": None}):
        rendered = render(make.sample("global_qa", query="Which?", **facts), make.NONE, seed=5, wordings=9)
        assert all(len(turns) == 1 for turns in rendered.renderings())
        assert len(set(rendered.renderings())) == 10


# ----------------------------------------------------------------------------------------- descriptions


def description(**facts):
    return make.sample("referring_description", **({"answer": "A dog.", "regions": ONE_REGION} | facts))


def phrases_of(name: str) -> set[str]:
    bank = referring_description.BANK.phrases(name, "video")
    return {phrase.text.replace("{regions}", REF).replace("{medium}", "video") for phrase in bank}


def test_a_given_request_comes_first_and_the_answer_stands_as_it_is():
    rendered = render(description(query="Please describe <region> in the video in detail."), make.VIDEO, seed=1)
    assert lines(rendered.turns) == ["<video>\nPlease describe <Ref> in the video in detail.", "A dog."]


@pytest.mark.parametrize(
    ("tags", "name"), [(("short_caption",), "short"), (("detailed_caption",), "detailed"), ((), "detailed")]
)
def test_short_captions_and_detailed_ones_are_asked_for_differently(tags, name):
    for query in ("", "What is <region>?"):
        rendered = render(description(query=query, tags=tags), make.VIDEO, seed=1, wordings=12)
        asked = {turns[0].text.removeprefix("<video>\n") for turns in rendered.renderings()[bool(query) :]}
        assert asked <= phrases_of(name)
        assert len(asked) >= 12


def test_wording_1_asks_in_other_words_than_wording_0():
    for key in range(20):
        rendered = render(replace(description(), key=f"d/train/{key}"), make.VIDEO, seed=1, wordings=1)
        assert rendered.wordings[0][0] != rendered.turns[0]


def test_without_a_request_the_regions_are_listed():
    question, answer = lines(render(description(regions=ONE_REGION * 3), make.VIDEO, seed=1).turns)
    assert "<Ref>, <Ref> and <Ref>" in question
    assert answer == "A dog."


@pytest.mark.parametrize(
    "facts",
    [
        {"query": "Compare <region> with <region>.", "regions": ONE_REGION * 2},
        {"query": "Describe <region>.", "dialogue": (("Is it big?", "No."),)},
        {"query": "Describe <object0><region>.", "answer": "<object0> is a dog."},
    ],
)
def test_a_request_that_the_bank_cannot_replace_is_framed(facts):
    sample = description(**facts)
    for turns in render(sample, make.VIDEO, seed=1, wordings=10).renderings():
        assert sample.query.replace("<region>", "<Ref>") in turns[0].text
        assert len(turns) == 2 + 2 * len(sample.dialogue)


# ----------------------------------------------------------------------------------------- segmentation


def test_an_empty_target_still_has_its_token_and_several_are_listed():
    for targets, listed in ((((),), "<Seg>"), (((0,), (1, 2), ()), "<Seg>, <Seg> and <Seg>")):
        sample = make.sample("referring_segmentation", query="the left cup", targets=targets)
        question, answer = lines(render(sample, make.STILL, seed=1).turns)
        assert question.startswith("<image>\n")
        assert listed in answer


def test_an_unlabelled_expression_has_no_answer():
    sample = make.sample("referring_segmentation", query="the left cup", targets=None)
    assert len(render(sample, make.FRAMES, seed=1).turns) == 1


# ----------------------------------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("facts", "spelled"),
    [
        ({"spans": ((0.0, 10.0),)}, ["<Temp-0>", "<Temp-99>"]),
        ({"spans": ((2.0, 2.0),), "window": (1.0, 3.0)}, ["<Temp-50>"]),
        ({"spans": ((1.0, 2.0), (9.0, 9.0))}, ["<Temp-10>", "<Temp-20>", "<Temp-89>"]),
    ],
)
def test_spans_are_time_tokens_of_the_window(facts, spelled):
    for wording in render(
        make.sample("temporal_grounding", query="a dog barks.", **facts), make.VIDEO, seed=1, wordings=20
    ).renderings():
        words = wording[1].text.replace(".", " ").replace(",", " ").split()
        assert [word for word in words if word.startswith("<Temp")] == spelled


def test_a_window_needs_no_duration():
    sample = make.sample("temporal_grounding", query="a dog barks.", spans=((1.0, 2.0),), window=(0.0, 4.0))
    assert len(render(sample, make.FRAMES, seed=1).turns) == 2


def test_the_form_of_a_query_chooses_the_form_of_the_question():
    bank = spatio_temporal_grounding.BANK
    for query, name in (("who rides the bicycle?", "interrogative"), ("a child rides.", "declarative")):
        allowed = {phrase.fill({"query": query}) for phrase in bank.phrases(name, "video")}
        sample = make.sample("spatio_temporal_grounding", query=query, spans=((1.0, 2.0),), tubes=(0,))
        for turns in render(sample, make.VIDEO, seed=1, wordings=30).renderings():
            assert turns[0].text.removeprefix("<video>\n") in allowed


# ----------------------------------------------------------------------------------------- boxes

# Visible in the second from 1 to 2 on the frames 31, 40 and 59.
SPARSE_BOXES = {
    29: (0, 0, 9, 9),
    30: None,
    31: (64, 36, 128, 72),
    40: (0, 0, 640, 360),
    59: (9, 9, 99, 99),
    60: (1, 1, 2, 2),
}
SPARSE = Tube("7", SPARSE_BOXES)


def boxed(**facts):
    return make.sample(
        "spatio_temporal_grounding",
        **({"query": "a child rides.", "spans": ((1.0, 2.0),), "tubes": (1,), "tags": ("box_text",)} | facts),
    )


def test_boxes_are_those_of_the_first_middle_and_last_visible_frame():
    rendered = render(boxed(), make.VIDEO, seed=1, tubes=[make.TUBE, SPARSE], wordings=9)
    for question, answer in map(lines, rendered.renderings()):
        assert "[x1, y1, x2, y2]" in question
        order = [answer.index(box) for box in ("[10, 10, 20, 20]", "[0, 0, 99, 99]", "[1, 2, 15, 27]")]
        assert order == sorted(order)
        assert answer.count("<Temp-") == 2


def test_the_middle_of_an_even_number_is_the_earlier_one_and_frames_are_sorted():
    boxes = {45: (64, 0, 128, 36), 32: (0, 0, 64, 36), 50: (128, 0, 192, 36), 40: (32, 0, 96, 36)}
    answer = render(boxed(tubes=(0,)), make.VIDEO, seed=1, tubes=[Tube("7", boxes)]).turns[1].text
    order = [answer.index(box) for box in ("[0, 0, 10, 10]", "[5, 0, 15, 10]", "[20, 0, 30, 10]")]
    assert order == sorted(order)


def test_without_the_tag_no_box_is_said():
    assert "[" not in render(boxed(tags=()), make.VIDEO, seed=1).turns[1].text


def test_one_visible_frame_gives_its_box_three_times():
    tube = Tube("7", {31: (64, 36, 128, 72)})
    answer = render(boxed(tubes=(0,)), make.VIDEO, seed=1, tubes=[tube]).turns[1].text
    assert answer.count("[10, 10, 20, 20]") == 3


def test_box_steps_round_half_to_even_and_are_clamped():
    clip = replace(make.VIDEO, width=198, height=66)
    assert box_text((1.0, 1.0, 3.0, 70.0), clip) == "[0, 2, 2, 99]"
    assert box_text((-5.0, 0.0, 198.0, 66.0), clip) == "[0, 0, 99, 99]"


def test_the_frames_of_a_span_are_half_open_and_rounded_half_to_even():
    tube = Tube("0", {frame: (frame, 0, frame + 1, 1) for frame in range(10)})
    clip = replace(make.VIDEO, num_frames=10, fps=1.0, duration=10.0)
    assert [box[0] for box in visible_boxes(tube, (0.5, 2.5), clip)] == [0, 1]
    assert [box[0] for box in visible_boxes(tube, (1.5, 3.5), clip)] == [2, 3]


def test_the_frames_of_a_span_are_those_that_begin_in_it_where_the_rate_varies():
    tube = Tube("0", {frame: (frame, 0, frame + 1, 1) for frame in range(4)})
    clip = replace(make.VIDEO, num_frames=4, fps=0.8, duration=5.0, frame_times=(0.0, 3.0, 3.5, 4.0))
    assert [box[0] for box in visible_boxes(tube, (0.0, 3.0), clip)] == [0]
    assert [box[0] for box in visible_boxes(tube, (3.0, 4.0), clip)] == [1, 2]


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"tubes": (2,)}, "exactly one tube"),
        ({"tubes": (0, 1)}, "exactly one tube"),
        ({"spans": ((5.0, 6.0),)}, "no box in the span"),
    ],
)
def test_boxes_that_are_not_there_raise(facts, message):
    with pytest.raises(ValueError, match=f"^d/train/0: .*{message}"):
        render(boxed(**facts), make.VIDEO, seed=1, tubes=[make.TUBE, SPARSE])


def test_boxes_need_a_frame_rate():
    with pytest.raises(ValueError, match="frame rate"):
        render(boxed(window=(0.0, 4.0)), make.FRAMES, seed=1, tubes=[make.TUBE, SPARSE])
