"""The archive: WARC that other tools read, and that is read when it is damaged."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime

import pytest
from warcio.archiveiterator import ArchiveIterator
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from harvester.archive.reader import read_archive, read_run
from harvester.archive.words import Answer, Damage, Exchange
from harvester.archive.writer import ArchiveWriter
from pipelines.run import Run, Scope

ABOUT = {"http-header-user-agent": "Test/1.0", "operator": "a@example.org", "robots": "obeyed"}
AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
RUN = Run(
    run_id="20260102T030400Z-test",
    source="test",
    started=AT,
    hosts=frozenset(["example.org"]),
    scope=Scope(start_urls=("https://example.org/news",), since=date(2011, 1, 1), max_pages=3),
)


def exchange(number: int, **more) -> Exchange:
    told = {
        "url": f"https://example.org/news?page={number}",
        "method": "GET",
        "request_headers": [(b"User-Agent", b"Test")],
        "status": 200,
        "protocol": "HTTP/1.1",
        "headers": [
            (b"Content-Type", b"text/html"),
            (b"Transfer-Encoding", b"chunked"),
            (b"X", b"\xff"),
        ],
        "body": f"<p>Page {number} \u2014 {'x' * 2000}{number}</p>".encode(),
        "fetched_at": AT,
        "ip_address": "127.0.0.1",
        "listing": True,
    }
    return Exchange(**{**told, **more})


@pytest.fixture
def file(tmp_path):
    with ArchiveWriter(tmp_path, RUN, ABOUT) as writer:
        for number in (1, 2, 3):
            writer.append(exchange(number))
        writer.append(exchange(4, url="https://example.org/robots.txt", listing=False, status=404))
    return tmp_path / f"{RUN.run_id}.warc.gz"


def test_what_was_written_comes_back(file) -> None:
    answers = list(read_archive(file))
    assert [a.body for a in answers[:3]] == [exchange(n).body for n in (1, 2, 3)]
    first = answers[0]
    assert (first.url, first.status, first.fetched_at) == (
        "https://example.org/news?page=1",
        200,
        AT,
    )
    headers = dict(first.headers)
    assert headers["content-type"] == "text/html"
    assert headers["content-length"] == str(len(first.body))
    assert "transfer-encoding" not in headers, "the body is kept without it"
    assert [a.listing for a in answers] == [True, True, True, False]


def test_the_file_says_which_run_wrote_it(file) -> None:
    run = read_run(file)
    assert (run.run_id, run.source, run.scope, run.hosts) == (
        RUN.run_id,
        "test",
        RUN.scope,
        RUN.hosts,
    )


def test_another_tool_reads_it_and_its_digests_hold(file) -> None:
    with file.open("rb") as stream:
        records = list(ArchiveIterator(stream, check_digests="raise"))
        types = [record.rec_type for record in records]
    assert types == ["warcinfo"] + ["response", "request"] * 4
    with file.open("rb") as stream:
        for record in ArchiveIterator(stream, check_digests="raise"):
            record.content_stream().read()
            if record.rec_type == "response":
                assert record.rec_headers.get_header("WARC-Payload-Digest").startswith("sha1:")
                assert record.rec_headers.get_header("WARC-IP-Address") == "127.0.0.1"
            if record.rec_type == "request":
                assert record.rec_headers.get_header("WARC-Concurrent-To").startswith("<urn:uuid:")
                assert record.http_headers.get_header("Host") == "example.org"


def test_a_run_never_writes_over_another(file) -> None:
    before = file.read_bytes()
    with pytest.raises(FileExistsError):
        ArchiveWriter(file.parent, RUN, ABOUT).append(exchange(9))
    assert file.read_bytes() == before


def pages(found) -> list[str]:
    return [a.url[-1] for a in found if isinstance(a, Answer) and a.listing]


def test_a_torn_tail_costs_its_record_only(file) -> None:
    whole = file.read_bytes()
    third = whole.rfind(b"\x1f\x8b\x08", 0, len(whole) - 1500)
    for cut in range(1, 900, 37):
        file.write_bytes(whole[:-cut])
        found = list(read_archive(file))
        assert pages(found) == ["1", "2", "3"][: len(pages(found))]
        assert len(pages(found)) >= 2
    assert third > 0


def test_damage_in_the_middle_is_named_and_the_rest_is_read(file) -> None:
    whole = file.read_bytes()
    starts = [i for i in range(len(whole)) if whole.startswith(b"\x1f\x8b\x08", i)]
    second = starts[3]  # warcinfo, response 1, request 1, response 2
    file.write_bytes(whole[: second + 60] + b"\0\0\0\0" + whole[second + 64 :])
    found = list(read_archive(file))
    assert pages(found) == ["1", "3"]
    [damage] = [d for d in found if isinstance(d, Damage)]
    assert damage.offset == second
    assert str(file) in str(damage)


def test_a_record_that_was_changed_is_not_believed(file) -> None:
    plain = gzip.decompress(file.read_bytes())
    forged = file.with_suffix("")
    forged.write_bytes(plain.replace(b"Page 2", b"Page 7"))
    found = list(read_archive(forged))
    assert pages(found) == ["1", "3"]
    assert sum(isinstance(d, Damage) for d in found) == 1


def test_no_damage_passes_for_the_end_of_the_file(file) -> None:
    whole = file.read_bytes()
    starts = [i for i in range(len(whole)) if whole.startswith(b"\x1f\x8b\x08", i)]
    for member, start in enumerate(starts):
        for byte in range(4):
            for bit in range(8):
                broken = bytearray(whole)
                broken[start + byte] ^= 1 << bit
                file.write_bytes(broken)
                found = list(read_archive(file))
                lost = 4 - sum(isinstance(a, Answer) for a in found)
                assert lost <= 1
                if member in (1, 3, 5, 7) and lost:  # an answer, not a request or the file's own
                    assert any(isinstance(d, Damage) for d in found), (member, byte, bit)


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"not a WARC at all", b"\0" * 1000])
def test_files_that_are_no_archives(tmp_path, content) -> None:
    path = tmp_path / "x.warc.gz"
    path.write_bytes(content)
    assert [a for a in read_archive(path) if isinstance(a, Answer)] == []
    assert read_run(path) is None


@pytest.mark.parametrize("packed", [True, False])
def test_archives_of_other_tools_are_read(tmp_path, packed) -> None:
    path = tmp_path / ("other.warc.gz" if packed else "other.warc")
    with path.open("wb") as out:
        writer = WARCWriter(out, gzip=packed)
        head = StatusAndHeaders("200 OK", [("Content-Type", "text/html")], protocol="HTTP/1.1")
        from io import BytesIO

        record = writer.create_warc_record(
            "https://example.org/", "response", payload=BytesIO(b"<p>Hi"), http_headers=head,
            warc_headers_dict={"WARC-Date": "2020-05-06T07:08:09Z"},
        )  # fmt: skip
        writer.write_record(record)
    [answer] = read_archive(path)
    assert (answer.body, answer.status, answer.listing) == (b"<p>Hi", 200, True)
    assert read_run(path) is None
