"""Normalise what was seen: text in one spelling, addresses canonical, nothing invented.

Text keeps its words, case and punctuation; only its encoding details and white space are folded.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import Final

from pipelines.entry import Reason, Rejected, Sighting
from pipelines.identity import canonical_url

# C0 and C1 controls, lone surrogates (they have no UTF-8 form), byte order marks.
_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff]")


def fold(text: str | None) -> str | None:
    """NFC, controls removed, white space folded to single blanks; ``None`` when nothing is left."""
    if text is None:
        return None
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = _UNPRINTABLE.sub("", text)
    return " ".join(text.split()) or None


def normalize(sighting: Sighting) -> Sighting | Rejected:
    """The sighting in normal form, or the reason why it cannot become a row."""
    normal = {
        "title": fold(sighting.title),
        "url": canonical_url(sighting.url) if sighting.url else None,
        "teaser": fold(sighting.teaser),
        "kind": fold(sighting.kind),
        "published_raw": fold(sighting.published_raw),
    }
    if normal["title"] is None and normal["teaser"] is None and normal["url"] is None:
        return Rejected(sighting, Reason.EMPTY)
    changes = {name: value for name, value in normal.items() if value != getattr(sighting, name)}
    return replace(sighting, **changes) if changes else sighting  # type: ignore[arg-type]
