"""Text to token ids and back: a Qwen2 tokenizer with the learned tokens of the shards.

Text is in the shards' spelling (``<Ref>``, ``<Temp-5>``, ``<Seg>``); the tokenizer's files have the released
checkpoint's (``<region>``, ``<TEMP-005>``, ``[SEG]``). Two kinds of id never mix: *words* come out of the byte-level
BPE, and *tokens* (learned or control) are looked up by name. No annotator's words can therefore become a token, and
no id is written in code.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import tokenizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import AddedToken, AutoTokenizer, PreTrainedTokenizerFast, Qwen2Tokenizer

from shards.tokens import CHECKPOINT_SPELLING, IMAGE, REF, SEG, SPECIAL_TOKENS, TIME_TOKENS, VIDEO

PAD: Final = "<|endoftext|>"
IM_START: Final = "<|im_start|>"
IM_END: Final = "<|im_end|>"
CONTROL_TOKENS: Final = (PAD, IM_START, IM_END)
"""What Qwen2 puts after its BPE vocabulary, in this order (Qwen2-7B-Instruct, tokenizer_config.json)."""

NUM_BYTES: Final = 256
_LEARNED: Final = re.compile(f"({'|'.join(re.escape(token) for token in SPECIAL_TOKENS)})")
_NO_WORDS: Final = re.compile("|".join(re.escape(token) for token in (*SPECIAL_TOKENS, IMAGE, VIDEO)))
_VOCABULARY_FILES: Final = (("tokenizer.json",), ("vocab.json", "merges.txt"))
_REMEDY: Final = "give the folder of a Qwen2, VideoRefer or UFVideo checkpoint, or one written by Tokenizer.save"


class Tokenizer:
    """A transformers fast tokenizer that knows the learned tokens; nothing in it changes after it is made.

    ``hf`` is that tokenizer. It reads the checkpoint's spelling and parses tokens anywhere, so give it no
    annotator's words: ``encode`` is the way in.
    """

    def __init__(self, hf: PreTrainedTokenizerFast) -> None:
        """Adds to ``hf`` the learned tokens that it lacks, in the release's order.

        Source: UFVideo release d1dbdd4, videorefer_arch.py: initialize_MM_tokenizer. ``hf`` must have Qwen2's
        control tokens, which ``load`` and ``train`` see to.
        """
        _add_missing(hf, [CHECKPOINT_SPELLING[token] for token in SPECIAL_TOKENS])
        added = hf.get_added_vocab()
        self.hf = hf
        self._ids = {token: added[CHECKPOINT_SPELLING[token]] for token in SPECIAL_TOKENS}
        self._spellings = {i: token for token, i in self._ids.items()}
        self._control = {token: added[token] for token in CONTROL_TOKENS}
        self._words = _without_added_tokens(hf.backend_tokenizer)

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """The tokenizer of a local checkpoint folder, for which no network is asked.

        Raises ValueError where ``folder`` holds no readable Qwen2 tokenizer.
        """
        folder = Path(folder)
        if not any(all((folder / name).is_file() for name in names) for names in _VOCABULARY_FILES):
            files = " nor ".join(" with ".join(names) for names in _VOCABULARY_FILES)
            raise ValueError(f"{folder} has no tokenizer: neither {files} is there; {_REMEDY}")
        hf = _from_pretrained(folder)
        missing = [token for token in CONTROL_TOKENS if token not in hf.get_added_vocab()]
        if missing:
            raise ValueError(f"{folder} has no Qwen2 tokenizer: it lacks {', '.join(missing)}; {_REMEDY}")
        return cls(hf)

    @classmethod
    def train(cls, texts: Iterable[str], size: int) -> "Tokenizer":
        """A small Qwen2-style tokenizer of the words in ``texts`` (shards' spelling, read once, in any order).

        ``size`` counts the BPE vocabulary with its 256 bytes and without control and learned tokens; texts with
        few words give fewer. Raises ValueError for a size that does not hold the bytes.
        """
        if size < NUM_BYTES:
            raise ValueError(f"a vocabulary of {size} does not hold the {NUM_BYTES} bytes; ask for {NUM_BYTES} or more")
        model = _trained_bpe(texts, size)
        merges: Any = [tuple(pair) for pair in model["merges"]]  # declared as list[str], handed on to BPE as it is
        hf = Qwen2Tokenizer(vocab=model["vocab"], merges=merges)
        _add_missing(hf, CONTROL_TOKENS)
        hf.eos_token = IM_END
        return cls(hf)

    def save(self, folder: Path) -> None:
        """Writes tokenizer.json and tokenizer_config.json, which ``load`` and transformers read."""
        self.hf.save_pretrained(folder)

    def digest(self) -> str:
        """The sha256 of all that it does, in hex."""
        return hashlib.sha256(self.hf.backend_tokenizer.to_str().encode("utf-8")).hexdigest()

    def __len__(self) -> int:
        """The number of ids, all tokens included: the rows of the embedding matrix."""
        return len(self.hf)

    @property
    def pad(self) -> int:
        return self._control[PAD]

    @property
    def im_start(self) -> int:
        return self._control[IM_START]

    @property
    def im_end(self) -> int:
        return self._control[IM_END]

    @property
    def ref(self) -> int:
        return self._ids[REF]

    @property
    def seg(self) -> int:
        return self._ids[SEG]

    @property
    def times(self) -> tuple[int, ...]:
        """The ids of ``<Temp-0>`` … ``<Temp-99>``."""
        return tuple(self._ids[token] for token in TIME_TOKENS)

    def id_of(self, token: str) -> int:
        """The id of a learned token in the shards' spelling; ValueError for anything else."""
        if token not in self._ids:
            raise ValueError(
                f"{token!r} is not a learned token; write {REF}, {TIME_TOKENS[0]}…{TIME_TOKENS[-1]} or {SEG}"
            )
        return self._ids[token]

    def encode(self, text: str) -> list[int]:
        """The ids of ``text`` in the shards' spelling: its learned tokens by name, all the rest as words.

        Chat markup such as ``<|im_start|>`` and the checkpoint's spellings are words here. Words are put into
        Unicode's form NFC first, as Qwen2 does. Raises ValueError for a media placeholder, which has no id.
        """
        for placeholder in (IMAGE, VIDEO):
            if placeholder in text:
                raise ValueError(f"{placeholder} has no token id; encode the conversation with encode_turns")
        ids: list[int] = []
        for piece in _LEARNED.split(text):
            if piece in self._ids:
                ids.append(self._ids[piece])
            elif piece:
                ids += self._words.encode(piece, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ``ids`` in the shards' spelling, without control tokens.

        Gives back the text that was encoded, in NFC. (The release skips all special tokens here and so loses its
        times and ``[SEG]``.) Ids of no token are dropped; broken UTF-8 becomes U+FFFD.
        """
        words_of = self._words.decode
        runs = groupby((int(i) for i in ids), key=self._spellings.get)
        return "".join(words_of(list(run)) if token is None else token * len(list(run)) for token, run in runs)


def _add_missing(hf: PreTrainedTokenizerFast, spellings: Iterable[str]) -> None:
    known = hf.get_added_vocab()
    missing = [spelling for spelling in spellings if spelling not in known]
    hf.add_tokens([AddedToken(spelling, special=True, normalized=False) for spelling in missing], special_tokens=True)


def _from_pretrained(folder: Path) -> PreTrainedTokenizerFast:
    try:
        hf = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    # The Rust side raises bare Exception, transformers whatever its parsing meets; all mean a broken folder.
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"the tokenizer in {folder} cannot be read ({reason}); {_REMEDY}") from error
    if not isinstance(hf, PreTrainedTokenizerFast):
        raise ValueError(f"{folder} has no Qwen2 tokenizer but a slow {type(hf).__name__}; {_REMEDY}")
    return hf


def _without_added_tokens(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """``backend`` without its tokens: the one way to text that holds no token, whatever words it is given.

    transformers' ``split_special_tokens`` is not: it still parses the added tokens that are not marked special.
    """
    words = tokenizers.Tokenizer(backend.model)
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        setattr(words, part, getattr(backend, part))
    return words


def _trained_bpe(texts: Iterable[str], size: int) -> dict[str, Any]:
    """``vocab`` and ``merges`` of a byte-level BPE; the same for the same multiset of texts.

    Splits words as Qwen2 does, by the pattern in transformers' own ``Qwen2Tokenizer``.
    """
    qwen2 = Qwen2Tokenizer().backend_tokenizer
    words = tokenizers.Tokenizer(BPE())
    words.normalizer = qwen2.normalizer
    words.pre_tokenizer = qwen2.pre_tokenizer
    trainer = BpeTrainer(vocab_size=size, initial_alphabet=ByteLevel.alphabet(), show_progress=False)
    words.train_from_iterator(_words_in(texts), trainer)
    return json.loads(words.to_str())["model"]


def _words_in(texts: Iterable[str]) -> Iterator[str]:
    """The stretches between tokens and placeholders, which no word may reach across."""
    for text in texts:
        yield from filter(None, _NO_WORDS.split(text))
