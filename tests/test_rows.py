"""Which entry is which: identity, repeats, edits; and that order and repetition change nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.dataset import Dataset
from pipelines.dedupe import Decision, decide
from pipelines.entry import Record, Rejected, Sighting
from pipelines.identity import address_key, canonical_url, leads_inward
from pipelines.ledger import Counts, Course
from pipelines.normalize import normalize
from pipelines.publish import publish
from pipelines.run import Run, Scope, next_run_id
from pipelines.text import fold

HOSTS = frozenset(["example.org"])
DAWN = datetime(2026, 1, 1, tzinfo=UTC)


def seen(
    title: str | None = "Title",
    url: str | None = "https://example.org/news/one/",
    teaser: str | None = "Teaser",
    published: datetime | None = datetime(2011, 7, 11),
    *,
    run: int = 1,
    page: int = 1,
    position: int = 0,
    **more,
) -> Sighting:
    at = DAWN + timedelta(days=run, seconds=page)
    return Sighting(
        title=title, url=url, teaser=teaser, published=published,
        published_precision="day" if published else None,
        published_raw=str(published.date()) if published else None,
        source="test", language="en", page_url=f"https://example.org/news?page={page}",
        position=position, fetched_at=at, run_id=next_run_id("test", DAWN + timedelta(days=run), ()),
        warc_file=f"archive/test/{run}.warc.gz", warc_record_id=f"<urn:uuid:{run}-{page}>", **more,
    )  # fmt: skip


def settle(
    *sightings: Sighting, known: list[Record] | None = None
) -> tuple[list[str], list[Record]]:
    """The verdicts, and the rows after them."""
    normal = [n for s in sightings if isinstance(n := normalize(s), Sighting)]
    rows = {row.entry_id: row for row in known or []}
    verdicts = []
    for decision in decide(normal, rows.values(), {s.run_id: HOSTS for s in normal}).decisions:
        verdicts.append(decision.verdict if isinstance(decision, Decision) else "rejected")
        if isinstance(decision, Decision):
            rows[decision.record.entry_id] = decision.record
    return verdicts, list(rows.values())


# ------------------------------------------------------------------ addresses
@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTP://Example.ORG:80/a/../b?utm_source=x&id=2#frag", "http://example.org/b?id=2"),
        ("https://example.org./x", "https://example.org/x"),
        ("https://example.org", "https://example.org/"),
        ("https://www.example.org/a/?fbclid=1", "https://www.example.org/a/"),
        ("https://example.org/a;jsessionid=123?x=1", "https://example.org/a?x=1"),
        ("https://example.org/#!/page", "https://example.org/#!/page"),
        ("https://example.org/a b", "https://example.org/a%20b"),
        ("https://example.org:8443/a", "https://example.org:8443/a"),
        ("https://user:pw@example.org/a", "https://example.org/a"),
        ("https://example.org/навіны", "https://example.org/%D0%BD%D0%B0%D0%B2%D1%96%D0%BD%D1%8B"),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("file:///etc/passwd", None),
        ("http://[", None),
        ("http://", None),
        ("", None),
    ],
)
def test_canonical_addresses(url, canonical) -> None:
    assert canonical_url(url) == canonical


@given(st.text(max_size=60))
def test_canonical_is_canonical(text) -> None:
    for url in (text, f"https://example.org/{text}"):
        once = canonical_url(url)
        assert once is None or canonical_url(once) == once


@pytest.mark.parametrize(
    "other",
    [
        "http://example.org/news/one/",
        "https://www.example.org/news/one",
        "https://example.org//news/one/?utm_campaign=x",
        "https://example.org/news/one/index.html",
        "https://example.org/news/%6Fne/",
    ],
)
def test_spellings_of_an_address_are_one_entry(other) -> None:
    verdicts, rows = settle(seen(), seen("Another title", other, "Other", None, run=2))
    assert verdicts == ["new", "revised"]
    assert len(rows) == 1


def test_nfc_and_nfd_are_one_address() -> None:
    keys = {
        address_key(canonical_url(f"https://example.org/{name}"), HOSTS)
        for name in ("й", "и\u0306", "%D0%B9")
    }
    assert len(keys) == 1


def test_a_mirror_makes_no_new_entry_and_another_site_does() -> None:
    hosts = HOSTS | {"mirror.net"}
    one = address_key("https://example.org/a", hosts)
    assert address_key("https://mirror.net/a", hosts) == one
    assert address_key("https://elsewhere.com/a", hosts) != one


def test_the_listing_and_the_fronts_above_it_are_no_entries() -> None:
    page = "https://www.example.org/en/news?page=2"
    for url in (
        "https://example.org/en/news",
        "https://example.org/en/",
        "https://example.org/",
        page,
    ):
        assert not leads_inward(url, page)
    for url in (
        "https://example.org/en/news/a",
        "https://example.org/en/newsletter",
        "https://x.com/",
    ):
        assert leads_inward(url, page)


# ------------------------------------------------------------------ decisions
def test_a_repeat_under_another_slug_is_one_row_with_both_addresses() -> None:
    verdicts, [row] = settle(seen(), seen(url="https://example.org/news/one-2/", position=1))
    assert verdicts == ["new", "repeat"]
    assert row.urls == ("https://example.org/news/one/", "https://example.org/news/one-2/")
    assert row.repeats == 2


def test_items_that_share_a_title_stay_apart() -> None:
    verdicts, rows = settle(
        seen(),
        seen(url="https://example.org/2", teaser="See below.", position=1),
        seen(url="https://example.org/3", published=datetime(2011, 7, 12), position=2),
        seen(url="https://example.org/4", teaser=None, published=None, position=3),
    )
    assert verdicts == ["new"] * 4
    assert len({row.entry_id for row in rows}) == 4


def test_a_shared_address_identifies_nothing() -> None:
    for url in ("https://example.org/front/", "https://example.org/news?page=1", None):
        page = [seen(f"Title {n}", url, position=n) for n in range(3)]
        verdicts, rows = settle(*page)
        assert verdicts == ["new"] * 3
        again, _ = settle(*(replace(s, run_id=seen(run=2).run_id) for s in page), known=rows)
        assert again == ["seen"] * 3


def test_an_address_that_three_records_share() -> None:
    page = [
        seen(None, position=0, published=None),
        seen("A", position=1),
        seen("B", position=2, published=datetime(2012, 1, 1)),
    ]
    _, rows = settle(*page)
    assert sorted(row.title or "" for row in rows) == ["", "A", "B"]


def test_one_run_shows_two_entries_at_an_address_on_two_pages() -> None:
    other = seen("Totally other", teaser="Another teaser", published=datetime(2012, 1, 1), page=2)
    verdicts, rows = settle(seen(), other)
    assert verdicts == ["new", "new"]
    assert settle(seen(), other, known=rows)[1] == rows


def test_quoted_signs_are_part_of_a_name() -> None:
    keys = {address_key(f"https://example.org/a{x}id=1", HOSTS) for x in ("?", "%3F", "%2F", "/")}
    assert len(keys) == 4


def test_a_mirror_that_is_added_later_changes_no_id(tmp_path) -> None:
    at = seen(run=9)
    first = seen(url="https://mirror.net/a")
    second = seen(url="https://mirror.net/a", run=2)
    runs = [
        Run(run_id=s.run_id, source="test", started=DAWN, hosts=hosts)
        for s, hosts in ((first, HOSTS), (second, HOSTS | {"mirror.net"}))
    ]
    live, again = Dataset(tmp_path / "live"), Dataset(tmp_path / "again")
    for run, sighting in zip(runs, (first, second), strict=True):
        publish(live, run, [sighting], Course())
    act = Run(run_id=at.run_id, source="test", started=DAWN, hosts=HOSTS)
    archived = {run.run_id: (run, Course()) for run in runs}
    publish(again, act, [first, second], Course(), archived=archived, rebuild=True)
    assert live.records("test") == again.records("test")


def test_copies_on_one_page_that_differ_in_their_teaser_are_copies() -> None:
    verdicts, [row] = settle(seen(teaser=None), seen(teaser="The list says more", position=1))
    assert verdicts == ["new", "repeat"]
    assert row.teaser == "The list says more"


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"title": "Another title"}, "revised"),
        ({"teaser": "Another teaser"}, "revised"),
        ({"published": datetime(2011, 7, 12)}, "revised"),
        ({"kind": "Report"}, "revised"),
        ({}, "seen"),
        ({"title": " Title\u200a "}, "seen"),
        ({"title": None}, "seen"),
        ({"teaser": None, "published": None}, "seen"),
        ({"teaser": "Teas", "teaser_truncated": True}, "seen"),
        ({"published": datetime(2011, 7, 13), "published_relative": True}, "seen"),
    ],
)
def test_edits(change, verdict) -> None:
    known = settle(seen(kind="News"))[1]
    verdicts, [row] = settle(seen(run=2, **{"kind": "News", **change}), known=known)
    assert verdicts == [verdict]
    assert row.entry_id == known[0].entry_id
    assert row.revision == (2 if verdict == "revised" else 1)
    assert row.title is not None, "what is not shown is not taken back"
    assert row.first_seen == known[0].first_seen


def test_a_cut_teaser_that_grows_is_no_edit() -> None:
    known = settle(seen(teaser="A long", teaser_truncated=True))[1]
    verdicts, [row] = settle(seen(teaser="A long teaser", run=2), known=known)
    assert verdicts == ["seen"]
    assert (row.teaser, row.teaser_truncated) == ("A long teaser", False)


def test_an_archive_that_is_read_late_adds_history_and_overwrites_nothing() -> None:
    known = settle(seen("New title", run=5))[1]
    verdicts, [row] = settle(seen("Old title", run=1), known=known)
    assert verdicts == ["seen"]
    assert (row.title, row.revision, row.run_id) == ("New title", 1, known[0].run_id)
    assert row.first_seen == seen(run=1).fetched_at


def test_nothing_to_go_by_is_refused_with_its_reason() -> None:
    assert isinstance(normalize(seen(None, None, None, None)), Rejected)
    assert isinstance(normalize(seen(" ", "javascript:x", "\n", None)), Rejected)
    verdicts, _ = settle(seen(None, "https://example.org/news?page=1", None, None))
    assert verdicts == ["rejected"]


# ------------------------------------------------------------------ promises
words = st.sampled_from([None, "Part 3", "Part 4", "A title"])
sightings = st.lists(
    st.builds(
        seen,
        title=words,
        url=st.sampled_from(
            [None, *(f"https://example.org/news/{n}" for n in range(4)), "https://m.org/x"]
        ),
        teaser=st.sampled_from([None, "Teaser", "Other"]),
        published=st.sampled_from([None, datetime(2011, 7, 11), datetime(2012, 1, 1)]),
        run=st.integers(1, 3),
        page=st.integers(1, 2),
        position=st.integers(0, 9),
    ),
    max_size=12,
    unique_by=lambda s: (s.run_id, s.page_url, s.position),
)


@given(sightings, st.randoms(use_true_random=False))
def test_the_order_of_what_comes_in_changes_nothing(found, random) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)
    assert settle(*found) == settle(*shuffled)


@given(sightings)
def test_run_by_run_and_all_at_once_give_the_same_rows(found) -> None:
    _, at_once = settle(*found)
    rows: list[Record] = []
    for run_id in sorted({s.run_id for s in found}):
        _, rows = settle(*(s for s in found if s.run_id == run_id), known=rows)
    assert sorted(rows, key=str) == sorted(at_once, key=str)


@st.composite
def histories(draw):
    """What real listings show: entries with a slug or two, edited now and then, printed in part."""
    found = []
    edits = [""] * 4
    for run in range(1, 4):
        edits = [draw(st.sampled_from([edit, f" {run}"])) for edit in edits]
        for page in (1, 2):
            for position, n in enumerate(draw(st.lists(st.integers(0, 3), max_size=4))):
                found.append(
                    seen(
                        f"Title {n}{edits[n]}",
                        f"https://example.org/news/{n}" + draw(st.sampled_from(["", "-2/"])),
                        draw(st.sampled_from([f"Teaser {n}", None])),
                        datetime(2011, 7, 1 + n),
                        run=run,
                        page=page,
                        position=position,
                    )
                )
    return found


@given(histories())
def test_deciding_twice_changes_nothing(found) -> None:
    _, rows = settle(*found)
    last = max((s.run_id for s in found), default=None)
    verdicts, again = settle(*(s for s in found if s.run_id == last), known=rows)
    assert again == rows
    assert not {"new", "revised"} & set(verdicts)


@given(sightings)
def test_every_entry_is_accounted_for(tmp_path_factory, found) -> None:
    dataset = Dataset(tmp_path_factory.mktemp("o"))
    run = Run(run_id=seen(run=9).run_id, source="test", started=DAWN, hosts=HOSTS)
    counts = publish(dataset, run, found, Course()).counts
    assert counts.entries == len(found)
    assert dataset.records("test") == sorted(
        dataset.records("test"), key=lambda r: (r.first_seen, r.page_url, r.position, r.entry_id)
    )


def test_counts_that_do_not_add_up_are_never_written() -> None:
    with pytest.raises(AssertionError, match="lost"):
        Counts(entries=2, new=1)


# ------------------------------------------------------------------ small things
@given(st.text())
def test_folding_is_final(text) -> None:
    once = fold(text)
    assert fold(once) == once
    assert once is None or once.encode()


def test_run_ids_only_grow() -> None:
    first = next_run_id("a-b", DAWN, ())
    assert first == "20260101T000000Z-a-b"
    assert (
        next_run_id("a-b", DAWN - timedelta(days=9), [first, "not a run"]) == "20260101T000001Z-a-b"
    )


def test_a_window_has_both_its_days_and_keeps_what_has_no_date() -> None:
    window = Scope(since=datetime(2011, 7, 11).date(), until=datetime(2011, 7, 12).date())
    days = [10, 11, 12, 13]
    admitted = [d for d in days if window.covers(seen(published=datetime(2011, 7, d, 23, 59)))]
    assert admitted == [11, 12]
    assert window.covers(seen(published=None))
    year = seen(published=datetime(2011, 1, 1))
    assert window.covers(replace(year, published_precision="year"))
    assert not window.covers(replace(year, published_precision="month"))
