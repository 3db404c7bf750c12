"""What decisions change in the tables: rows and versions as they are to be, and the stories they tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from pipelines.dataset import Change, Dataset
from pipelines.dedupe import Decision
from pipelines.entry import Record, Version, row_order, version_order
from pipelines.known import ENTRIES, REVISIONS, Known
from pipelines.revisions import changed_versions, first_versions, version_of
from pipelines.stories import member_of
from pipelines.storybook import Storybook
from pipelines.table import DatasetError, Place, Stored, key

Changes = tuple[Change[Version], Change[Record]]


@dataclass(frozen=True, slots=True)
class Stores:
    """The rows and versions of a source; ``salvaged`` from damaged tables, or as they are stored."""

    rows: Sequence[Record]
    versions: Sequence[Version]
    salvaged: bool


def differences(
    before: Mapping[str, Record], after: Mapping[str, Record]
) -> Iterator[tuple[Record | None, Record]]:
    """The rows that are not as they were, whatever story they tell."""
    for row in sorted(after.values(), key=row_order):
        old = before.get(row.entry_id)
        if old is None or replace(old, story_id=row.story_id) != row:
            yield old, row


def merged(
    dataset: Dataset,
    book: Storybook,
    source: str,
    known: Known,
    rows: Mapping[str, Record],
    decisions: Sequence[Decision],
) -> Changes:
    """What a run changes: rows that are not as they were, and their versions."""
    stored_versions = dataset.stored(REVISIONS, source)

    def changed(rows: Mapping[str, Record]) -> set[str]:
        return {name for name, row in rows.items() if known.rows.get(name) != row}

    def find(wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], tuple[Place, Version]]:
        found = stored_versions.find([key("version", *each) for each in wanted])
        return {(v.entry_id, v.revision): (place, v) for place, v in found.items()}

    names = changed(rows)
    old = find((name, known.rows[name].revision) for name in names if name in known.rows)
    versions = changed_versions(
        (d for d in decisions if d.record.entry_id in names), {n: v for n, (_, v) in old.items()}
    )
    first = {n: v for (n, revision), v in versions.items() if revision == 1}
    moved = {n for n in names - first.keys() if rows[n].first_seen != known.rows[n].first_seen}
    first |= first_versions(stored_versions.find(key("id", n) for n in moved).values())
    stories = book.tell(source, (member_of(rows[n], said) for n, said in first.items()))
    known.add(known.stored.find(key("id", n) for n in stories.keys() - rows.keys()).items())
    told = {**known.rows, **rows}
    now = {n: replace(r, story_id=stories.get(n, r.story_id)) for n, r in told.items()}
    return (
        Change(
            stored_versions,
            changed={old[n][0]: v for n, v in versions.items() if n in old},
            new=[v for n, v in versions.items() if n not in old],
        ),
        Change(
            known.stored,
            changed={known.places[n]: now[n] for n in changed(now) if n in known.places},
            new=sorted((row for n, row in now.items() if n not in known.rows), key=row_order),
        ),
    )


def stores_of(dataset: Dataset, source: str, repair: bool) -> Stores:
    """The rows and versions that a source has, with ``repair`` as far as they can be read."""
    if repair:
        return Stores(dataset.salvage(ENTRIES, source), dataset.salvage(REVISIONS, source), True)
    return Stores(dataset.records(source), dataset.versions(source), False)


def rebuilt(
    dataset: Dataset,
    book: Storybook,
    source: str,
    old: Stores,
    rows: Mapping[str, Record],
    decisions: Sequence[Decision],
    trusted: bool,
) -> tuple[Changes, int]:
    """All rows and versions anew; what was not found again stays as it was: nothing is taken back.

    Where the archive is not ``trusted``, because a part of it cannot be read, stored rows know more.
    """
    stored = {row.entry_id: row for row in old.rows}
    told = {version.entry_id for version in old.versions}
    every = stored | dict(rows) if trusted else dict(rows) | stored
    keeps = told - rows.keys() if trusted else told
    versions = {
        name: version
        for name, version in changed_versions(decisions, {}).items()
        if name[0] not in keeps
    }
    versions |= {(v.entry_id, v.revision): v for v in old.versions if v.entry_id in keeps}
    for row in every.values():
        latest = (row.entry_id, row.revision)
        if latest not in versions:  # lost, or older than the table of versions
            versions[latest] = version_of(row, row.first_seen, row.run_id)
    first = first_versions(versions.values())
    members = (member_of(row, first[name]) for name, row in every.items())
    stories = book.tell(source, members, whole=True)
    now = sorted((replace(r, story_id=stories[n]) for n, r in every.items()), key=row_order)
    all_versions = sorted(versions.values(), key=version_order)
    same = not old.salvaged and now == list(old.rows) and all_versions == list(old.versions)
    return (
        Change(Stored(dataset.root, REVISIONS, source, ()), new=() if same else all_versions),
        Change(Stored(dataset.root, ENTRIES, source, ()), new=() if same else now),
    ), len(now)


def retell(dataset: Dataset, sources: Iterable[str]) -> None:
    """Let the rows of these sources tell the stories that entries of others gave them.

    A source that is being worked on, or damaged, is left alone: its own next run does the same.
    """
    waiting, seen = sorted(sources), set(sources)
    while waiting:
        source = waiting.pop()
        book = Storybook(dataset)
        with suppress(DatasetError), dataset.lock(source), book.opened():
            known = Known(dataset.stored(ENTRIES, source))
            changes = merged(dataset, book, source, known, {}, ())
            dataset.commit(source, changes, dataset.manifest(source).run_id, {})
            book.commit(source)
        waiting += sorted(book.awaiting - seen)
        seen |= book.awaiting
