"""One row and one sighting of it: whether the source changed its words, and the row afterwards.

Pure.  Saying less is no change, and neither is cutting a teaser elsewhere; what a sighting does not
show is kept.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from pipelines.entry import Precision, Record, Sighting


def differ(one: str | None, other: str | None) -> bool:
    """Whether two texts contradict each other; one that is not there contradicts nothing."""
    return one is not None and other is not None and one != other


def first(sighting: Sighting, entry_id: str) -> Record:
    """The row of an entry that is seen for the first time."""
    return Record(
        entry_id=entry_id,
        source=sighting.source,
        kind=sighting.kind,
        title=sighting.title,
        url=sighting.url,
        urls=(sighting.url,) if sighting.url else (),
        published=sighting.published,
        published_precision=sighting.published_precision,
        published_raw=sighting.published_raw,
        published_record_id=sighting.published_record_id,
        teaser=sighting.teaser,
        teaser_truncated=sighting.teaser_truncated,
        language=sighting.language,
        story_id=entry_id,
        repeats=1,
        revision=1,
        first_seen=sighting.fetched_at,
        last_seen=sighting.fetched_at,
        missing_since=None,
        page_url=sighting.page_url,
        position=sighting.position,
        warc_file=sighting.warc_file,
        warc_record_id=sighting.warc_record_id,
        run_id=sighting.run_id,
    )


def sighted(row: Record, sighting: Sighting) -> Record:
    """The row with one more sighting of it: when, where first, under which addresses."""
    changes: dict[str, object] = {}
    if sighting.url and sighting.url not in row.urls:
        changes["urls"] = (*row.urls, sighting.url)
        if row.url is None:
            changes["url"] = sighting.url
    if sighting.fetched_at > row.last_seen:
        changes["last_seen"] = sighting.fetched_at
    if sighting.run_id > row.run_id:
        changes["run_id"] = sighting.run_id
    if row.missing_since is not None and sighting.fetched_at > row.missing_since:
        changes["missing_since"] = None
    seen = (sighting.fetched_at, sighting.page_url, sighting.position)
    if seen < (row.first_seen, row.page_url, row.position):
        changes.update(first_seen=seen[0], page_url=seen[1], position=seen[2])
        if row.revision == 1 and not edited(row, sighting):
            changes.update(warc_file=sighting.warc_file, warc_record_id=sighting.warc_record_id)
    return replace(row, **changes) if changes else row  # type: ignore[arg-type]


def edited(row: Record, sighting: Sighting) -> bool:
    """Whether the source now says something else.  Saying less, or cutting elsewhere, is no edit."""
    return (
        differ(row.title, sighting.title)
        or differ(row.kind, sighting.kind)
        or not _same_teaser(row, sighting)
        or not _same_date(row, sighting)
    )


def agrees(row: Record, sighting: Sighting) -> bool:
    """Whether two of title, teaser and date are the same, and nothing contradicts."""
    same = (row.title is not None and row.title == sighting.title) + (
        row.teaser is not None and row.teaser == sighting.teaser
    )
    if not same:
        return False
    same += row.published is not None and row.published == sighting.published
    return same > 1 and not edited(row, sighting)


def _same_teaser(row: Record, sighting: Sighting) -> bool:
    old, new = row.teaser, sighting.teaser
    if old is None or new is None or old == new:
        return True
    return (row.teaser_truncated and new.startswith(old)) or (
        sighting.teaser_truncated and old.startswith(new)
    )


_SHOWN: Final[dict[Precision | str | None, int]] = {
    "year": 4, "month": 7, "day": 10, "minute": 16, "second": 19
}  # fmt: skip


def _same_date(row: Record, sighting: Sighting) -> bool:
    """Equal as far as both were printed.  A relative date is frozen when it is first seen."""
    if row.published is None or sighting.published is None or sighting.published_relative:
        return True
    shown = min(_SHOWN[row.published_precision], _SHOWN[sighting.published_precision])
    return row.published.isoformat()[:shown] == sighting.published.isoformat()[:shown]


def filled(row: Record, sighting: Sighting) -> Record:
    """The row with the gaps filled that this sighting can fill, and the fuller teaser of two."""
    changes: dict[str, object] = {}
    if row.title is None and sighting.title is not None:
        changes["title"] = sighting.title
    if row.kind is None and sighting.kind is not None:
        changes["kind"] = sighting.kind
    if row.published is None and sighting.published is not None:
        changes.update(_date(sighting))
    elif row.published_raw is None and sighting.published_raw is not None:
        changes["published_raw"] = sighting.published_raw
    if sighting.teaser is not None and (
        row.teaser is None
        or (
            row.teaser_truncated
            and len(sighting.teaser) > len(row.teaser)
            and _same_teaser(row, sighting)
        )
    ):
        changes.update(teaser=sighting.teaser, teaser_truncated=sighting.teaser_truncated)
    return replace(row, **changes) if changes else row  # type: ignore[arg-type]


def revised(row: Record, sighting: Sighting) -> Record:
    """The row as the source now has it; what the new version does not show is kept."""
    changes: dict[str, object] = {
        "revision": row.revision + 1,
        "warc_file": sighting.warc_file,
        "warc_record_id": sighting.warc_record_id,
    }
    if sighting.title is not None:
        changes["title"] = sighting.title
    if sighting.kind is not None:
        changes["kind"] = sighting.kind
    if sighting.teaser is not None and not _same_teaser(row, sighting):
        changes.update(teaser=sighting.teaser, teaser_truncated=sighting.teaser_truncated)
    if sighting.published is not None and not _same_date(row, sighting):
        changes.update(_date(sighting))
    return filled(replace(row, **changes), sighting)  # type: ignore[arg-type]


def _date(sighting: Sighting) -> dict[str, object]:
    return {
        "published": sighting.published,
        "published_precision": sighting.published_precision,
        "published_raw": sighting.published_raw,
        "published_record_id": sighting.published_record_id,
    }


def other_day(one: Sighting | Record, other: Sighting) -> bool:
    """Whether two dates, both known, lie on different days."""
    if one.published is None or other.published is None or other.published_relative:
        return False
    return one.published.date() != other.published.date()
