"""Dates that a listing does not print, taken from the entries' own pages.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from pipelines.entry import ArticleDate, Sighting
from pipelines.identity import canonical_url


def dated(sightings: Iterable[Sighting], dates: Mapping[str, ArticleDate]) -> Iterator[Sighting]:
    """Sightings, with the dates of their own pages where the listing prints none at all."""
    for sighting in sightings:
        told = dates.get(canonical_url(sighting.url or "") or "") if lacks_date(sighting) else None
        yield (
            sighting
            if told is None
            else replace(
                sighting,
                published=told.published,
                published_precision=told.published_precision,
                published_raw=told.published_raw,
                published_record_id=told.warc_record_id,
            )
        )


def lacks_date(sighting: Sighting) -> bool:
    """Whether a listing says nothing of when an entry was published; what cannot be read is kept."""
    return bool(sighting.url) and sighting.published is None and sighting.published_raw is None
