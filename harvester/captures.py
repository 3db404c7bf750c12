"""What a web archive has of an address: its answer to a CDX or TimeMap request, as captures.  Pure.

Read are CDX servers (pywb's CDXJ and JSON lines, the Wayback Machine's JSON table and its lines of
fields) and Memento TimeMaps (RFC 7089, link format and JSON lines).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit

from pipelines.run import in_window

_TIME: Final = "%Y%m%d%H%M%S"
_MEMENTO: Final = re.compile(r"<([^<>]+)>((?:\s*;\s*[\w-]+\s*=\s*(?:\"[^\"]*\"|[^\s,;]+))*)")
_FIELD: Final = re.compile(r"([\w-]+)\s*=\s*(?:\"([^\"]*)\"|([^\s,;]+))")
_STAMP: Final = re.compile(r"/(\d{14})(?:[a-z]{2}_)?/")
# The fields of a CDX line, where the server does not name them.
_FIELDS: Final = ("urlkey", "timestamp", "original", "mimetype", "statuscode", "digest", "length")


class NoCaptures(Exception):
    """What a web archive sent is no list of captures; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """A page as a web archive has it: ``raw_url`` answers with its bytes, as they came."""

    url: str
    at: datetime
    raw_url: str
    digest: str = ""

    @property
    def stamp(self) -> str:
        """Fourteen digits of UTC."""
        return self.at.strftime(_TIME)


def index_address(archive: str, url: str) -> str:
    """Where a web archive lists its captures of an address.

    ``archive`` is a CDX server, or where its TimeMaps begin; ``{url}`` in it is replaced by the address.
    """
    if "{url}" in archive:
        return archive.replace("{url}", quote(url, safe=""))
    parts = urlsplit(archive)
    if "/timemap" in parts.path:
        whole = re.search(r"/timemap/.*https?://", archive)
        return archive if whole else f"{archive.rstrip('/')}/{url}"
    if "url" in parse_qs(parts.query):
        return archive
    return f"{archive}{'&' if parts.query else '?'}url={quote(url, safe='')}"


def captures(text: str, index_url: str, url: str) -> list[Capture]:
    """The captures that an index lists, the oldest first; redirects and errors are left out.

    ``url`` is the address that was asked for.  Raises ``NoCaptures``.
    """
    body = text.strip()
    if not body:
        return []
    if body.startswith("<") and "rel=" in body and "<html" not in body[:500].lower():
        found = list(_of_links(body, url))
    else:
        found = list(_of_rows(_rows(body), index_url, url))
    return sorted(found, key=lambda capture: capture.at)


def captured_address(raw_url: str) -> str | None:
    """The address of the page that a web archive replays at an address; ``None`` where it does not say."""
    stamp = _STAMP.search(raw_url)
    return raw_url[stamp.end() :] if stamp else None


def worth_fetching(
    found: Iterable[Capture], since: date | None, until: date | None
) -> Iterator[Capture]:
    """The captures of a window of days, the first of those that hold the same in a row."""
    last = None
    for capture in found:
        if not in_window(capture.at.date(), since, until):
            continue
        if capture.digest and capture.digest == last:
            continue
        last = capture.digest
        yield capture


def _rows(body: str) -> Iterator[dict[str, Any]]:
    """The rows of a CDX answer, in any of its forms."""
    try:
        if body.startswith("["):
            head, *rows = json.loads(body) or [[]]
            yield from (dict(zip(head, row, strict=False)) for row in rows)
            return
        for line in body.splitlines():
            before, brace, rest = line.partition("{")
            if brace:
                row = json.loads(brace + rest)
                fields = before.split()
                if len(fields) > 1:
                    row.setdefault("timestamp", fields[1])
                yield row
            elif line.strip() and not line.startswith((" CDX", "!")):
                yield dict(zip(_FIELDS, line.split(), strict=False))
    except (ValueError, TypeError) as error:
        raise NoCaptures(f"no list of captures: {body[:60]!r} ({error})") from error


def _of_rows(rows: Iterable[dict[str, Any]], index_url: str, url: str) -> Iterator[Capture]:
    for row in rows:
        stamp = str(row.get("timestamp") or "")
        try:
            at = datetime.strptime(stamp, _TIME).replace(tzinfo=UTC)
        except ValueError as error:
            raise NoCaptures(f"no list of captures: {str(row)[:60]!r}") from error
        status = str(row.get("statuscode") or row.get("status") or "-")
        mime = str(row.get("mimetype") or row.get("mime") or "")
        # A revisit may be listed without a status; what is none shows when it is fetched.
        if not status.startswith("2") and status != "-":
            continue
        if mime not in ("", "-", "warc/revisit") and "html" not in mime:
            continue
        original = str(row.get("original") or row.get("url") or url)
        raw = row.get("load_url") or f"{_replay_of(index_url)}{stamp}id_/{original}"
        digest = str(row.get("digest") or "").removeprefix("sha1:")
        yield Capture(url=original, at=at, raw_url=str(raw), digest=digest)


def _of_links(body: str, url: str) -> Iterator[Capture]:
    """The mementos of a TimeMap; one that is part of a long one names the rest, which is not read."""
    for match in _MEMENTO.finditer(body):
        fields = {name: quoted or plain for name, quoted, plain in _FIELD.findall(match[2])}
        if "memento" not in fields.get("rel", "").split():
            continue
        stamp = _STAMP.search(match[1])
        if stamp is None:
            raise NoCaptures(f"a memento without a time in its address: {match[1][:90]}")
        at = datetime.strptime(stamp[1], _TIME).replace(tzinfo=UTC)
        raw = _STAMP.sub(rf"/{stamp[1]}id_/", match[1], count=1)
        yield Capture(url=captured_address(match[1]) or url, at=at, raw_url=raw)


def _replay_of(index_url: str) -> str:
    """Where an index's archive replays pages: pywb and the Wayback Machine differ."""
    parts = urlsplit(index_url)
    path = parts.path.partition("/timemap/")[0].rstrip("/")
    base = "/web" if path.endswith("/cdx/search/cdx") else path.removesuffix("/cdx")
    return f"{parts.scheme}://{parts.netloc}{base}/"
