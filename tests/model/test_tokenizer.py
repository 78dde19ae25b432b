import json
import pickle
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tokenizer import CONTROL_TOKENS, Tokenizer
from shards.tokens import CHECKPOINT_SPELLING, REF, SEG, SPECIAL_TOKENS, TIME_TOKENS

CORPUS = [
    f"What does {REF} do from <Temp-3> to <Temp-40>?",
    "The red car passes the blue car, and the cat's tail is moving.",
    f"It is {SEG}.\nThe red car stops.",
    "Un été à Zürich: 12 cars, 345 cats.\n\nThe end.",
]
SIZE = 290
LEARNED = re.compile(f"({'|'.join(map(re.escape, SPECIAL_TOKENS))})")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(CORPUS, SIZE)


@pytest.fixture
def folder(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    """A saved folder in which every test may break a file of its own."""
    tokenizer.save(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def nfc(text: str) -> str:
    """NFC of the words between the learned tokens: ``>`` and a combining stroke must not become one letter."""
    return "".join(unicodedata.normalize("NFC", piece) for piece in LEARNED.split(text))


TEXTS = st.lists(
    st.sampled_from([*SPECIAL_TOKENS, *CONTROL_TOKENS, *CHECKPOINT_SPELLING.values(), "\n", " ", "\u0338", "<Temp-"])
    | st.text(max_size=8)
).map("".join)


class TestIds:
    def test_the_vocabulary_is_words_then_control_tokens_then_learned_tokens(self, tokenizer):
        order = [*CONTROL_TOKENS, *(CHECKPOINT_SPELLING[token] for token in SPECIAL_TOKENS)]
        assert tokenizer.hf.convert_ids_to_tokens(list(range(SIZE, len(tokenizer)))) == order
        assert len(tokenizer) == SIZE + 3 + 102

    def test_every_learned_token_has_the_id_of_its_checkpoint_spelling(self, tokenizer):
        for token in SPECIAL_TOKENS:
            [expected] = tokenizer.hf.encode(CHECKPOINT_SPELLING[token], add_special_tokens=False)
            assert tokenizer.id_of(token) == expected
            assert tokenizer.encode(token) == [expected]

    def test_the_properties_name_the_tokens(self, tokenizer):
        assert (tokenizer.ref, tokenizer.seg) == (tokenizer.id_of(REF), tokenizer.id_of(SEG))
        assert tokenizer.times == tuple(tokenizer.id_of(token) for token in TIME_TOKENS)
        named = tokenizer.hf.convert_ids_to_tokens([tokenizer.pad, tokenizer.im_start, tokenizer.im_end])
        assert named == ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

    @pytest.mark.parametrize("word", ["<region>", "<TEMP-005>", "<|im_end|>", "red", "<Temp-100>"])
    def test_only_learned_tokens_in_the_shards_spelling_have_an_id_by_name(self, tokenizer, word):
        with pytest.raises(ValueError, match="is not a learned token; write <Ref>"):
            tokenizer.id_of(word)


class TestText:
    @given(TEXTS)
    def test_decoding_gives_back_the_text_in_normal_form(self, tokenizer, text):
        assert tokenizer.decode(tokenizer.encode(text)) == nfc(text)

    @given(TEXTS)
    def test_words_never_become_a_token(self, tokenizer, text):
        found = [i for i in tokenizer.encode(text) if i >= SIZE]
        assert found == [tokenizer.id_of(token) for token in LEARNED.findall(text)]

    def test_words_never_become_a_token_that_the_checkpoint_adds_on_its_own(self, folder):
        """Qwen2.5 adds ``<tool_call>`` and does not mark it special."""
        hf = Tokenizer.load(folder).hf
        hf.add_tokens(["<tool_call>"])
        [tool_call] = hf.encode("<tool_call>", split_special_tokens=True)
        assert tool_call not in Tokenizer(hf).encode("a <tool_call>")

    def test_plain_words_have_the_ids_of_transformers(self, tokenizer):
        for text in CORPUS:
            spelled = LEARNED.sub(lambda found: CHECKPOINT_SPELLING[found[0]], text)
            assert tokenizer.encode(text) == tokenizer.hf.encode(spelled, add_special_tokens=False)

    def test_decoding_drops_control_tokens_and_keeps_learned_ones(self, tokenizer):
        text = "{<Temp-7><Temp-93>} is <Seg><Seg>."
        ids = [tokenizer.im_start, *tokenizer.encode(text), tokenizer.im_end, tokenizer.pad]
        assert tokenizer.decode(ids) == text

    def test_ids_of_nothing_are_dropped(self, tokenizer):
        assert tokenizer.decode([len(tokenizer) + 7, *tokenizer.encode("car")]) == "car"

    @pytest.mark.parametrize("text", ["<video>\nWhat?", "an <image> here"])
    def test_media_placeholders_are_refused(self, tokenizer, text):
        with pytest.raises(ValueError, match=r"<(video|image)> has no token id; .* encode_turns"):
            tokenizer.encode(text)


class TestTraining:
    def test_two_trainings_write_the_same_files_in_any_order_of_the_texts(self, tmp_path):
        for name, texts in (("a", CORPUS), ("b", CORPUS), ("c", CORPUS[::-1])):
            Tokenizer.train(iter(texts), SIZE).save(tmp_path / name)
        for file in (tmp_path / "a").iterdir():
            assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()
            assert file.read_bytes() == (tmp_path / "c" / file.name).read_bytes()

    def test_frequent_words_become_one_id_and_tokens_none(self):
        tokenizer = Tokenizer.train(["<video>\nred car <Temp-3>"] * 9, 300)
        assert len(tokenizer.encode("red")) == len(tokenizer.encode(" car")) == 1
        assert len(tokenizer.encode("video")) > 1
        assert len(tokenizer.encode("Temp")) == 4

    def test_256_bytes_alone_say_everything(self):
        tokenizer = Tokenizer.train([], 256)
        assert len(tokenizer.encode("été")) == 5
        assert tokenizer.decode(tokenizer.encode("été")) == "été"

    def test_a_vocabulary_without_room_for_the_bytes_is_refused(self):
        with pytest.raises(ValueError, match="255 does not hold the 256 bytes; ask for 256 or more"):
            Tokenizer.train(CORPUS, 255)


class TestFolder:
    def test_a_saved_tokenizer_loads_as_it_was(self, tokenizer, folder):
        loaded = Tokenizer.load(folder)
        assert loaded.hf.get_vocab() == tokenizer.hf.get_vocab()
        assert [loaded.encode(text) for text in CORPUS] == [tokenizer.encode(text) for text in CORPUS]

    def test_a_tokenizer_travels_to_a_worker(self, tokenizer):
        assert pickle.loads(pickle.dumps(tokenizer)).encode(CORPUS[0]) == tokenizer.encode(CORPUS[0])

    def test_a_plain_qwen2_folder_gets_the_learned_tokens_behind_its_own(self, folder):
        file = folder / "tokenizer.json"
        edit(file, added_tokens=json.loads(file.read_text())["added_tokens"][:3])
        loaded = Tokenizer.load(folder)
        assert [loaded.ref, *loaded.times, loaded.seg] == list(range(SIZE + 3, SIZE + 105))

    def test_a_videorefer_folder_keeps_its_region_token(self, folder):
        file = folder / "tokenizer.json"
        edit(file, added_tokens=json.loads(file.read_text())["added_tokens"][:4])
        loaded = Tokenizer.load(folder)
        assert (loaded.ref, loaded.times[0], loaded.seg, len(loaded)) == (SIZE + 3, SIZE + 4, SIZE + 104, SIZE + 105)

    def test_learned_tokens_that_a_folder_does_not_mark_special_keep_their_ids(self, tokenizer, folder):
        file = folder / "tokenizer.json"
        tokens = json.loads(file.read_text())["added_tokens"]
        edit(file, added_tokens=[token | {"special": i < 3} for i, token in enumerate(tokens)])
        loaded = Tokenizer.load(folder)
        assert loaded.encode(CORPUS[0]) == tokenizer.encode(CORPUS[0])
        assert loaded.decode(loaded.encode(CORPUS[0])) == CORPUS[0]

    def test_a_folder_as_transformers_4_wrote_it_loads(self, tokenizer, folder):
        """The release's layout: vocabulary and merges apart, and a model type that transformers does not know."""
        model = json.loads((folder / "tokenizer.json").read_text())["model"]
        (folder / "tokenizer.json").unlink()
        (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(m) for m in model["merges"]) + "\n")
        (folder / "config.json").write_text('{"model_type": "videorefer_qwen2", "transformers_version": "4.46.3"}')
        added = {i: {"content": token, "special": True} for token, i in tokenizer.hf.get_added_vocab().items()}
        edit(folder / "tokenizer_config.json", added_tokens_decoder=added, unk_token=None)
        loaded = Tokenizer.load(folder)
        assert loaded.hf.get_vocab() == tokenizer.hf.get_vocab()
        assert [loaded.encode(text) for text in CORPUS] == [tokenizer.encode(text) for text in CORPUS]

    def test_a_folder_without_a_tokenizer_is_refused_with_the_files_that_it_lacks(self, tmp_path):
        (tmp_path / "vocab.json").write_text("{}")
        for folder in (tmp_path, tmp_path / "absent"):
            with pytest.raises(ValueError, match=r"neither tokenizer.json nor vocab.json with merges.txt") as caught:
                Tokenizer.load(folder)
            assert str(caught.value).startswith(f"{folder} has no tokenizer")
            assert "give the folder of a Qwen2" in str(caught.value)

    def test_a_folder_of_another_model_is_refused_with_the_tokens_that_it_lacks(self, folder):
        file = folder / "tokenizer.json"
        edit(file, added_tokens=json.loads(file.read_text())["added_tokens"][:1])
        edit(folder / "tokenizer_config.json", eos_token="<|endoftext|>")
        with pytest.raises(ValueError, match=r"it lacks <\|im_start\|>, <\|im_end\|>; give the folder of a Qwen2"):
            Tokenizer.load(folder)

    @pytest.mark.parametrize("broken", ["{}", "{", '{"added_tokens": [], "model": {"type": "?"}}', "\n\n"])
    def test_a_broken_file_is_one_line_with_the_folder_and_a_remedy(self, folder, broken):
        (folder / "tokenizer.json").write_text(broken)
        with pytest.raises(ValueError, match=r"cannot be read .*; give the folder of a Qwen2") as caught:
            Tokenizer.load(folder)
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)
