"""Web archives: a real pywb replays what we archived, and gives a listing's past to a backfill."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from conftest import a_page, article, listing
from test_crawl import crawl, frame
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from harvester.captures import NoCaptures, captures, index_address, worth_fetching
from harvester.spiders.amnesty_org import AmnestyOrg
from pipelines.dataset import Dataset

LISTING = AmnestyOrg.start_urls[0]


class Pywb:
    """pywb on loopback, over the archive files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.archive = folder / "collections" / "c" / "archive"
        self.archive.mkdir(parents=True)
        (folder / "config.yaml").write_text("framed_replay: false\nenable_banner: false\n")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._folder = folder
        self.address = f"http://127.0.0.1:{self._port}/c"

    def __enter__(self) -> Pywb:
        command = Path(sys.executable).parent / "wayback"
        self._process = subprocess.Popen(
            [command, "-b", "127.0.0.1", "-p", str(self._port), "-a", "--auto-interval", "1"],
            cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(300):
            try:
                with urlopen(f"{self.address}/cdx?url={LISTING}", timeout=5):
                    return self
            except URLError:
                time.sleep(0.1)
        raise AssertionError("pywb does not answer")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)


def captured(path: Path, pages: list[tuple[str, str, str]]) -> None:
    """A web archive's own file: time, address and page of each capture."""
    with path.open("wb") as raw:
        writer = WARCWriter(raw, gzip=True)
        for stamp, url, page in pages:
            head = [("Content-Type", "text/html; charset=utf-8"), ("ETag", '"x"')]
            writer.write_record(
                writer.create_warc_record(
                    url,
                    "response",
                    payload=BytesIO(page.encode()),
                    http_headers=StatusAndHeaders("200 OK", head, protocol="HTTP/1.1"),
                    warc_headers_dict={"WARC-Date": stamp},
                )
            )


@pytest.fixture(scope="module")
def past(tmp_path_factory) -> Iterator[str]:
    """A web archive that has a listing as it was four times, and its second page."""
    folder = tmp_path_factory.mktemp("pywb")
    one, two, three = (
        article(f"Entry {n}", f"/news/entry-{n}/", f"July {n}, 2011", f"What entry {n} says")
        for n in (1, 2, 3)
    )
    edited = two.replace("What entry 2 says", "What entry 2 said later")
    second = f"{LISTING.rstrip('/')}/page/2/"
    older = article("Entry 0", "/news/entry-0/", "July 1, 2010", "What entry 0 says")
    with Pywb(folder) as pywb:
        captured(
            pywb.archive / "past.warc.gz",
            [
                ("2011-07-02T10:00:00Z", LISTING, listing(two, one, next_page=second)),
                ("2011-07-02T11:00:00Z", second, listing(older)),
                ("2011-07-02T12:00:00Z", LISTING, listing(two, one, next_page=second)),
                ("2011-07-05T10:00:00Z", LISTING, listing(three, edited, one)),
                ("2014-01-01T10:00:00Z", LISTING, listing(three, edited, one) + "<!-- x -->"),
            ],
        )
        for _ in range(100):
            with urlopen(f"{pywb.address}/cdx?url={LISTING}", timeout=5) as answer:
                if answer.read().count(b"\n") == 4:
                    break
            time.sleep(0.1)
        yield pywb.address


@pytest.mark.parametrize("index", ["/cdx", "/cdx?output=json", "/timemap/link", "/timemap/cdxj"])
def test_a_listing_s_past_is_taken_from_a_web_archive(run, past, tmp_path, index) -> None:
    order = ("harvester", "backfill", "amnesty_org", "--from", past + index, "--until",
             "2012-12-31", "--output", tmp_path / "o")  # fmt: skip
    done = run(*order)
    assert (done.code, done.err) == (0, "")
    rows = {r.title: r for r in Dataset(tmp_path / "o").records("amnesty_org")}
    assert {title: row.first_seen for title, row in rows.items()} == {
        "Entry 1": datetime(2011, 7, 2, 10, tzinfo=UTC),
        "Entry 2": datetime(2011, 7, 2, 10, tzinfo=UTC),
        "Entry 3": datetime(2011, 7, 5, 10, tzinfo=UTC),
    }
    assert rows["Entry 2"].revision == 2
    assert rows["Entry 2"].teaser == "What entry 2 said later"
    assert rows["Entry 1"].last_seen == datetime(2011, 7, 5, 10, tzinfo=UTC)
    versions = Dataset(tmp_path / "o").versions_of(rows["Entry 2"].entry_id)
    assert [v.since.day for v in versions] == [2, 5]
    files = sorted(path.name for path in (tmp_path / "o" / "archive" / "amnesty_org").iterdir())
    assert run(*order).code == 0
    again = sorted(path.name for path in (tmp_path / "o" / "archive" / "amnesty_org").iterdir())
    assert again == files, "nothing is fetched twice"
    for command in (("check",), ("archive", "check")):
        done = run("harvester", *command, "--output", tmp_path / "o")
        assert (done.code, done.err) == (0, "")
    done = run(
        "harvester", "archive", "prove", rows["Entry 2"].entry_id, "--output", tmp_path / "o"
    )
    assert done.code == 0, done.err
    before = frame(tmp_path / "o")
    assert run("harvester", "replay", "--output", tmp_path / "o").code == 0
    assert before.equals(frame(tmp_path / "o"))


def test_a_backfill_follows_pages_and_never_lowers_what_is_known(run, past, tmp_path) -> None:
    order = ("harvester", "backfill", "amnesty_org", "--from", f"{past}/cdx", "--max-pages", "2",
             "--output", tmp_path / "o")  # fmt: skip
    assert run(*order, "--since", "2013-01-01").code == 0
    late = {r.title: r for r in Dataset(tmp_path / "o").records("amnesty_org")}
    assert late["Entry 2"].first_seen.year == 2014
    assert run(*order).code == 0
    rows = {r.title: r for r in Dataset(tmp_path / "o").records("amnesty_org")}
    assert set(rows) == {"Entry 0", "Entry 1", "Entry 2", "Entry 3"}
    assert rows["Entry 2"].first_seen.year == 2011
    assert rows["Entry 2"].entry_id == late["Entry 2"].entry_id
    assert rows["Entry 2"].last_seen.year == 2014
    assert rows["Entry 2"].teaser == "What entry 2 said later"


def test_a_backfill_of_what_is_known_tells_its_whole_history(run, past, tmp_path) -> None:
    """Crawled live first, as newest, then its past: as if it had been the other way round."""
    live = tmp_path / "live"
    order = ("harvester", "backfill", "amnesty_org", "--output", live, "--from", f"{past}/cdx")
    assert run(*order, "--since", "2014-01-01").code == 0
    assert run(*order).code == 0
    [entry] = [r for r in Dataset(live).records("amnesty_org") if r.title == "Entry 2"]
    told = [(v.teaser, v.since.year) for v in Dataset(live).versions_of(entry.entry_id)]
    assert told == [("What entry 2 says", 2011), ("What entry 2 said later", 2011)]
    done = run("harvester", "replay", "--dry-run", "--output", live)
    assert done.out == "amnesty_org: 0 rows would change\n"


def test_captures_stay_in_their_archive(run, site, tmp_path) -> None:
    url = "https://www.amnesty.org/en/"
    index = "".join(
        f'<{site.url(f"/web/{year}0101000000/{url}")}>; rel="memento"; datetime="x",\n'
        for year in (2011, 2012, 2013, 2014)
    )
    site.pages[f"/timemap/link/{url}"] = index
    raw = f"/web/{{}}0101000000id_/{url}"
    page = listing(article("One", "/1", "July 1, 2010", "Teaser"))
    told = {"Memento-Datetime": "Sat, 01 Jan 2011 00:00:00 GMT"}
    site.pages[raw.format(2011)] = (200, told, page)
    site.pages[raw.format(2012)] = (302, {"Location": site.url("/live")}, "")
    site.pages["/live"] = listing(article("Today", "/2", "July 1, 2025", "Not captured"))
    site.pages[raw.format(2013)] = (404, {"Memento-Datetime": "x"}, "captured error")
    site.pages[raw.format(2014)] = (302, {"Location": site.url(raw.format(2011))}, "")
    order = ("harvester", "backfill", "amnesty_org", "--start-url", url, "--output", tmp_path / "o",
             "--from", site.url("/timemap/link"))  # fmt: skip
    done = run(*order)
    assert "/live" not in site.asked
    rows = Dataset(tmp_path / "o").records("amnesty_org")
    assert [(r.title, r.first_seen.year) for r in rows] == [("One", 2011)], done.err


def test_a_web_archive_that_has_nothing_or_is_none(run, past, site, tmp_path) -> None:
    order = ("harvester", "backfill", "amnesty_org", "--output", tmp_path / "o")
    done = run(*order, "--from", f"{past}/cdx", "--start-url", "https://www.amnesty.org/never/")
    assert done.code == 69
    assert "no captures" in done.err
    site.pages["/cdx?url=https%3A%2F%2Fwww.amnesty.org%2Fx%2F"] = "<html>Welcome"
    done = run(*order, "--from", site.url("/cdx"), "--start-url", "https://www.amnesty.org/x/")
    assert done.code == 69
    assert "no list of captures" in done.err
    done = run(*order, "--from", "http://127.0.0.1:9/cdx")
    assert done.code == 69
    assert "127.0.0.1:9" in done.err
    assert run(*order, "--from", "archive.org").code == 64


def test_indices_of_other_web_archives() -> None:
    """In the forms that their documentation gives; no live one was asked."""
    url = "http://example.org/news/"
    index = "https://web.archive.org/cdx/search/cdx"
    table = (
        '[["urlkey","timestamp","original","mimetype","statuscode","digest","length"],\n'
        '["org,example)/news","20110102030405","http://example.org/news/","text/html","200","AAA","9"],\n'
        '["org,example)/news","20110103030405","http://example.org/news/","warc/revisit","-","AAA","9"],\n'
        '["org,example)/news","20110104030405","http://example.org/news/","text/html","301","CCC","9"]]'
    )
    lines = (
        "org,example)/news 20110102030405 http://example.org/news/ text/html 200 AAA 9\n"
        "org,example)/news 20110105030405 http://example.org/news/ text/html 200 BBB 9\n"
    )
    for text, days in ((table, [2, 3]), (lines, [2, 5])):
        found = captures(text, index, url)
        assert [c.at.day for c in found] == days
        assert found[0].raw_url == (
            "https://web.archive.org/web/20110102030405id_/http://example.org/news/"
        )
    assert len(list(worth_fetching(captures(table, index, url), None, None))) == 1
    both = captures(lines, index, url)
    assert [c.at.day for c in worth_fetching(both, date(2011, 1, 3), None)] == [5]
    links = (
        '<http://example.org/news/>; rel="original",\n'
        '<http://a.example/timemap/link/http://example.org/news/>; rel="self"; type="application/link-format",\n'
        '<http://a.example/web/20110102030405/http://example.org/news/>; rel="first memento";'
        ' datetime="Sun, 02 Jan 2011 03:04:05 GMT",\n'
        '<http://a.example/web/20120102030405mp_/http://example.org/news/>; rel="memento";'
        ' datetime="Mon, 02 Jan 2012 03:04:05 GMT"\n'
    )
    found = captures(links, "http://a.example/timemap/link/", url)
    assert [c.raw_url for c in found] == [
        f"http://a.example/web/{year}0102030405id_/http://example.org/news/"
        for year in (2011, 2012)
    ]
    assert captures("", index, url) == captures("[]", index, url) == []
    for nonsense in ("<html>", "hello", "{", '{"a": 1}', "a b c d"):
        with pytest.raises(NoCaptures):
            captures(nonsense, index, url)
    assert index_address(index, url) == f"{index}?url=http%3A%2F%2Fexample.org%2Fnews%2F"
    assert index_address("http://a/timemap/link", url) == f"http://a/timemap/link/{url}"
    assert index_address("http://a/x?u={url}", url).startswith("http://a/x?u=http%3A")
    assert index_address("http://a/cdx?url=b", url) == "http://a/cdx?url=b"


def test_pywb_and_a_browser_show_an_archived_page(run, site, tmp_path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("chromium is not installed")
    site.pages["/list/1"] = a_page(1, last=1)
    for _ in range(2):  # the second answer is a revisit
        assert crawl(run, site, tmp_path / "o", "--full").code == 0
    files = Dataset(tmp_path / "o").archive_files("amnesty_org")
    assert len(files) == 2
    with Pywb(tmp_path / "pywb") as pywb:
        for path in files:
            shutil.copy(path, pywb.archive)
        for path in files:
            stamp = path.name[:8] + path.name[9:15]
            url = f"{pywb.address}/{stamp}/{site.url('/list/1')}"
            for _ in range(50):
                order = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu",
                         f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", url]  # fmt: skip
                shown = subprocess.run(
                    order, capture_output=True, text=True, timeout=90, check=False
                )
                if "Entry 1-0" in shown.stdout:
                    break
                time.sleep(0.2)
            assert "Entry 1-0" in shown.stdout
            assert "What entry 1-2 has to say" in shown.stdout
