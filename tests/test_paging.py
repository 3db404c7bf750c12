"""When a listing is followed, and why it is not."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from harvester.paging import Chain, Follow, Seen, Stop, StopReason, decide, same_listing
from pipelines.entry import Entry
from pipelines.run import Scope

START = "https://example.org/news/?country=belarus"
HOSTS = frozenset(["example.org"])
TODAY = date(2011, 8, 1)


def entries(*days: int | None) -> list[Entry]:
    return [
        Entry(
            title=f"Title {n}-{day}",
            published=datetime(2011, 7, 1) + timedelta(days=day - 1) if day is not None else None,
            published_precision="day" if day is not None else None,
        )
        for n, day in enumerate(days)
    ]


class Reader:
    """Reads pages one after the other, as a spider does."""

    def __init__(self, scope: Scope | None = None, start: str = START) -> None:
        self.scope = scope or Scope()
        self.chain = Chain(start)

    def __call__(self, page: list[Entry], next_url: str | None = None, **more) -> Follow | Stop:
        number = self.chain.pages + 1
        url = START if number == 1 else f"{START}&page={number}"
        told = {"digest": f"{number}".encode(), "fetched_on": TODAY, **more}
        following = f"{START}&page={number + 1}" if next_url is None else next_url or None
        seen = Seen(url=url, entries=page, next_url=following, **told)
        self.chain.saw(seen, self.scope)
        return decide(seen, self.chain, self.scope, HOSTS)


NEXT = Follow(f"{START}&page=2")


def test_the_next_page_is_followed() -> None:
    assert Reader()(entries(3, 2, 1)) == NEXT


@pytest.mark.parametrize(
    ("reason", "scope", "arguments"),
    [
        (StopReason.LAST_PAGE, Scope(), {"next_url": ""}),
        (StopReason.KNOWN, Scope(), {"known_tail": 3}),
        (StopReason.ELSEWHERE, Scope(), {"next_url": "https://other.org/?country=belarus&page=2"}),
        (StopReason.OTHER_LISTING, Scope(), {"next_url": "https://example.org/news/?page=2"}),
        (StopReason.OTHER_LISTING, Scope(), {"next_url": START.replace("belarus", "poland")}),
        (StopReason.CYCLE, Scope(), {"next_url": START}),
        (StopReason.MAX_PAGES, Scope(max_pages=1), {}),
        (StopReason.CALENDAR, Scope(), {"fetched_on": date(2011, 1, 1)}),
    ],
)
def test_reasons_to_stop(reason, scope, arguments) -> None:
    assert Reader(scope)(entries(3, 2, 1), **arguments) == Stop(reason)


def test_a_page_without_entries_ends_it() -> None:
    assert Reader()([]) == Stop(StopReason.NO_ENTRIES)


def test_a_pager_may_leave_out_what_only_says_where_a_reader_came_from() -> None:
    reader = Reader(start=f"{START}&utm_source=mail&page=1")
    assert reader(entries(3, 2, 1)) == NEXT


def test_full_reads_on_past_what_is_known() -> None:
    assert Reader(Scope(full=True))(entries(3), known_tail=1) == NEXT


def test_a_block_of_known_entries_ends_an_ordered_listing() -> None:
    page = entries(*range(20, 0, -1))
    assert Reader()(page, known_tail=10) == Stop(StopReason.KNOWN)
    assert Reader()(page, known_tail=9) == NEXT
    pinned = [*entries(1), *page[1:]]
    assert Reader()(pinned, known_tail=10) == Stop(StopReason.KNOWN)
    shuffled = page[::2] + page[1::2]
    assert Reader()(entries(*([None] * 20)), known_tail=19) == NEXT, (
        "what is new may stand anywhere"
    )
    assert Reader()(entries(*range(20)), known_tail=19) == NEXT
    assert Reader()(shuffled, known_tail=20) == Stop(StopReason.KNOWN)


def test_pages_that_show_nothing_new_end_it() -> None:
    reader = Reader()
    assert reader(entries(3, 2, 1)) == NEXT
    assert isinstance(reader(entries(3, 2)), Follow), "a listing that shifted by a page"
    assert reader(entries(3, 2, 1)) == Stop(StopReason.REPEATED)
    reader = Reader()
    reader(entries(3, 2, 1))
    assert reader(entries(9), digest=b"1") == Stop(StopReason.REPEATED), "the very same page"
    reader = Reader()
    reader(entries(3, 2))
    assert isinstance(reader(entries(3, 9)), Follow)
    assert isinstance(reader(entries(3, 2)), Follow)
    assert isinstance(reader(entries(8)), Follow), "news in between"


def test_an_endless_listing_is_capped() -> None:
    reader = Reader()
    steps = [reader([Entry(title=f"{n}")]) for n in range(1_000)]
    assert steps[-1] == Stop(StopReason.CAP)
    assert all(isinstance(step, Follow) for step in steps[:-1])


def test_the_window_ends_a_listing_that_has_passed_it() -> None:
    scope = Scope(since=date(2011, 7, 25))
    page = entries(*range(20, 0, -1))
    assert Reader(scope)(page) == Stop(StopReason.WINDOW)
    assert isinstance(Reader(scope)([*page, *entries(30)]), Follow), "one is still inside"
    reader = Reader(scope)
    unordered = [entries(*(n * 7 % 20 + 1 for n in range(k, k + 9))) for k in (0, 9, 18)]
    steps = [reader(page) for page in unordered]
    assert [isinstance(step, Follow) for step in steps] == [True, True, False]
    assert steps[2] == Stop(StopReason.WINDOW)
    assert isinstance(Reader(scope)(entries(None, None)), Follow), "nothing is dated"


def test_what_counts_as_read_whole() -> None:
    whole = {reason.name for reason in StopReason if reason.whole}
    assert whole == {"LAST_PAGE", "KNOWN", "REPEATED", "CYCLE", "CAP"}


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("http://www.example.org/news?country=belarus", True),
        (f"{START}&page=4", True),
        ("https://example.org/news/page/3/?country=belarus", True),
        ("https://example.org/news/3?country=belarus", True),
        ("https://example.org/news/page-3.html?country=belarus", True),
        ("https://example.org/news/", False),
        ("https://example.org/news/some-title/?country=belarus", False),
        ("https://example.org/12?country=belarus", False),
        ("https://example.org/other/page/2?country=belarus", False),
        ("https://other.org/news?country=belarus", False),
        ("http://[", False),
    ],
)
def test_which_pages_are_of_one_listing(url, same) -> None:
    assert same_listing(url, START) is same
