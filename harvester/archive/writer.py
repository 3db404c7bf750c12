"""A run's archive files: warcinfo first, then a response and its request for each exchange.

What is written is handed to the operating system before anything is made of the page: a killed run
loses at most the record that it was writing, and what it had fetched is read back from here.  A body
that the archive has already is not written again: a revisit record refers to it.

gzip level 1: on 90 KB pages it costs a third of level 6 for a third more bytes, and the archive is
written while a server waits, but read years later.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from base64 import b32encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit, urlunsplit

from fastwarc.stream_io import GzipWriter
from fastwarc.warc import WarcRecord, WarcRecordType

from harvester.archive import index
from harvester.archive.index import REVISIT, Line
from harvester.archive.words import (
    ARTICLE,
    ENTRY,
    IDENTICAL,
    LISTING,
    NOT_MODIFIED,
    REFERS_TO_FILE,
    REFERS_TO_OFFSET,
    RENDERED,
    ROLE,
    UNCHANGED,
    Exchange,
    Headers,
    Original,
)
from pipelines.commit import sync, write
from pipelines.dataset import archive_name
from pipelines.run import Run
from pipelines.version import VERSION

LARGEST: Final = 1_000_000_000  # bytes, about: then another file begins
_LEVEL: Final = 1
_MIME: Final = re.compile(rb"[\w.+-]+/[\w.+-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Written:
    """Where an answer was written: the file's path in the data set, and the id of its record.

    ``body_from`` is when the body had come first, if it is not written again.
    """

    file: str
    record_id: str
    body_from: datetime


class ArchiveWriter:
    """Appends one run's exchanges to its files, the first of which it creates with the first of them.

    ``about`` are further fields of the warcinfo records: the operator, the user agent, robots.
    """

    def __init__(
        self, folder: Path, run: Run, about: Mapping[str, str], *, largest: int = LARGEST
    ) -> None:
        self._folder = folder
        self._run = run
        self._about = about
        self._largest = largest
        self._number = 0
        self._file: io.FileIO | None = None
        self._info_id = ""
        self._head = b""  # the warcinfo record, until the first pair is written with it
        self._lines: list[Line] = []

    @property
    def name(self) -> str:
        """The present file's path in the data set: relative to the output folder."""
        return f"archive/{self._run.source}/{self._path.name}"

    @property
    def _path(self) -> Path:
        return self._folder / archive_name(self._run.run_id, self._number)

    def append(self, exchange: Exchange) -> Written:
        """Write the answer and its request."""
        if self._file is not None and self._file.tell() >= self._largest:
            self.close()
            self._number += 1
        file = self._file or self._begin()
        offset = file.tell() + len(self._head)
        digest = payload_digest(exchange.body)
        original = _repeated(exchange, digest)
        response = self._response(exchange, digest, original)
        record_id = response.record_id
        assert record_id is not None
        request = self._record(WarcRecordType.request, exchange)
        request.headers["WARC-Concurrent-To"] = record_id
        request.set_bytes_content(_request_line(exchange) + _lines(exchange.request_headers))
        answer = _packed(response)
        # All at once: a killed run leaves both, or neither.
        self._write(self._head + answer + _packed(request))
        self._head = b""
        self._lines.append(
            Line(
                url=exchange.url,
                at=exchange.fetched_at,
                mime=REVISIT if original else mime_of(exchange.headers),
                status=exchange.status,
                digest=response.headers["WARC-Payload-Digest"],
                offset=offset,
                length=len(answer),
                file=self._path.name,
                record_id=record_id,
                listing=exchange.listing,
                original=(original.file, original.offset) if original else None,
            )
        )
        first = original.fetched_at if original else exchange.fetched_at
        return Written(self.name, record_id, first)

    def close(self) -> None:
        """Make what was written durable, and its index.  A run is published only after this."""
        if self._file is None:
            return
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        place = index.index_of(self._path)
        place.unlink(missing_ok=True)
        write(place, index.as_bytes(self._lines))
        sync(self._folder)
        self._lines = []

    def _begin(self) -> io.FileIO:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = io.FileIO(self._path, "x")
        info = _info(self._path.name, self._run, self._about)
        assert info.record_id is not None
        self._info_id = info.record_id
        self._head = _packed(info)
        return self._file

    def _response(self, exchange: Exchange, digest: str, original: Original | None) -> WarcRecord:
        kind = WarcRecordType.revisit if original else WarcRecordType.response
        record = self._record(kind, exchange)
        if exchange.listing:
            record.headers[ROLE] = LISTING
        if exchange.article_of:
            record.headers[ROLE] = ARTICLE
            record.headers[ENTRY] = exchange.article_of
        if exchange.rendered_by:
            record.headers[RENDERED] = exchange.rendered_by
        if exchange.taken_from:  # as pywb writes them
            record.headers["WARC-Source-URI"] = exchange.taken_from
            record.headers["WARC-Creation-Date"] = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        if exchange.truncated:
            record.headers["WARC-Truncated"] = exchange.truncated
        record.headers["WARC-Payload-Digest"] = original.payload_digest if original else digest
        body = exchange.body
        if original:
            body = b""
            unchanged = exchange.status == NOT_MODIFIED
            record.headers["WARC-Profile"] = UNCHANGED if unchanged else IDENTICAL
            record.headers["WARC-Refers-To"] = original.record_id
            record.headers["WARC-Refers-To-Target-URI"] = original.url
            record.headers["WARC-Refers-To-Date"] = _moment(original)
            record.headers[REFERS_TO_FILE] = original.file
            record.headers[REFERS_TO_OFFSET] = str(original.offset)
            if not unchanged:
                record.headers["WARC-Truncated"] = "length"  # as WARC 1.1 says of such a block
        head = f"{exchange.protocol} {exchange.status} {_phrase(exchange.status)}\r\n".encode()
        record.set_bytes_content(head + _lines(_sent(exchange)) + body)
        return record

    def _record(self, kind: WarcRecordType, exchange: Exchange) -> WarcRecord:
        record = WarcRecord()
        record.init_headers(kind)
        record.record_date = exchange.fetched_at
        record.headers["WARC-Target-URI"] = exchange.url
        record.headers["WARC-Warcinfo-ID"] = self._info_id
        if exchange.ip_address:
            record.headers["WARC-IP-Address"] = exchange.ip_address
        asked = kind == WarcRecordType.request
        record.headers["Content-Type"] = (
            f"application/http; msgtype={'request' if asked else 'response'}"
        )
        return record

    def _write(self, content: bytes) -> None:
        data = memoryview(content)
        assert self._file is not None
        while data:  # a full disk may take a part of it
            data = data[self._file.write(data) :]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _packed(record: WarcRecord) -> bytes:
    """A record as one gzip member, with its digests."""
    member = io.BytesIO()
    packed = GzipWriter(member, _LEVEL)
    record.write(packed, checksum_data=True)
    packed.finish()
    return member.getvalue()


def payload_digest(body: bytes) -> str:
    """The digest of a body as WARC files have it: SHA-1, base 32."""
    return "sha1:" + b32encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode()


def mime_of(headers: Headers) -> str:
    """The media type, without parameters; what an index says of an answer."""
    for name, value in headers:
        if name.lower() == b"content-type":
            told = _MIME.match(value.strip())
            return told[0].decode().lower() if told else "unk"
    return "unk"


def _repeated(exchange: Exchange, digest: str) -> Original | None:
    """What an answer repeats, if anything."""
    known = exchange.known
    if known is None or exchange.truncated:
        return None
    if exchange.status == NOT_MODIFIED:
        return known.original
    same = exchange.status == known.status and digest == known.original.payload_digest
    return known.original if same and exchange.body else None


def _info(name: str, run: Run, about: Mapping[str, str]) -> WarcRecord:
    record = WarcRecord()
    record.init_headers(WarcRecordType.warcinfo)
    record.headers["WARC-Filename"] = name
    record.headers["Content-Type"] = "application/warc-fields"
    told = {
        "run_id": run.run_id,
        "source": run.source,
        "started": run.started.isoformat(),
        "hosts": sorted(run.hosts),
        "scope": asdict(run.scope),
    }
    fields = {
        "software": f"Harvester/{VERSION}",
        "format": "WARC File Format 1.1",
        "conformsTo": "https://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/",
        "isPartOf": run.source,
        **{name: value for name, value in about.items() if value},
        "harvester-run": json.dumps(told, default=date.isoformat),
    }
    text = "".join(f"{name}: {' '.join(value.split())}\r\n" for name, value in fields.items())
    record.set_bytes_content(text.encode())
    return record


def _moment(original: Original) -> str:
    """A date as the WARC library writes it in the record that is referred to."""
    record = WarcRecord()
    record.init_headers(WarcRecordType.response)
    record.record_date = original.fetched_at
    return str(record.headers["WARC-Date"])


def _sent(exchange: Exchange) -> Headers:
    """The answer's headers, true of the body as it came: no longer chunked, its own length."""
    kept = [
        (name, value)
        for name, value in exchange.headers
        if name.lower() not in (b"transfer-encoding", b"content-length")
    ]
    if exchange.status == NOT_MODIFIED:
        return kept
    return [*kept, (b"Content-Length", str(len(exchange.body)).encode())]


def _request_line(exchange: Exchange) -> bytes:
    parts = urlsplit(exchange.taken_from or exchange.url)
    target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    host = parts.netloc.rpartition("@")[2]
    return f"{exchange.method} {target} HTTP/1.1\r\nHost: {host}\r\n".encode()


def _lines(headers: Headers) -> bytes:
    return b"".join(b"%s: %s\r\n" % pair for pair in headers) + b"\r\n"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
