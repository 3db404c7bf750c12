"""Normalise what was seen: text in one spelling, addresses canonical, nothing invented.

Text keeps its words, case and punctuation; only its encoding details and white space are folded.
"""

from __future__ import annotations

from dataclasses import replace

from pipelines.entry import Reason, Rejected, Sighting
from pipelines.identity import canonical_url
from pipelines.text import fold


def normalize(sighting: Sighting) -> Sighting | Rejected:
    """The sighting in normal form, or the reason why it cannot become a row."""
    normal = {
        "title": fold(sighting.title),
        "url": canonical_url(sighting.url) if sighting.url else None,
        "teaser": fold(sighting.teaser),
        "kind": fold(sighting.kind),
        "published_raw": fold(sighting.published_raw),
        "language": fold(sighting.language),
    }
    if normal["title"] is None and normal["teaser"] is None and normal["url"] is None:
        return Rejected(sighting, Reason.EMPTY)
    changes = {name: value for name, value in normal.items() if value != getattr(sighting, name)}
    return replace(sighting, **changes) if changes else sighting  # type: ignore[arg-type]
