"""What the records of a group have in common: cells at the same place form a column.

A place is a selector, as short as a person would write it: a class word, a tag, a tag under its
parent; where it matches several times inside a record, the first, second and third match are columns
of their own.  So are the texts that stand beside elements ("<a>title</a>, 11 July 2011"), attributes
that hold what is not printed, and what is printed above a run of records.  Selectors that find the
same cells in all records are one column, and the best of them names it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final, NamedTuple

from selectolax.lexbor import LexborNode

from harvester.parsers.candidates import Group, Span
from harvester.parsers.datelike import looks_dated
from harvester.parsers.outline import Outline
from harvester.parsers.pattern import compile_field
from harvester.parsers.records import Record

SAMPLE: Final = 12  # records that judge a column; more say nothing new
_MOST_MATCHES: Final = 3
_MOST_CELLS: Final = 8  # of a row of a table
_MOST_LEAVES: Final = 2000  # texts in one cell
_MOST_TEXTS: Final = 4
_FAR_ABOVE: Final = 60  # texts before the first record
_COMMON: Final = 1.5  # uses of a class word for each record
_LEAST_COVERAGE: Final = 0.2
DATED: Final = ("datetime", "content", "title", "data-date", "data-time", "data-published")
_TITLED: Final = ("title", "alt", "aria-label")
_HEADINGS: Final = frozenset(["h1", "h2", "h3", "h4", "h5", "h6", "time", "dt", "dd"])
# Words that say how something looks: they come and go with the design, and many places share them.
LOOKS: Final = re.compile(
    r"(?:m|p|mt|mb|ml|mr|mx|my|pt|pb|pl|pr|px|py|w|h|z|gap|col|row|text|bg|font|flex|grid|items|justify"
    r"|align|leading|tracking|order|float|pull|show|hide|hidden|visible|d|sm|md|lg|xl|is|has|small"
    r"|large|medium|block|inline|bold|left|right|center|clear\w*|first|last|odd|even|rounded|border"
    r"|overflow|relative|absolute|cell|span\d*|uppercase|truncate|cursor|opacity|shadow|space)(?:-.*|\d*)"
)


_PLAIN_TAG: Final = re.compile(r"[a-z][a-z0-9:-]*")
_IDENTITY: Final = re.compile(r"[A-Za-z][A-Za-z_-]*\d{0,2}")


class Cell(NamedTuple):
    """One record's part of a column: an element, the texts of it that are meant, and what they say."""

    node: int
    first: int
    last: int
    text: str


@dataclass(slots=True)
class Column:
    """One cell for each record, ``None`` where it is missing.

    ``selector`` finds the cells, as a field of a pattern does.  ``names`` are the tags and class words
    of the elements that print just this.
    """

    selector: str
    part: str
    cells: list[Cell | None]
    names: set[str] = field(default_factory=set)
    nth: int = 0
    rows: int = 0  # which records have a cell, as bits
    single: bool = True  # no cell is more than one text

    @property
    def printed(self) -> bool:
        """Whether the cells are printed inside their records."""
        return not self.part.startswith(("::attr", "::above"))

    @property
    def texts(self) -> list[str | None]:
        """What each record says here."""
        return [cell.text if cell else None for cell in self.cells]


class Places:
    """The selectors that lead to each element of a page."""

    def __init__(self, page: Outline) -> None:
        self._page = page
        counts = page.word_counts
        self._words = [
            tuple(word for word in words if counts[word] > 1 and word.isascii())
            for words in page.words
        ]
        self._found: dict[int, tuple[str, ...]] = {}
        self._cells: dict[int, list[tuple[str, Cell]]] = {}

    def of(self, number: int) -> tuple[str, ...]:
        """The selectors that an element answers to, the general ones included."""
        found = self._found.get(number)
        if found is None:
            found = self._found[number] = tuple(self._selectors(number))
        return found

    def cells(self, number: int) -> list[tuple[str, Cell]]:
        """What an element says: all it prints, its own texts, its attributes."""
        found = self._cells.get(number)
        if found is None:
            found = self._cells[number] = _cells(self._page, number)
        return found

    def words(self, number: int) -> tuple[str, ...]:
        """The class words that an element shares with others."""
        return self._words[number]

    def tag(self, number: int) -> str:
        """The selector of an element's tag, "o\\:p" for those of word processors; "*" for odd ones."""
        tag = self._page.tag[number]
        return tag.replace(":", "\\:") if _PLAIN_TAG.fullmatch(tag) else "*"

    def identity(self, number: int) -> str:
        """A selector of this element alone, by its id, if it has one that a person gave."""
        name = self._page.attributes[number].get("id") or ""
        return f"#{name}" if _IDENTITY.fullmatch(name) else ""

    def names(self, number: int) -> tuple[str, ...]:
        """An element's tag and the class words that it shares with others."""
        return (self._page.tag[number], *self._words[number])

    def _selectors(self, number: int) -> Iterable[str]:
        tag, words = self.tag(number), self._words[number]
        if tag != "*":
            yield tag
        for word in words:
            yield f".{word}"
        if words and tag != "*":
            yield ".".join((tag, *words))
        parent = self._page.parent[number]
        if parent >= 0 and "*" not in (tag, self.tag(parent)):
            own = (tag, f"{tag}.{words[0]}") if words else (tag,)
            for leaf in own:
                yield f"{self.tag(parent)} > {leaf}"
                for word in self._words[parent]:
                    yield f".{word} > {leaf}"


def columns(page: Outline, group: Group, places: Places) -> list[Column]:
    """The columns of a group's records, or of a sample of them."""
    spans = sample(group)
    found: dict[tuple[str, int, str], Column] = {}
    for row, (start, stop, *_) in enumerate(spans):
        seen: Counter[str] = Counter()
        for number in range(start, stop):
            cells = places.cells(number)
            names = places.names(number)
            most = _MOST_CELLS if page.tag[number] in ("td", "th") else _MOST_MATCHES
            for selector in places.of(number):
                nth = seen[selector]
                seen[selector] += 1
                if nth < most:
                    for part, cell in cells:
                        _put(found, (selector, nth, part), row, len(spans), cell, names)
        if group.flat:
            for part, cell in _loose_texts(page, spans[row]):
                _put(found, ("", 0, part), row, len(spans), cell, ())
    every = [*found.values(), *_above(page, group.spans, spans, places), *_before(page, spans)]
    every = _distinct(page, every, len(group.spans))
    least = max(_LEAST_COVERAGE * len(spans), 1)
    frequent = [
        column
        for column in every
        if sum(map(bool, column.cells)) >= least or column.part == "::attr(datetime)"
    ]
    for column in frequent:
        _settle(column)
    return frequent


def column_of(page: Outline, group: Group, selector: str) -> Column | None:
    """The column of a selector that a person gave, ``None`` where it finds nothing."""
    numbers = {node.mem_id: number for number, node in enumerate(page.nodes)}
    field = compile_field(selector)
    column = Column(selector, "", [])
    for span in sample(group):
        cell = None
        record = Record(_nodes(page, group, span), {})
        element = record.node(replace(field, text=None, attribute=None))
        number = numbers.get(element.mem_id) if element is not None else None
        text = record.value(selector)
        if number is not None and text:
            first, last = page.leaves[number], page.until[number]
            if field.text is not None:
                own = [leaf for leaf in range(first, last) if page.owners[leaf] == number]
                first = own[field.text - 1] if len(own) >= field.text else first
                last = first + 1
                column.part = f"::text({field.text})"
            elif field.attribute is not None:
                column.part = f"::attr({field.attribute})"
            cell = Cell(number, first, last, text)
            column.names.update((page.tag[number], *page.words[number]))
        column.cells.append(cell)
    if not any(column.cells):
        return None
    _settle(column)
    return column


def filled(page: Outline, group: Group, selector: str) -> list[bool]:
    """For each record whether a selector finds something in it."""
    return [bool(Record(_nodes(page, group, span), {}).value(selector)) for span in group.spans]


def _nodes(page: Outline, group: Group, span: Span) -> list[LexborNode]:
    numbers = [span.start]
    while group.flat and page.end[numbers[-1]] < span.stop:
        numbers.append(page.end[numbers[-1]])
    return [page.nodes[number] for number in numbers]


def _settle(column: Column) -> None:
    """What can be told of a column once all its cells are known."""
    column.rows = sum(1 << row for row, cell in enumerate(column.cells) if cell)
    column.single = all(cell is None or cell.last - cell.first < 2 for cell in column.cells)


def sample(group: Group) -> tuple[Span, ...]:
    """Records from all over a group: what is foreign to it often stands at its end."""
    count = len(group.spans)
    if count <= SAMPLE:
        return group.spans
    return tuple(group.spans[n * (count - 1) // (SAMPLE - 1)] for n in range(SAMPLE))


def _put(
    found: dict[tuple[str, int, str], Column],
    key: tuple[str, int, str],
    row: int,
    rows: int,
    cell: Cell,
    names: Iterable[str],
) -> None:
    column = found.get(key)
    if column is None:
        selector, nth, part = key
        where = f"{selector}::nth({nth + 1})" if nth else selector
        column = found[key] = Column(where + part, part, [None] * rows, nth=nth)
    column.cells[row] = cell
    column.names.update(names)


def _cells(page: Outline, number: int) -> list[tuple[str, Cell]]:
    cells = []
    first, last = page.leaves[number], page.until[number]
    if first < last <= first + _MOST_LEAVES:
        cells.append(("", Cell(number, first, last, page.text(first, last))))
        if last - first > 1:
            own = [leaf for leaf in range(first, last) if page.owners[leaf] == number]
            cells += _parts(page, number, own)
    for name, value in page.attributes[number].items():
        if value and (
            (name in DATED and looks_dated(value)) or (name in _TITLED and len(value) > 3)
        ):
            cells.append((f"::attr({name})", Cell(number, first, last, " ".join(value.split()))))
    return cells


def _loose_texts(page: Outline, span: Span) -> list[tuple[str, Cell]]:
    """The texts between the elements of a run belong to no element of it."""
    parent = page.parent[span.start]
    loose = [leaf for leaf in range(span.first, span.last) if page.owners[leaf] == parent]
    return _parts(page, span.start, loose)


def _parts(page: Outline, number: int, leaves: Sequence[int]) -> list[tuple[str, Cell]]:
    return [
        (f"::text({n})", Cell(number, leaf, leaf + 1, page.texts[leaf]))
        for n, leaf in enumerate(leaves[:_MOST_TEXTS], start=1)
    ]


def _above(
    page: Outline, every: Sequence[Span], spans: Sequence[Span], places: Places
) -> list[Column]:
    """Dates printed above runs of records: the last heading before each, outside of all records.

    A column in which the first record has none is no column of headings: there the dates stand below
    the records that they belong to.
    """
    parents = {page.parent[span.start] for span in every}
    tags = {page.tag[span.start] for span in every}
    gaps = [range(max(every[0].first - _FAR_ABOVE, 0), every[0].first)]
    gaps += [range(a.last, b.first) for a, b in pairwise(every)]
    owners = {
        leaf: owner
        for gap in gaps
        for leaf in gap
        if not (owner := page.owners[leaf]) < every[-1].start < page.end[owner]
        and not _in_rival(page, owner, parents, tags)
    }
    dated = {s for leaf, o in owners.items() if looks_dated(page.texts[leaf]) for s in places.of(o)}
    kinds: dict[str, list[int]] = defaultdict(list)
    for leaf, owner in owners.items():
        for selector in dated.intersection(places.of(owner)):
            kinds[selector].append(leaf)
    found = []
    for selector, leaves in kinds.items():
        column = Column(selector + "::above", "::above", [None] * len(spans))
        for row, span in enumerate(spans):
            before = [leaf for leaf in leaves if leaf < span.first]
            if before and looks_dated(page.texts[before[-1]]):
                leaf = before[-1]
                column.cells[row] = Cell(owners[leaf], leaf, leaf + 1, page.texts[leaf])
                column.names.update(places.names(owners[leaf]))
        shared = {cell.first for cell in column.cells if cell}
        if column.cells[0] and len(shared) > 1:  # otherwise it heads the page, not runs of records
            found.append(column)
    return found


def _before(page: Outline, spans: Sequence[Span]) -> list[Column]:
    """Dates printed directly before the records, in no element of their own: "11.07.2011 <a>...</a>"."""
    column = Column("::above", "::above", [None] * len(spans))
    for row, span in enumerate(spans):
        leaf, parent = span.first - 1, page.parent[span.start]
        if leaf >= 0 and page.owners[leaf] == parent and looks_dated(page.texts[leaf]):
            column.cells[row] = Cell(parent, leaf, leaf + 1, page.texts[leaf])
    return [column] if column.cells[0] else []


def _in_rival(page: Outline, number: int, parents: set[int], tags: set[str]) -> bool:
    """Whether an element stands in a sibling of the records that could be one: no heading of theirs."""
    for inner in (number, *page.ancestors(number)):
        if page.parent[inner] in parents:
            return page.tag[inner] in tags and page.leads[page.end[inner]] > page.leads[inner]
    return False


def _distinct(page: Outline, every: Sequence[Column], records: int) -> list[Column]:
    """Columns that print the same are one; the plainest selector stands for it."""
    found: dict[tuple[object, ...], Column] = {}
    for column in every:
        hidden = "" if column.printed else column.part
        key = (hidden, *((cell.first, cell.last) if cell else None for cell in column.cells))
        other = found.get(key)
        if other is not None:
            column.names |= other.names
            other.names = column.names
        if other is None or _plainness(page, column, records) < _plainness(page, other, records):
            found[key] = column
    return list(found.values())


def _plainness(page: Outline, column: Column, records: int) -> tuple[float, ...]:
    """How far a selector is from what a person would write; less is better.

    A word that many other places share finds one of them where a record lacks this one.
    """
    selector = column.selector.partition("::")[0]
    words = re.findall(r"\.([\w-]+)", selector)
    looks = sum(LOOKS.fullmatch(word) is not None for word in words)
    common = bool(words) and min(page.word_counts[w] for w in words) > _COMMON * records
    bare = not words and selector.rpartition(" ")[2] not in _HEADINGS and ">" not in selector
    return (
        column.part.startswith("::text"),
        column.nth,
        looks,
        common or bare,
        len(words) > 1,
        " > " in selector,
        len(selector),
    )
