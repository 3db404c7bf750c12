"""CDXJ: beside each archive file, one line for each answer in it, sorted by address and time.

The form is the one of pywb and ReplayWeb.page: a sortable address (SURT), fourteen digits of UTC, and
JSON.  A revisit's line says where its original lies, as pywb's resolved lines do.  An index is only a
cache: it is made anew from its file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote, unquote_to_bytes, urlsplit

from harvester.archive.words import LISTING
from pipelines.dataset import ARCHIVE_SUFFIX

INDEX_SUFFIX: Final = ".cdxj"
REVISIT: Final = "warc/revisit"
_TIME: Final = "%Y%m%d%H%M%S"
_PORTS: Final = {"http": 80, "https": 443}
_WWW: Final = re.compile(r"www\d*\.")
_SLASHES: Final = re.compile(r"/{2,}")
# Path and query stay readable where a browser leaves them so.
_SAFE: Final = "!\"$&'()*+,-./:;<=>?@[\\]^_`{|}~"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One record of an archive file.

    ``listing``: it is marked as a page of the listing.  ``original``: file and offset of the body of a
    revisit.
    """

    url: str
    at: datetime
    mime: str
    status: int
    digest: str
    offset: int
    length: int
    file: str
    record_id: str
    listing: bool = False
    original: tuple[str, int] | None = None

    def __str__(self) -> str:
        told = {
            "url": self.url,
            "mime": self.mime,
            "status": str(self.status),
            "digest": self.digest,
            "length": str(self.length),
            "offset": str(self.offset),
            "filename": self.file,
            "id": self.record_id,
        }
        if self.listing:
            told["role"] = LISTING
        if self.original:
            told |= {"orig.filename": self.original[0], "orig.offset": str(self.original[1])}
        stamp = self.at.astimezone(UTC).strftime(_TIME)
        return f"{surt(self.url)} {stamp} {json.dumps(told, ensure_ascii=False)}\n"

    def files(self, archive: Path) -> list[Path]:
        """The archive files that hold the answer: its own, and that of the body it refers to."""
        return [archive, *(archive.with_name(name) for name, _ in filter(None, [self.original]))]

    @classmethod
    def parse(cls, text: str) -> Self:
        """The line that was written.  Raises ``ValueError``."""
        _, stamp, told = text.split(" ", 2)
        try:
            values = json.loads(told)
            original = None
            if "orig.filename" in values:
                original = (values["orig.filename"], int(values["orig.offset"]))
            return cls(
                url=values["url"],
                at=datetime.strptime(stamp, _TIME).replace(tzinfo=UTC),
                mime=values["mime"],
                status=int(values["status"]),
                digest=values["digest"],
                offset=int(values["offset"]),
                length=int(values["length"]),
                file=values["filename"],
                record_id=values["id"],
                listing=values.get("role") == LISTING,
                original=original,
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"no index line: {error}") from error


def index_of(archive: Path) -> Path:
    """Where the index of an archive file lies."""
    return archive.with_name(archive.name.removesuffix(ARCHIVE_SUFFIX) + INDEX_SUFFIX)


def as_bytes(lines: Iterable[Line]) -> bytes:
    """An index as it is written."""
    return "".join(sorted(map(str, lines))).encode()


def parse(data: bytes) -> list[Line]:
    """The lines of an index, in the order of their records.  Raises ``ValueError``."""
    lines = map(Line.parse, data.decode().splitlines())
    return sorted(lines, key=lambda line: line.offset)


def surt(url: str) -> str:
    """An address as indices are sorted by: host from the end, no scheme, no www, all lower case.

    Sort-friendly URI Reordering Transform, as the Internet Archive's ``surt`` and pywb make it for
    addresses of listings; session ids in queries, which they cut, are kept.
    """
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        return url.lower().replace(" ", "%20")
    if not parts.hostname:
        return url.lower().replace(" ", "%20")
    host = parts.hostname.rstrip(".")
    if not host.isascii():
        with suppress(UnicodeError):
            host = host.encode("idna").decode()
    bare = _WWW.sub("", host, count=1) if _WWW.match(host) else host
    key = ",".join(reversed(bare.split("."))) if ":" not in bare else bare
    if port and port != _PORTS.get(parts.scheme):
        key += f":{port}"
    path = _plain(parts.path or "/")
    path = _SLASHES.sub("/", path)
    path = _without_dots(path)
    if len(path) > 1:
        path = path.removesuffix("/")
    query = ""
    if parts.query:
        query = "?" + "&".join(sorted(_plain(parts.query).lower().split("&")))
    return f"{key}){path}".lower() + query


def _plain(text: str) -> str:
    return quote(unquote_to_bytes(text), safe=_SAFE)


def _without_dots(path: str) -> str:
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if len(kept) > 1:
                kept.pop()
        elif part != ".":
            kept.append(part)
    return "/".join(kept) or "/"
