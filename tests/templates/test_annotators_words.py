"""What annotators wrote arrives as they wrote it, and never as a token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.record import Region, Sample
from shards.tokens import REGION, escape
from templates import render
from templates.material import listed
from templates.phrases import Phrase
from tests.templates import sample_strategies as make

ONE_REGION = (Region(0, (0,)),)
words = make.hostile_words


def user_text(sample: Sample, clip=make.VIDEO, **options) -> str:
    return render(sample, clip, seed=3, **options).turns[0].text


@given(words, st.integers(0, 99))
def test_a_query_survives_in_every_task(query, seed):
    for task, facts in {
        "global_qa": {"answer": "a"},
        "referring_segmentation": {"targets": ((),)},
        "temporal_grounding": {"spans": ((1.0, 2.0),)},
        "spatio_temporal_grounding": {"spans": ((1.0, 2.0),)},
    }.items():
        rendered = render(make.sample(task, query=query, **facts), make.VIDEO, seed=seed, wordings=20)
        for turns in rendered.renderings():
            assert escape(query).removesuffix(".") in turns[0].text


@given(words, words, words, words)
def test_answers_choices_and_dialogue_survive(query, answer, choice, more):
    facts = {"query": query, "answer": answer, "choices": (choice, more), "dialogue": ((choice, more),)}
    sample = make.sample("referring_qa", **facts)
    rendered = render(sample, make.VIDEO, seed=0, wordings=30)
    for turns in rendered.renderings():
        assert f"{escape(query)}\n(A) {escape(choice)}\n(B) {escape(more)}\n" in turns[0].text
        assert turns[1].text.endswith(escape(answer))
        assert [turn.text for turn in turns[2:]] == [escape(choice), escape(more)]


@given(st.lists(words, min_size=2, max_size=4), words)
def test_regions_of_questions_become_tokens_in_order_and_those_of_answers_never(parts, answer):
    sample = make.sample(
        "referring_qa",
        query=REGION.join(parts),
        answer=f"{answer}{REGION}",
        regions=ONE_REGION * (len(parts) - 1),
    )
    question, reply = render(sample, make.VIDEO, seed=0).turns
    assert question.text == "<video>\n" + "<Ref>".join(map(escape, parts))
    assert reply.text == f"{escape(answer)}&lt;region>"


def test_hostile_words_by_eye():
    query = "{query} of <Seg> [SEG] <TEMP-005> <Temp-5> <video> <region> <object1> 5% \\1"
    assert user_text(make.sample("global_qa", query=query, answer="a")) == (
        "<video>\n{query} of &lt;Seg> &#91;SEG] &lt;TEMP-005> &lt;Temp-5> &lt;video> &lt;region> <object1> 5% \\1"
    )


def test_a_written_ref_is_no_region():
    sample = make.sample("referring_qa", query="Is <Ref> at <object3><region>?", answer="Yes.", regions=ONE_REGION)
    assert user_text(sample) == "<video>\nIs &lt;Ref> at <object3><Ref>?"


@pytest.mark.parametrize(
    ("phrase", "query", "expected"),
    [
        ("Find {query}.", "a dog.", "Find a dog."),
        ("Find {query}.", "A dog", "Find A dog."),
        ("Find {query} now", "a dog.", "Find a dog now"),
        ('Find "{query}".', "a dog.", 'Find "a dog".'),
        ('Find "{query}".', "who barks?", 'Find "who barks?"'),
        ('Is it "{query}"?', "who barks?", 'Is it "who barks?"'),
        ("Find: {query}", "a dog.", "Find: a dog."),
        ("{query}\nFind it.", "a dog.", "a dog.\nFind it."),
        ("Find {query}.", "a dog...", "Find a dog...."),
        ("Find {query}.", ".", "Find .."),
        ("Find {query} in the {medium}.", "{medium}.", "Find {medium} in the video."),
    ],
)
def test_only_the_seams_are_tidied(phrase, query, expected):
    assert Phrase.parse(phrase).fill({"query": query, "medium": "video"}) == expected


def test_lists_read_naturally():
    assert [listed("a"), listed("ab"), listed("abc")] == ["a", "a and b", "a, b and c"]
