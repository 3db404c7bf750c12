"""Text that was decoded with the wrong table ("mojibake"): whether it shows.

Four signs, each of which sound text practically never has: replacement characters; text whose bytes,
in the table it was read with, are UTF-8; words of nothing but accented Latin letters, which is
Cyrillic or Greek read as Latin; words that begin small and go on in capitals, which is one Cyrillic
table read as the other.
"""

from __future__ import annotations

import re
from typing import Final

_TABLES: Final = ("cp1252", "cp1251", "latin-1", "koi8-r", "cp1250")
_LETTERS: Final = re.compile(r"[^\W\d_]{4,}")
_ACCENTED: Final = re.compile(r"[\u00c0-\u00ff]{4,}")
_TURNED: Final = re.compile(r"\b[а-яёі][А-ЯЁІ]{4,}\b")


def is_garbled(text: str | None) -> bool:
    """Whether a text shows one of the signs.  Texts in ASCII never do."""
    if not text or text.isascii():
        return False
    if "\ufffd" in text:
        return True
    words = _LETTERS.findall(text)
    if 2 * sum(_ACCENTED.fullmatch(word) is not None for word in words) > len(words):
        return True
    return _TURNED.search(text) is not None or any(_is_utf8_in(text, table) for table in _TABLES)


def _is_utf8_in(text: str, table: str) -> bool:
    """Whether the characters beyond ASCII are UTF-8 that was read with a table of single bytes."""
    try:
        data = text.encode(table)
        return len(data.decode("utf-8")) < len(data)
    except UnicodeError:
        return False
