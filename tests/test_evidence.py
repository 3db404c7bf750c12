"""The archive as evidence: nothing twice, everything provable, every fault named, the past read again."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import a_page, article, listing
from fastwarc.stream_io import GzipWriter
from fastwarc.warc import WarcRecord, WarcRecordType
from test_archive import ABOUT, RUN, exchange
from test_crawl import assert_same_rows, crawl, frame, ledgers
from warcio.archiveiterator import ArchiveIterator
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from harvester.archive import index
from harvester.archive.inspection import Inspected, check_index, inspect
from harvester.archive.reader import indexed, read_archive
from harvester.archive.words import Answer
from harvester.archive.writer import ArchiveWriter
from harvester.parsers.pattern import ListingPattern
from harvester.spider import ListingSpider
from harvester.spiders.amnesty_org import AmnestyOrg
from pipelines.dataset import Change, Dataset
from pipelines.known import ENTRIES, REVISIONS
from pipelines.table import key

SEEN = ("last_seen", "run_id")


@pytest.fixture
def three_pages(site):
    for number in (1, 2, 3):
        site.pages[f"/list/{number}"] = a_page(number) + "<!-- " + "x" * 20_000 + " -->"
    return site


def archives(output: Path) -> list[Path]:
    return Dataset(output).archive_files("amnesty_org")


def records(path: Path) -> list[tuple[str, str]]:
    """Type and profile, or address, of each record of a file."""
    with path.open("rb") as stream:
        return [
            (r.rec_type, (r.rec_headers.get_header("WARC-Profile") or "").rpartition("/")[2])
            for r in ArchiveIterator(stream)
            if r.rec_type in ("response", "revisit")
        ]


# ------------------------------------------------------------------ nothing twice
@pytest.mark.parametrize(
    ("tags", "profile"), [(True, "server-not-modified"), (False, "identical-payload-digest")]
)
def test_unchanged_pages_are_not_stored_again(run, three_pages, tmp_path, tags, profile) -> None:
    three_pages.tags = tags
    output = tmp_path / "o"
    assert crawl(run, three_pages, output).code == 0
    before = frame(output)
    for _ in range(2):  # the second time, the last answer is a revisit itself
        assert crawl(run, three_pages, output, "--full").code == 0
    first, second, third = archives(output)
    for path in (second, third):
        assert [told for told in records(path) if told != ("response", "")] == [
            ("revisit", profile)
        ] * 3
        assert path.stat().st_size < 12_000 < 60_000
    assert len(gzip.decompress(first.read_bytes())) > 60_000
    assert len(gzip.decompress(third.read_bytes())) < 10_000
    after = frame(output)
    assert_same_rows(before, after, but=SEEN)
    assert (after["last_seen"] > before["last_seen"]).all()

    assert run("harvester", "archive", "check", "--output", output).code == 0
    for path in (first, second, third):
        assert subprocess.run([bin_of("warcio"), "check", path], check=False).returncode == 0
        assert subprocess.run([bin_of("fastwarc"), "check", path], check=False).returncode == 0
    shutil.rmtree(output / "entries")
    shutil.rmtree(output / "revisions")
    shutil.rmtree(output / "manifests")
    assert run("harvester", "replay", "--output", output).code == 0
    assert_same_rows(after, frame(output))


def bin_of(command: str) -> Path:
    return Path(sys.executable).parent / command


def test_a_changed_page_is_stored_whole_and_an_old_one_is_known_again(run, site, tmp_path) -> None:
    site.tags = True
    pages = [listing(article("One", "/1", "July 1, 2011", f"Teaser {n}")) for n in (1, 2)]
    for number, page in enumerate([pages[0], pages[1], pages[1], pages[0]]):
        site.pages["/list/1"] = page
        assert crawl(run, site, tmp_path / "o").code == 0, number
    kinds = [[kind for kind, _ in records(path)][-1] for path in archives(tmp_path / "o")]
    assert kinds == ["response", "response", "revisit", "response"]
    [row] = Dataset(tmp_path / "o").records("amnesty_org")
    assert (row.teaser, row.revision) == ("Teaser 1", 3)


def test_damage_to_the_archive_takes_no_history(run, site, tmp_path) -> None:
    for teaser in ("First", "Second"):
        site.pages["/list/1"] = listing(article("One", "/1", "July 1, 2011", teaser))
        assert crawl(run, site, tmp_path / "o").code == 0
    dataset = Dataset(tmp_path / "o")
    rows, versions = dataset.records("amnesty_org"), dataset.versions("amnesty_org")
    for member in (0, 1):  # warcinfo, page
        path = archives(tmp_path / "o")[0]
        whole = bytearray(path.read_bytes())
        whole[starts(path)[member] + 100] ^= 1
        path.write_bytes(whole)
        order = ("harvester", "check", "--repair", "--output", dataset.root)
        assert run(*order).code == 65
        [table] = dataset.root.glob("entries/*/*.parquet")
        table.write_bytes(b"")  # what can be read of the archive and of the versions is kept
        done = run(*order)
        assert done.code == 65 and path.name in done.err
        assert dataset.versions("amnesty_org") == versions
        [row] = dataset.records("amnesty_org")
        assert (row.entry_id, row.teaser) == (rows[0].entry_id, "Second")


def test_a_relative_date_is_that_of_the_body_it_stands_in(run, site, tmp_path) -> None:
    site.tags = True
    site.pages["/list/1"] = listing(article("One", "/1", "2 hours ago", "Teaser"))
    assert crawl(run, site, tmp_path / "o", "--until", "2011-01-01").code == 0
    assert crawl(run, site, tmp_path / "o").code == 0
    [row] = Dataset(tmp_path / "o").records("amnesty_org")
    told = [a for path in archives(tmp_path / "o") for a in read_archive(path) if a.listing]
    assert row.published <= told[0].fetched_at.replace(tzinfo=None)
    assert row.first_seen == told[1].fetched_at


def test_who_says_not_modified_unasked_confirms_nothing(run, three_pages, tmp_path) -> None:
    assert crawl(run, three_pages, tmp_path / "o").code == 0
    before = frame(tmp_path / "o")
    three_pages.pages["/list/1"] = (304, {}, b"")
    done = crawl(run, three_pages, tmp_path / "o", "--full")
    assert done.code == 69 and "304" in done.err
    assert (frame(tmp_path / "o")["last_seen"] == before["last_seen"]).all()
    assert run("harvester", "archive", "check", "--output", tmp_path / "o").code == 0


def test_what_a_killed_run_had_half_written_is_set_aside(run, three_pages, tmp_path) -> None:
    assert crawl(run, three_pages, tmp_path / "o").code == 0
    [path] = archives(tmp_path / "o")
    whole, begun = path.read_bytes(), starts(path)
    for cut in (0, begun[1] // 2, begun[1], begun[2], (begun[2] + begun[3]) // 2, begun[4]):
        shutil.rmtree(tmp_path / "k", ignore_errors=True)
        killed = tmp_path / "k" / "archive" / "amnesty_org" / path.name
        killed.parent.mkdir(parents=True)
        killed.write_bytes(whole[:cut])
        assert crawl(run, three_pages, tmp_path / "k").code in (0, 65, 69), cut
        for command in (("check",), ("archive", "check")):
            done = run("harvester", *command, "--output", tmp_path / "k")
            assert (done.code, done.err) == (0, ""), (cut, begun)
        assert len(frame(tmp_path / "k")) == 9


def test_an_archived_page_that_is_damaged_is_asked_for_again(run, three_pages, tmp_path) -> None:
    three_pages.tags = True
    assert crawl(run, three_pages, tmp_path / "o").code == 0
    [path] = archives(tmp_path / "o")
    broken = bytearray(path.read_bytes())
    for start in starts(path):
        broken[start + 200] ^= 1
    path.write_bytes(broken)
    assert crawl(run, three_pages, tmp_path / "o", "--full").code == 0
    assert {kind for kind, _ in records(archives(tmp_path / "o")[1])} == {"response"}


# ------------------------------------------------------------------ what was cut
def test_an_answer_that_ends_early_is_kept_as_such_and_asked_for_again(
    run, three_pages, tmp_path
) -> None:
    three_pages.cut = 1
    assert crawl(run, three_pages, tmp_path / "o").code == 0
    assert len(frame(tmp_path / "o")) == 9
    [path] = archives(tmp_path / "o")
    assert gzip.decompress(path.read_bytes()).count(b"WARC-Truncated: disconnect") == 1
    assert run("harvester", "archive", "check", "--output", tmp_path / "o").code == 0
    three_pages.cut = 99
    done = crawl(run, three_pages, tmp_path / "o", "--full")
    assert done.code == 69
    assert "ended early" in done.err
    assert len(frame(tmp_path / "o")) == 9
    assert run("harvester", "replay", "--output", tmp_path / "o").code == 0


def test_an_answer_that_is_too_long_is_cut_and_says_so(run, three_pages, tmp_path) -> None:
    for more in ((), ("-s", "DOWNLOAD_TIMEOUT=9")):
        done = run(
            "scrapy", "crawl", "amnesty_org", "-s", "DOWNLOAD_MAXSIZE=9000", *more,
            "-s", f"HARVESTER_OUTPUT={tmp_path / 'o'}", "-a", f"start_url={three_pages.url('/list/1')}",
            cwd=Path(__file__).parents[1],
        )  # fmt: skip
        assert done.code == 0, done.err
    for told in ledgers(tmp_path / "o"):
        assert "longer than 9000 bytes" in told["course"]["failures"][0]["reason"]
    for path in archives(tmp_path / "o"):
        assert b"WARC-Truncated: length" in gzip.decompress(path.read_bytes())
        assert not list(inspect([path]))


# ------------------------------------------------------------------ files
def test_a_long_run_has_several_files(tmp_path) -> None:
    with ArchiveWriter(tmp_path / "archive/test", RUN, ABOUT, largest=5_000) as writer:
        names = [writer.append(exchange(n, body=bytes([n]) * n * 97)).file for n in range(40)]
    dataset = Dataset(tmp_path)
    files = dataset.archive_files("test")
    assert len(files) == len(set(names)) > 2
    assert [path.relative_to(tmp_path).as_posix() for path in files] == list(dict.fromkeys(names))
    assert not list(inspect(files))
    answers = [a for path in files for a in read_archive(path)]
    assert [a.body for a in answers] == [bytes([n]) * n * 97 for n in range(40)]
    for path in files:
        assert members(path)[0].startswith(b"WARC/1.1\r\n")
        assert index.index_of(path).read_bytes() == index.as_bytes(indexed(path))


def test_addresses_are_sorted_as_the_viewers_sort_them() -> None:
    from pywb.utils.canonicalize import canonicalize

    for url in (
        "https://www.Example.com/", "http://www2.example.com:80/a/", "http://example.com/dir/",
        "https://example.com:8443/A/B?b=2&a=1&c", "http://b\u00fccher.example/stra\u00dfe?q=\u00fc",
        "http://example.com/%7Efoo/%41%2fb?x=%20y+z", "http://example.com/a//b/../c/./d#frag",
        "http://u:p@example.com/x", "http://192.168.0.1:8000/x", "http://[::1]:8080/",
        "http://example.com/?a=1&A=2&a=0", "http://example.com/a?&b=1&&a", "http://example.com?",
        "http://example.com/\u043d\u043e\u0432\u043e\u0441\u0442\u0438?x=\u044b", "http://www.com/",
    ):  # fmt: skip
        assert index.surt(url) == canonicalize(url), url


def test_an_index_that_is_missing_or_wrong_is_made_anew(run, three_pages, tmp_path) -> None:
    output = tmp_path / "o"
    assert crawl(run, three_pages, output).code == 0
    [place] = output.glob("archive/*/*.cdxj")
    whole = place.read_bytes()
    for broken in (whole[:-9], whole.replace(b"200", b"404"), b""):
        place.write_bytes(broken)
        for command in (("archive", "check"), ("check",)):
            done = run("harvester", *command, "--output", output)
            assert done.code == 65
            assert place.name in done.err
        assert crawl(run, three_pages, output, "--full").code == 0, "it is only a help"
        assert run("harvester", "archive", "check", "--repair", "--output", output).code == 0
        assert place.read_bytes() == whole
    place.unlink()
    assert run("harvester", "check", "--repair", "--output", output).code == 0
    assert place.read_bytes() == whole


# ------------------------------------------------------------------ damage
def starts(path: Path) -> list[int]:
    data = path.read_bytes()
    found = re.finditer(rb"\x1f\x8b\x08\x00", data)
    return [m.start() for m in found]


def members(path: Path) -> list[bytes]:
    """The records of a file, unpacked."""
    data = path.read_bytes()
    edges = [*starts(path), len(data)]
    return [gzip.decompress(data[a:b]) for a, b in pairwise(edges)]


def pack(plain: list[bytes]) -> bytes:
    return b"".join(gzip.compress(record, 1, mtime=0) for record in plain)


@pytest.fixture
def two_files(tmp_path) -> list[Path]:
    """A page, and a run later the same page again."""
    from harvester.archive.past import Past
    from pipelines.run import Run

    folder = tmp_path / "archive" / "test"
    url = exchange(1).url
    for number in (1, 2):
        known = Past(sorted(folder.glob("*.warc.gz"))).answer(url)
        run_id = RUN.run_id.replace("030400", f"03040{number}")
        with ArchiveWriter(
            folder, Run(run_id=run_id, source="test", started=RUN.started), ABOUT
        ) as w:
            at = exchange(1).fetched_at + timedelta(hours=number)
            w.append(exchange(1, known=known, fetched_at=at))
            w.append(exchange(2 + number, fetched_at=at))
    return sorted(folder.glob("*.warc.gz"))


Mutant = Callable[[list[bytes]], list[bytes]]


def on(number: int, change: Callable[[bytes], bytes]) -> Mutant:
    """A change of one record: 0 warcinfo, 1 answer or revisit, 2 its request, 3 answer, 4 its request."""
    return lambda plain: [change(r) if n == number else r for n, r in enumerate(plain)]


def without(name: bytes) -> Callable[[bytes], bytes]:
    return lambda record: re.sub(rb"(?m)^" + name + rb": [^\r]*\r\n", b"", record, count=1)


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(record: bytes) -> bytes:
        assert re.search(old, record), old
        return re.sub(old, new, record, count=1)

    return change


MUTANTS: dict[str, tuple[Mutant, int, str]] = {
    "no id": (on(3, without(b"WARC-Record-ID")), 3, "WARC-Record-ID is missing"),
    "no date": (on(3, without(b"WARC-Date")), 3, "WARC-Date is missing"),
    "no type": (on(3, without(b"WARC-Type")), 3, "WARC-Type is missing"),
    "no length": (on(3, without(b"Content-Length")), 3, "Content-Length is missing"),
    "no address": (on(3, without(b"WARC-Target-URI")), 3, "WARC-Target-URI is missing"),
    "no block digest": (on(3, without(b"WARC-Block-Digest")), 3, "Block-Digest is missing"),
    "no payload digest": (on(3, without(b"WARC-Payload-Digest")), 3, "Payload-Digest is missing"),
    "no profile": (on(1, without(b"WARC-Profile")), 1, "WARC-Profile is missing"),
    "odd profile": (on(1, replaced(rb"revisit/identical", b"revisit/other")), 1, "profile"),
    "nothing referred to": (on(1, without(b"WARC-Refers-To")), 1, "Refers-To is missing"),
    "another referred to": (on(1, replaced(rb"(Refers-To: <urn:uuid:)....", rb"\g<1>0000")), 1, "not there before"),
    "another date referred to": (on(1, replaced(rb"(Refers-To-Date: )2026", rb"\g<1>2025")), 1, "Refers-To-Date"),
    "no date at all": (on(3, replaced(rb"WARC-Date: \S+", b"WARC-Date: yesterday")), 3, "no date"),
    "a day that is none": (on(3, replaced(rb"WARC-Date: 2026-01-02", b"WARC-Date: 2026-02-31")), 3, "no date"),
    "odd id": (on(3, replaced(rb"Record-ID: <urn:uuid:", b"Record-ID: <uuid ")), 3, "no id"),
    "odd type": (on(3, replaced(rb"WARC-Type: response", b"WARC-Type: answer")), 3, "not known"),
    "odd version": (on(3, replaced(rb"WARC/1\.1", b"WARC/3.1")), 3, "version"),
    "odd address of a machine": (on(3, replaced(rb"127\.0\.0\.1", b"127.0.0.1.9")), 3, "IP-Address"),
    "odd reason of a cut": (on(3, replaced(rb"WARC-Target", b"WARC-Truncated: x\r\nWARC-Target")), 3, "Truncated"),
    "a field twice": (on(3, replaced(rb"(WARC-Date: [^\r]*\r\n)", rb"\1\1")), 3, "2 times"),
    "a line that is no field": (on(3, replaced(rb"WARC-Date: ", b"WARC-Date ")), 3, "header line"),
    "duplicate id": (lambda plain: [*plain, *plain[3:]], 5, "earlier record"),
    "a body changed": (on(3, replaced(rb"Page 4", b"Page 9")), 3, "does not match"),
    "a header changed": (on(3, replaced(rb"text/html", b"text/htmm")), 3, "does not match"),
    "header without body": (on(3, lambda r: r[: r.index(b"\r\n\r\n") + 4]), 3, "torn"),
    "half a header": (on(3, lambda r: r[: r.index(b"\r\n\r\n")]), 3, "torn"),
    "length too short": (on(3, replaced(rb"Content-Length: \d+", b"Content-Length: 20")), 3, "does not end"),
    "no end": (on(3, lambda r: r.removesuffix(b"\r\n\r\n")), 3, "does not end"),
    "more than one": (lambda plain: [*plain[:3], plain[3] + plain[4]], 3, "bytes after the record"),
    "no warcinfo": (lambda plain: plain[1:], 0, "which is not there"),
    "no request": (lambda plain: [*plain[:2], *plain[3:]], 1, "request is not there"),
    "no answer": (lambda plain: [*plain[:3], plain[4]], 3, "which is not there"),
    "another file's": (on(0, replaced(rb"(WARC-Filename: )2026", rb"\g<1>2027")), 0, "the file was"),
    "pairs in another order": (lambda plain: [*plain[:3], plain[4], plain[3]], 3, "does not stand before"),
    "another run's records": (lambda plain: [*plain, plain[0]], 5, "another warcinfo"),
    "another address": (on(4, replaced(rb"page=4", b"page=5")), 4, "not that of its answer"),
    "a request that says it is an answer": (on(4, replaced(rb"msgtype=request", b"msgtype=response")), 4, "Content-Type"),
    "an endless length": (on(3, replaced(rb"Content-Length: \d+", b"Content-Length: " + b"9" * 5000)), 3, "Content-Length"),
    "no HTTP": (on(3, replaced(rb"HTTP/1\.1 200", b"HTTQ/1.1 200")), 3, "no HTTP"),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_every_kind_of_damage_is_named_with_its_place(two_files, name) -> None:
    assert not list(inspect(two_files))
    change, number, reason = MUTANTS[name]
    first, second = two_files
    second.write_bytes(pack(change(members(second))))
    found = list(inspect([first, second]))
    at = starts(second)[number]
    assert any(d.path == second and d.offset == at and reason in d.reason for d in found), found
    list(read_archive(second))


def test_torn_and_flipped_bytes_are_named_with_their_place(two_files) -> None:
    first, second = two_files
    whole = second.read_bytes()
    begun = starts(second)
    for cut in range(1, len(whole) - 1, 29):
        second.write_bytes(whole[:-cut])
        end = len(whole) - cut
        found = [d for d in inspect([first, second]) if d.path == second]
        assert found, cut
        if end not in begun:
            assert max(s for s in begun if s < end) in {d.offset for d in found}, cut
    for place in range(20, len(whole), 31):
        member = max(s for s in begun if s <= place)
        if place - member < 10:  # gzip's own header has no checksum; the ledger has
            continue
        flipped = whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]
        with suppress(OSError, EOFError, zlib.error):
            if gzip.decompress(flipped) == gzip.decompress(whole):
                continue  # another way to say the same
        second.write_bytes(flipped)
        found = {d.offset for d in inspect([first, second]) if d.path == second}
        assert member in found, place
    second.write_bytes(whole + b"\0" * 99)
    assert len(whole) in {d.offset for d in inspect([first, second])}


def test_plain_files_are_held_to_the_same(two_files, tmp_path) -> None:
    path = tmp_path / two_files[0].with_suffix("").name
    plain = members(two_files[0])
    named = [r.replace(two_files[0].name.encode(), path.name.encode()) for r in plain]
    whole = b"".join(named)
    path.write_bytes(whole)
    seen = Inspected()
    found = list(inspect([path], seen))
    assert [d.reason for d in found] in ([], ["WARC-Block-Digest does not match"])  # of the name
    assert seen.count == 5
    edges = [sum(map(len, named[:n])) for n in range(6)]
    for cut in (3, 500, 2500, 5000):
        path.write_bytes(whole[:-cut])
        begun = max(e for e in edges if e < len(whole) - cut)
        assert any(
            d.offset == begun and ("torn" in d.reason or "end" in d.reason) for d in inspect([path])
        )
    path.write_bytes(whole[: edges[2]] + b"GARBAGE" + whole[edges[2] :])
    assert edges[2] in {d.offset for d in inspect([path])}
    empty = tmp_path / "empty.warc.gz"
    empty.touch()
    assert [d.reason for d in inspect([empty])] == ["the file is empty"]
    assert check_index(empty)


def test_sound_files_of_others_raise_no_alarm(two_files, tmp_path) -> None:
    alone = tmp_path / "alone" / two_files[1].name
    alone.parent.mkdir()
    shutil.copy(two_files[1], alone)
    assert any("not there" in d.reason for d in inspect([alone]))
    assert not list(inspect([two_files[1]])), "what it refers to lies beside it"
    path = tmp_path / "other.warc.gz"
    with path.open("wb") as raw:
        writer = WARCWriter(raw, gzip=True, warc_version="1.1")
        head = StatusAndHeaders("200 OK", [("Content-Length", "9")], protocol="HTTP/1.1")
        record = writer.create_warc_record(
            "http://a/", "response", io.BytesIO(b""), http_headers=head
        )
        writer.write_record(record)  # an answer to HEAD, in a file without warcinfo
        writer.write_record(
            writer.create_revisit_record("http://a/", "sha1:X", "http://a/", "2020-01-01T00:00:00Z")
        )
    assert not list(inspect([path]))


def test_what_the_ledger_does_not_know_is_named(run, three_pages, tmp_path) -> None:
    assert crawl(run, three_pages, tmp_path / "o").code == 0
    assert crawl(run, three_pages, tmp_path / "o", "--full").code == 0
    first, second = archives(tmp_path / "o")
    whole, begun = first.read_bytes(), starts(first)
    for changed in (
        whole[: begun[-2]],
        whole + second.read_bytes(),
        whole[: begun[1]] + whole[begun[3] :],
    ):
        first.write_bytes(changed)
        for more in ((), ("--repair",), ()):
            done = run(
                "harvester", "archive", "check", "amnesty_org", *more, "--output", tmp_path / "o"
            )
            assert done.code == 65
            assert first.name in done.err and "ledger" in done.err


def test_the_command_names_files_and_says_what_it_does_not_know(run, two_files, tmp_path) -> None:
    assert run("harvester", "archive", "check", *two_files).code == 0
    whole = two_files[1].read_bytes()
    two_files[1].write_bytes(whole[:-7])
    done = run("harvester", "archive", "check", *two_files)
    assert done.code == 65
    assert f"{two_files[1]}: at byte" in done.err
    done = run("harvester", "archive", "check", "nobody")
    assert done.code == 64
    assert "nobody" in done.err


# ------------------------------------------------------------------ other people's files
def foreign(path: Path, pages: dict[str, str], tool: str, at: datetime) -> None:
    """Write pages with another tool's writer, beside much that is no page of a listing."""
    extra = {
        "https://example.org/logo.png": ("image/png", "no text"),
        "https://other.example/list": ("text/html", a_page(9)),
        "https://example.org/list/an-article-of-its-own/": ("text/html", "<p>An article"),
    }
    told = {url: ("text/html; charset=utf-8", body) for url, body in pages.items()} | extra
    stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    packed = path.suffix == ".gz"
    with path.open("wb") as raw:
        if tool == "warcio":
            writer = WARCWriter(raw, gzip=packed, warc_version="1.0")
            writer.write_record(writer.create_warcinfo_record(path.name, {"software": "x"}))
            for url, (mime, body) in told.items():
                chunked = f"{len(body.encode()):x}\r\n".encode() + body.encode() + b"\r\n0\r\n\r\n"
                head = [("Content-Type", mime), ("Transfer-Encoding", "chunked")]
                writer.write_record(
                    writer.create_warc_record(
                        url,
                        "response",
                        payload=io.BytesIO(chunked),
                        length=len(chunked),
                        http_headers=StatusAndHeaders("200 OK", head, protocol="HTTP/1.1"),
                        warc_headers_dict={"WARC-Date": stamp},
                    )
                )
            return
        for url, (mime, body) in told.items():
            record = WarcRecord()
            record.init_headers(WarcRecordType.response)
            record.headers["WARC-Date"] = stamp
            record.headers["WARC-Target-URI"] = url
            record.headers["Content-Type"] = "application/http; msgtype=response"
            data = gzip.compress(body.encode())
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {mime}\r\nContent-Encoding: gzip\r\n\r\n"
            record.set_bytes_content(head.encode() + data)
            out = GzipWriter(raw) if packed else raw
            record.write(out, checksum_data=True)
            if packed:
                out.finish()


@pytest.mark.parametrize("tool", ["warcio", "fastwarc"])
@pytest.mark.parametrize("suffix", [".warc.gz", ".warc"])
def test_files_of_other_tools_are_read_whole(run, tmp_path, tool, suffix) -> None:
    start = AmnestyOrg.start_urls[0]
    base, _, query = start.partition("?")
    pages = {start: a_page(1), f"{base.rstrip('/')}/page/2/?{query}".rstrip("?"): a_page(2)}
    path = tmp_path / f"x{suffix}"
    foreign(path, pages, tool, datetime(2015, 3, 4, 5, 6, 7, tzinfo=UTC))
    order = ["replay", "amnesty_org", "--warc", path, "--output", tmp_path / "o"]
    done = run("harvester", *order)
    assert done.code == 0, done.err
    assert re.search(r"2 another address|3 another address", done.out), done.out
    rows = frame(tmp_path / "o")
    assert len(rows) == 6
    assert set(rows["first_seen"].dt.year) == {2015}
    before = frame(tmp_path / "o")
    assert run("harvester", *order).code == 0
    assert_same_rows(before, frame(tmp_path / "o"))


def test_what_wget_archived_is_read(run, three_pages, tmp_path) -> None:
    if not shutil.which("wget"):
        pytest.skip("wget is not installed")
    for name, more in (("one", []), ("two", ["--warc-dedup=one.cdx"])):
        order = ["wget", "-q", "-O", "/dev/null", f"--warc-file={name}", "--warc-cdx", *more]
        urls = [three_pages.url(f"/list/{n}") for n in (1, 2, 3)]
        subprocess.run([*order, *urls], cwd=tmp_path, check=True, timeout=60)
    [kinds] = [Counter(kind for kind, _ in records(tmp_path / "two.warc.gz"))]
    assert kinds["revisit"] == 3
    for names, output in ((["one"], "a"), (["one", "two"], "b"), (["two"], "c")):
        answers = [a for n in names for a in read_archive(tmp_path / f"{n}.warc.gz")]
        assert sum(isinstance(a, Answer) for a in answers) == 3 * len(names)
        assert {a.body for a in answers if isinstance(a, Answer)} == {
            str(three_pages.pages[f"/list/{n}"]).encode() for n in (1, 2, 3)
        }, output


def test_damage_in_files_of_others_is_named_and_the_rest_is_read(run, tmp_path) -> None:
    pages = {f"{AmnestyOrg.start_urls[0]}&page={n}": a_page(n, last=9) for n in (1, 2, 3)}
    path = tmp_path / "x.warc"
    foreign(path, pages, "warcio", datetime(2015, 3, 4, tzinfo=UTC))
    whole = path.read_bytes()
    at = whole.rindex(b"WARC/1.0", 0, whole.index(b"page=2"))
    for name, content, rows, code in (
        ("zeros", whole[:at] + b"\0" * 99 + whole[at:], 9, 65),
        ("torn", whole[: at + 900], 3, 65),
        ("length", whole[:at] + re.sub(rb"Content-Length: \d+", b"Content-Length: 7", whole[at:], count=1), 6, 65),
        ("huge", whole[:at] + re.sub(rb"Content-Length: \d+", b"Content-Length: 999999999999", whole[at:], count=1), 6, 65),
        ("lf", gzip.compress(whole.replace(b"\r\n", b"\n")), 0, 65),
        ("one", gzip.compress(whole), 9, 0),
        ("future", whole.replace(b"2015-03-04", b"2099-03-04"), 0, 65),
        ("day", whole.replace(b"2015-03-04T00:00:00Z", b"2015-03-04"), 9, 0),
        ("empty", b"", 0, 65),
    ):  # fmt: skip
        packed = content.startswith(gzip.compress(b"")[:2])
        file = tmp_path / f"{name}.warc{'.gz' if packed else ''}"
        file.write_bytes(content)
        output = tmp_path / name
        done = run("harvester", "replay", "amnesty_org", "--warc", file, "--output", output)
        assert done.code == code, (name, done.err)
        assert "Traceback" not in done.err
        if code:
            assert file.name in done.err
        stored = Dataset(output).records("amnesty_org")
        assert len(stored) == rows, (name, done.err)
        for row in stored[:1]:
            done = run("harvester", "archive", "prove", row.entry_id, "--output", output)
            assert (done.code, done.err) == (0, ""), name
            assert "the page says" in done.out


def test_years_in_one_foreign_file_are_runs_of_their_own(run, tmp_path) -> None:
    url = AmnestyOrg.start_urls[0]
    files = []
    for year, teaser in ((2020, "Edited"), (2012, "First")):
        files.append(tmp_path / f"{year}.warc")
        page = listing(article("One", "/1", "July 1, 2011", teaser))
        foreign(files[-1], {url: page}, "fastwarc", datetime(year, 3, 4, tzinfo=UTC))
    both = tmp_path / "both.warc"
    both.write_bytes(b"".join(path.read_bytes() for path in files))
    for _ in range(2):
        order = ("replay", "amnesty_org", "--warc", both, both, "--output", tmp_path / "o")
        assert run("harvester", *order).code == 0
        [row] = Dataset(tmp_path / "o").records("amnesty_org")
        assert (row.teaser, row.revision, row.repeats) == ("Edited", 2, 1)
        assert (row.first_seen.year, row.last_seen.year) == (2012, 2020)


def test_records_that_are_none_never_stop_a_replay(run, tmp_path) -> None:
    path = tmp_path / "odd.warc"
    odd = [
        ("response", "https://www.amnesty.org/", b"no HTTP at all"),
        ("response", "::not an address::", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("response", "http://[", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>"),
        ("response", "https://www.amnesty.org/en/", b"HTTP/1.1 abc\r\n\r\n"),
        ("resource", "file:///etc/passwd", b"root"),
        ("conversion", "https://www.amnesty.org/", b"text"),
        ("metadata", "", b"a: b"),
    ]
    with path.open("wb") as raw:
        for kind, url, block in odd:
            head = (
                f"WARC/1.1\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:x:{len(block)}{kind}>\r\n"
                f"WARC-Date: 2015-01-01T00:00:00Z\r\nWARC-Target-URI: {url}\r\n"
                f"Content-Type: application/http\r\nContent-Length: {len(block)}\r\n\r\n"
            )
            raw.write(head.encode() + block + b"\r\n\r\n")
    done = run("harvester", "replay", "amnesty_org", "--warc", path, "--output", tmp_path / "o")
    assert done.code in (0, 65), done.err
    assert "Traceback" not in done.err
    for content in (b"", b"PK\x03\x04 no package", b"\x1f\x8b\x08\x00\x00\x00"):
        for name in ("x.wacz", "x.warc.gz"):
            (tmp_path / name).write_bytes(content)
            done = run("harvester", "replay", "amnesty_org", "--warc", tmp_path / name)
            assert done.code in (0, 64, 65), done.err
            assert "Traceback" not in done.err


# ------------------------------------------------------------------ packages, proofs, dry runs
def test_a_package_is_valid_and_gives_the_same_rows(run, three_pages, tmp_path) -> None:
    three_pages.tags = True
    for more in ((), ("--full",)):
        assert crawl(run, three_pages, tmp_path / "o", *more).code == 0
    package = tmp_path / "all.wacz"
    order = ["archive", "pack", "amnesty_org", "--file", package, "--output", tmp_path / "o"]
    done = run("harvester", *order)
    assert done.code == 0 and "3 pages" in done.out, done.err
    assert run("harvester", *order).code == 64, "nothing is overwritten"
    assert run("wacz", "validate", "-f", package).code == 0
    assert run("harvester", "replay", "--warc", package, "--output", tmp_path / "p").code == 0
    assert_same_rows(frame(tmp_path / "o"), frame(tmp_path / "p"))
    torn = package.read_bytes()
    package.write_bytes(torn[: len(torn) // 2])
    assert run("harvester", "replay", "--warc", package, "--output", tmp_path / "p").code == 65


def test_a_row_is_proven_link_by_link(run, three_pages, tmp_path) -> None:
    three_pages.tags = True
    output = tmp_path / "o"
    assert crawl(run, three_pages, output).code == 0
    edited = a_page(1).replace("What entry 1-1 has to say", "What entry 1-1 now says")
    three_pages.pages["/list/1"] = edited
    assert crawl(run, three_pages, output).code == 0
    [row] = [r for r in Dataset(output).records("amnesty_org") if r.title == "Entry 1-1"]
    assert row.revision == 2
    done = run("harvester", "show", row.entry_id, "--page", "page.html", "--record", "r.warc.gz",
               "--output", output)  # fmt: skip
    assert done.code == 0, done.err
    assert row.warc_record_id in done.out
    assert "now says" in done.out
    assert (tmp_path / "page.html").read_text("utf-8") == edited
    [told] = read_archive(tmp_path / "r.warc.gz")
    assert told.body == edited.encode()
    told = json.loads(run("harvester", "show", row.entry_id, "--json", "--output", output).out)
    assert told["entry"]["title"] == "Entry 1-1"
    assert len(told["versions"]) == 2

    def prove(code: int) -> str:
        done = run("harvester", "archive", "prove", row.entry_id, "--output", output)
        assert done.code == code, done.out + done.err
        return done.out if code == 0 else done.err

    told = prove(0)
    assert "gives this row and its versions" in told
    assert told.count("the body at byte") == 2
    for path in (archives(output)[1], archives(output)[0], ledgers_of(output)[0]):
        whole = path.read_bytes()
        path.write_bytes(whole[:-30] + bytes([whole[-30] ^ 1]) + whole[-29:])
        assert path.name in prove(65)
        path.write_bytes(whole)
    dataset = Dataset(output)
    for change in (
        {"title": "Forged"},
        {"url": "https://forged.example/"},
        {"first_seen": row.last_seen},
    ):
        stored = dataset.stored(ENTRIES, "amnesty_org")
        [(place, now)] = stored.find([key("id", row.entry_id)]).items()
        forged = Change(stored, changed={place: replace(now, **change)})
        kept = Change(dataset.stored(REVISIONS, "amnesty_org"))
        dataset.commit("amnesty_org", [kept, forged], "forged", {})
        assert run("harvester", "check", "amnesty_org", "--output", output).code == 0
        assert "row" in prove(65)
        dataset.commit("amnesty_org", [Change(dataset.stored(REVISIONS, "amnesty_org")), Change(
            dataset.stored(ENTRIES, "amnesty_org"), changed={place: now})], "honest", {})  # fmt: skip
        prove(0)
    archives(output)[1].unlink()
    assert "there is no record" in prove(65)
    assert run("harvester", "show", row.entry_id, "--output", output).code == 65
    assert run("harvester", "show", "e1-0", "--output", output).code == 64
    assert run("harvester", "archive", "prove", "e1-0", "--output", output).code == 64


def ledgers_of(output: Path) -> list[Path]:
    return sorted((output / "runs").glob("*.json"))


def test_a_dry_run_says_what_would_change_and_writes_nothing(run, three_pages, tmp_path) -> None:
    output = tmp_path / "o"
    assert crawl(run, three_pages, output).code == 0
    files = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    done = run("harvester", "replay", "--dry-run", "--output", output)
    assert (done.code, done.out) == (0, "amnesty_org: 0 rows would change\n")
    order = ("replay", "--dry-run", "--archive", output, "--output", tmp_path / "p")
    done = run("harvester", *order)
    assert done.out.count("\nnew e1-") + done.out.startswith("new e1-") == 9
    assert not (tmp_path / "p" / "entries").exists()
    told = json.loads(run("harvester", *order, "--json").out)
    assert len(told[0]["changes"]) == 9
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == files


def test_reading_earlier_runs_again_changes_nothing(run, site, tmp_path) -> None:
    site.tags = True
    output = tmp_path / "o"
    for teaser in ("first", "second", "second", "third"):
        site.pages["/list/1"] = listing(
            article("One", "/1", "July 2, 2011", f"The {teaser} teaser"),
            article("Two", "/2", "July 1, 2011", "Always the same"),
        )
        assert crawl(run, site, output, "--full").code == 0
    before = frame(output)
    assert sorted(before["revision"]) == [1, 3]
    for path in archives(output):
        for more in (("--warc", path), ("--run", path.name.partition(".")[0])):
            done = run("harvester", "replay", "amnesty_org", *more, "--output", output)
            assert done.code == 0, done.err
            assert_same_rows(before.copy(), frame(output))
    for order in (archives(output)[::-1], archives(output)):  # in any order, into an empty folder
        shutil.rmtree(tmp_path / "p", ignore_errors=True)
        for path in order:
            assert run("harvester", "replay", "--warc", path, "--output", tmp_path / "p").code == 0
        assert_same_rows(before.copy(), frame(tmp_path / "p"), but=("revision",))


def test_a_page_is_read_with_the_pattern_of_its_day() -> None:
    from harvester.page import Page

    old = ListingPattern(record="li", title="b", date="i")
    new = ListingPattern(record="article", title="h2", date="time")

    class Dated(ListingSpider):
        name = "dated"
        start_urls = ["https://example.org/"]
        pattern = {"2010-01-01": old, "2020-06-01": new}

    for day, pattern in (
        ((2005, 1, 1), None),
        ((2010, 1, 1), old),
        ((2020, 5, 31), old),
        ((2020, 6, 1), new),
    ):
        assert Dated.pattern_on(datetime(*day, tzinfo=UTC)) is pattern
    assert Dated.pattern_on(None) is new
    html = b"<ul>" + b"".join(
        b"<li><b>Title number %d</b> <i>July %d, 2011</i> <a href=/n/%d>x</a></li>" % (n, n, n)
        for n in range(1, 9)
    )
    page = Page("https://example.org/", html, fetched_at=datetime(2012, 1, 1, tzinfo=UTC))
    assert len(Dated().read(page).entries) == 8
