"""Publish what was read: the whole order of steps on one screen.

    sightings --normalize--> normal form --decide--> decisions --commit--> rows, versions, ledger
                   |                         |
                   +------- rejected --------+-- missing, revisions

A live run, a recovery and a replay all come through here, so they give the same rows.  Publishing
the same sightings twice changes nothing.  The caller holds the source's lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from pipelines import ledger
from pipelines.dataset import Change, Dataset, ledger_name
from pipelines.dedupe import Decision, Judge, Verdict, decide
from pipelines.entry import Record, Rejected, Sighting, Version, row_order, version_order
from pipelines.known import ENTRIES, REVISIONS, Known
from pipelines.ledger import Counts, Course, Ledger
from pipelines.missing import gone
from pipelines.normalize import normalize
from pipelines.revisions import changed_versions, first_versions, version_of
from pipelines.run import Run
from pipelines.stories import member_of
from pipelines.storybook import Storybook
from pipelines.table import DatasetError, Place, Stored, key
from pipelines.version import VERSION

Changes = tuple[Change[Version], Change[Record]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a publish did.  ``decisions`` stand in the order in which the entries were judged.

    ``changes`` are told by a dry run: each row that would change as it is, and as it would be.
    """

    run: Run
    course: Course
    counts: Counts
    rows: int
    decisions: tuple[Decision | Rejected, ...]
    changes: tuple[tuple[Record | None, Record], ...] = ()


@dataclass(frozen=True, slots=True)
class Stores:
    """The rows and versions of a source; ``salvaged`` from damaged tables, or as they are stored."""

    rows: Sequence[Record]
    versions: Sequence[Version]
    salvaged: bool


def publish(
    dataset: Dataset,
    run: Run,
    sightings: Iterable[Sighting],
    course: Course,
    *,
    archived: Mapping[str, tuple[Run, Course]] | None = None,
    rebuild: bool = False,
    repair: bool = False,
    dry_run: bool = False,
) -> Report:
    """Merge one source's sightings into its rows and write the ledger.

    ``archived`` names the archived runs that the sightings of a replay come from.  With ``rebuild``
    they are all that the source's archive holds: rows are made anew from them, and what is not seen
    again stays as it is; with ``repair`` also where tables are damaged, as far as their rows can be
    read.  Runs that never got a ledger (their process died, or it was lost) get one.  A ``dry_run``
    writes nothing; the stories that rows would tell are not worked out.  What stands on
    pages that are held is not merged.
    """
    every = {run.run_id: course} | {name: told for name, (_, told) in (archived or {}).items()}
    held = {(name, url) for name, told in every.items() for url in told.held_pages}
    normal = [normalize(s) for s in sightings if (s.run_id, s.page_url) not in held]
    refused = [item for item in normal if isinstance(item, Rejected)]
    seen = [item for item in normal if isinstance(item, Sighting)]
    runs = {s.run_id: (run, course) for s in seen} | dict(archived or {})
    if rebuild:  # what is stored is not asked: it may be wrong, or damaged
        stored = Stored(dataset.root, ENTRIES, run.source, ())
    else:
        stored = dataset.stored(ENTRIES, run.source)
    known = Known(stored)
    rows = [] if rebuild else known.look_up(seen)

    def mark_missing(judge: Judge, run_id: str, shown: Sequence[Sighting]) -> None:
        a_run, its_course = runs[run_id]

        def newer(moment: datetime) -> list[Record]:
            judge.know(known.add(stored.newer(moment).items()))
            return [row for row in judge.rows.values() if row.published and row.published > moment]

        scope = run.scope if run.scope.since or run.scope.until else a_run.scope
        for row in gone(its_course.pages, shown, newer, run_id, scope):
            judge.replace(row)

    hosts = {run_id: a_run.hosts for run_id, (a_run, _) in runs.items()}
    outcome = decide(seen, rows, hosts, mark_missing)
    decisions = [*refused, *outcome.decisions]
    taken = [d for d in outcome.decisions if isinstance(d, Decision)]
    if dry_run:
        before = {r.entry_id: r for r in dataset.records(run.source)} if rebuild else known.rows
        changes_told = tuple(_differences(before, outcome.rows))
        total = dataset.stored(ENTRIES, run.source).rows + sum(b is None for b, _ in changes_told)
        return Report(
            run=run,
            course=course,
            counts=_count(decisions),
            rows=total,
            decisions=tuple(decisions),
            changes=changes_told,
        )
    book = Storybook(dataset)
    with book.opened():
        if rebuild:
            old = _stored(dataset, run.source, repair)
            trusted = not (repair and course.failures)
            changes, total = _rebuilt(dataset, book, run.source, old, outcome.rows, taken, trusted)
        else:
            changes = _merged(dataset, book, run.source, known, outcome.rows, taken)
            total = stored.rows + len(changes[1].new)
        files = {}
        for run_id, (archived_run, archived_course) in (archived or {}).items():
            if rebuild and not ledger.exists(dataset, run_id):
                own = [d for d in decisions if _run_id(d) == run_id]
                told = _ledger(dataset, archived_run, archived_course, own, total)
                files[ledger_name(run_id)] = ledger.as_bytes(told)
        told = _ledger(dataset, run, course, decisions, total, tuple(archived or ()))
        files[ledger_name(run.run_id)] = ledger.as_bytes(told)
        dataset.commit(run.source, changes, run.run_id, files)
        book.commit(run.source)
    retell(dataset, book.awaiting)
    return Report(
        run=run, course=course, counts=_count(decisions), rows=total, decisions=tuple(decisions)
    )


def _differences(
    before: Mapping[str, Record], after: Mapping[str, Record]
) -> Iterator[tuple[Record | None, Record]]:
    """The rows that are not as they were, whatever story they tell."""
    for row in sorted(after.values(), key=row_order):
        old = before.get(row.entry_id)
        if old is None or replace(old, story_id=row.story_id) != row:
            yield old, row


def _merged(
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


def _stored(dataset: Dataset, source: str, repair: bool) -> Stores:
    """The rows and versions that a source has, with ``repair`` as far as they can be read."""
    if repair:
        return Stores(dataset.salvage(ENTRIES, source), dataset.salvage(REVISIONS, source), True)
    return Stores(dataset.records(source), dataset.versions(source), False)


def _rebuilt(
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
            changes = _merged(dataset, book, source, known, {}, ())
            dataset.commit(source, changes, dataset.manifest(source).run_id, {})
            book.commit(source)
        waiting += sorted(book.awaiting - seen)
        seen |= book.awaiting


def _ledger(
    dataset: Dataset,
    run: Run,
    course: Course,
    decisions: Sequence[Decision | Rejected],
    rows: int,
    replayed: tuple[str, ...] = (),
) -> Ledger:
    return Ledger(
        run_id=run.run_id,
        source=run.source,
        mode=run.mode,
        started=run.started,
        finished=datetime.now(UTC),
        version=VERSION,
        asked=run.scope,
        course=course,
        counts=_count(decisions),
        rows=rows,
        archive=ledger.archive_proofs(dataset, run.source, run.run_id),
        rejected=tuple(_refusal(d) for d in decisions if isinstance(d, Rejected)),
        replayed=replayed,
    )


def _count(decisions: Sequence[Decision | Rejected]) -> Counts:
    verdicts = Counter(d.verdict if isinstance(d, Decision) else None for d in decisions)
    return Counts(
        entries=len(decisions),
        new=verdicts[Verdict.NEW],
        repeats=verdicts[Verdict.REPEAT],
        revised=verdicts[Verdict.REVISED],
        seen=verdicts[Verdict.SEEN],
        rejected=verdicts[None],
    )


def _run_id(decision: Decision | Rejected) -> str:
    return decision.run_id if isinstance(decision, Decision) else decision.sighting.run_id


def _refusal(rejected: Rejected) -> dict[str, Any]:
    return {"reason": rejected.reason.value, **asdict(rejected.sighting)}
