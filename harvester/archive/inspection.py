"""Is an archive file by the book, to the last bit?  Every fault is named with its file and offset.

The usual validators read a file as a crawler's reader does, and so pass over torn tails, missing or
repeated ids, and whatever stands between records.  This one walks the bytes: gzip member by gzip
member, header by header, digest by digest (WARC 1.1, ISO 28500:2017; files by 1.0 are read too).
"""

from __future__ import annotations

import hashlib
import ipaddress
import mmap
import re
import zlib
from base64 import b32encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from harvester.archive import index
from harvester.archive.reader import archives_in, indexed, lines_of
from harvester.archive.scan import GZIP_MEMBER, begins_record
from harvester.archive.words import IDENTICAL, UNCHANGED, Damage

_BLANK: Final = b"\r\n\r\n"
_CHUNK: Final = 1 << 16
_LARGEST: Final = 1 << 30  # bytes of one record that are held in memory
_MOST_DIGITS: Final = 16
_MANDATORY: Final = ("WARC-Type", "WARC-Record-ID", "WARC-Date", "Content-Length")
_OF_AN_ADDRESS: Final = ("response", "request", "revisit", "resource", "conversion", "continuation")
_TYPES: Final = (*_OF_AN_ADDRESS, "warcinfo", "metadata")
_PROFILES: Final = (
    IDENTICAL,
    UNCHANGED,
    IDENTICAL.replace("1.1", "1.0"),
    UNCHANGED.replace("1.1", "1.0"),
)
_ANSWERS: Final = ("response", "revisit")
_TRUNCATED: Final = ("length", "time", "disconnect", "unspecified")
_REPEATABLE: Final = ("warc-concurrent-to",)
_DATE: Final = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,9})?)?Z)?)?)?", re.ASCII)
_NAME: Final = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_ID: Final = re.compile(r"<[a-zA-Z][a-zA-Z0-9+.-]*:[^\s<>]+>")
_STATUS: Final = re.compile(rb"HTTP/\d(?:\.\d)? (\d{3})(?: [^\r\n]*)?")
_REQUEST: Final = re.compile(rb"[A-Z]+ \S+ HTTP/\d(?:\.\d)?")
_DIGESTS: Final = {"sha1": hashlib.sha1, "sha256": hashlib.sha256, "sha-256": hashlib.sha256,
                   "sha512": hashlib.sha512, "md5": hashlib.md5}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """What other records may refer to."""

    kind: str
    url: str
    date: str
    payload_digest: str


@dataclass(slots=True)
class Inspected:
    """What was seen of some files that belong together, and how much."""

    records: dict[str, Seen] = field(default_factory=dict)
    files: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True)
class _Record:
    offset: int
    version: str
    headers: Sequence[tuple[str, str]]
    block: bytes

    def get(self, name: str) -> str:
        """The value of a field; empty where there is none."""
        return next((v for n, v in self.headers if n.lower() == name.lower()), "")

    @property
    def id(self) -> str:
        return self.get("WARC-Record-ID")

    @property
    def kind(self) -> str:
        return self.get("WARC-Type")

    @property
    def url(self) -> str:
        return self.get("WARC-Target-URI").strip("<>")


@dataclass(frozen=True, slots=True)
class _Kept:
    """What other records of the same file are held against."""

    id: str
    offset: int
    kind: str
    date: str
    url: str
    beside: tuple[str, ...]
    info: str


class _Fault(Exception):
    """Why bytes are no record."""


def inspect(paths: Iterable[Path], seen: Inspected | None = None) -> Iterator[Damage]:
    """What is wrong with some archive files, which are in the order of writing.

    A revisit may refer to a record of an earlier file.  Raises ``OSError``.
    """
    seen = seen if seen is not None else Inspected()
    for path in paths:
        yield from _file(path, seen)


def check_index(path: Path) -> Iterator[Damage]:
    """What is wrong with the index of an archive file."""
    place = index.index_of(path)
    try:
        if place.read_bytes() != index.as_bytes(indexed(path)):
            yield Damage(place, 0, "it is not the index of its archive file")
    except FileNotFoundError:
        yield Damage(place, 0, "the index is missing")


def _file(path: Path, seen: Inspected) -> Iterator[Damage]:
    seen.files += 1
    if path.stat().st_size == 0:
        yield Damage(path, 0, "the file is empty")
        return
    here: dict[str, _Kept] = {}
    ours, before = False, None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        packed = content[:2] == GZIP_MEMBER[:2]
        if path.suffix == ".gz" and not packed:
            yield Damage(path, 0, "the name says gzip, and it is not")
        for number, record in enumerate(_records(content, packed)):
            if isinstance(record, tuple):
                yield Damage(path, *record)
                before = None
                continue
            seen.count += 1
            if number == 0:
                ours = b"harvester-run: " in record.block
            problems = [
                *_problems(record, seen.records),
                *_repeat(record, seen.records, path, ours),
            ]
            if ours:
                problems += _of_ours(record, before, number == 0, path)
            yield from (Damage(path, record.offset, problem) for problem in problems)
            if ours and before and before.kind in _ANSWERS and record.kind != "request":
                yield Damage(path, before.offset, "its request is not there")
            before = here[record.id] = _kept(record)
            digest = record.get("WARC-Payload-Digest")
            told = Seen(record.kind, record.url, record.get("WARC-Date"), digest)
            seen.records.setdefault(record.id, told)
    for kept in here.values():
        for problem in _relations(kept, here):
            yield Damage(path, kept.offset, problem)
    if ours and before is not None and before.kind in _ANSWERS:
        yield Damage(path, before.offset, "its request is not there")


# ------------------------------------------------------------------ bytes
def _records(content: mmap.mmap, packed: bool) -> Iterator[_Record | tuple[int, str]]:
    """The records of a file, and the offset and fault of what is none."""
    at = 0
    while at < len(content):
        begun = at
        try:
            if packed:
                data, at = _member(content, begun)
                record, end = _parse(data, 0, begun)
                if end != len(data):
                    yield begun, f"{len(data) - end} bytes after the record in its gzip member"
            else:
                record, at = _parse(content, begun, begun)
            yield record
        except _Fault as fault:
            yield begun, str(fault)
            at = _next(content, max(at, begun + 1), packed)


def _member(content: mmap.mmap, start: int) -> tuple[bytes, int]:
    """What a gzip member holds, and where it ends."""
    if content[start : start + 3] != GZIP_MEMBER:
        raise _Fault("no gzip member begins here")
    unpack = zlib.decompressobj(wbits=31)
    parts, size, at = [], 0, start
    while not unpack.eof:
        if at >= len(content):
            raise _Fault("the file ends in the middle of a gzip member: it is torn")
        chunk = content[at : at + _CHUNK]
        at += len(chunk)
        try:
            parts.append(unpack.decompress(chunk))
        except zlib.error as error:
            raise _Fault(f"a damaged gzip member: {error}") from error
        size += len(parts[-1])
        if size > _LARGEST:
            raise _Fault("a record larger than 1 GiB, which is not looked at")
    return b"".join(parts), at - len(unpack.unused_data)


def _next(content: mmap.mmap, start: int, packed: bool) -> int:
    """Where the next record may begin after damage."""
    at = content.find(GZIP_MEMBER if packed else b"WARC/1.", start)
    while packed and at >= 0 and not begins_record(content, at):
        at = content.find(GZIP_MEMBER, at + 1)
    return at if at >= 0 else len(content)


def _parse(data: bytes | mmap.mmap, start: int, offset: int) -> tuple[_Record, int]:
    """The record that begins at a byte, and where it ends."""
    if data[start : start + 5] != b"WARC/":
        raise _Fault("no WARC record begins here")
    end = data.find(_BLANK, start)
    if end < 0:
        raise _Fault("the header of the record has no end: it is torn")
    version, *lines = data[start:end].decode("utf-8", "replace").split("\r\n")
    headers: list[tuple[str, str]] = []
    for line in lines:
        if line[:1] in (" ", "\t") and headers:  # a folded line
            headers[-1] = (headers[-1][0], f"{headers[-1][1]} {line.strip()}")
            continue
        name, colon, value = line.partition(":")
        if not colon or not _NAME.fullmatch(name):
            raise _Fault(f"a header line that is none: {line[:60]!r}")
        headers.append((name, value.strip()))
    record = _Record(offset, version, headers, b"")
    length = record.get("Content-Length")
    if not (length.isascii() and length.isdigit() and len(length) < _MOST_DIGITS):
        raise _Fault(
            f"Content-Length is {length[:30]!r}" if length else "Content-Length is missing"
        )
    begin = end + len(_BLANK)
    block = data[begin : begin + int(length)]
    if len(block) < int(length):
        missing = int(length) - len(block)
        raise _Fault(f"the block is {missing} bytes shorter than its header says: it is torn")
    end = begin + int(length)
    if data[end : end + 4] != _BLANK:
        raise _Fault("the record does not end where its header says")
    return _Record(offset, version, headers, bytes(block)), end + 4


# ------------------------------------------------------------------ rules
def _problems(record: _Record, seen: Mapping[str, Seen]) -> Iterator[str]:
    """What is wrong with one record."""
    if record.version not in ("WARC/1.0", "WARC/1.1"):
        yield f"the version is {record.version[:20]!r}"
    names = [name.lower() for name, _ in record.headers]
    for name in dict.fromkeys(names):
        known = name.startswith(("warc-", "content-")) and name not in _REPEATABLE
        if known and names.count(name) > 1:
            yield f"{name} stands there {names.count(name)} times"
    for name in _MANDATORY:
        if not record.get(name):
            yield f"{name} is missing"
    yield from _form(record)
    if record.id and record.id in seen:
        yield f"the id {record.id} is that of an earlier record"
    if record.block and not record.get("Content-Type"):
        yield "Content-Type is missing"
    # The digests of wget's revisits are of what they leave out.
    if record.kind != "revisit" or record.version != "WARC/1.0":
        yield from _digest(record, "WARC-Block-Digest", record.block)
    if record.kind in ("response", "request") and "application/http" in record.get("Content-Type"):
        yield from _http(record)
    elif record.kind == "resource":
        yield from _digest(record, "WARC-Payload-Digest", record.block)
    elif record.kind == "revisit":
        yield from _revisit(record)


def _form(record: _Record) -> Iterator[str]:
    """Fields whose values are not what they may be."""
    if record.kind and record.kind not in _TYPES:
        yield f"the type {record.kind!r} is not known"
    for name in ("WARC-Record-ID", "WARC-Refers-To", "WARC-Concurrent-To", "WARC-Warcinfo-ID"):
        if (value := record.get(name)) and not _ID.fullmatch(value):
            yield f"{name} is no id: {value[:60]!r}"
    for name in ("WARC-Date", "WARC-Refers-To-Date"):
        if (value := record.get(name)) and not _is_date(value):
            yield f"{name} is no date: {value[:60]!r}"
    if record.kind in _OF_AN_ADDRESS and not record.url:
        yield "WARC-Target-URI is missing"
    if record.url and not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:\S", record.url):
        yield f"WARC-Target-URI is no address: {record.url[:60]!r}"
    if (value := record.get("WARC-Truncated")) and value not in _TRUNCATED:
        yield f"WARC-Truncated is {value[:60]!r}"
    if value := record.get("WARC-IP-Address"):
        try:
            ipaddress.ip_address(value)
        except ValueError:
            yield f"WARC-IP-Address is no address: {value[:60]!r}"


def _is_date(text: str) -> bool:
    if not _DATE.fullmatch(text):
        return False
    day = text + {4: "-01-01", 7: "-01"}.get(len(text), "")
    try:
        datetime.fromisoformat(day.removesuffix("Z")[:19])
    except ValueError:
        return False
    return True


def _digest(record: _Record, name: str, content: bytes) -> Iterator[str]:
    told = record.get(name)
    if not told:
        return
    algorithm, colon, value = told.partition(":")
    make = _DIGESTS.get(algorithm.lower())
    if not colon:
        yield f"{name} is no digest: {told[:60]!r}"
        return
    if make is None:  # one that we do not know
        return
    digest = make(content, usedforsecurity=False).digest()
    if value.upper() != b32encode(digest).decode() and value.lower() != digest.hex():
        yield f"{name} does not match"


def _http(record: _Record) -> Iterator[str]:
    """What is wrong with an HTTP message."""
    head, blank, body = record.block.partition(_BLANK)
    line, _, fields = head.partition(b"\r\n")
    form = _REQUEST if record.kind == "request" else _STATUS
    if not blank:
        yield "an HTTP header without an end"
        return
    if not form.fullmatch(line):
        yield f"no HTTP {record.kind}: {line[:60]!r}"
        return
    yield from _digest(record, "WARC-Payload-Digest", body)
    if record.kind == "request" or record.get("WARC-Truncated"):
        return
    status = form.fullmatch(line)
    told = {
        n.strip().lower(): v.strip()
        for n, _, v in (f.partition(b":") for f in fields.split(b"\r\n"))
    }
    length = told.get(b"content-length", b"")
    chunked = b"transfer-encoding" in told
    empty = not body or (status is not None and status[1] in (b"204", b"304"))  # an answer to HEAD
    if length.isdigit() and not chunked and not empty and int(length) != len(body):
        yield f"the body has {len(body)} bytes, its header says {int(length)}"


def _revisit(record: _Record) -> Iterator[str]:
    profile = record.get("WARC-Profile")
    if not profile:
        yield "WARC-Profile is missing"
    elif profile not in _PROFILES:
        yield f"the profile {profile[:80]!r} is not known"
    if profile.endswith("identical-payload-digest") and not record.get("WARC-Payload-Digest"):
        yield "WARC-Payload-Digest is missing"
    if record.block and not _STATUS.match(record.block):
        yield "no HTTP response in the revisit"


def _repeat(record: _Record, seen: Mapping[str, Seen], path: Path, ours: bool) -> Iterator[str]:
    """What is wrong with what a revisit refers to."""
    if record.kind != "revisit":
        return
    refers = record.get("WARC-Refers-To")
    if not refers:
        if ours:
            yield "WARC-Refers-To is missing"
        return
    original = seen.get(refers) or _beside(path, refers)
    if original is None:
        yield f"it refers to {refers}, which is not there before it"
        return
    if original.kind not in ("response", "resource"):
        yield f"it refers to a {original.kind}"
    for name, value in (
        ("WARC-Refers-To-Target-URI", original.url),
        ("WARC-Refers-To-Date", original.date),
        ("WARC-Payload-Digest", original.payload_digest),
    ):
        if (told := record.get(name).strip("<>")) and value and told != value:
            yield f"{name} is not that of the record it refers to"


def _beside(path: Path, record_id: str) -> Seen | None:
    """A record of another file in the folder, as far as that file's index tells."""
    for other in archives_in(path.parent):
        for line in lines_of(other) if other != path else ():
            if line.record_id == record_id:
                kind = "revisit" if line.mime == index.REVISIT else "response"
                return Seen(kind, line.url, "", line.digest)
    return None


def _of_ours(record: _Record, before: _Kept | None, first: bool, path: Path) -> Iterator[str]:
    """What is not as we write it: one warcinfo, then each answer with its request behind it."""
    if record.version != "WARC/1.1":
        yield f"the version is {record.version}, ours is 1.1"
    if first and record.get("WARC-Filename") != path.name:
        yield f"the file was {record.get('WARC-Filename')}"
    if not first and record.kind == "warcinfo":
        yield "another warcinfo: what follows is of another file"
    wanted = ["WARC-Block-Digest", "Content-Type"]
    if not first:
        wanted.append("WARC-Warcinfo-ID")
    if record.kind in _ANSWERS:
        wanted.append("WARC-Payload-Digest")
    yield from (f"{name} is missing" for name in wanted if not record.get(name))
    answered = before is not None and before.kind in _ANSWERS
    if record.kind == "request":
        if before is None or not answered or record.get("WARC-Concurrent-To") != before.id:
            yield "its answer does not stand before it"
        elif before.url != record.url:
            yield "its address is not that of its answer"
    elif not first and record.kind not in _ANSWERS:
        yield f"a {record.kind or 'record'} among ours"
    message = {"request": "request", **dict.fromkeys(_ANSWERS, "response")}.get(record.kind)
    if message and record.get("Content-Type") != f"application/http; msgtype={message}":
        yield f"Content-Type is not that of a {message}"


def _kept(record: _Record) -> _Kept:
    beside = tuple(v for n, v in record.headers if n.lower() == "warc-concurrent-to")
    info = record.get("WARC-Warcinfo-ID")
    date = record.get("WARC-Date")
    return _Kept(record.id, record.offset, record.kind, date, record.url, beside, info)


def _relations(record: _Kept, here: Mapping[str, _Kept]) -> Iterator[str]:
    """What is wrong between the records of one file."""
    for name in record.beside:
        partner = here.get(name)
        if partner is None:
            yield f"it stands beside {name}, which is not there"
        elif partner.date != record.date:
            yield "its date is not that of the record beside it"
    if record.info and record.info not in here:
        yield f"it belongs to {record.info}, which is not there"
