"""How phrases are chosen: keyed, and a walk that exhausts all pairs."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from templates.phrase_order import shuffled, walk_pairs
from templates.phrases import Phrase

sizes = st.integers(1, 20)
phrases = [Phrase.parse(f"phrase {number}") for number in range(10)]


@given(sizes, sizes)
def test_the_walk_meets_every_pair_once(m, n):
    pairs = list(walk_pairs(range(m), range(n)))
    assert sorted(pairs) == [(a, b) for a in range(m) for b in range(n)]


@given(sizes, sizes)
def test_the_first_pairs_repeat_no_phrase_needlessly(m, n):
    firsts, seconds = zip(*list(walk_pairs(range(m), range(n)))[: min(m, n)], strict=True)
    assert len(set(firsts)) == len(set(seconds)) == min(m, n)


@given(st.integers(2, 20), st.integers(3, 20))
def test_consecutive_pairs_have_other_questions(m, n):
    assert all(a[0] != b[0] for a, b in pairwise(walk_pairs(range(m), range(n))))


@given(st.integers(), st.text(), st.permutations(phrases), st.integers(0, 9))
def test_the_order_of_the_bank_and_new_phrases_do_not_matter(seed, key, permuted, removed):
    order = shuffled(phrases, seed, key, "questions")
    assert shuffled(permuted, seed, key, "questions") == order
    fewer = [phrase for phrase in phrases if phrase != phrases[removed]]
    assert shuffled(fewer, seed, key, "questions") == [phrase for phrase in order if phrase != phrases[removed]]


def test_every_phrase_comes_first_about_as_often():
    firsts = [shuffled(phrases, 0, f"d/train/{k}", "questions")[0] for k in range(2000)]
    assert all(140 < firsts.count(phrase) < 260 for phrase in phrases)


def test_lists_are_ordered_independently():
    orders = {tuple(shuffled(phrases, 0, "d/train/0", name)) for name in ("questions", "answers", "short")}
    assert len(orders) == 3
