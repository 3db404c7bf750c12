"""The ledger: one JSON file per run that says what was asked, seen, stored, refused, and why it ended.

Its counts add up: ``entries = new + repeats + revised + seen + rejected``.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from pipelines.dataset import Dataset
from pipelines.health import Finding, Habit, Severity, Vitals, habit_from
from pipelines.run import Mode, Scope, run_started
from pipelines.sealed import Sealed, unseal
from pipelines.table import Damaged


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSeen:
    """One listing page as it was read; ``entries`` are those of its records that the window let in.

    ``pattern`` read it, as text; ``instead_of`` is the one that did no longer.  ``proposed`` is one that
    was learned from a page that is not what it was, for a person to judge.
    """

    url: str
    fetched_at: datetime
    status: int
    vitals: Vitals
    entries: int
    unread_dates: int
    warc_file: str
    warc_record_id: str
    next_url: str | None = None
    pattern: str | None = None
    instead_of: str | None = None
    proposed: str | None = None


HELD: Final = "not published, because the page is not what it was"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Why the pages of one start address ended.  ``whole`` when nothing asked for was left unread."""

    start_url: str
    reason: str
    whole: bool


class Fault(StrEnum):
    """Where a failure comes from."""

    SOURCE = "source"
    LATER = "later"
    DATA = "data"
    OUTPUT = "output"
    BUG = "bug"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A page that could not be had or read."""

    url: str
    reason: str
    fault: Fault = Fault.SOURCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a run went before anything was stored: its pages, its ends, its failures, what was odd.

    ``habits`` are what its source's listings usually show, after it.
    """

    pages: tuple[PageSeen, ...] = ()
    stops: tuple[Stop, ...] = ()
    failures: tuple[Failure, ...] = ()
    findings: tuple[Finding, ...] = ()
    habits: tuple[Habit, ...] = ()

    @property
    def held_pages(self) -> frozenset[str]:
        """The addresses of its pages of which nothing may be published."""
        return frozenset(f.url for f in self.findings if f.severity is Severity.FATAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the entries of a run."""

    entries: int = 0
    new: int = 0
    repeats: int = 0
    revised: int = 0
    seen: int = 0
    rejected: int = 0

    def __post_init__(self) -> None:
        if self.entries != self.new + self.repeats + self.revised + self.seen + self.rejected:
            raise AssertionError(f"entries were lost between reading and storing: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProof:
    """A file as it was when the ledger was written."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Everything that one run leaves behind besides rows and pages."""

    run_id: str
    source: str
    mode: Mode
    started: datetime
    finished: datetime
    version: str
    asked: Scope
    course: Course
    counts: Counts
    rows: int
    archive: tuple[FileProof, ...] = ()
    rejected: tuple[dict[str, Any], ...] = ()
    replayed: tuple[str, ...] = field(default=())


def held(course: Course) -> list[Failure]:
    """Why pages of a run are not published, a failure for each."""
    reasons: dict[str, list[str]] = {}
    for finding in course.findings:
        if finding.severity is Severity.FATAL:
            reasons.setdefault(finding.url, []).append(finding.reason)
    return [Failure(url=url, reason=f"{HELD}: {'; '.join(told)}") for url, told in reasons.items()]


def written(ledger: Ledger) -> Sealed:
    """A ledger as it is written."""
    return Sealed({field.name: getattr(ledger, field.name) for field in fields(ledger)})


def set_damaged_aside(dataset: Dataset, source: str) -> None:
    """Rename the ledgers that cannot be read, so that their runs get new ones."""
    for run_id in run_ids(dataset, source):
        path = dataset.ledger_file(run_id)
        try:
            read(path)
        except Damaged:
            path.rename(path.with_suffix(".json.damaged"))


def archive_proofs(dataset: Dataset, source: str, run_id: str) -> tuple[FileProof, ...]:
    """What proves a run's archive files; none where it fetched nothing."""
    files = dataset.archive_files(source, run_id)
    return tuple(proof_of(dataset, path) for path in files)


def proof_of(dataset: Dataset, path: Path) -> FileProof:
    """A file of the data set as it is now."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    name = path.relative_to(dataset.root).as_posix()
    return FileProof(file=name, bytes=path.stat().st_size, sha256=digest)


def exists(dataset: Dataset, run_id: str) -> bool:
    """Whether a run was brought to its end."""
    return dataset.ledger_file(run_id).exists()


def run_ids(dataset: Dataset, source: str) -> list[str]:
    """The runs of a source that have a ledger, oldest first."""
    found = (dataset.root / "runs").glob(f"*Z-{source}.json")
    return sorted(path.stem for path in found if run_started(path.stem))


def last_read_whole(dataset: Dataset, source: str, start_url: str) -> bool:
    """Whether the last run that stored something from this start address left nothing unread.

    Only then does "everything on this page is known" mean that everything after it is known too.  A run
    of which nothing is stored, because the source was down or the page held, leaves that as it was.
    """
    replayed: set[str] = set()
    for run_id in reversed(run_ids(dataset, source)):
        told = read(dataset.ledger_file(run_id))
        if told["mode"] == "replay":
            replayed.update(told["replayed"])
        elif told["counts"]["entries"] or run_id in replayed:
            for stop in told["course"]["stops"]:
                if stop["start_url"] == start_url:
                    return bool(stop["whole"])
    return False


def empty_pages(dataset: Dataset, run_id: str) -> frozenset[str]:
    """The archive records of a run's pages that showed no entry then; their alarm has been given."""
    if not exists(dataset, run_id):
        return frozenset()
    pages = read(dataset.ledger_file(run_id))["course"]["pages"]
    return frozenset(p["warc_record_id"] for p in pages if not p.get("vitals", p)["records"])


def held_then(dataset: Dataset, run_id: str) -> frozenset[str]:
    """The addresses of a run's pages that were not published; their alarm has been given."""
    if not exists(dataset, run_id):
        return frozenset()
    findings = read(dataset.ledger_file(run_id))["course"].get("findings", ())
    return frozenset(f["url"] for f in findings if f["severity"] == Severity.FATAL)


def habits_before(dataset: Dataset, source: str, run_id: str) -> tuple[Habit, ...]:
    """What a source's listings usually showed before a run, as the last ledger before it tells."""
    for earlier in reversed(run_ids(dataset, source)):
        if earlier < run_id:
            # One of another version, or a damaged one, which is told elsewhere.
            with suppress(KeyError, TypeError, ValueError, Damaged):
                told = read(dataset.ledger_file(earlier))["course"]
                if habits := tuple(map(habit_from, told["habits"])):
                    return habits
    return ()


def read(path: Path) -> dict[str, Any]:
    """What a ledger file says.  Raises ``Damaged``."""
    try:
        told = unseal(path.read_bytes())
        if told.get("run_id") != path.stem:
            raise ValueError(f"it is that of {told.get('run_id')}")
        if {"mode", "course"} <= told.keys() and {"stops", "pages"} <= told["course"].keys():
            return dict(told)
        problem = "it lacks its course"
    except (OSError, ValueError, AttributeError, TypeError) as error:
        problem = str(error)
    raise Damaged(f"{path}: not a ledger ({problem}); `harvester check --repair` sets it aside")
