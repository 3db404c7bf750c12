"""The words of texts, case folded: of one, or of thousands at once.  Pure.

``words_of`` is the definition.  ``split`` gives the same words of many texts as positions in one row
of code points, for that is what arrays can work on.  Where compatible characters are one
(``NFKC``) so are words; a script that puts no spaces between words has a word in each character.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import regex

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MOST_WORDS: Final = 1000  # of a title, and of a teaser: a comparison takes their product
MOST_CHARACTERS: Final = 16 * MOST_WORDS
# Scripts that put no spaces between words: each character counts as one.
_UNSPACED: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_ASCII_WORD: Final = re.compile(r"[^\W_]+", re.ASCII)
# The standard library takes the vowel signs of Indic scripts for the end of a word.
_WORD: Final = regex.compile(f"[{_UNSPACED}]|[^\\W_{_UNSPACED}]+")
_ALONE: Final = regex.compile(f"[{_UNSPACED}]")
_BETWEEN, _PART, _WHOLE, _UNKNOWN = range(4)  # what a character can be: no word, part of one, one
_END: Final = "\0"  # of each text in a row of them; no part of a word
# What breaks no word, and is in every other text; all else that is not NFKC takes its time.
_SPACES: Final = ("\xa0", "…")


def words_of(text: str | None) -> tuple[str, ...]:
    """The first ``MOST_WORDS`` of a text."""
    if text is None:
        return ()
    text = text[:MOST_CHARACTERS]
    if text.isascii():
        words = _ASCII_WORD.findall(text.casefold())
    else:
        words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return tuple(words[:MOST_WORDS])


@dataclass(frozen=True, slots=True)
class Words:
    """The words of some texts: from where to where each lies in ``codes``, the code points.

    ``first`` is the number of each text's first word, and at its end how many words there are.
    """

    codes: Array
    starts: Array
    ends: Array
    first: Array


def split(texts: Sequence[str | None]) -> Words:
    """The words of each text."""
    import numpy as np

    codes = _codes(_folded([text[:MOST_CHARACTERS] if text else "" for text in texts]))
    kinds = _kinds(codes)
    starts = kinds != _BETWEEN
    ends = starts.copy()
    part = kinds == _PART
    apart = ~(part[1:] & part[:-1])
    starts[1:] &= apart
    ends[:-1] &= apart
    begins = np.flatnonzero(starts)
    stops = np.flatnonzero(ends) + 1
    first = np.searchsorted(begins, np.flatnonzero(codes == ord(_END)))
    return _limited(Words(codes, begins, stops, np.concatenate([[0], first])))


def gathered(texts: Sequence[Sequence[str]]) -> Words:
    """The same of texts whose words are known."""
    import numpy as np

    words = [word for text in texts for word in text]
    ends = np.cumsum(np.array([0, *map(len, words)]))
    first = np.cumsum(np.array([0, *map(len, texts)]))
    return Words(_codes("".join(words)), ends[:-1], ends[1:], first)


def _limited(words: Words) -> Words:
    """The first ``MOST_WORDS`` of each text."""
    import numpy as np

    counts = np.diff(words.first)
    if not counts.size or counts.max() <= MOST_WORDS:
        return words
    stays = np.arange(words.starts.size) - np.repeat(words.first[:-1], counts) < MOST_WORDS
    first = np.concatenate([[0], np.cumsum(np.minimum(counts, MOST_WORDS))])
    return Words(words.codes, words.starts[stays], words.ends[stays], first)


def _folded(texts: list[str]) -> str:
    """The texts as ``words_of`` looks at them, one after the other."""
    row = _END.join([*texts, ""])
    if row.count(_END) != len(texts):
        row = _END.join([*(text.replace(_END, " ") for text in texts), ""])
    if not row.isascii():
        for space in _SPACES:
            row = row.replace(space, " ")
        if not unicodedata.is_normalized("NFKC", row):
            row = _END.join(unicodedata.normalize("NFKC", text) for text in row.split(_END))
    return row.casefold()


def _codes(text: str) -> Array:
    import numpy as np

    if text.isascii():
        return np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _kinds(codes: Array) -> Array:
    """What each character is."""
    table = _table()
    kinds = table[codes]
    for code in {*codes[kinds == _UNKNOWN].tolist()}:
        character = chr(code)
        word = _WORD.match(character)
        table[code] = _BETWEEN if not word else _WHOLE if _ALONE.match(character) else _PART
    return table[codes] if _UNKNOWN in kinds else kinds


@cache
def _table() -> Array:
    """What each character is that has been met."""
    import numpy as np

    return np.full(0x110000, _UNKNOWN, dtype=np.uint8)
