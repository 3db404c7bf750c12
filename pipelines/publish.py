"""Publish what was read: the whole order of steps on one screen.

    sightings --normalize--> normal form --decide--> decisions --commit--> rows on disk
                   |                         |                        |
                   +------- rejected --------+------- counts ---------+--> ledger

A live run, a recovery and a replay all come through here, so they give the same rows.  Publishing
the same sightings twice changes nothing.  The caller holds the source's lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pipelines import ledger
from pipelines.dataset import Dataset
from pipelines.dedupe import Decision, Verdict, decide
from pipelines.entry import Rejected, Sighting, row_order
from pipelines.ledger import Counts, Course, Ledger
from pipelines.normalize import normalize
from pipelines.run import Run
from pipelines.version import VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a publish did.  ``decisions`` stand in the order in which the entries were judged."""

    run: Run
    course: Course
    counts: Counts
    rows: int
    decisions: tuple[Decision | Rejected, ...]


def publish(
    dataset: Dataset,
    run: Run,
    sightings: Iterable[Sighting],
    course: Course,
    *,
    archived: Mapping[str, tuple[Run, Course]] | None = None,
    rebuild: bool = False,
) -> Report:
    """Merge one source's sightings into its rows and write the ledger.

    ``archived`` names the archived runs that the sightings of a replay come from.  With ``rebuild``
    they are all that the source's archive holds: rows are made anew from them, and what is not seen
    again stays as it is.  Runs that never got a ledger (their process died, or it was lost) get one.
    """
    normal = [normalize(sighting) for sighting in sightings]
    stored = dataset.records(run.source)
    known = [] if rebuild else stored
    rows = {row.entry_id: row for row in known}
    decisions: list[Decision | Rejected] = [item for item in normal if isinstance(item, Rejected)]
    seen = [item for item in normal if isinstance(item, Sighting)]
    hosts = {s.run_id: run.hosts for s in seen}
    hosts |= {run_id: archived_run.hosts for run_id, (archived_run, _) in (archived or {}).items()}
    decisions += decide(seen, known, hosts)
    rows.update((d.record.entry_id, d.record) for d in decisions if isinstance(d, Decision))
    for row in stored:  # not found again: a row is never taken back
        rows.setdefault(row.entry_id, row)

    if sorted(rows.values(), key=row_order) != stored:
        dataset.commit(run.source, rows.values())
    for run_id, (archived_run, archived_course) in (archived or {}).items():
        if rebuild and not ledger.exists(dataset, run_id):
            own = [d for d in decisions if _run_id(d) == run_id]
            ledger.write(dataset, _ledger(archived_run, archived_course, own, len(rows)))
    ledger.write(dataset, _ledger(run, course, decisions, len(rows), tuple(archived or ())))
    return Report(
        run=run, course=course, counts=_count(decisions), rows=len(rows), decisions=tuple(decisions)
    )


def _ledger(
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
