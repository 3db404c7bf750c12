"""The words of the archive: an exchange as it goes in, an answer as it comes out, and damage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

Headers = Sequence[tuple[bytes, bytes]]
Truncated = Literal["length", "time", "disconnect", "unspecified"]

NOT_MODIFIED: Final = 304
IDENTICAL: Final = "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"
UNCHANGED: Final = "http://netpreserve.org/warc/1.1/revisit/server-not-modified"
# Fields of ours in WARC records: the role of an answer, the entry whose own page it is, the browser that
# rendered it, and where the record that a revisit refers to lies (these two are Heritrix's).
ROLE: Final = "Harvester-Role"
LISTING: Final = "listing"
ARTICLE: Final = "article"
ENTRY: Final = "Harvester-Entry"
RENDERED: Final = "Harvester-Rendered-By"
REFERS_TO_FILE: Final = "WARC-Refers-To-Filename"
REFERS_TO_OFFSET: Final = "WARC-Refers-To-File-Offset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The record that holds a body: ``file`` is its file's name, ``offset`` counts bytes in it."""

    record_id: str
    url: str
    fetched_at: datetime
    file: str
    offset: int
    payload_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An archived answer; ``body`` still has its content encoding, header names are lower case.

    The answer of a revisit record has the body of the ``original`` that it refers to, and where the
    server had only said "not modified", its headers and status too.  ``rendered_by`` is the browser
    that made the body of what the server had sent.
    """

    url: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    fetched_at: datetime
    listing: bool
    record_id: str
    original: Original
    truncated: str | None = None
    rendered_by: str | None = None
    article_of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A request and its answer, as they went over the wire, but for transfer encoding.

    ``listing``: asked for as a page of the listing (not robots.txt).  ``known`` is the archived answer
    that a "not modified" confirms, or that this one may repeat.  ``taken_from`` is where a web archive
    gave it, if one did: then the request went there.  ``rendered_by`` is the browser whose rendering
    the body is, if it is one.  ``article_of`` is the address of the entry for whose date it was asked.
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
    truncated: Truncated | None = None
    known: Answer | None = None
    taken_from: str | None = None
    rendered_by: str | None = None
    article_of: str | None = None


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong at a place of an archive file.  ``offset`` counts bytes of the file."""

    path: Path
    offset: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: at byte {self.offset}: {self.reason}"
