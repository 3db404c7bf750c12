"""Reads archive files: ours and other people's, WARC 1.0 and 1.1, packed or plain, whole or torn.

What cannot be read is named with its place, and reading goes on behind it.
"""

from __future__ import annotations

import json
import os
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import fields, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from fastwarc.warc import ArchiveIterator

from harvester.archive import index
from harvester.archive.index import REVISIT, Line
from harvester.archive.scan import Scanned, scan
from harvester.archive.words import (
    ENTRY,
    LISTING,
    NOT_MODIFIED,
    REFERS_TO_FILE,
    REFERS_TO_OFFSET,
    RENDERED,
    ROLE,
    UNCHANGED,
    Answer,
    Damage,
    Original,
)
from harvester.archive.writer import mime_of
from pipelines.dataset import ARCHIVE_SUFFIX
from pipelines.run import Run, Scope, next_run_id, run_started

_LARGEST: Final = 100_000_000  # bytes of an answer; no page of a listing has so many
_KINDS: Final = ("warcinfo", "request", "resource", "metadata", "conversion", "continuation")
_AT_HAND: Final = 8  # bodies that revisits referred to last


def read_run(path: Path) -> Run | None:
    """The run that wrote an archive file; ``None`` for a file from elsewhere.

    Raises ``OSError`` when the file cannot be opened.
    """
    for found in scan(path):
        if isinstance(found, Scanned):
            return _told(found) if found.kind == "warcinfo" else None
    return None


def capture_run(source: str, at: datetime) -> Run:
    """A run of a source for what was captured elsewhere at a moment."""
    return Run(run_id=next_run_id(source, at, ()), source=source, started=at, mode="replay")


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

    def find(self, revisit: Scanned, path: Path) -> Answer | None:
        """The answer that a revisit record of a file refers to; ``None`` where it cannot be had."""
        record_id = revisit.header("WARC-Refers-To")
        url = _address(revisit.header("WARC-Refers-To-Target-URI"))
        digest = revisit.header("WARC-Payload-Digest")
        if record_id in self._at_hand:
            self._at_hand.move_to_end(record_id)
            return self._at_hand[record_id]
        for file, offset in self._candidates(revisit, record_id or f"{digest} {url}", path):
            found = _original_at(file, offset, record_id)
            if found is not None and (record_id or _agrees(found, url, digest)):
                self._at_hand[found.record_id] = found
                if len(self._at_hand) > _AT_HAND:
                    self._at_hand.popitem(last=False)
                return found
        return None

    def _candidates(self, revisit: Scanned, name: str, path: Path) -> Iterator[Place]:
        file, offset = revisit.header(REFERS_TO_FILE), revisit.header(REFERS_TO_OFFSET)
        if file and offset.isascii() and offset.isdigit():
            yield path.with_name(Path(file).name), int(offset[:15])
        if name in self._places:
            yield self._places[name]
        elif name in (beside := self._all_beside(path.parent)):
            yield beside[name]

    def _all_beside(self, folder: Path) -> dict[str, Place]:
        """The answers in the archive files of a folder, by their ids, and by digest and address."""
        if folder not in self._beside:
            found: dict[str, Place] = {}
            for path in archives_in(folder):
                for line in lines_of(path):
                    if line.mime != REVISIT:
                        found[line.record_id] = (path, line.offset)
                        found.setdefault(f"{line.digest} {line.url}", (path, line.offset))
            self._beside[folder] = found
        return self._beside[folder]


def read_archive(
    path: Path,
    originals: Originals | None = None,
    others: Counter[str] | None = None,
    *,
    marked: bool = False,
) -> Iterator[Answer | Damage]:
    """The answers in a WARC file, in their order, gzip or plain; what cannot be read is named.

    In a file of ours, which says so or is ``marked``, only marked answers are pages of the listing.
    Records that hold no answer are counted in ``others``, by their kind.  Raises ``OSError`` when the
    file cannot be opened.
    """
    originals = originals or Originals()
    others = others if others is not None else Counter()
    for found in scan(path):
        if isinstance(found, Damage):
            yield found
        elif found.kind not in ("response", "revisit"):
            marked = marked or (found.kind == "warcinfo" and _told(found) is not None)
            others[found.kind if found.kind in _KINDS else "unknown"] += 1
        elif found.record.content_length > _LARGEST:
            others["too large"] += 1
        else:
            yield _answer(found, path, marked, originals)


def archives_in(folder: Path) -> list[Path]:
    """The archive files in a folder, whoever wrote them."""
    found = sorted(folder.glob("*.warc*"))
    return [path for path in found if path.name.endswith((".warc", ARCHIVE_SUFFIX))]


def lines_of(path: Path, *, keep: bool = False) -> list[Line]:
    """The index lines of an archive file: from the index beside it, or from the file itself.

    With ``keep`` an index that was missing is there afterwards, if it can be written.
    """
    try:
        return index.parse(index.index_of(path).read_bytes())
    except (OSError, ValueError):
        lines = list(indexed(path))
        if keep:
            with suppress(OSError):
                _write_index(path, lines)
        return lines


def indexed(path: Path) -> Iterator[Line]:
    """The index lines of an archive file, as its records say.  Damage is left out."""
    last: Line | None = None  # its length shows when the next record begins
    for found in scan(path):
        if isinstance(found, Damage):
            continue
        if last is not None:
            yield replace(last, length=found.offset - last.offset)
        last = _line(found, path)
    if last is not None:
        yield replace(last, length=path.stat().st_size - last.offset)


def make_index(path: Path) -> None:
    """Write the index of an archive file anew."""
    _write_index(path, indexed(path))


def _write_index(path: Path, lines: Iterable[Line]) -> None:
    place = index.index_of(path)
    draft = place.with_name(f".{place.name}.draft")
    draft.write_bytes(index.as_bytes(lines))
    draft.replace(place)


def set_torn_tail_aside(path: Path) -> Damage | None:
    """Cut off what a killed run was writing when it died, and keep it beside the file.

    Only damage that reaches to the end of the file is such a tail, and an answer without its request.
    A file of which nothing is left is taken away.
    """
    torn: Damage | None = None
    for found in scan(path):
        if isinstance(found, Damage):
            torn = torn or found
        elif not found.is_intact():
            torn = torn or Damage(path, found.offset, "the record ends early")
        elif found.kind in ("response", "revisit"):
            torn = Damage(path, found.offset, "the record has no request beside it")
        else:
            torn = None
    if torn is None:
        return None
    with path.open("r+b") as file:
        file.seek(torn.offset)
        path.with_name(path.name + ".torn").write_bytes(file.read())
        file.truncate(torn.offset)
        os.fsync(file.fileno())
    if torn.offset == 0:
        path.unlink()
    return torn


def _answer(
    found: Scanned, path: Path, marked: bool, originals: Originals | None
) -> Answer | Damage:
    """What a response or a revisit record says; without ``originals`` only a response says anything."""
    revisit = found.kind == "revisit"
    # wget's revisits carry the digest of what they leave out.
    if not found.is_intact(by_digest=marked or not revisit):
        return Damage(path, found.offset, "the record does not match its digest, or ends early")
    record = found.record
    try:
        if record.content_length:
            record.parse_http(auto_decode="transfer", quirks_mode=not marked)
        http = record.http_headers
        status = http.status_code if http else None
        told = tuple((n.lower(), v) for n, v in http.items()) if http else ()
        body = record.reader.read()
    except (OSError, ValueError, KeyError) as error:
        return Damage(path, found.offset, f"no HTTP answer: {error}")
    original = None
    if revisit:
        original = originals.find(found, path) if originals else None
        if original is None:
            return Damage(path, found.offset, "a revisit of a record that is not there")
        if not _agrees(original, "", found.header("WARC-Payload-Digest")):
            return Damage(path, found.offset, "a revisit of a record with another body")
        unchanged = status == NOT_MODIFIED or found.header("WARC-Profile") == UNCHANGED
        if unchanged or not told:
            status, told = original.status, original.headers
    url, at = _address(found.header("WARC-Target-URI")), found.date
    if not url or at is None or status is None:
        return Damage(
            path, found.offset, "the record lacks its address, its status, or a sound date"
        )
    assert record.record_id is not None
    answer = Answer(
        url=url,
        status=status,
        headers=told,
        body=original.body if original else body,
        fetched_at=at,
        listing=not marked or found.header(ROLE) == LISTING,
        record_id=record.record_id,
        truncated=original.truncated if original else found.header("WARC-Truncated") or None,
        rendered_by=found.header(RENDERED) or None,
        article_of=found.header(ENTRY) or None,
        original=original.original
        if original
        else Original(
            record_id=record.record_id,
            url=url,
            fetched_at=at,
            file=path.name,
            offset=found.offset,
            payload_digest=found.header("WARC-Payload-Digest"),
        ),
    )
    if originals and not revisit:
        originals.saw(answer, path)
    return answer


def answer_at(path: Path, offset: int, record_id: str = "") -> Answer | None:
    """The answer whose record begins at a byte of a file; ``None`` where there is no good one.

    Several records may begin there, in one gzip member; ``record_id`` says which.
    """
    return _answer_at(path, offset, record_id, Originals())


def _original_at(path: Path, offset: int, record_id: str) -> Answer | None:
    """The same, of a response only: a revisit refers to no revisit."""
    return _answer_at(path, offset, record_id, None)


def _answer_at(
    path: Path, offset: int, record_id: str, originals: Originals | None
) -> Answer | None:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            for record in ArchiveIterator(file, parse_http=False):
                found = Scanned(record, offset)
                if record_id in ("", record.record_id):
                    if found.kind not in ("response", "revisit"):
                        return None
                    answer = _answer(found, path, True, originals)
                    return answer if isinstance(answer, Answer) else None
                if record.stream_pos != offset:
                    return None
    except (OSError, ValueError, KeyError):
        pass
    return None


def _agrees(original: Answer, url: str, digest: str) -> bool:
    """Whether an original is what a revisit says of it, as far as both tell."""
    told = original.original.payload_digest
    return (not url or url == original.url) and (not digest or not told or digest == told)


def _line(found: Scanned, path: Path) -> Line | None:
    """The index line of a record, but for its length; ``None`` for one that is no answer."""
    if found.kind not in ("response", "revisit") or found.date is None:
        return None
    url = _address(found.header("WARC-Target-URI"))
    try:
        found.record.parse_http()
        http = found.record.http_headers
    except (OSError, ValueError, KeyError):
        return None
    if not url or not found.record.record_id:
        return None
    headers = [(n.encode(), v.encode()) for n, v in http.items()] if http else []
    file, place = found.header(REFERS_TO_FILE), found.header(REFERS_TO_OFFSET)
    return Line(
        url=url,
        at=found.date,
        mime=REVISIT if found.kind == "revisit" else mime_of(headers),
        status=(http.status_code if http else None) or 0,
        digest=found.header("WARC-Payload-Digest"),
        offset=found.offset,
        length=0,
        file=path.name,
        record_id=found.record.record_id,
        listing=found.header(ROLE) == LISTING,
        original=(file, int(place[:15])) if file and place.isascii() and place.isdigit() else None,
    )


def _address(text: str | None) -> str:
    """An address as WARC headers have it; wget puts it in angle brackets."""
    return (text or "").strip("<>")


def _told(found: Scanned) -> Run | None:
    """The run that a warcinfo record of ours tells of; ``None`` for files from elsewhere."""
    text = found.record.reader.read().decode("utf-8", "replace")
    for line in text.splitlines():
        name, _, value = line.partition(": ")
        if name == "harvester-run":
            try:
                return _run(json.loads(value))
            except (ValueError, KeyError, TypeError, AttributeError):
                return None
    return None


def _run(told: dict[str, Any]) -> Run:
    if run_started(told["run_id"]) is None:
        raise ValueError(told["run_id"])
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
