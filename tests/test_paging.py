"""When a listing is followed, and why it is not."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from harvester.paging import Chain, Follow, Stop, StopReason, decide
from pipelines.entry import Entry
from pipelines.run import Scope


def entries(*days: int | None) -> list[Entry]:
    return [
        Entry(
            title=f"Title {n}-{day}",
            published=datetime(2011, 7, day) if day else None,
            published_precision="day" if day else None,
        )
        for n, day in enumerate(days)
    ]


def step(page, next_url="/2", chain=None, scope=None, *, all_known=False, same_site=True):
    chain = chain or Chain("/1")
    return decide(page, next_url, chain, scope or Scope(), all_known=all_known, same_site=same_site)


def test_the_next_page_is_followed() -> None:
    assert step(entries(3, 2, 1)) == Follow("/2")


@pytest.mark.parametrize(
    ("reason", "arguments"),
    [
        (StopReason.LAST_PAGE, {"next_url": None}),
        (StopReason.KNOWN, {"all_known": True}),
        (StopReason.ELSEWHERE, {"same_site": False}),
        (StopReason.MAX_PAGES, {"scope": Scope(max_pages=1)}),
        (StopReason.WINDOW, {"scope": Scope(since=date(2011, 7, 4))}),
    ],
)
def test_reasons_to_stop(reason, arguments) -> None:
    assert step(entries(3, 2, 1), **arguments) == Stop(reason)


def test_a_page_without_entries_ends_it() -> None:
    assert step([]) == Stop(StopReason.NO_ENTRIES)


def test_full_reads_on_past_what_is_known() -> None:
    assert step(entries(3), all_known=True, scope=Scope(full=True)) == Follow("/2")


def test_cycles_end() -> None:
    chain = Chain("/1")
    chain.saw("/1", entries(3, 2))
    assert step(entries(3, 2), "/3", chain) == Stop(StopReason.REPEATED)
    assert step(entries(2, 1), "/1", chain) == Stop(StopReason.REPEATED)
    assert step(entries(9, 1), "/3", chain) == Follow("/3"), "a listing that shifted by one"


def test_an_endless_listing_is_capped() -> None:
    chain = Chain("/1", pages=999)
    assert step(entries(1), chain=chain) == Stop(StopReason.MAX_PAGES)


def test_one_pinned_old_entry_does_not_end_the_window() -> None:
    scope = Scope(since=date(2011, 7, 4))
    assert step(entries(1, 9, 8), scope=scope) == Follow("/2")
    assert step(entries(None, None), scope=scope) == Follow("/2"), "nothing is dated"


def test_what_counts_as_read_whole() -> None:
    whole = {reason for reason in StopReason if reason.whole}
    assert whole == {StopReason.LAST_PAGE, StopReason.KNOWN, StopReason.REPEATED}
