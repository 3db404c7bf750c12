"""Publish what was read: the whole order of steps on one screen.

    sightings --normalize--> normal form --decide--> decisions --upsert--> rows, versions, ledger
                   |                         |
                   +------- rejected --------+-- missing, revisions

A live run, a recovery and a replay all come through here, so they give the same rows.  Publishing
the same sightings twice changes nothing.  The caller holds the source's lock.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

from pipelines import ledger
from pipelines.dataset import Dataset, ledger_name
from pipelines.dedupe import Decision, Judge, Verdict, decide, page_key, seen_order
from pipelines.digests import Digests
from pipelines.entry import Record, Rejected, Sighting
from pipelines.known import ENTRIES, Known
from pipelines.ledger import Counts, Course, Ledger
from pipelines.missing import day_of, gone
from pipelines.normalize import normalize
from pipelines.run import Run
from pipelines.sealed import Sealed
from pipelines.storybook import Storybook
from pipelines.table import Stored
from pipelines.upsert import differences, merged, rebuilt, retell, stores_of
from pipelines.version import VERSION

SLICE: Final = 2_000  # sightings that wait to be merged, at most
_OVERTAKEN: Final = 300  # of them, those that others may still come before
_Counts = Counter[Verdict | None]  # ``None``: rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a publish did.  ``decisions`` stand in the order in which the entries were judged, if it was
    done all at once.

    ``changes`` are told by a dry run: each row that would change as it is, and as it would be.
    """

    run: Run
    course: Course
    counts: Counts
    rows: int
    decisions: tuple[Decision | Rejected, ...]
    changes: tuple[tuple[Record | None, Record], ...] = ()


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
    """Merge one source's sightings into its rows and write the ledger, all at once.

    ``archived`` names the archived runs that the sightings of a replay come from.  With ``rebuild``
    they are all that the source's archive holds: rows are made anew from them, and what is not seen
    again stays as it is; with ``repair`` also where tables are damaged, as far as their rows can be
    read.  Runs that never got a ledger (their process died, or it was lost) get one.  A ``dry_run``
    writes nothing; the stories that rows would tell are not worked out.  What stands on
    pages that are held is not merged.
    """
    by_run: dict[str, list[Sighting]] = {}
    for sighting in sightings:
        by_run.setdefault(sighting.run_id, []).append(sighting)
    runs = dict.fromkeys(by_run, (run, course)) if archived is None else archived
    publication = Publication(
        dataset, run, replayed=archived is not None, dry_run=dry_run, most=None
    )
    for run_id, (a_run, its_course) in runs.items():
        held = its_course.held_pages
        publication.take(a_run, (s for s in by_run.get(run_id, ()) if s.page_url not in held))
        publication.end(run_id, a_run, its_course)
    return publication.finish(course, rebuild=rebuild, repair=repair)


class Publication:
    """One publish in the making: sightings come page by page, and are merged a slice at a time.

    So what is held in memory is bounded, however long a run is, and where it is cut makes no difference
    to the rows.  The ledger is written with the last slice: a run that dies before it has none, and is
    recovered.  ``most`` sightings wait to be merged; with ``None`` all do.
    """

    def __init__(
        self,
        dataset: Dataset,
        run: Run,
        *,
        replayed: bool = False,
        dry_run: bool = False,
        most: int | None = SLICE,
    ) -> None:
        self._dataset = dataset
        self._run = run
        self._replayed = replayed
        self._dry_run = dry_run
        self._most = None if dry_run else most
        self._waiting: list[Sighting] = []
        self._runs: dict[str, Run] = {}
        self._courses: dict[str, Course] = {}  # of the runs that have ended
        self._ending: list[
            str
        ] = []  # those of which it is not known yet what they show to be missing
        self._days: dict[str, dict[str, array[int]]] = {}  # of entries, by run and page
        self._touched: dict[str, Digests] = {}  # what earlier slices of a run have decided
        self._counts: dict[str, _Counts] = {}
        self._refused: dict[str, list[Rejected]] = {}
        self._decisions: list[Decision] = []
        self._awaiting: set[str] = set()

    def take(self, run: Run, sightings: Iterable[Sighting]) -> bool:
        """Take in what a run has seen.  Whether a slice was merged, so that the tables are others now."""
        for sighting in sightings:
            self._runs.setdefault(sighting.run_id, run)
            normal = normalize(sighting)
            if isinstance(normal, Sighting):
                self._waiting.append(normal)
            else:
                self._refuse(normal)
        if self._most is None or len(self._waiting) < self._most:
            return False
        # Answers overtake each other a little on their way here.
        self._waiting.sort(key=seen_order)
        cut = max(len(self._waiting) - _OVERTAKEN, 0)
        while cut and page_key(self._waiting[cut - 1]) == page_key(self._waiting[cut]):
            cut -= 1
        if cut:
            slice_, self._waiting = self._waiting[:cut], self._waiting[cut:]
            self._merge(slice_)
        return bool(cut)

    def end(self, run_id: str, run: Run, course: Course) -> None:
        """A run has no more sightings."""
        self._runs[run_id] = run
        self._courses[run_id] = course
        self._ending.append(run_id)

    def finish(self, course: Course, *, rebuild: bool = False, repair: bool = False) -> Report:
        """Merge what is left, and write the ledger; see ``publish``."""
        seen, self._waiting = self._waiting, []
        if self._dry_run:
            rows, changes = self._compare(seen, rebuild=rebuild)
        elif rebuild:
            rows, changes = self._remake(seen, course, repair=repair), ()
        else:
            rows, changes = self._merge(seen, course), ()
        retell(self._dataset, self._awaiting)
        return Report(
            run=self._run,
            course=course,
            counts=_count(self._every_count()),
            rows=rows,
            decisions=(*self._every_refusal(), *self._decisions),
            changes=changes,
        )

    # -------------------------------------------------------------- inside
    def _merge(self, seen: Sequence[Sighting], course: Course | None = None) -> int:
        """Merge a slice; with the last one comes the ``course`` of the ledger.  The number of rows."""
        stored = self._dataset.stored(ENTRIES, self._run.source)
        known = Known(stored)
        rows, taken = self._decide(seen, known)
        with (book := Storybook(self._dataset)).opened():
            changes = merged(self._dataset, book, self._run.source, known, rows, taken)
            total = stored.rows + len(changes[1].new)
            files = self._ledgers(course, total) if course else {}
            self._dataset.commit(
                self._run.source, changes, self._run.run_id, files, last=course is not None
            )
            book.commit(self._run.source)
        self._awaiting |= book.awaiting
        return total

    def _remake(self, seen: Sequence[Sighting], course: Course, *, repair: bool) -> int:
        """Make all rows anew.  What is stored is not asked: it may be wrong, or damaged."""
        source = self._run.source
        rows, taken = self._decide(seen, Known(Stored(self._dataset.root, ENTRIES, source, ())))
        with (book := Storybook(self._dataset)).opened():
            old = stores_of(self._dataset, source, repair)
            trusted = not (repair and course.failures)
            changes, total = rebuilt(self._dataset, book, source, old, rows, taken, trusted)
            files = self._ledgers(course, total, rebuild=True)
            self._dataset.commit(source, changes, self._run.run_id, files)
            book.commit(source)
        self._awaiting |= book.awaiting
        return total

    def _compare(
        self, seen: Sequence[Sighting], *, rebuild: bool
    ) -> tuple[int, tuple[tuple[Record | None, Record], ...]]:
        """What would change, and how many rows there would be."""
        stored = self._dataset.stored(ENTRIES, self._run.source)
        known = Known(
            Stored(self._dataset.root, ENTRIES, self._run.source, ()) if rebuild else stored
        )
        rows, _ = self._decide(seen, known)
        before = {r.entry_id: r for r in stored.all()} if rebuild else known.rows
        told = tuple(differences(before, rows))
        return stored.rows + sum(old is None for old, _ in told), told

    def _decide(
        self, seen: Sequence[Sighting], known: Known
    ) -> tuple[Mapping[str, Record], list[Decision]]:
        """The rows after a slice, and the decisions that made them."""
        for sighting in sorted(seen, key=seen_order):
            if day := day_of(sighting):
                days = self._days.setdefault(sighting.run_id, {})
                days.setdefault(sighting.warc_record_id, array("i")).append(day.toordinal())

        def mark_missing(judge: Judge, run_id: str) -> None:
            def newer(moment: datetime) -> list[Record]:
                judge.know(known.add(known.stored.newer(moment, ("run_id", run_id))))
                return [r for r in judge.rows.values() if r.published and r.published > moment]

            asked = self._run.scope
            scope = asked if asked.since or asked.until else self._runs[run_id].scope
            days = self._days.pop(run_id, {})
            for row in gone(self._courses[run_id].pages, days, newer, run_id, scope):
                judge.replace(row)

        hosts = {run_id: run.hosts for run_id, run in self._runs.items()}
        rows = known.look_up(seen, self._touched.values())
        outcome = decide(seen, rows, hosts, mark_missing, self._ending, self._touched)
        taken = []
        for decision in outcome.decisions:
            if isinstance(decision, Rejected):
                self._refuse(decision)
            else:
                self._counts.setdefault(decision.run_id, Counter())[decision.verdict] += 1
                taken.append(decision)
        if self._most is None:
            self._decisions += taken
        else:
            for name in {decision.run_id for decision in taken}:
                own = (d.record.entry_id for d in taken if d.run_id == name)
                self._touched.setdefault(name, Digests()).update(own)
        for run_id in self._ending:
            self._touched.pop(run_id, None)
        self._ending = []
        return outcome.rows, taken

    def _refuse(self, rejected: Rejected) -> None:
        name = rejected.sighting.run_id
        self._counts.setdefault(name, Counter())[None] += 1
        self._refused.setdefault(name, []).append(rejected)

    def _every_count(self) -> _Counts:
        return sum(self._counts.values(), Counter())

    def _every_refusal(self) -> list[Rejected]:
        return list(chain.from_iterable(self._refused.values()))

    def _ledgers(self, course: Course, rows: int, *, rebuild: bool = False) -> dict[str, Sealed]:
        """The ledger of this run; after a rebuild, of those of the archive that never got one."""
        runs = tuple(self._courses) if self._replayed else ()
        told = [
            self._ledger(self._run, course, self._every_count(), self._every_refusal(), rows, runs)
        ]
        for run_id in runs if rebuild else ():
            if not ledger.exists(self._dataset, run_id):
                counts, refused = self._counts.get(run_id, Counter()), self._refused.get(run_id, [])
                its_course = self._courses[run_id]
                told.append(self._ledger(self._runs[run_id], its_course, counts, refused, rows))
        return {ledger_name(each.run_id): ledger.written(each) for each in told}

    def _ledger(
        self,
        run: Run,
        course: Course,
        counts: _Counts,
        refused: Sequence[Rejected],
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
            counts=_count(counts),
            rows=rows,
            archive=ledger.archive_proofs(self._dataset, run.source, run.run_id),
            rejected=tuple(map(_refusal, refused)),
            replayed=replayed,
        )


def _count(verdicts: _Counts) -> Counts:
    return Counts(
        entries=verdicts.total(),
        new=verdicts[Verdict.NEW],
        repeats=verdicts[Verdict.REPEAT],
        revised=verdicts[Verdict.REVISED],
        seen=verdicts[Verdict.SEEN],
        rejected=verdicts[None],
    )


def _refusal(rejected: Rejected) -> dict[str, Any]:
    return {"reason": rejected.reason.value, **asdict(rejected.sighting)}
