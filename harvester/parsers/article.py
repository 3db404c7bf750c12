"""When an article was published, as its own page says for machines.

JSON-LD first, then microdata, then ``<meta>``, at last what htmldate makes of the page's head.  The
date of a change is not asked for, and nothing is guessed from the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import Final

from selectolax.lexbor import LexborHTMLParser

from harvester.page import Page
from harvester.parsers.dates import read_column
from harvester.parsers.metadata import address_of, items_in_scripts
from harvester.parsers.tree import Unreadable, absolute, base_url, parse
from pipelines.entry import Precision

_META: Final = (
    "article:published_time og:published_time article.published datepublished date.issued dc.date.issued"
    " dcterms.issued dcterms.created dc.date.created dcterms.date dc.date citation_publication_date"
    " parsely-pub-date sailthru.date pubdate publishdate publish-date publication_date date"
).split()
_MICRODATA: Final = '[itemprop~="datePublished"]'
_DAYS: Final = ("day", "minute", "second")
_AHEAD: Final = timedelta(days=2)  # what is announced was not published


@dataclass(frozen=True, slots=True)
class Published:
    """A date, how much of it is told, and its text on the page."""

    value: datetime
    precision: Precision
    raw: str


def article_date(page: Page, language: str | None = None) -> Published | None:
    """When a page says that it was published; ``None`` where it says less than a day, or nothing."""
    if "html" not in page.headers.get("content-type", "html").lower():
        return None
    try:
        tree = parse(page.utf8)
    except Unreadable:
        return None
    for text in chain(_told(tree, page.url), _found(tree)):
        [reading] = read_column([text], language=language)
        value, precision = reading.value, reading.precision
        if value is None or precision not in _DAYS or _is_ahead(value, page):
            continue
        return Published(value, precision, text)
    return None


def _told(tree: LexborHTMLParser, url: str) -> Iterator[str]:
    """What the page's metadata says, the surest first."""
    yield from _in_scripts(tree, url)
    marked = {
        value
        for node in tree.css(_MICRODATA)
        if (value := node.attributes.get("content") or node.attributes.get("datetime"))
    }
    if len(marked) == 1:  # several are those of other articles beside it
        yield marked.pop()
    named: dict[str, str] = {}
    for node in tree.css("meta[content]"):
        name = node.attributes.get("property") or node.attributes.get("name") or ""
        named.setdefault(name.lower(), (node.attributes.get("content") or "").strip())
    yield from (named[name] for name in _META if named.get(name))


def _in_scripts(tree: LexborHTMLParser, url: str) -> Iterator[str]:
    """The date of the article itself: the one at this address, or the only one."""
    base = base_url(tree, url)
    dates: dict[str, str] = {}
    for item in items_in_scripts(tree):
        if isinstance(told := item.get("datePublished"), str) and told:
            dates.setdefault(absolute(address_of(item), base) or "", told)
    own = [told for where, told in dates.items() if _same(where, url)]
    if own:
        yield own[0]
    elif len(set(dates.values())) == 1:
        yield next(iter(dates.values()))


def _same(one: str, other: str) -> bool:
    return one.partition("#")[0].rstrip("/") == other.partition("#")[0].rstrip("/")


def _found(tree: LexborHTMLParser) -> Iterator[str]:
    """What htmldate finds; it knows the marks of many content systems.

    Not in scripts: there it takes the date of any article.
    """
    from htmldate import find_date

    tree.strip_tags(["script"])
    try:
        found = find_date(
            tree.html or "",
            extensive_search=False,
            original_date=True,
            deferred_url_extractor=False,
        )
    except Exception:  # whatever a broken page makes of its parser
        return
    if found:
        yield found


def _is_ahead(value: datetime, page: Page) -> bool:
    return page.fetched_at is not None and value > page.fetched_at.replace(tzinfo=None) + _AHEAD
