"""Tokens of a text with their place in it, never cut off and never padded.

One word longer than 100 characters (a base64 blob, say) reads as a single unknown token: so the tokenizer of the base encoder was trained, and so its
cost stays linear in the text. Control characters, zero-width ones included, are dropped before words are looked up: they hide nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

#: ``[CLS]`` before and ``[SEP]`` behind the tokens of a window.
SPECIAL_COUNT: Final = 2

#: Halves of surrogate pairs: Python strings can hold them, UTF-8 cannot.
_LONE_SURROGATES: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one text, without special tokens.

    Attributes:
        ids: int64[tokens], rows of the encoder's word table.
        starts: int64[tokens], first character of each token in the text.
        ends: int64[tokens], the character behind its last.
        words: int64[tokens], number of the word that the token is part of; words are parted by spaces and punctuation, and a punctuation mark is one.
    """

    ids: NDArray[np.int64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    words: NDArray[np.int64]

    @property
    def count(self) -> int:
        """How many tokens the text has; 0 where it holds nothing that the encoder reads."""
        return len(self.ids)


class TextTokenizer:
    """Makes tokens of texts, as the base encoder was trained to read them.

    Args:
        path: A ``tokenizer.json``; the truncation and padding that it may ask for are switched off.
    """

    def __init__(self, path: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.first_id, self.last_id, self.padding_id = (self._id_of(mark) for mark in ("[CLS]", "[SEP]", "[PAD]"))

    def _id_of(self, mark: str) -> int:
        found: int | None = self._tokenizer.token_to_id(mark)
        if found is None:
            raise ValueError(f"the tokenizer has no {mark}: it is not one of a BERT encoder")
        return found

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        """Gives the tokens of each text, of any length, with character offsets into the text as it came."""
        readable = [_LONE_SURROGATES.sub("\ufffd", text) for text in texts]  # one character for one: offsets stay
        return [_tokens(encoding) for encoding in self._tokenizer.encode_batch(readable, add_special_tokens=False)]

    def row(self, tokens: Tokens, first: int, stop: int) -> NDArray[np.int64]:
        """Gives what the encoder reads for the tokens from ``first`` to before ``stop``: their ids between the special ones."""
        row = np.empty(stop - first + SPECIAL_COUNT, np.int64)
        row[0], row[-1] = self.first_id, self.last_id
        row[1:-1] = tokens.ids[first:stop]
        return row


def _tokens(encoding: Encoding) -> Tokens:
    offsets = np.array(encoding.offsets, np.int64).reshape(-1, 2)
    ids, words = np.array(encoding.ids, np.int64), np.array(encoding.word_ids, np.int64)
    return Tokens(ids, offsets[:, 0], offsets[:, 1], words)
