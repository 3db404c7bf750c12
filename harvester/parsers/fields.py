"""One record of a listing -> what it says, as printed.  Its date text is read with its column."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from selectolax.lexbor import LexborNode

from harvester.parsers.datelike import looks_dated
from harvester.parsers.dates import Reading
from harvester.parsers.pattern import Field, ListingPattern, compile_field
from harvester.parsers.records import Record
from harvester.parsers.tree import absolute, text_of
from pipelines.entry import Entry

_LONGEST_MORE: Final = 40  # characters of "continue reading"
_SHORTEST: Final = 25  # characters of a teaser that is all link
_MOST_MARKS: Final = 8  # "(…) »" has two; a teaser of nothing else is not worth the time
Dated = tuple[str | None, Reading]

# What a source appends where it cut a teaser (a fourth dot ended a sentence) ...
_DOTS: Final = r"(?:…|(?<!\.)\.{3}|(?<=[^.]\.)\.{3}|\.{5,})"
_CUT: Final = re.compile(rf"(?:\[\s*{_DOTS}\s*\]|\(\s*{_DOTS}\s*\)|{_DOTS})$")
# ... and what it appends without having cut: separators and arrows.
_TAIL: Final = re.compile(r"(?://+|[»›→|]|>{1,2})$")
_LAST: Final = frozenset("….])/»›→|>")


def read_entry(record: Record, pattern: ListingPattern, base: str, date: Dated) -> Entry:
    """The entry that a record prints; its date has been read with its column."""
    nodes = {
        name: record.node(field)
        for name in ("title", "date", "kind", "teaser")
        if (selector := getattr(pattern, name))
        and (field := compile_field(selector)).attribute is None
        and not field.above
    }
    link = _link(record, pattern, nodes.get("title"))
    title = _whole(_printed(record, pattern.title, nodes, "title"), nodes.get("title"))
    teaser, truncated = cut_teaser(_teaser(record, pattern, nodes, link))
    raw, reading = date
    return Entry(
        title=title,
        url=absolute(link, base),
        published=reading.value,
        published_precision=reading.precision,
        published_raw=raw,
        published_relative=reading.relative,
        teaser=teaser,
        teaser_truncated=truncated,
        kind=_printed(record, pattern.kind, nodes, "kind"),
    )


def date_text(record: Record, pattern: ListingPattern) -> str | None:
    """The text of a record's date, as printed; a word that stands in its place is none."""
    text = record.value(pattern.date)
    return text if text and (any(map(str.isdigit, text)) or looks_dated(text)) else None


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


def _printed(
    record: Record, selector: str | None, nodes: Mapping[str, LexborNode | None], name: str
) -> str | None:
    """What a field prints beside the other fields that stand inside it."""
    node = nodes.get(name)
    if selector is None or node is None:
        return record.value(selector)
    return text_of(node, _others(record, node, nodes)) or None


def _whole(title: str | None, node: LexborNode | None) -> str | None:
    """A title, and where it is printed cut, the whole of it from the link's or its own ``title``."""
    last = _CUT.search(title, max(len(title) - 12, 0)) if title and title[-1] in _LAST else None
    if title is None or last is None or node is None or not node.is_element_node:
        return title
    beginning = title[: last.start()].rstrip()
    for element in (node, node.css_first("a[title]"), node.parent):
        value = " ".join(((element and element.attributes.get("title")) or "").split())
        if value.startswith(beginning) and len(value) > len(beginning):
            return value
    return title


def _teaser(
    record: Record,
    pattern: ListingPattern,
    nodes: Mapping[str, LexborNode | None],
    link: str | None,
) -> str | None:
    """What a teaser prints, without other fields, and without its link to the whole text."""
    node = nodes.get("teaser")
    if pattern.teaser is None or node is None:
        return record.value(pattern.teaser)
    others = _others(record, node, nodes)
    text = text_of(node, others)
    if link and text and node.is_element_node and node.tag != "a":
        for more in reversed(node.css("a[href]")):
            says = text_of(more)
            own = (more.attributes.get("href") or "").partition("#")[0] == link.partition("#")[0]
            if own and text == says and len(text) <= _SHORTEST:
                return None  # "Continue reading" and nothing to read before it
            if (
                not own
                or not 0 < len(says) <= _LONGEST_MORE < len(text) - len(says)
                or not text.endswith(says)
            ):
                break
            text = text[: -len(says)].rstrip()
    return text or None


def _others(
    record: Record, node: LexborNode, nodes: Mapping[str, LexborNode | None]
) -> frozenset[int]:
    if node.is_text_node:
        return frozenset()
    return frozenset(
        other.mem_id
        for other in nodes.values()
        if other is not None and other.mem_id != node.mem_id and record.holds(node, other)
    )


def _link(record: Record, pattern: ListingPattern, title: LexborNode | None) -> str | None:
    if pattern.link:
        field = compile_field(pattern.link)
        node = record.node(field)
        return node.attributes.get(field.attribute or "href") if node else None
    if title is None and pattern.title:
        title = record.node(compile_field(pattern.title))
    found: LexborNode | None = None
    if title is not None:
        found = title.css_first("a[href]") if title.is_element_node else None
        found = found or record.link_around(title)
    found = found or record.node(_ANY_LINK)
    return found.attributes.get("href") if found else None


_ANY_LINK: Final = Field("a[href]")
