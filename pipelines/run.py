"""A run: what was asked of one source, and the name its files carry.

A run id is ``<UTC second>-<source>``: it sorts by time, names the archive file and the ledger file,
and only ever grows, so that the order of runs survives a clock that was set back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal

from pipelines.entry import Entry, Record

SOURCE_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_STAMP: Final = "%Y%m%dT%H%M%SZ"

Mode = Literal["crawl", "recovery", "replay"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What was asked: start addresses, window of publication days (both ends included), bounds.

    ``max_pages`` counts listing pages for each start address.  ``full`` reads on past pages on which
    everything is already known.  ``accept`` takes pages as they are that are not what they were.
    """

    start_urls: tuple[str, ...] = ()
    since: date | None = None
    until: date | None = None
    max_pages: int | None = None
    full: bool = False
    accept: bool = False

    def covers(self, entry: Entry | Record) -> bool:
        """Whether the window admits an entry.  One without a readable date is never left out."""
        if entry.published is None:
            return True
        first = entry.published.date()
        last = first
        if entry.published_precision == "year":
            last = first.replace(month=12, day=31)
        elif entry.published_precision == "month":
            last = (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
        return not ((self.until and first > self.until) or (self.since and last < self.since))


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of one source.  ``hosts`` are the hosts that are the source itself, mirrors too."""

    run_id: str
    source: str
    started: datetime
    hosts: frozenset[str] = frozenset()
    scope: Scope = Scope()
    mode: Mode = "crawl"


def in_window(day: date, since: date | None, until: date | None) -> bool:
    """Whether a day lies in a window, both ends included; an end may be open."""
    return not ((since and day < since) or (until and day > until))


def next_run_id(source: str, now: datetime, taken: Iterable[str]) -> str:
    """A run id for ``now``, or one second after the latest of ``taken`` where that is later."""
    stamp = now.astimezone(UTC).replace(microsecond=0)
    for run_id in taken:
        if parsed := run_started(run_id):
            stamp = max(stamp, parsed + timedelta(seconds=1))
    return f"{stamp.strftime(_STAMP)}-{source}"


def run_started(run_id: str) -> datetime | None:
    """The UTC second a run id begins with; ``None`` for a name that is no run id."""
    try:
        return datetime.strptime(run_id.partition("-")[0], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
