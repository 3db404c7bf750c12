"""How each source fares, from the ledgers of its runs.  Nothing is fetched."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from harvester.paging import StopReason
from pipelines import ledger
from pipelines.dataset import Dataset
from pipelines.health import Severity
from pipelines.ledger import HELD
from pipelines.run import run_started
from pipelines.table import DatasetError

_DURATION: Final = re.compile(r"(\d{1,6})([mhd])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}
_LOOKED_AT: Final = 500  # runs back, for the last good one


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A source's last live run, and the end of its last good one; ``problem`` is one line.

    ``entries`` counts what the run read, ``new`` what of it was new, ``rows`` what is stored;
    ``notices`` are what it found odd, and published.
    """

    source: str
    run_id: str | None = None
    finished: datetime | None = None
    last_good: datetime | None = None
    pages: int = 0
    entries: int = 0
    new: int = 0
    rows: int = 0
    problem: str | None = None
    notices: tuple[str, ...] = ()


def statuses(
    dataset: Dataset, sources: Iterable[str], now: datetime, max_age: timedelta | None = None
) -> list[Status]:
    """One status a source; one without a good run for ``max_age`` has a problem."""
    runs = _runs(dataset)
    return [_status(dataset, source, runs.get(source, ()), now, max_age) for source in sources]


def duration(text: str) -> timedelta:
    """30m, 2h, 1d.  Raises ``ValueError``."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration; write it as 30m, 2h or 1d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _runs(dataset: Dataset) -> Mapping[str, Sequence[str]]:
    """The runs of every source, oldest first.  Many sources leave many ledgers: one look finds all."""
    found: dict[str, list[str]] = defaultdict(list)
    for run_id in sorted(path.stem for path in (dataset.root / "runs").glob("*Z-*.json")):
        found[run_id.partition("-")[2]].append(run_id)
    return found


def _status(
    dataset: Dataset, source: str, runs: Sequence[str], now: datetime, max_age: timedelta | None
) -> Status:
    last: dict[str, Any] | None = None
    good: datetime | None = None
    try:
        for run_id in filter(run_started, reversed(runs[-_LOOKED_AT:])):
            told = ledger.read(dataset.ledger_file(run_id))
            if told["mode"] == "replay":
                continue
            last = last or told
            if _trouble(told) is None:
                good = datetime.fromisoformat(told["finished"])
                break
    except DatasetError as error:
        return Status(source=source, problem=str(error))
    problem = _trouble(last) if last else None
    if problem or (max_age is not None and (good is None or now - good > max_age)):
        since = "ever" if len(runs) <= _LOOKED_AT else f"in the last {_LOOKED_AT}"
        if good is not None:
            since = f"since {good.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        problem = f"{problem}; no good run {since}" if problem else f"no good run {since}"
    if last is None:
        return Status(source=source, problem=problem)
    return Status(
        source=source,
        run_id=last["run_id"],
        finished=datetime.fromisoformat(last["finished"]),
        last_good=good,
        pages=len(last["course"]["pages"]),
        entries=last["counts"]["entries"],
        new=last["counts"]["new"],
        rows=last["rows"],
        problem=problem,
        notices=tuple(
            f"{found['url']}: {found['reason']}"
            for found in last["course"].get("findings", ())
            if found["severity"] == Severity.NOTICE
        ),
    )


def _trouble(told: dict[str, Any]) -> str | None:
    """What went wrong in a run, in one line; ``None`` if nothing did."""
    for failure in told["course"]["failures"]:
        return f"{failure['url']}: {failure['reason']}"
    for finding in told["course"].get("findings", ()):
        if finding["severity"] == Severity.FATAL:
            return f"{finding['url']}: {HELD}: {finding['reason']}"
    for stop in told["course"]["stops"]:
        if stop["reason"] in (StopReason.INTERRUPTED.value, StopReason.FAILED.value):
            return f"{stop['start_url']}: {stop['reason']}"
    return None
