"""Every version that an entry ever had, with its window of time and the page that proves it.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from pipelines import merge
from pipelines.dedupe import Decision
from pipelines.entry import Record, Version

Versions = dict[tuple[str, int], Version]


_SAID = ("title", "published", "teaser", "kind")


def changes(before: Version | None, version: Version) -> list[tuple[str, object, object]]:
    """What a version says otherwise than the one before it: field, old and new value."""
    pairs = (
        (name, getattr(before, name) if before else None, getattr(version, name)) for name in _SAID
    )
    return [(name, old, new) for name, old, new in pairs if old != new]


def version_of(row: Record, since: datetime, run_id: str) -> Version:
    """The version that a row shows."""
    return Version(
        entry_id=row.entry_id,
        source=row.source,
        revision=row.revision,
        kind=row.kind,
        title=row.title,
        published=row.published,
        published_precision=row.published_precision,
        published_raw=row.published_raw,
        teaser=row.teaser,
        teaser_truncated=row.teaser_truncated,
        since=since,
        until=None,
        warc_file=row.warc_file,
        warc_record_id=row.warc_record_id,
        run_id=run_id,
    )


def first_versions(versions: Iterable[Version]) -> dict[str, Version]:
    """The first version of each entry that is there: the first of all may have been lost."""
    found: dict[str, Version] = {}
    for version in versions:
        first = found.setdefault(version.entry_id, version)
        if version.revision < first.revision:
            found[version.entry_id] = version
    return found


def changed_versions(
    decisions: Iterable[Decision], stored: Mapping[tuple[str, int], Version]
) -> Versions:
    """The versions that decisions, in their order, made or changed.

    ``stored`` are the latest versions of the entries as they were before.
    """
    now: Versions = dict(stored)
    for decision in decisions:
        row = decision.record
        name = (row.entry_id, row.revision)
        old = now.get(name)
        if row.revision == 1 and not (old and merge.edited(row, decision.sighting)):
            since = row.first_seen
        else:  # a page that is read late, and said something else, does not say when this was new
            since = old.since if old else decision.sighting.fetched_at
        new = version_of(row, since, old.run_id if old else decision.run_id)
        now[name] = replace(new, until=old.until if old else None)
        before = now.get((row.entry_id, row.revision - 1))
        if before is not None and before.until is None:
            now[row.entry_id, row.revision - 1] = replace(before, until=since)
    return {name: version for name, version in now.items() if stored.get(name) != version}
