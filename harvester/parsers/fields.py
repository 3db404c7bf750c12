"""The records of a listing -> what they say, as printed.  Their dates are read as one column."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

from harvester.parsers.datelike import looks_dated
from harvester.parsers.dates import Reading
from harvester.parsers.pattern import Field, ListingPattern, compile_field
from harvester.parsers.records import Record, find_nodes, said
from harvester.parsers.tree import absolute, is_plain, text_of
from pipelines.entry import Entry

_LONGEST_MORE: Final = 40  # characters of "continue reading"
_SHORTEST: Final = 25  # characters of a teaser that is all link
_MOST_MARKS: Final = 8  # "(…) »" has two; a teaser of nothing else is not worth the time
_FIELDS: Final = ("title", "link", "date", "teaser", "kind")
_DIGIT: Final = re.compile(r"\d")

ReadDates = Callable[[Sequence[str | None]], list[Reading]]

# What a source appends where it cut a teaser (a fourth dot ended a sentence) ...
_DOTS: Final = r"(?:…|(?<!\.)\.{3}|(?<=[^.]\.)\.{3}|\.{5,})"
_CUT: Final = re.compile(rf"(?:\[\s*{_DOTS}\s*\]|\(\s*{_DOTS}\s*\)|{_DOTS})$")
# ... and what it appends without having cut: separators and arrows.
_TAIL: Final = re.compile(r"(?://+|[»›→|]|>{1,2})$")
_LAST: Final = frozenset("….])/»›→|>")


def read_entries(
    tree: LexborHTMLParser,
    records: Sequence[Record],
    pattern: ListingPattern,
    base: str,
    read_dates: ReadDates,
) -> list[Entry]:
    """The entries that records print, in their order.  Field by field: a date is read with its column."""
    fields = {name: compile_field(s) for name in _FIELDS if (s := getattr(pattern, name))}
    nodes = find_nodes(tree, records, fields)
    inside = {n: nodes[n] for n, f in fields.items() if f.attribute is None and not f.above}
    empty: Sequence[None] = [None] * len(records)
    # What other fields print inside a field is not its own; a link is no text.
    ids = {node.mem_id for n, column in inside.items() if n != "link" for node in column if node}

    def texts(name: str) -> Sequence[str | None]:
        if name in inside and name != "date":
            return [text_of(node, ids) or None if node else None for node in inside[name]]
        return [said(node, fields[name]) for node in nodes.get(name, ())] or empty

    raws = [text if text and _may_be_date(text) else None for text in texts("date")]
    titles, teasers = inside.get("title", empty), inside.get("teaser", empty)
    links = list(map(_link_of(fields), records, nodes.get("link", empty), titles))
    return [
        _entry(base, *row)
        for row in zip(
            map(_whole, texts("title"), titles),
            links,
            map(_teaser, texts("teaser"), teasers, links),
            texts("kind"),
            raws,
            read_dates(raws),
            strict=True,
        )
    ]


def _entry(
    base: str,
    title: str | None,
    link: str | None,
    teaser: str | None,
    kind: str | None,
    raw: str | None,
    reading: Reading,
) -> Entry:
    teaser, truncated = cut_teaser(teaser)
    return Entry(
        title=title,
        url=absolute(link, base),
        published=reading.value,
        published_precision=reading.precision,
        published_raw=raw,
        published_relative=reading.relative,
        teaser=teaser,
        teaser_truncated=truncated,
        kind=kind,
    )


def _may_be_date(text: str) -> bool:
    """Whether a text could be one; a word that stands in a date's place is none."""
    return _DIGIT.search(text) is not None or looks_dated(text)


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


def _teaser(text: str | None, node: LexborNode | None, link: str | None) -> str | None:
    """What a teaser prints, without its link to the whole text."""
    if not (text and link and node) or not node.is_element_node or node.tag == "a":
        return text
    for more in () if is_plain(node) else reversed(node.css("a[href]")):
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


def _link_of(
    fields: Mapping[str, Field],
) -> Callable[[Record, LexborNode | None, LexborNode | None], str | None]:
    """How the address of a record is found, from the node of its link and that of its title."""
    if "link" in fields:
        name = fields["link"].attribute or "href"
        return lambda _, node, title: node.attributes.get(name) if node else None

    def look(record: Record, _: LexborNode | None, title: LexborNode | None) -> str | None:
        if title is None and "title" in fields:
            title = record.node(fields["title"])
        found: LexborNode | None = None
        if title is not None:
            found = title.css_first("a[href]") if title.is_element_node else None
            found = found or record.link_around(title)
        found = found or record.node(_ANY_LINK)
        return found.attributes.get("href") if found else None

    return look


_ANY_LINK: Final = Field("a[href]")
