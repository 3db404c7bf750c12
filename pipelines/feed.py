"""A source's newest entries as an Atom feed (RFC 4287), for a site that has none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final
from uuid import NAMESPACE_URL, uuid5
from xml.etree import ElementTree

from pipelines.entry import Record

LONGEST: Final = 100  # entries
_ATOM: Final = "http://www.w3.org/2005/Atom"
_NO_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def as_atom(source: str, rows: Iterable[Record], edited: Mapping[str, datetime]) -> str:
    """The feed, the newest entry first.  ``edited`` has the moment of an entry's last edit, if any.

    A date that was printed without a zone is written as if it were UTC.
    """
    newest = sorted(rows, key=_when, reverse=True)[:LONGEST]
    updated = {
        row.entry_id: max(row.first_seen, edited.get(row.entry_id, row.first_seen))
        for row in newest
    }
    feed = ElementTree.Element("feed", xmlns=_ATOM)
    _add(feed, "id", _urn(f"feed of {source}"))
    _add(feed, "title", source)
    _add(feed, "updated", _moment(max(updated.values(), default=datetime.fromtimestamp(0, UTC))))
    _add(_add(feed, "author"), "name", source)
    if newest:
        _add(feed, "link", rel="alternate", href=newest[0].page_url)
    for row in newest:
        language = {"xml:lang": row.language} if row.language else {}
        entry = _add(feed, "entry", **language)
        _add(entry, "id", _urn(row.entry_id))
        _add(entry, "title", row.title or row.teaser or row.url or "")
        _add(entry, "updated", _moment(updated[row.entry_id]))
        if row.published:
            _add(entry, "published", _moment(row.published))
        _add(entry, "link", rel="alternate", href=row.url or row.page_url)
        if row.kind:
            _add(entry, "category", term=row.kind)
        if row.teaser:
            _add(entry, "summary", row.teaser + (" …" if row.teaser_truncated else ""))
    ElementTree.indent(feed)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(feed, "unicode") + "\n"


def _when(row: Record) -> tuple[datetime, datetime]:
    published = row.published.replace(tzinfo=UTC) if row.published else row.first_seen
    return (published, row.first_seen)


def _add(
    parent: ElementTree.Element, name: str, text: str | None = None, **attributes: str
) -> ElementTree.Element:
    clean = {key: _NO_XML.sub("", value) for key, value in attributes.items()}
    child = ElementTree.SubElement(parent, name, clean)
    child.text = _NO_XML.sub("", text) if text is not None else None
    return child


def _urn(name: str) -> str:
    return uuid5(NAMESPACE_URL, f"harvester:{name}").urn


def _moment(at: datetime) -> str:
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).isoformat().replace("+00:00", "Z")
