"""One record of a listing -> what it says, as printed.  Its date text is read with its column."""

from __future__ import annotations

import re
from typing import Final

from selectolax.lexbor import LexborNode

from harvester.parsers.dates import Reading
from harvester.parsers.pattern import Field, ListingPattern, compile_field
from harvester.parsers.tree import absolute
from pipelines.entry import Entry

_MOST_MARKS: Final = 8  # "(…) »" has two; a teaser of nothing else is not worth the time
Dated = tuple[str | None, Reading]

# What a source appends where it cut a teaser (a fourth dot ended a sentence) ...
_DOTS: Final = r"(?:…|(?<!\.)\.{3}|(?<=[^.]\.)\.{3}|\.{5,})"
_CUT: Final = re.compile(rf"(?:\[\s*{_DOTS}\s*\]|\(\s*{_DOTS}\s*\)|{_DOTS})$")
# ... and what it appends without having cut: separators and arrows.
_TAIL: Final = re.compile(r"(?://+|[»›→|]|>{1,2})$")
_LAST: Final = frozenset("….])/»›→|>")


def read_entry(record: LexborNode, pattern: ListingPattern, base: str, date: Dated) -> Entry:
    """The entry that a record prints; its date has been read with its column."""
    teaser, truncated = cut_teaser(_value(record, pattern.teaser))
    raw, reading = date
    return Entry(
        title=_value(record, pattern.title),
        url=absolute(_link(record, pattern), base),
        published=reading.value,
        published_precision=reading.precision,
        published_raw=raw,
        published_relative=reading.relative,
        teaser=teaser,
        teaser_truncated=truncated,
        kind=_value(record, pattern.kind),
    )


def date_text(record: LexborNode, pattern: ListingPattern) -> str | None:
    """The text of a record's date, as printed; a separator that stands alone is none."""
    text = _value(record, pattern.date)
    return text if text and any(map(str.isalnum, text)) else None


def cut_teaser(text: str | None) -> tuple[str | None, bool]:
    """A teaser without what its source appended, and whether the source cut it."""
    if text is None:
        return None, False
    truncated = False
    for _ in range(_MOST_MARKS):
        if not text or text[-1] not in _LAST:
            break
        last = _CUT.search(text, len(text) - 12) or _TAIL.search(text, len(text) - 12)
        if last is None:
            break
        truncated = truncated or last.re is _CUT
        text = text[: last.start()].rstrip()
    return text or None, truncated and bool(text)


def _value(record: LexborNode, selector: str | None) -> str | None:
    return compile_field(selector).value(record) if selector else None


def _link(record: LexborNode, pattern: ListingPattern) -> str | None:
    if pattern.link:
        field = compile_field(pattern.link)
        return Field(field.selector, field.attribute or "href").value(record)
    node = _title_link(record, pattern) or record.css_first("a[href]")
    return node.attributes.get("href") if node else None


def _title_link(record: LexborNode, pattern: ListingPattern) -> LexborNode | None:
    """The link that the title is, holds, or stands in."""
    title = compile_field(pattern.title).node(record) if pattern.title else None
    if title is None:
        return None
    if inner := title.css_first("a[href]"):
        return inner
    node: LexborNode | None = title
    while node is not None and node.mem_id != record.mem_id:
        if node.tag == "a" and node.attributes.get("href"):
            return node
        node = node.parent
    return None
