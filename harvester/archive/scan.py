"""The records of an archive file, one after the other, each with its place; damage is named and passed.

Packed files are left to the WARC library, whose ends are held against the bytes, because it takes some
damage for the end of the file.  Plain files are walked from length to length, because nothing in them
has a checksum.
"""

from __future__ import annotations

import io
import mmap
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from fastwarc.warc import ArchiveIterator, WarcRecord

from harvester.archive.words import Damage

GZIP_MEMBER: Final = b"\x1f\x8b\x08"
_PLAIN: Final = b"WARC/1."
_LONGEST_HEAD: Final = 1 << 16
_CHUNK: Final = 1 << 16
_MOST: Final = 256 << 20  # bytes of a torn member that are looked at
_LENGTH: Final = re.compile(rb"\ncontent-length[ \t]*:[ \t]*(\d{1,15})[ \t]*\r?\n", re.IGNORECASE)
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_VERIFIED: Final = ("sha1:", "sha256:")
_FIRST: Final = datetime(1990, 1, 1, tzinfo=UTC)  # no web page is older
_DATE: Final = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?")


@dataclass(frozen=True, slots=True)
class Scanned:
    """A record and the byte at which it begins."""

    record: WarcRecord
    offset: int

    def header(self, name: str) -> str:
        """A field of the record; empty where there is none."""
        return self.record.headers.get(name) or ""

    @property
    def kind(self) -> str:
        """The type of the record."""
        return self.header("WARC-Type")

    @property
    def date(self) -> datetime | None:
        """When it was captured; ``None`` for a date that cannot be."""
        told = self.record.record_date
        if told is None:  # the library reads no date without a time
            parts = _DATE.fullmatch(self.header("WARC-Date"))
            if parts is None:
                return None
            with suppress(ValueError):
                told = datetime(*(int(part or 1) for part in parts.groups()), tzinfo=UTC)
        if told is None or not _FIRST <= told <= datetime.now(UTC) + timedelta(days=1):
            return None
        return told.astimezone(UTC)

    def is_intact(self, *, by_digest: bool = True) -> bool:
        """Whether it is what was written, as far as it tells."""
        digest = self.header("WARC-Block-Digest").lower()
        try:
            if by_digest and digest.startswith(_VERIFIED):
                return bool(self.record.verify_block_digest())
            return self.header("Content-Length") == str(self.record.content_length)
        except OSError:
            return False


def scan(path: Path) -> Iterator[Scanned | Damage]:
    """All records.  Raises ``OSError`` when the file cannot be opened."""
    if path.stat().st_size == 0:
        yield Damage(path, 0, "the file is empty")
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        packed = content[: len(_PLAIN)] != _PLAIN
        yield from _packed(path, file, content) if packed else _plain(path, content)


def _packed(path: Path, file: io.BufferedReader, content: mmap.mmap) -> Iterator[Scanned | Damage]:
    """The records of a packed file; after damage reading goes on with the next member, if there is one.

    What only looks like a member inside a damaged stretch belongs to that stretch.
    """
    start, damaged = 0, False
    torn = _torn_tail(content)  # of which the library would give a piece, as if it were whole
    while 0 <= start < torn:
        file.seek(start)
        last: int | None = None  # where the last good record of this stretch began
        reason = "this is no WARC record"
        try:
            for record in ArchiveIterator(file, parse_http=False):
                at = record.stream_pos
                if last is None or content[at : at + 3] == GZIP_MEMBER:
                    last = at  # else it is one more of the same member
                if torn <= last < len(content):
                    break
                damaged = False
                found = Scanned(record, last)
                if found.kind and record.record_id:
                    yield found
                else:
                    yield Damage(path, last, "a header that cannot be read")
        except (OSError, KeyError, ValueError) as error:
            reason = str(error)
        at = start if last is None else torn if last >= torn else _member_end(content, last)
        if at >= torn:
            break
        if not damaged:
            yield Damage(path, at, reason)
        damaged = True
        start = content.find(GZIP_MEMBER, at + 1 if content[at : at + 3] == GZIP_MEMBER else at)
    if torn < len(content):
        yield from (Scanned(record, torn) for record in _of_torn_member(content, torn))
        yield Damage(path, torn, "the file ends in the middle of a record")


def _of_torn_member(content: mmap.mmap, start: int) -> list[WarcRecord]:
    """The whole records in a gzip member without an end, where a member holds many."""
    data = zlib.decompressobj(wbits=31).decompress(content[start:], _MOST)
    found, at = [], 0
    while at < len(data):
        end, _ = _extent(data, at)
        record = _record_of(data[at:end]) if end is not None else None
        if record is None or end is None:
            break
        found.append(record)
        at = end
    return found if len(found) > 1 else []


def _torn_tail(content: mmap.mmap) -> int:
    """Where the last gzip member begins, if it has no end; else the end of the file."""
    at = content.rfind(GZIP_MEMBER)
    while at >= 0 and not begins_record(content, at):
        at = content.rfind(GZIP_MEMBER, 0, at)
    if at < 0:
        return len(content)
    try:
        return len(content) if _end_of_member(content, at) is not None else at
    except zlib.error:  # damaged, which its reader notices
        return len(content)


def begins_record(content: mmap.mmap, at: int) -> bool:
    """Whether a gzip member with a record begins here; its first bytes may stand inside of one, too."""
    try:
        begun = zlib.decompressobj(wbits=31).decompress(content[at : at + 4096], len(_PLAIN))
    except zlib.error:
        return False
    return _PLAIN.startswith(begun)


def _member_end(content: mmap.mmap, start: int) -> int:
    """Where the gzip member that begins at ``start`` ends, or the next begins where it is damaged."""
    if content[start : start + 3] != GZIP_MEMBER:
        return len(content)
    try:
        end = _end_of_member(content, start)
    except zlib.error:  # which its reader has noticed
        following = content.find(GZIP_MEMBER, start + 1)
        return following if following >= 0 else len(content)
    return len(content) if end is None else end


def _end_of_member(content: mmap.mmap, start: int) -> int | None:
    """Where a gzip member ends; ``None`` where the file ends first.  Raises ``zlib.error``."""
    unpack = zlib.decompressobj(wbits=31)
    for position in range(start, len(content), _CHUNK):
        chunk = content[position : position + _CHUNK]
        unpack.decompress(chunk)
        if unpack.eof:
            return position + len(chunk) - len(unpack.unused_data)
    return None


def _plain(path: Path, content: mmap.mmap) -> Iterator[Scanned | Damage]:
    """The records of a file that is not packed."""
    at = 0
    while at < len(content):
        end, reason = _extent(content, at)
        record = _record_of(content[at:end]) if end is not None else None
        if record is not None:
            yield Scanned(record, at)
        else:
            yield Damage(path, at, reason or "a header that cannot be read")
        if end is None:
            following = content.find(_PLAIN, at + 1)
            end = following if following >= 0 else len(content)
        at = end


def _record_of(data: bytes) -> WarcRecord | None:
    """The one record that some bytes are."""
    with suppress(OSError, KeyError, ValueError, StopIteration):
        record = next(iter(ArchiveIterator(io.BytesIO(data), parse_http=False)))
        return record if record.record_id else None
    return None


def _extent(content: mmap.mmap | bytes, start: int) -> tuple[int | None, str]:
    """Where the record that begins at a byte ends; ``None`` and the reason where none does."""
    if content[start : start + len(_PLAIN)] != _PLAIN:
        return None, "no WARC record begins here"
    head = content[start : start + _LONGEST_HEAD]
    blank = _HEAD_END.search(head)
    if blank is None:
        return None, "the header of the record has no end"
    length = _LENGTH.search(head, 0, blank.end())
    if length is None:
        return None, "the record does not say how long it is"
    end = start + blank.end() + int(length[1])
    if end > len(content):
        return None, "the record ends early"
    while content[end : end + 1] in (b"\r", b"\n"):
        end += 1
    return end, ""
