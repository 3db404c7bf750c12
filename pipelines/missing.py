"""Entries that a listing no longer shows, though it still shows older ones.  Pure.

A listing is judged only where it can be: its dates stand in order, newest first (a few pinned entries
aside), and its pages were read one after the other from the first.  What should stand among the pages
that were read and does not is gone.  What is older than the last entry that was read may just have
moved to a page that was not, and what has no date has no place.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, time
from typing import Final

from pipelines.entry import Entry, Record
from pipelines.identity import form_of
from pipelines.ledger import PageSeen
from pipelines.run import Scope

_FEWEST: Final = 3  # dated entries that show an order
_IN_ORDER: Final = 0.9  # of them, at least
_DAYS: Final = ("day", "minute", "second")


def gone(
    pages: Sequence[PageSeen],
    days_shown: Mapping[str, Sequence[int]],
    newer: Callable[[datetime], Iterable[Record]],
    run_id: str,
    scope: Scope,
) -> list[Record]:
    """The rows that one run shows to be missing, marked with when that was seen.

    ``days_shown`` are the days of the entries of each page (as ordinals), by the page's record, in their order;
    ``newer`` gives the source's rows, as they are after the run, published after a moment, but perhaps
    not those that the run has seen.
    """
    found: dict[str, Record] = {}
    for chain in _chains(pages):
        days = [day for page in chain for day in days_shown.get(page.warc_record_id, ())]
        oldest = _last_in_order(days)
        if oldest is None:
            continue
        listing = {form_of(page.url) for page in chain}
        absent = [
            row
            for row in newer(datetime.combine(oldest, time.max))
            if row.missing_since is None
            and day_of(row) is not None
            and row.run_id < run_id
            and form_of(row.page_url) in listing
            and scope.covers(row)
        ]
        # Where more is gone than is left, the page has changed, not the listing.
        if len(absent) <= sum(day > oldest.toordinal() for day in days):
            since = chain[0].fetched_at
            found.update((row.entry_id, replace(row, missing_since=since)) for row in absent)
    return list(found.values())


def _chains(pages: Sequence[PageSeen]) -> Iterator[list[PageSeen]]:
    """Pages that were read one after the other, each the next page of the one before it."""
    by_address = {_plain(page.url): page for page in reversed(pages)}
    following = {_plain(page.next_url) for page in pages if page.next_url}
    for page in by_address.values():
        if _plain(page.url) not in following:
            chain, met = [page], {id(page)}
            while chain[-1].next_url:
                after = by_address.get(_plain(chain[-1].next_url))
                if after is None or id(after) in met:
                    break
                chain.append(after)
                met.add(id(after))
            yield chain


def _last_in_order(days: Sequence[int]) -> date | None:
    """The end of the longest run of days from new to old; ``None`` where they have no order.

    Patience sorting: ``tails[n]`` is the latest day with which n + 1 of the days can end in order.
    """
    tails: list[int] = []
    for day in days:
        at = bisect_right(tails, -day)
        tails[at : at + 1] = [-day]
    if len(days) < _FEWEST or len(tails) < _IN_ORDER * len(days):
        return None
    return date.fromordinal(-tails[-1])


def day_of(entry: Entry | Record) -> date | None:
    """The day of an entry, where its page says so much."""
    if entry.published is None or entry.published_precision not in _DAYS:
        return None
    return entry.published.date()


def _plain(url: str) -> str:
    return url.partition("#")[0].rstrip("/")
