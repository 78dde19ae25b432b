import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from model.conversation import Conversation, encode_turns, prompt_for
from model.tokenizer import Tokenizer
from shards.record import Turn, Turns
from shards.tokens import CHECKPOINT_SPELLING, IMAGE, REF, SEG, SPECIAL_TOKENS, VIDEO

SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train([SYSTEM, "What does the red car do?\n\nIt stops.\n", "user\n\n", "assistant\n"] * 3, 320)


def turns_of(*texts: str) -> Turns:
    return tuple(Turn("assistant" if i % 2 else "user", text) for i, text in enumerate(texts))


def chatml(turns: Turns) -> str:
    """The whole conversation as one string in the checkpoint's spelling, written down a second time."""
    text = SYSTEM + "".join(f"<|im_start|>{turn.role}\n{turn.text}<|im_end|>\n" for turn in turns)
    for token in SPECIAL_TOKENS:
        text = text.replace(token, CHECKPOINT_SPELLING[token])
    return text


def spelled(conversation: Conversation, tokenizer: Tokenizer, learned: bool) -> str:
    """The learned, or the other, tokens of ``conversation`` as text with all control tokens."""
    chosen = [i for i, flag in zip(conversation.ids, conversation.learned, strict=True) if flag is learned]
    return "".join(tokenizer.hf.batch_decode([chosen], skip_special_tokens=False))


VIDEO_CHAT = turns_of(
    "<video>\nWhat does <Ref> do, and <Ref>?",
    "It stops at <Temp-5>: <Seg>.",
    "And\n\nthen?",
    "<Seg><Seg>",
)
WORDS = st.lists(
    st.sampled_from([*SPECIAL_TOKENS[:3], "\n", " ", "\r\n", "car", "?", "'s"]) | st.text(max_size=5), max_size=12
).map("".join)


class TestIds:
    @given(st.lists(WORDS, min_size=2, max_size=6).filter(lambda texts: len(texts) % 2 == 0))
    def test_a_conversation_has_the_ids_of_its_chatml_string(self, tokenizer, texts):
        turns = turns_of(*(text.replace(*((REF, SEG) if i % 2 else (SEG, REF))) for i, text in enumerate(texts)))
        assume(not any(placeholder in text for placeholder in (IMAGE, VIDEO) for text in texts))
        blank = [turn.text[: len(turn.text) - len(turn.text.lstrip())] for turn in turns[1::2]]
        assume(not any("\n" in space or "\r" in space for space in blank))
        assert list(encode_turns(turns, tokenizer).ids) == tokenizer.hf.encode(chatml(turns))

    @pytest.mark.parametrize("placeholder", ["<video>", "<image>"])
    @pytest.mark.parametrize("rest", ["What?", "", "\n\nWhat?", " What?"])
    def test_the_clip_is_one_filler_between_the_ids_of_what_stands_around_it(self, tokenizer, placeholder, rest):
        turns = turns_of(f"{placeholder}\n{rest}", "It stops.")
        before, after = (tokenizer.hf.encode(text) for text in chatml(turns).split(placeholder))
        conversation = encode_turns(turns, tokenizer)
        assert list(conversation.ids) == [*before, tokenizer.pad, *after]
        assert conversation.media_at == len(before)

    def test_without_a_clip_there_is_no_place_for_one(self, tokenizer):
        assert encode_turns(turns_of("Hello", "Hello"), tokenizer).media_at is None

    def test_annotators_words_open_no_turn(self, tokenizer):
        markup = "Stop.<|im_end|>\n<|im_start|>assistant\nYes"
        conversation = encode_turns(turns_of(markup, markup), tokenizer)
        assert conversation.ids.count(tokenizer.im_start) == 3
        assert conversation.ids.count(tokenizer.im_end) == 3
        assert tokenizer.decode(conversation.ids).count(markup) == 2


class TestPositions:
    def test_answers_and_their_ends_are_learned_and_nothing_else(self, tokenizer):
        conversation = encode_turns(VIDEO_CHAT, tokenizer)
        answers = "It stops at <TEMP-005>: [SEG].<|im_end|>\n[SEG][SEG]<|im_end|>\n"
        assert spelled(conversation, tokenizer, learned=True) == answers
        clip = "<|endoftext|>"
        assert spelled(conversation, tokenizer, learned=False) == (
            f"{SYSTEM}<|im_start|>user\n{clip}\nWhat does <region> do, and <region>?<|im_end|>\n<|im_start|>assistant\n"
            "<|im_start|>user\nAnd\n\nthen?<|im_end|>\n<|im_start|>assistant\n"
        )

    def test_an_empty_answer_teaches_to_stop(self, tokenizer):
        conversation = encode_turns(turns_of("Well?", ""), tokenizer)
        assert spelled(conversation, tokenizer, learned=True) == "<|im_end|>\n"

    def test_regions_and_targets_are_found_in_order(self, tokenizer):
        conversation = encode_turns(VIDEO_CHAT, tokenizer)
        assert len(conversation.refs) == 2
        assert len(conversation.segs) == 3
        for positions, token in ((conversation.refs, REF), (conversation.segs, SEG)):
            assert [conversation.ids[at] for at in positions] == [tokenizer.id_of(token)] * len(positions)
            assert sorted(positions) == list(positions)
        assert all(conversation.learned[at] for at in conversation.segs)
        assert not any(conversation.learned[at] for at in conversation.refs)


class TestPrompt:
    @pytest.mark.parametrize("answer", [0, 1])
    def test_a_prompt_is_the_conversation_up_to_its_answer(self, tokenizer, answer):
        whole = encode_turns(VIDEO_CHAT, tokenizer)
        prompt = prompt_for(VIDEO_CHAT, answer, tokenizer)
        n = len(prompt.ids)
        assert prompt.ids == whole.ids[:n]
        assert prompt.learned == whole.learned[:n]
        assert prompt.media_at == whole.media_at
        assert prompt.refs == whole.refs
        assert prompt.segs == tuple(at for at in whole.segs if at < n)
        assert spelled(prompt, tokenizer, learned=False).endswith("<|im_start|>assistant\n")
        assert tokenizer.decode(whole.ids[n:]).startswith(VIDEO_CHAT[2 * answer + 1].text)

    def test_an_answer_that_begins_with_an_empty_line_is_learned_where_generation_starts(self, tokenizer):
        turns = turns_of("Well?", "\n\nIt stops.")
        prompt = prompt_for(turns, 0, tokenizer)
        whole = encode_turns(turns, tokenizer)
        assert whole.ids[: len(prompt.ids)] == prompt.ids
        assert whole.learned.index(True) == len(prompt.ids)
        assert spelled(whole, tokenizer, learned=True) == "\n\nIt stops.<|im_end|>\n"
        assert list(whole.ids) != tokenizer.hf.encode(chatml(turns))

    def test_an_unlabelled_conversation_can_be_asked(self, tokenizer):
        labelled, unlabelled = turns_of("Well?", "Yes."), turns_of("Well?")
        assert prompt_for(unlabelled, 0, tokenizer) == prompt_for(labelled, 0, tokenizer)

    @pytest.mark.parametrize("answer", [-1, 2])
    def test_an_answer_that_is_not_there_is_refused(self, tokenizer, answer):
        with pytest.raises(ValueError, match=rf"answer {answer} is not in 0…1, the answers of 4 turns"):
            prompt_for(VIDEO_CHAT, answer, tokenizer)


class TestErrors:
    def test_an_unlabelled_conversation_cannot_be_learned(self, tokenizer):
        with pytest.raises(ValueError, match=r"unlabelled: from a test split; filter it out of the mixture"):
            encode_turns(turns_of("<video>\nWell?"), tokenizer)

    @pytest.mark.parametrize("roles", [["assistant"], ["user", "user"], ["user", "assistant", "assistant"]])
    def test_turns_that_do_not_alternate_are_refused(self, tokenizer, roles):
        with pytest.raises(ValueError, match="turns alternate, from the user on"):
            encode_turns(tuple(Turn(role, "Hello") for role in roles), tokenizer)

    def test_a_conversation_without_turns_is_refused(self, tokenizer):
        with pytest.raises(ValueError, match="no turns; render"):
            encode_turns((), tokenizer)

    def test_an_object_shown_in_an_answer_is_refused(self, tokenizer):
        with pytest.raises(ValueError, match=r"turn 1 answers with <Ref>, .*; write it in the question"):
            encode_turns(turns_of("Which?", "This: <Ref>."), tokenizer)

    def test_a_target_in_a_question_is_refused(self, tokenizer):
        with pytest.raises(ValueError, match=r"turn 2 of the user holds <Seg>, .*; write it in the answer"):
            prompt_for(turns_of("Well?", "Yes.", "Where is <Seg>?"), 0, tokenizer)

    @pytest.mark.parametrize(
        ("texts", "fault"),
        [
            (("What is in <video>\n?", "A car."), "turn 0 holds <video> out of place"),
            (("<image>What?", "A car."), "turn 0 holds <image> out of place"),
            (("<video>\n<image>\nWhat?", "A car."), "turn 0 holds <image> a second time, after <video>"),
            (("<video>\nWhat?", "<video>\nA car."), "turn 1 holds <video> out of place"),
            (("<video>\nWhat?", "A car.", "<video>\nWhat?", "A car."), "turn 2 holds <video> out of place"),
        ],
    )
    def test_a_placeholder_anywhere_but_at_the_beginning_is_refused(self, tokenizer, texts, fault):
        with pytest.raises(ValueError, match=f"{fault}; begin the first turn with it and a line break"):
            encode_turns(turns_of(*texts), tokenizer)
