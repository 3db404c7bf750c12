"""Text in normal form: one spelling of characters and white space, and nothing that is not text."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# C0 and C1 controls, lone surrogates (they have no UTF-8 form), byte order marks.
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff]")


def fold(text: str | None) -> str | None:
    """NFC, controls removed, white space folded to single blanks; ``None`` when nothing is left."""
    if text is None:
        return None
    if not is_folded(text):
        text = " ".join(_UNPRINTABLE.sub("", text).split())
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return text or None


def is_folded(text: str) -> bool:
    """Whether white space is folded already; most text is, and splitting it costs ten times this.

    Every white space but the blank, and every control, counts as unprintable.
    """
    return text.isprintable() and "  " not in text and text[:1] != " " and text[-1:] != " "
