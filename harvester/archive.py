"""The archive: every answer of a server, as it came, in WARC 1.1 files.  The write-ahead log.

The only user of the WARC library.  A run appends to a file of its own, one gzip member a record,
handed to the operating system before anything is made of the page: a killed run loses at most the
record that it was writing, and what it had fetched is read back from here.

gzip level 1: on 90 KB pages it costs a third of level 6 for a third more bytes, and the archive is
written while a server waits, but read years later.
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import os
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit, urlunsplit

from fastwarc.stream_io import GzipWriter
from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from pipelines.dataset import ARCHIVE_SUFFIX
from pipelines.run import Run, Scope, next_run_id, run_started
from pipelines.version import VERSION

_GZIP_MEMBER: Final = b"\x1f\x8b\x08"
_ROLE: Final = "Harvester-Role"
_LISTING: Final = "listing"

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request and its answer, as they went over the wire, but for transfer encoding.

    ``listing``: asked for as a page of the listing (not robots.txt).
    """

    url: str
    method: str
    request_headers: Headers
    status: int
    protocol: str
    headers: Headers
    body: bytes
    fetched_at: datetime
    ip_address: str | None
    listing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An archived answer; ``body`` still has its content encoding, header names are lower case."""

    url: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    fetched_at: datetime
    listing: bool
    record_id: str


@dataclass(frozen=True, slots=True)
class Damage:
    """A stretch of an archive file that cannot be read.  ``offset`` counts bytes of the file."""

    path: Path
    offset: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: damaged at byte {self.offset}: {self.reason}"


class ArchiveWriter:
    """Appends one run's exchanges to its file, which it creates with the first of them."""

    def __init__(self, folder: Path, run: Run, user_agent: str) -> None:
        self._path = folder / f"{run.run_id}{ARCHIVE_SUFFIX}"
        self._run = run
        self._user_agent = user_agent
        self._file: io.FileIO | None = None

    @property
    def name(self) -> str:
        """The file's path in the data set: relative to the output folder."""
        return f"archive/{self._run.source}/{self._path.name}"

    def append(self, exchange: Exchange) -> str:
        """Write the answer and its request; returns the record id of the answer."""
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = io.FileIO(self._path, "x")
            self._write(_info(self._path.name, self._run, self._user_agent))
        response = _record(WarcRecordType.response, exchange)
        assert response.record_id is not None
        if exchange.listing:
            response.headers[_ROLE] = _LISTING
        head = f"{exchange.protocol} {exchange.status} {_phrase(exchange.status)}\r\n".encode()
        response.set_bytes_content(head + _lines(_sent(exchange)) + exchange.body)
        request = _record(WarcRecordType.request, exchange)
        request.headers["WARC-Concurrent-To"] = response.record_id
        request.set_bytes_content(_request_line(exchange) + _lines(exchange.request_headers))
        self._write(response, hashlib.sha1(exchange.body, usedforsecurity=False).digest())
        self._write(request)
        return response.record_id

    def _write(self, record: WarcRecord, payload_digest: bytes | None = None) -> None:
        member = io.BytesIO()
        packed = GzipWriter(member, 1)
        record.write(packed, checksum_data=True, payload_digest=payload_digest)
        packed.finish()
        data = memoryview(member.getvalue())
        assert self._file is not None
        while data:  # a full disk may take a part of it
            data = data[self._file.write(data) :]

    def close(self) -> None:
        """Make what was written durable.  A run is published only after this."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_run(path: Path, source: str) -> Run:
    """The run that wrote an archive file; for a file from elsewhere, one made from its first date.

    Raises ``OSError`` when the file cannot be opened.
    """
    first: datetime | None = None
    for record in _records(path):
        if isinstance(record, Damage):
            continue
        if record.record_type == WarcRecordType.warcinfo and (told := _told(record)):
            return _run(told)
        first = first or record.record_date
        if record.record_type == WarcRecordType.response:
            break
    started = (first or datetime.fromtimestamp(path.stat().st_mtime, UTC)).astimezone(UTC)
    return Run(
        run_id=next_run_id(source, started, ()), source=source, started=started, mode="replay"
    )


def read_archive(path: Path) -> Iterator[Answer | Damage]:
    """The answers in a WARC file, in their order, gzip or plain; what cannot be read is named.

    In a file that marks its listing pages only those count as such, in others every answer does.
    Raises ``OSError`` when the file cannot be opened.
    """
    marked = False
    for record in _records(path):
        if isinstance(record, Damage):
            yield record
            continue
        if record.record_type == WarcRecordType.warcinfo:
            marked = _told(record) is not None
        if record.record_type != WarcRecordType.response:
            continue
        offset = record.stream_pos
        if not _is_intact(record):
            yield Damage(path, offset, "the record does not match its digest, or ends early")
            continue
        url = (record.headers.get("WARC-Target-URI") or "").strip("<>")
        try:
            record.parse_http()
            headers = record.http_headers
            fetched_at = record.record_date
            status = headers.status_code if headers else None
        except (OSError, ValueError, KeyError) as error:
            yield Damage(path, offset, f"no HTTP answer: {error}")
            continue
        if not url or not record.record_id or not fetched_at or status is None:
            yield Damage(path, offset, "the record lacks its address, id, date or status")
            continue
        yield Answer(
            url=url,
            status=status,
            headers=tuple((name.lower(), value) for name, value in headers.items()),
            body=record.reader.read(),
            fetched_at=fetched_at.astimezone(UTC),
            listing=not marked or record.headers.get(_ROLE) == _LISTING,
            record_id=record.record_id,
        )


def set_torn_tail_aside(path: Path) -> Damage | None:
    """Cut off what a killed run was writing when it died, and keep it beside the file.

    Only damage that reaches to the end of the file is such a tail.
    """
    ending = deque(read_archive(path), maxlen=1)
    if not ending or not isinstance(last := ending[0], Damage):
        return None
    with path.open("r+b") as file:
        file.seek(last.offset)
        path.with_name(path.name + ".torn").write_bytes(file.read())
        file.truncate(last.offset)
        os.fsync(file.fileno())
    return last


def _records(path: Path) -> Iterator[WarcRecord | Damage]:
    """All records; after damage reading goes on with the next gzip member, if there is one.

    What only looks like a member inside a damaged stretch belongs to that stretch.
    """
    start = 0
    damaged = False
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        while 0 <= start < size:
            file.seek(start)
            last: int | None = None  # where the last good record of this stretch began
            reason = "this is no WARC record"
            try:
                for record in ArchiveIterator(file, parse_http=False):
                    last = record.stream_pos
                    damaged = False
                    yield record
            except (OSError, KeyError, ValueError) as error:
                reason = str(error)
            # The library takes some damage for the end of the file, so its end is looked for here.
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                at = start if last is None else _member_end(content, last)
                if at >= size:
                    return
                if not damaged:
                    yield Damage(path, at, reason)
                damaged = True
                start = content.find(
                    _GZIP_MEMBER, at + 1 if content[at : at + 3] == _GZIP_MEMBER else at
                )


def _member_end(content: mmap.mmap, start: int) -> int:
    """Where the gzip member that begins at ``start`` ends; the end of the file if it is not packed."""
    if content[start : start + 3] != _GZIP_MEMBER:
        return len(content)
    unpack = zlib.decompressobj(wbits=31)
    position = start
    while not unpack.eof and position < len(content):
        chunk = content[position : position + 65536]
        position += len(chunk)
        try:
            unpack.decompress(chunk)
        except zlib.error:  # damaged itself, which its reader has noticed
            following = content.find(_GZIP_MEMBER, start + 1)
            return following if following >= 0 else len(content)
    return position - len(unpack.unused_data)


def _is_intact(record: WarcRecord) -> bool:
    """Whether a record is what was written, as far as it carries a digest."""
    try:
        return not record.headers.get("WARC-Block-Digest") or record.verify_block_digest()
    except OSError:
        return False


def _info(name: str, run: Run, user_agent: str) -> WarcRecord:
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
        "http-header-user-agent": user_agent,
        "harvester-run": json.dumps(told, default=date.isoformat),
    }
    record.set_bytes_content("".join(f"{k}: {v}\r\n" for k, v in fields.items()).encode())
    return record


def _told(record: WarcRecord) -> dict[str, Any] | None:
    """What a warcinfo record of ours says of its run; ``None`` for files from elsewhere."""
    text = record.reader.read().decode("utf-8", "replace")
    for line in text.splitlines():
        name, _, value = line.partition(": ")
        if name == "harvester-run":
            try:
                told = json.loads(value)
            except ValueError:
                return None
            return told if isinstance(told, dict) and run_started(str(told.get("run_id"))) else None
    return None


def _run(told: dict[str, Any]) -> Run:
    known = {field.name for field in fields(Scope)}
    scope = {name: value for name, value in told["scope"].items() if name in known}
    for end in ("since", "until"):
        scope[end] = date.fromisoformat(scope[end]) if scope[end] else None
    return Run(
        run_id=told["run_id"],
        source=told["source"],
        started=datetime.fromisoformat(told["started"]),
        hosts=frozenset(told["hosts"]),
        scope=Scope(**{**scope, "start_urls": tuple(scope["start_urls"])}),
        mode="recovery",
    )


def _record(kind: WarcRecordType, exchange: Exchange) -> WarcRecord:
    record = WarcRecord()
    record.init_headers(kind)
    record.record_date = exchange.fetched_at
    record.headers["WARC-Target-URI"] = exchange.url
    if exchange.ip_address:
        record.headers["WARC-IP-Address"] = exchange.ip_address
    record.is_http = True
    return record


def _sent(exchange: Exchange) -> Headers:
    """The answer's headers, true of the body as it is kept: no longer chunked, its own length."""
    kept = [
        (name, value)
        for name, value in exchange.headers
        if name.lower() not in (b"transfer-encoding", b"content-length")
    ]
    return [*kept, (b"Content-Length", str(len(exchange.body)).encode())]


def _request_line(exchange: Exchange) -> bytes:
    parts = urlsplit(exchange.url)
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
