"""Reads archive files: ours and other people's, WARC 1.0 and 1.1, packed or plain, whole or torn.

What cannot be read is named with its place, and reading goes on behind it.
"""

from __future__ import annotations

import json
import mmap
import os
import zlib
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from harvester.archive import index
from harvester.archive.index import REVISIT, Line
from harvester.archive.words import (
    LISTING,
    NOT_MODIFIED,
    REFERS_TO_FILE,
    REFERS_TO_OFFSET,
    ROLE,
    UNCHANGED,
    Answer,
    Damage,
    Original,
)
from harvester.archive.writer import mime_of
from pipelines.dataset import ARCHIVE_SUFFIX
from pipelines.run import Run, Scope, next_run_id, run_started

_GZIP_MEMBER: Final = b"\x1f\x8b\x08"
_LARGEST: Final = 100_000_000  # bytes of an answer; no page of a listing has so many
_AT_HAND: Final = 8  # bodies that revisits referred to last


def read_run(path: Path) -> Run | None:
    """The run that wrote an archive file; ``None`` for a file from elsewhere.

    Raises ``OSError`` when the file cannot be opened.
    """
    for record in _records(path):
        if isinstance(record, WarcRecord):
            told = _told(record) if record.record_type == WarcRecordType.warcinfo else None
            return _run(told) if told else None
    return None


def run_from_elsewhere(path: Path, source: str) -> Run:
    """A run of a source for an archive file that names none: it began with the file's first date."""
    dates = (r.record_date for r in _records(path) if isinstance(r, WarcRecord) and r.record_date)
    started = next(dates, None) or datetime.fromtimestamp(path.stat().st_mtime, UTC)
    started = started.astimezone(UTC)
    return Run(
        run_id=next_run_id(source, started, ()), source=source, started=started, mode="replay"
    )


Place = tuple[Path, int]


class Originals:
    """Finds what revisit records refer to: by its place, else by its id among what was read before.

    At last the files beside are looked through, by their indices.
    """

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}
        self._at_hand: OrderedDict[str, Answer] = OrderedDict()
        self._beside: dict[Path, dict[str, Place]] = {}

    def saw(self, answer: Answer, path: Path) -> None:
        """Remember where an answer is."""
        self._places[answer.record_id] = (path, answer.original.offset)

    def find(self, revisit: WarcRecord, path: Path) -> Answer | None:
        """The answer that a revisit record of a file refers to; ``None`` where it cannot be had."""
        record_id = revisit.headers.get("WARC-Refers-To") or ""
        if record_id in self._at_hand:
            self._at_hand.move_to_end(record_id)
            return self._at_hand[record_id]
        for place in self._candidates(revisit, record_id, path):
            found = answer_at(*place)
            if found is not None and record_id in ("", found.record_id):
                self._at_hand[found.record_id] = found
                if len(self._at_hand) > _AT_HAND:
                    self._at_hand.popitem(last=False)
                return found
        return None

    def _candidates(self, revisit: WarcRecord, record_id: str, path: Path) -> Iterator[Place]:
        file, offset = (revisit.headers.get(name) for name in (REFERS_TO_FILE, REFERS_TO_OFFSET))
        if file and offset and offset.isdigit():
            yield path.with_name(Path(file).name), int(offset)
        url = _address(revisit.headers.get("WARC-Refers-To-Target-URI"))
        digest = revisit.headers.get("WARC-Payload-Digest")
        name = record_id or f"{digest} {url}"
        if record_id in self._places:
            yield self._places[record_id]
        elif name in (beside := self._all_beside(path.parent)):
            yield beside[name]

    def _all_beside(self, folder: Path) -> dict[str, Place]:
        """The answers in the archive files of a folder, by their ids, and by digest and address."""
        if folder not in self._beside:
            found: dict[str, Place] = {}
            for path in sorted(folder.glob("*.warc*")):
                if path.name.endswith((".warc", ARCHIVE_SUFFIX)):
                    for line in lines_of(path):
                        if line.mime != REVISIT:
                            found[line.record_id] = (path, line.offset)
                            found.setdefault(f"{line.digest} {line.url}", (path, line.offset))
            self._beside[folder] = found
        return self._beside[folder]


def read_archive(
    path: Path, originals: Originals | None = None, others: Counter[str] | None = None
) -> Iterator[Answer | Damage]:
    """The answers in a WARC file, in their order, gzip or plain; what cannot be read is named.

    In a file that marks its listing pages only those count as such, in others every answer does.
    Records that hold no answer are counted in ``others``, by their kind.  Raises ``OSError`` when the
    file cannot be opened.
    """
    originals = originals or Originals()
    others = others if others is not None else Counter()
    marked = False
    for record in _records(path):
        if isinstance(record, Damage):
            yield record
            continue
        kind = record.record_type
        if kind == WarcRecordType.warcinfo:
            marked = _told(record) is not None
        if kind not in (WarcRecordType.response, WarcRecordType.revisit):
            others[record.headers.get("WARC-Type") or "unknown"] += 1
            continue
        if record.content_length > _LARGEST:
            others["too large"] += 1
            continue
        yield _answer(record, path, marked, originals)


def lines_of(path: Path, *, keep: bool = False) -> list[Line]:
    """The index lines of an archive file: from the index beside it, or from the file itself.

    With ``keep`` an index that was missing is there afterwards, if it can be written.
    """
    try:
        return index.parse(index.index_of(path).read_bytes())
    except (OSError, ValueError):
        if keep:
            with suppress(OSError):
                make_index(path)
        return list(indexed(path))


def indexed(path: Path) -> Iterator[Line]:
    """The index lines of an archive file, as its records say.  Damage is left out."""
    last: Line | None = None  # its length shows when the next record begins
    for record in _records(path):
        if isinstance(record, Damage):
            continue
        if last is not None:
            yield replace(last, length=record.stream_pos - last.offset)
        last = _line(record, path)
    if last is not None:
        yield replace(last, length=path.stat().st_size - last.offset)


def make_index(path: Path) -> None:
    """Write the index of an archive file anew."""
    index.index_of(path).write_bytes(index.as_bytes(indexed(path)))


def set_torn_tail_aside(path: Path) -> Damage | None:
    """Cut off what a killed run was writing when it died, and keep it beside the file.

    Only damage that reaches to the end of the file is such a tail.
    """
    torn: Damage | None = None
    for record in _records(path):
        if isinstance(record, Damage):
            torn = record
        elif _is_intact(record, by_digest=True):
            torn = None
        else:
            torn = Damage(path, record.stream_pos, "the record ends early")
    if torn is None:
        return None
    with path.open("r+b") as file:
        file.seek(torn.offset)
        path.with_name(path.name + ".torn").write_bytes(file.read())
        file.truncate(torn.offset)
        os.fsync(file.fileno())
    return torn


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


def _answer(record: WarcRecord, path: Path, marked: bool, originals: Originals) -> Answer | Damage:
    """What a response or a revisit record says."""
    offset = record.stream_pos
    revisit = record.record_type == WarcRecordType.revisit
    # wget's revisits carry the digest of what they leave out.
    if not _is_intact(record, by_digest=marked or not revisit):
        return Damage(path, offset, "the record does not match its digest, or ends early")
    url = _address(record.headers.get("WARC-Target-URI"))
    try:
        if int(record.headers.get("Content-Length") or 0):
            record.parse_http(auto_decode="transfer")
        headers, fetched_at = record.http_headers, record.record_date
        status = headers.status_code if headers else None
        body = record.reader.read()
    except (OSError, ValueError, KeyError) as error:
        return Damage(path, offset, f"no HTTP answer: {error}")
    found = None
    if revisit:
        found = originals.find(record, path)
        if found is None:
            return Damage(path, offset, "a revisit of a record that is not there")
        digests = {record.headers.get("WARC-Payload-Digest"), found.original.payload_digest}
        if len(digests - {None, ""}) > 1:
            return Damage(path, offset, "a revisit of a record with another body")
    unchanged = status == NOT_MODIFIED or record.headers.get("WARC-Profile") == UNCHANGED
    told = tuple((name.lower(), value) for name, value in headers.items()) if headers else ()
    if found is not None and (unchanged or not told):
        status, told = found.status, found.headers
    if not url or not record.record_id or not fetched_at or status is None:
        return Damage(path, offset, "the record lacks its address, id, date or status")
    fetched_at = fetched_at.astimezone(UTC)
    truncated = record.headers.get("WARC-Truncated")
    answer = Answer(
        url=url,
        status=status,
        headers=told,
        body=found.body if found else body,
        fetched_at=fetched_at,
        listing=not marked or record.headers.get(ROLE) == LISTING,
        record_id=record.record_id,
        truncated=found.truncated if found else truncated,
        original=found.original
        if found
        else Original(
            record_id=record.record_id,
            url=url,
            fetched_at=fetched_at,
            file=path.name,
            offset=offset,
            payload_digest=record.headers.get("WARC-Payload-Digest") or "",
        ),
    )
    if not revisit:
        originals.saw(answer, path)
    return answer


def answer_at(path: Path, offset: int) -> Answer | None:
    """The answer whose record begins at a byte of a file; ``None`` where there is no good one."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            for record in ArchiveIterator(file, parse_http=False):
                if record.record_type in (WarcRecordType.response, WarcRecordType.revisit):
                    answer = _answer(record, path, True, Originals())
                    return answer if isinstance(answer, Answer) else None
                return None
    except (OSError, ValueError, KeyError):
        pass
    return None


def _line(record: WarcRecord, path: Path) -> Line | None:
    """The index line of a record, but for its length; ``None`` for one that is no answer."""
    if record.record_type not in (WarcRecordType.response, WarcRecordType.revisit):
        return None
    told = record.headers
    revisit = record.record_type == WarcRecordType.revisit
    offset = record.stream_pos
    try:
        record.parse_http()
        http, at = record.http_headers, record.record_date
    except (OSError, ValueError, KeyError):
        return None
    if not at or not record.record_id or not (url := _address(told.get("WARC-Target-URI"))):
        return None
    headers = (
        [(n.encode("latin-1", "replace"), v.encode("latin-1", "replace")) for n, v in http.items()]
        if http
        else []
    )
    file, place = told.get(REFERS_TO_FILE), told.get(REFERS_TO_OFFSET)
    return Line(
        url=url,
        at=at,
        mime=REVISIT if revisit else mime_of(headers),
        status=(http.status_code if http else None) or 0,
        digest=told.get("WARC-Payload-Digest") or "",
        offset=offset,
        length=0,
        file=path.name,
        record_id=record.record_id,
        listing=told.get(ROLE) == LISTING,
        original=(file, int(place)) if file and place and place.isdigit() else None,
    )


def _address(text: str | None) -> str:
    """An address as WARC headers have it; wget puts it in angle brackets."""
    return (text or "").strip("<>")


def _is_intact(record: WarcRecord, *, by_digest: bool) -> bool:
    """Whether a record is what was written, as far as it tells."""
    try:
        if by_digest and record.headers.get("WARC-Block-Digest"):
            return bool(record.verify_block_digest())
        return record.headers.get("Content-Length") == str(record.content_length)
    except OSError:
        return False


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
