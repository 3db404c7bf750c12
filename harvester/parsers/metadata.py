"""What a page says of its entries for machines: JSON-LD, microdata and microformats.

Evidence only.  It can tell which of two groups is the listing, and settle whether 5/6/2011 is in May
or in June; it never fills in what the page does not show.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

from harvester.parsers.tree import absolute

_LONGEST: Final = 1_000_000  # characters of one script
_DEEPEST: Final = 12
_ARTICLES: Final = (
    "Article",
    "NewsArticle",
    "BlogPosting",
    "Report",
    "ReportageNewsArticle",
    "Event",
)
_MICRODATA_ADDRESS: Final = "[itemprop~=url], [itemprop~=mainEntityOfPage]"
_MICRODATA_DAY: Final = "[itemprop~=datePublished]"
_ENTRY_ADDRESS: Final = "a.u-url, a[rel~=bookmark], .entry-title a"
_ENTRY_DAY: Final = ".dt-published, .published"
_TOLD: Final = ("href", "itemid", "datetime", "content", "title")
_NOT_LISTS: Final = ("BreadcrumbList",)


@dataclass(frozen=True, slots=True)
class Declared:
    """An entry as the page's metadata names it."""

    url: str
    day: date | None


def declared_entries(tree: LexborHTMLParser, base: str) -> dict[str, Declared]:
    """The entries that the page's metadata names, by address; what cannot be read is left out.

    Of days that contradict each other, none is taken.
    """
    found: dict[str, Declared] = {}
    for address, day in (*_in_scripts(tree), *_in_attributes(tree)):
        if url := absolute(address, base):
            known = found.get(url)
            agreed = day if known is None or known.day is None else known.day
            found[url] = Declared(url, None if day and agreed != day else agreed)
    return found


def _in_scripts(tree: LexborHTMLParser) -> Iterator[tuple[str | None, date | None]]:
    """The addresses and days of JSON-LD."""
    for item in items_in_scripts(tree):
        yield address_of(item), _day(item.get("datePublished"))


def items_in_scripts(tree: LexborHTMLParser) -> Iterator[dict[str, Any]]:
    """The articles, and the members of lists, in JSON-LD."""
    for script in tree.css('script[type="application/ld+json"]'):
        text = script.text(deep=True)
        if len(text) > _LONGEST:
            continue
        try:
            data = json.loads(text)
        except (ValueError, RecursionError):
            continue
        yield from _items(data, 0)


def _in_attributes(tree: LexborHTMLParser) -> Iterator[tuple[str | None, date | None]]:
    """The addresses and days of microdata (schema.org) and microformats (h-entry, hAtom)."""
    for item in tree.css('[itemtype*="schema.org/"]'):
        kind = (item.attributes.get("itemtype") or "").rstrip("/").rpartition("/")[2]
        if kind in _ARTICLES:
            yield _marked(item, _MICRODATA_ADDRESS), _day(_marked(item, _MICRODATA_DAY))
    for item in tree.css(".h-entry, .hentry"):
        yield _marked(item, _ENTRY_ADDRESS), _day(_marked(item, _ENTRY_DAY))


def _marked(item: LexborNode, selector: str) -> str | None:
    """What the first element of an item that is marked so leads to or tells."""
    node = item.css_first(selector)
    values = node.attributes if node is not None else {}
    return next((v for name in _TOLD if (v := values.get(name))), None)


def _items(data: Any, depth: int) -> Iterator[dict[str, Any]]:
    """The articles, and the members of lists, anywhere in the data."""
    if depth > _DEEPEST:
        return
    if isinstance(data, list):
        for each in data:
            yield from _items(each, depth + 1)
    elif isinstance(data, dict):
        kinds = data.get("@type")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if any(kind in _NOT_LISTS for kind in kinds):
            return
        if any(kind in _ARTICLES or kind == "ListItem" for kind in kinds):
            yield data
        for value in data.values():
            if isinstance(value, (list, dict)):
                yield from _items(value, depth + 1)


def address_of(item: dict[str, Any]) -> str | None:
    """Where an item of JSON-LD says that it is."""
    for name in ("url", "@id", "mainEntityOfPage", "item"):
        value = item.get(name)
        if isinstance(value, dict):
            value = value.get("@id") or value.get("url")
        if isinstance(value, str) and value:
            return value
    return None


def _day(value: object) -> date | None:
    try:
        return date.fromisoformat(value[:10]) if isinstance(value, str) else None
    except ValueError:
        return None
