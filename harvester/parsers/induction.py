"""Learn where a listing keeps its records, from one page and nothing else ("wrapper induction").

This is the simple rule that the first release can stand by; it says "no listing" rather than guess.
Links of one kind repeat, each in a box of its own: the highest element around a link that holds no
other link of the kind is a record.  Of all kinds, the one wins whose links say most: many, long, in
headings, with dates beside them.  Inside the records, cells at the same place form columns, and a
column is typed as a whole: the links are titles, what reads as dates is the date, the longest text
is the teaser.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

from harvester.parsers.dates import read_column
from harvester.parsers.pattern import ListingPattern
from harvester.parsers.tree import text_of

FEWEST_RECORDS: Final = 3
_SHORTEST_TITLE: Final = 15  # characters, on average; menus stay below
_SHORTEST_TEASER: Final = 40

_HEADINGS: Final = ("h1", "h2", "h3", "h4", "h5", "h6")
_ASIDE: Final = frozenset(["nav", "aside", "footer", "form", "dialog", "select"])
_CLASS: Final = re.compile(r"[A-Za-z][A-Za-z_-]+")  # generated names hold digits or brackets
_LABEL: Final = re.compile(r"tag|label|categor|kicker|type|badge|topic|section", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Learned:
    """A pattern, or ``None`` where the page shows no listing, and why, in words."""

    pattern: ListingPattern | None
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Group:
    """Links of one kind and the records around them, in page order."""

    titles: list[LexborNode]
    records: list[LexborNode]
    score: float


def learn(tree: LexborHTMLParser, language: str | None = None) -> Learned:
    """The pattern of the page's main listing."""
    groups = [group for titles in _kinds(tree) if (group := _group(titles, language))]
    for group in sorted(groups, key=lambda g: -g.score):
        record = _record_selector(tree, group.records)
        if record is not None:
            pattern = _pattern(tree, record, group, language)
            found = f"{len(group.records)} records around links like {_name(group.titles[0])!r}"
            return Learned(
                pattern, (found, f"score {group.score:.1f} of {len(groups)} kinds of links")
            )
    return Learned(
        None, (f"no kind of link repeats {FEWEST_RECORDS} times with titles of its own",)
    )


def _kinds(tree: LexborHTMLParser) -> Iterator[list[LexborNode]]:
    """The page's title-like nodes, by the names of the elements that they stand in."""
    kinds: dict[tuple[str, ...], list[LexborNode]] = defaultdict(list)
    for link in tree.css("body a[href]"):
        chain = [link, *_ancestors(link)]
        if any(node.tag in _ASIDE for node in chain):
            continue
        heading = next((n for n in chain[:4] if n.tag in _HEADINGS), None)
        heading = heading or link.css_first(",".join(_HEADINGS))
        # A link around a whole card is titled by the heading in it, or by nothing.
        title = heading or link
        kinds[tuple(_name(node) for node in (title, *chain[:4]))].append(title)
    yield from (titles for titles in kinds.values() if len(titles) >= FEWEST_RECORDS)


def _group(titles: list[LexborNode], language: str | None) -> _Group | None:
    texts = [text_of(title) for title in titles]
    length = fmean(min(len(text), 100) for text in texts)
    if length < _SHORTEST_TITLE or len(set(texts)) < len(texts) / 3:
        return None
    records = _records(titles)
    dated = fmean(_has_date(record, language) for record in records[:10])
    heading = titles[0].tag in _HEADINGS
    score = len(records) ** 0.5 * length**0.5 * (1 + heading) * (1 + 2 * dated)
    return _Group(titles, records, score)


def _records(titles: Sequence[LexborNode]) -> list[LexborNode]:
    """Around each title the highest element that holds no other title."""
    held = Counter(node.mem_id for title in titles for node in (title, *_ancestors(title)))
    records = []
    for title in titles:
        record = title
        for node in _ancestors(title):
            if held[node.mem_id] > 1:
                break
            record = node
        records.append(record)
    return records


def _has_date(record: LexborNode, language: str | None) -> bool:
    cells = [text for _, text in _cells(record) if len(text) <= 40 and re.search(r"\d", text)]
    return any(
        r.precision in ("day", "minute", "second") for r in read_column(cells, language=language)
    )


def _record_selector(tree: LexborHTMLParser, records: Sequence[LexborNode]) -> str | None:
    """A selector for the records: their common name, under as many parents as it needs."""
    wanted = {record.mem_id for record in records}
    level: list[LexborNode] = list(records)
    path = ""
    for _ in range(5):
        path = f"{_common_name(level)}{' > ' + path if path else ''}"
        found = tree.css(path)
        if len(found) <= len(wanted) * 1.5 and wanted <= {node.mem_id for node in found}:
            return path
        parents = [node.parent for node in level]
        if any(parent is None or parent.tag in ("body", "html") for parent in parents):
            return None
        level = [parent for parent in parents if parent is not None]
    return None


def _pattern(
    tree: LexborHTMLParser, record: str, group: _Group, language: str | None
) -> ListingPattern:
    records = tree.css(record)
    title = _common_name(group.titles)
    columns: dict[str, dict[int, str]] = defaultdict(dict)
    for row, node in enumerate(records):
        for name, text in _cells(node):
            columns[name].setdefault(row, text)
    columns.pop(title, None)
    date = max(columns, key=lambda name: _share_of_dates(columns[name], language), default=None)
    if date is not None and _share_of_dates(columns[date], language) < 0.5:
        date = None
    rest = {n: c for n, c in columns.items() if n != date and len(c) >= len(records) / 3}
    teaser = max(rest, key=lambda n: median(map(len, rest[n].values())), default=None)
    if teaser is not None and median(map(len, rest.pop(teaser).values())) < _SHORTEST_TEASER:
        teaser = None
    kind = next((name for name in rest if _LABEL.search(name)), None)
    return ListingPattern(record=record, title=title, date=date, teaser=teaser, kind=kind)


def _share_of_dates(column: dict[int, str], language: str | None) -> float:
    read = read_column(list(column.values()), language=language)
    return fmean(r.precision in ("day", "minute", "second") for r in read)


def _cells(record: LexborNode) -> Iterator[tuple[str, str]]:
    """The elements of a record that hold text of their own, named, with their text."""
    for node in record.css("*"):
        if node.mem_id != record.mem_id and any(
            child.is_text_node and (child.text_content or "").strip()
            for child in node.iter(include_text=True)
        ):
            yield _name(node), text_of(node)


def _name(node: LexborNode) -> str:
    """A selector for a node by itself: its tag and the classes that a person gave it."""
    classes = (node.attributes.get("class") or "").split()
    return ".".join([node.tag or "*", *(name for name in classes if _CLASS.fullmatch(name))])


def _common_name(nodes: Sequence[LexborNode]) -> str:
    """The selector of the tag and the classes that all these nodes share."""
    names = [_name(node).split(".") for node in nodes]
    shared = set(names[0][1:]).intersection(*(name[1:] for name in names))
    tag = names[0][0] if len({name[0] for name in names}) == 1 else "*"
    return ".".join([tag, *(name for name in names[0][1:] if name in shared)])


def _ancestors(node: LexborNode) -> Iterator[LexborNode]:
    parent = node.parent
    while parent is not None and parent.tag not in ("body", "html", None):
        yield parent
        parent = parent.parent
