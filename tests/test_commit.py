"""A commit is all or nothing, whatever fails and wherever; and what is damaged is named and rebuilt."""

from __future__ import annotations

import csv
import io
import json
import random
import shutil
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_rows import DAWN, HOSTS, seen

import harvester
from pipelines import commit, table
from pipelines.check import check, check_stories
from pipelines.dataset import Dataset
from pipelines.entry import Sighting
from pipelines.health import Vitals
from pipelines.ledger import Course, PageSeen
from pipelines.publish import Publication, publish
from pipelines.run import Run, next_run_id
from pipelines.table import DatasetError


def run_of(number: int) -> Run:
    at = DAWN + timedelta(days=number)
    return Run(run_id=next_run_id("test", at, ()), source="test", started=at, hosts=HOSTS)


def page_of(sightings: list[Sighting]) -> PageSeen:
    first = sightings[0]
    return PageSeen(
        url=first.page_url,
        fetched_at=first.fetched_at,
        status=200,
        vitals=Vitals(records=len(sightings)),
        entries=len(sightings),
        unread_dates=0,
        warc_file=first.warc_file,
        warc_record_id=first.warc_record_id,
    )


def day(number: int, **more) -> Sighting:
    """One entry of a dated listing, the newest at the highest number."""
    return seen(
        f"Title {number}",
        f"https://example.org/news/{number}",
        f"Teaser {number}",
        datetime(2011, 1, 1) + timedelta(days=number),
        **more,
    )


def listing(run: int, numbers: list[int], edits: frozenset[int] = frozenset()) -> list[Sighting]:
    shown = [day(n, run=run, position=at) for at, n in enumerate(numbers)]
    return [replace(s, title=f"{s.title}, edited in {run}") if n in edits else s
            for n, s in zip(numbers, shown, strict=True)]  # fmt: skip


def put(dataset: Dataset, run: int, sightings: list[Sighting]):
    pages = (page_of(sightings),) if sightings else ()
    with dataset.lock("test"):
        return publish(dataset, run_of(run), sightings, Course(pages=pages))


def rebuilt(root: Path, history: list[list[Sighting]]) -> Dataset:
    """The data set made from all runs at once."""
    dataset = Dataset(root)
    archived = {
        run_of(n).run_id: (run_of(n), Course(pages=(page_of(s),) if s else ()))
        for n, s in enumerate(history, start=1)
    }
    with dataset.lock("test"):
        every = [s for sightings in history for s in sightings]
        publish(dataset, run_of(99), every, Course(), archived=archived, rebuild=True)
    return dataset


def state(dataset: Dataset) -> tuple[object, object]:
    return dataset.records("test"), dataset.versions("test")


# ------------------------------------------------------------------ versions and disappearances
def test_an_edit_makes_a_version_with_its_window(tmp_path) -> None:
    dataset = Dataset(tmp_path)
    put(dataset, 1, listing(1, [3, 2, 1]))
    put(dataset, 2, listing(2, [3, 2, 1], frozenset([2])))
    put(dataset, 3, listing(3, [3, 2, 1], frozenset([2])))
    versions = [v for v in dataset.versions("test") if v.title and v.title.startswith("Title 2")]
    first, second, third = versions
    assert [v.title for v in versions] == [
        "Title 2",
        "Title 2, edited in 2",
        "Title 2, edited in 3",
    ]
    assert first.since == seen(run=1).fetched_at
    assert first.until == second.since == seen(run=2).fetched_at
    assert (second.until, third.until) == (third.since, None)
    assert second.warc_file == "archive/test/2.warc.gz"
    assert len(dataset.versions("test")) == 5
    assert not list(check(dataset, "test")) or all(
        "archive" in str(f) for f in check(dataset, "test")
    )


def test_what_a_listing_drops_while_it_shows_older_ones_is_missing_until_it_returns(
    tmp_path,
) -> None:
    dataset = Dataset(tmp_path)

    def missing() -> dict[str | None, datetime | None]:
        return {r.title: r.missing_since for r in dataset.records("test") if r.missing_since}

    put(dataset, 1, listing(1, [9, 8, 7, 6, 5, 4]))
    put(dataset, 2, listing(2, [10, 9, 8, 6, 5]))  # 4 has moved off the page, 7 is gone
    assert missing() == {"Title 7": seen(run=2).fetched_at}
    put(dataset, 3, listing(3, [11, 10, 9, 8, 6]))
    assert missing() == {"Title 7": seen(run=2).fetched_at}, "since it was first seen to be gone"
    put(dataset, 4, listing(4, [11, 10, 9, 8, 7, 6]))
    assert missing() == {}
    put(dataset, 5, listing(5, [11, 6]))
    assert missing() == {}, "two entries have no order"
    put(dataset, 6, listing(6, [12, 6, 5, 4]))
    assert missing() == {}, "most is gone: the page has changed"
    put(dataset, 7, listing(7, [1, 12, 11, 10, 9, 8, 6, 5, 4, 3, 2]))
    assert missing() == {"Title 7": seen(run=7).fetched_at}, (
        "a pinned entry is no end of the listing"
    )


@st.composite
def histories(draw) -> list[list[Sighting]]:
    """Runs over a listing whose entries come, go, return and are edited.

    Some are printed twice, under another slug; some runs read a mirror; the clock jumps between them.
    """
    found = []
    newest = 6
    for run in range(1, draw(st.integers(1, 5)) + 1):
        newest += draw(st.integers(0, 2))
        shown = [n for n in range(newest, newest - 7, -1) if draw(st.integers(0, 5))]
        edits = frozenset(n for n in shown if draw(st.integers(0, 9)) == 0)
        seen_now = listing(run, shown, edits)
        for s in [s for s in seen_now if draw(st.integers(0, 7)) == 0]:
            where = draw(st.integers(0, len(seen_now)))
            seen_now.insert(where, replace(s, url=f"{s.url}-again"))
        jump = timedelta(days=draw(st.sampled_from([0, 0, 0, -2, 3])), milliseconds=run)
        host = draw(st.sampled_from(["example.org", "example.org", "mirror.example.net"]))
        found.append([
            replace(
                s, position=at, fetched_at=s.fetched_at + jump,
                url=s.url and s.url.replace("example.org", host),
                page_url=s.page_url.replace("example.org", host),
            )
            for at, s in enumerate(seen_now)
        ])  # fmt: skip
    return found


@settings(max_examples=60, deadline=None)
@given(histories(), st.integers(2, 4))
def test_a_rebuild_equals_the_runs_one_by_one(tmp_path_factory, history, full) -> None:
    root = tmp_path_factory.mktemp("o")
    kept, table.FULL = table.FULL, full  # so that a few rows fill files
    try:
        live = Dataset(root / "live")
        for number, sightings in enumerate(history, start=1):
            put(live, number, sightings)
        again = rebuilt(root / "again", history)
        assert state(live) == state(again)
        sizes = [part.rows for part in live.manifest("test").tables.get("entries", ())]
        assert all(size == full for size in sizes[:-1])
    finally:
        table.FULL = kept


@st.composite
def crawls(draw) -> list[list[list[Sighting]]]:
    """Runs of several pages, on which entries come again, change, and share addresses and words."""
    urls = [*(f"https://example.org/news/{n}" for n in range(4)), "https://example.org/", None]
    entries = st.tuples(
        st.sampled_from(["One", "Two", "Three", None]),
        st.sampled_from(urls),
        st.sampled_from(["A teaser.", "Another teaser.", None]),
        st.sampled_from([None, *(datetime(2011, 1, n) for n in (1, 2, 3))]),
    )
    runs = draw(
        st.lists(st.lists(st.lists(entries, max_size=4), max_size=4), min_size=1, max_size=3)
    )
    return [
        [
            [seen(*told, run=run, page=page, position=at) for at, told in enumerate(shown)]
            for page, shown in enumerate(pages)
        ]
        for run, pages in enumerate(runs, start=1)
    ]


@settings(max_examples=60, deadline=None)
@given(crawls(), st.integers(1, 4), st.integers(1, 3))
def test_where_a_run_is_cut_into_slices_makes_no_difference(
    tmp_path_factory, history, most, overtaken
) -> None:
    whole, sliced, again = (Dataset(tmp_path_factory.mktemp("o")) for _ in range(3))
    archived = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.publish._OVERTAKEN", overtaken)
        patch.setattr(table, "FULL", 2)
        for number, pages in enumerate(history, start=1):
            run = run_of(number)
            course = Course(pages=tuple(page_of(shown) for shown in pages if shown))
            archived[run.run_id] = run, course, pages
            with whole.lock("test"):
                told = publish(whole, run, [s for shown in pages for s in shown], course)
            with sliced.lock("test"):
                publication = Publication(sliced, run, most=most)
                for shown in pages:
                    publication.take(run, shown)
                publication.end(run.run_id, run, course)
                assert publication.finish(course).counts == told.counts
            assert state(sliced) == state(whole)
        with again.lock("test"):  # the same runs, read from their archive, as one
            publication = Publication(again, run_of(99), replayed=True, most=most)
            for run_id, (run, course, pages) in archived.items():
                for shown in pages:
                    publication.take(run, shown)
                publication.end(run_id, run, course)
            publication.finish(Course())
        assert state(again) == state(whole)


def test_a_row_stays_in_its_file_and_only_touched_files_are_written(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(table, "FULL", 4)
    dataset = Dataset(tmp_path)
    put(dataset, 1, listing(1, list(range(12, 0, -1))))
    before = dataset.manifest("test").tables["entries"]
    put(dataset, 2, listing(2, [14, 13]))
    after = dataset.manifest("test").tables["entries"]
    assert after[:3] == before, "nothing of the old files was touched"
    assert [part.rows for part in after] == [4, 4, 4, 2]
    put(dataset, 3, [day(12, run=3)])
    third = dataset.manifest("test").tables["entries"]
    assert [a == b for a, b in zip(after, third, strict=True)] == [False, True, True, True]
    for index in tmp_path.glob(".index/**/*.keys"):
        index.write_bytes(b"torn")
    put(dataset, 4, listing(4, [14, 13, 12]))
    assert len(dataset.records("test")) == 14, "an index is only a cache"


def test_what_is_new_and_what_an_entry_said(tmp_path, run) -> None:
    dataset = Dataset(tmp_path)
    put(dataset, 1, listing(1, [3, 2, 1]))
    put(dataset, 2, listing(2, [4, 3, 2], frozenset([2])))
    assert len(harvester.load(tmp_path)) == 4
    fresh = harvester.load(str(tmp_path), new_since="2026-01-03")
    assert list(fresh["title"]) == ["Title 4"]
    assert sorted(harvester.load(tmp_path, "revisions", new_since=DAWN)["revision"]) == [
        1,
        1,
        1,
        1,
        2,
    ]
    for table_, problem in (("entries", "no data set"), ("nothing", "no table")):
        with pytest.raises(DatasetError, match=problem):
            harvester.load(tmp_path / "nowhere", table_)
    [edited] = [row for row in dataset.records("test") if row.revision == 2]
    done = run("harvester", "diff", edited.entry_id, "--output", tmp_path)
    assert "- title: Title 2\n+ title: Title 2, edited in 2\n" in done.out
    assert done.out.count("proof: archive/test/") == 2
    assert run("harvester", "diff", "e1-x", "--output", tmp_path).code == 64


def test_exports(tmp_path, run) -> None:
    dataset = Dataset(tmp_path / "o")
    texts = ["=1+1", '+"x", y', "-2", "@a", "plain, with a comma"]
    shown = [replace(s, title=t) for s, t in zip(listing(1, [5, 4, 3, 2, 1]), texts, strict=True)]
    put(dataset, 1, shown)
    done = run("harvester", "export", "--output", dataset.root)
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [r["title"] for r in rows] == ["'=1+1", '\'+"x", y', "'-2", "'@a", "plain, with a comma"]
    assert rows[0]["published"] == "2011-01-06T00:00:00"
    assert rows[0]["missing_since"] == ""
    target = tmp_path / "rows.jsonl"
    order = (
        "harvester",
        "export",
        "test",
        "--to",
        "jsonl",
        "--file",
        target,
        "--output",
        dataset.root,
    )
    assert run(*order).code == 0
    told = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    assert [t["title"] for t in told] == texts
    assert told[0]["urls"] == ["https://example.org/news/5"]
    assert run(*order).code == 64, "nothing is overwritten"
    assert run("harvester", "export", "--to", "xml", "--output", dataset.root).code == 64


def test_an_export_that_cannot_be_written_says_why(tmp_path, run) -> None:
    dataset = Dataset(tmp_path / "output")
    assert "no rows in" in run("harvester", "export", "--output", dataset.root).err
    put(dataset, 1, listing(1, [3, 2, 1]))
    for file in ("", ".", "none/a.csv"):
        done = run("harvester", "export", "--file", file, "--output", dataset.root)
        assert done.code == 64
        assert "--file" in done.err
    twice = run("harvester", "export", "test", "test", "--output", dataset.root)
    assert len(twice.out.splitlines()) == 4
    [part] = dataset.root.glob("entries/*/*.parquet")
    part.write_bytes(b"")
    assert run("harvester", "export", "--file", "a.csv", "--output", dataset.root).code == 65
    assert [path.name for path in tmp_path.iterdir()] == ["output"], "no half of it"


def test_a_feed_and_a_database(tmp_path, run) -> None:
    dataset = Dataset(tmp_path / "o")
    texts = ["<b>&amp; \u202e</b>", "Two", None]
    shown = [replace(s, title=t) for s, t in zip(listing(1, [3, 2, 1]), texts, strict=True)]
    put(dataset, 1, shown)
    put(dataset, 2, listing(2, [3], frozenset([3])))
    done = run("harvester", "export", "test", "--to", "feed", "--output", dataset.root)
    feed = ElementTree.fromstring(done.out.encode())
    atom = "{http://www.w3.org/2005/Atom}"
    entries = feed.findall(f"{atom}entry")
    assert [e.findtext(f"{atom}title") for e in entries] == [
        "Title 3, edited in 2",
        "Two",
        "Teaser 1",
    ]
    assert entries[0].findtext(f"{atom}updated") == "2026-01-03T00:00:01Z"
    assert entries[1].findtext(f"{atom}updated") == "2026-01-02T00:00:01Z"
    assert entries[1].find(f"{atom}link").get("href") == "https://example.org/news/2"
    assert len({e.findtext(f"{atom}id") for e in (feed, *entries)}) == 4

    target = tmp_path / "all.duckdb"
    order = ("harvester", "export", "--to", "duckdb", "--output", dataset.root)
    assert run(*order).code == 64, "it needs a file"
    assert run(*order, "--file", target).code == 0
    with duckdb.connect(target, read_only=True) as database:
        told = database.sql(
            "SELECT source, count(*), max(revision) FROM entries GROUP BY source"
        ).fetchall()
        assert told == [("test", 3, 2)]
        assert database.sql("SELECT count(*) FROM revisions").fetchall() == [(4,)]
    assert run(*order, "--file", target).code == 64, "nothing is overwritten"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.duckdb", "o"]

    odd = (tmp_path / "x[1]" / "source=other").absolute()
    odd.parent.mkdir()
    dataset.root.rename(odd)
    target.unlink()
    assert run("harvester", "export", "--to", "duckdb", "--output", odd, "--file", target).code == 0
    with duckdb.connect(target, read_only=True) as database:
        assert database.sql("SELECT DISTINCT source FROM entries").fetchall() == [("test",)]


# ------------------------------------------------------------------ faults
class Killed(BaseException):
    """As good as a kill: nothing of ours catches it, and what cleans up is turned off."""


class Fault:
    """Raises before the ``stop``-th step of a commit that changes the disk."""

    STEPS = (
        "os.link",
        "os.fsync",
        "os.rename",
        "os.mkdir",
        "os.remove",
        "os.rmdir",
        "ctypes.dlsym",
    )

    def __init__(self) -> None:
        self.stop = self.done = 0
        sys.addaudithook(self._hear)  # for the rest of this process

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.stop or (event != "open" and event not in self.STEPS):
            return
        mode = arguments[1] if event == "open" else "w"
        if ".index" in str(arguments[0]) or not (isinstance(mode, str) and mode[:1] in ("w", "x")):
            return
        self.done += 1
        if self.done == self.stop:
            raise self.error

    def arm(self, stop: int, error: BaseException) -> None:
        self.stop, self.done, self.error = stop, 0, error

    def disarm(self) -> bool:
        """Whether it struck."""
        struck = self.done >= self.stop
        self.stop = 0
        return struck


@pytest.fixture(scope="module")
def fault() -> Fault:
    return Fault()


@pytest.mark.parametrize("kind", ["killed", "failed"])
def test_after_a_fault_at_any_step_the_tables_are_old_or_new(
    tmp_path, monkeypatch, fault, kind
) -> None:
    history = [listing(1, [5, 4, 3, 2]), listing(2, [6, 5, 4, 3, 2], frozenset([4]))]
    whole = state(rebuilt(tmp_path / "whole", history))
    for stop in range(1, 200):
        dataset = Dataset(tmp_path / str(stop))
        put(dataset, 1, history[0])
        with monkeypatch.context() as patch:
            if kind == "killed":
                patch.setattr(commit.shutil, "rmtree", lambda *a, **k: None)
            fault.arm(
                stop, Killed() if kind == "killed" else OSError(28, "No space left on device")
            )
            with suppress(Killed, OSError, DatasetError):
                put(dataset, 2, history[1])
            struck = fault.disarm()
        rows = len(dataset.read()), len(dataset.read("revisions"))
        assert rows[0] in (4, 5), (stop, rows)
        assert rows[1] in (4, 6), (stop, rows)
        put(dataset, 2, history[1])
        assert state(dataset) == whole, stop
        assert [f for f in check(dataset, "test") if "archive" not in str(f)] == []
        if not struck:
            break
    assert stop > 15, "the commit has more steps than that"


def test_where_folders_cannot_trade_places_one_follows_the_other(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(commit, "_exchange", lambda one, other: False)
    dataset = Dataset(tmp_path)
    put(dataset, 1, listing(1, [3, 2, 1]))
    put(dataset, 2, listing(2, [4, 3, 2], frozenset([2])))
    assert len(dataset.read()) == 4
    assert [f for f in check(dataset, "test") if "archive" not in str(f)] == []


def test_what_was_committed_is_ended_in_a_copy_too(tmp_path, monkeypatch) -> None:
    one, other = Dataset(tmp_path / "one"), Dataset(tmp_path / "other")
    put(one, 1, listing(1, [3, 2, 1]))
    before = state(one)
    trade, traded = commit.Staging._trade, []

    def once(self: commit.Staging, path: str, files: dict[str, str | None]) -> None:
        if traded:
            raise Killed
        traded.append(path)
        trade(self, path, files)

    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(commit.Staging, "_trade", once)
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        put(one, 2, listing(2, [4, 3, 2, 1], frozenset([3])))
    shutil.copytree(one.root, other.root)
    for dataset in (one, other):
        with dataset.lock("test"):
            pass
        assert len(dataset.records("test")) == 4
    assert state(one) == state(other) != before


def test_check_names_what_belongs_to_nobody_and_says_what_it_cannot_repair(tmp_path, run) -> None:
    dataset = Dataset(tmp_path / "o")
    assert run("harvester", "demo", "--output", dataset.root).code == 0

    def told(code: int, *order: str) -> str:
        done = run("harvester", "check", "--output", dataset.root, *order)
        assert done.code == code, done.err
        return done.err

    told(0)
    marks = dataset.root / ".stories" / "told"
    one, other = sorted(path.name for path in (dataset.root / "runs").iterdir())
    for path, content in {
        marks / "belhelcom.json": dataset.manifest_file("belhelcom").read_bytes(),
        dataset.root / "DEMO.txt": b"?",
        dataset.root / "runs" / one: (dataset.root / "runs" / other).read_bytes(),
    }.items():
        path.write_bytes(content)
        assert str(path) in told(65)
        assert path.name in told(0, "--repair")
        assert not told(0)
    (marks / "folder").mkdir()
    assert "folder" in told(65)
    told(0, "--repair")
    (dataset.root / "entries" / "notes.txt").write_text("mine")
    shutil.copytree(dataset.root / "entries/source=belhelcom", dataset.root / "entries/source=gone")
    assert "notes.txt" in told(65)
    assert "gone: this cannot be repaired" in told(65, "--repair")
    assert "gone.json" in told(65, "gone")
    assert told(64, "never")


def test_every_flipped_bit_is_named(tmp_path) -> None:
    dataset = Dataset(tmp_path)
    put(dataset, 1, listing(1, list(range(40, 0, -1))))
    put(dataset, 2, listing(2, list(range(42, 2, -1)), frozenset([20])))
    paths = [p for p in sorted(tmp_path.rglob("*")) if p.is_file() and p.stat().st_size]
    assert {p.parent.name for p in paths} >= {"source=test", "manifests", "runs"}
    chance = random.Random(1)
    for _ in range(300):
        path = chance.choice(paths)
        whole = path.read_bytes()
        at = chance.randrange(len(whole))
        flipped = whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :]
        path.write_bytes(flipped)
        found = [*check(dataset, "test"), *check_stories(dataset)]
        assert path in {finding.path for finding in found}, (path, at)
        path.write_bytes(whole)
