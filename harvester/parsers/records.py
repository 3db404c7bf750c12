"""The records of a page, as a pattern names them, and the places inside them.

A record is one element, or (``flat``) a run of siblings: the matched element and all that follow it
up to the next match.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from selectolax.lexbor import LexborHTMLParser, LexborNode

from harvester.parsers.datelike import looks_dated
from harvester.parsers.pattern import Field, ListingPattern, compile_field
from harvester.parsers.tree import text_of

_MANY: Final = 8  # records
_MOST_HITS: Final = 4  # of a selector on the page, for each record


@dataclass(slots=True)
class Record:
    """One record: its nodes, texts between elements included, and what is printed above it."""

    nodes: Sequence[LexborNode]
    above: dict[str, LexborNode]

    def node(self, field: Field) -> LexborNode | None:
        """The element, or the text, that a field names."""
        if field.above:
            return self.above.get(field.selector)
        element = self._element(field) if field.selector else self.nodes[0]
        if field.text is None or element is None:
            return element
        loose = not field.selector and len(self.nodes) > 1
        texts = _texts(self.nodes) if loose else _texts(element.iter(include_text=True))
        return next((text for n, text in enumerate(texts, start=1) if n == field.text), None)

    def value(self, selector: str | None) -> str | None:
        """What a field says, ``None`` when it is not there or empty."""
        if selector is None:
            return None
        field = compile_field(selector)
        return said(self.node(field), field)

    def link_around(self, inner: LexborNode) -> LexborNode | None:
        """The link that a node of the record is, or stands in."""
        mine = {node.mem_id for node in self.nodes}
        node: LexborNode | None = inner
        while node is not None:
            if node.tag == "a" and node.attributes.get("href"):
                return node
            if node.mem_id in mine:
                return None
            node = node.parent
        return None

    def _element(self, field: Field) -> LexborNode | None:
        if field.nth == 1:
            for node in self.nodes:
                if node.is_element_node and (found := node.css_first(field.selector)):
                    return found
            return None
        every = [m for node in self.nodes if node.is_element_node for m in node.css(field.selector)]
        return every[field.nth - 1] if len(every) >= field.nth else None


def find_nodes(
    tree: LexborHTMLParser, records: Sequence[Record], fields: Mapping[str, Field]
) -> dict[str, list[LexborNode | None]]:
    """What each field names in each record, as ``Record.node`` does."""
    once = len(records) >= _MANY and _are_apart(records)
    found: dict[str, list[LexborNode | None]] = {}
    for name, field in fields.items():
        if once and field.selector and field.nth == 1 and field.text is None and not field.above:
            # Asking the page once costs a third of asking each record, unless it answers too much.
            nodes = tree.css(field.selector)
            if len(nodes) <= _MOST_HITS * len(records):
                found[name] = _dealt(records, nodes)
                continue
        found[name] = [record.node(field) for record in records]
    return found


def _are_apart(records: Sequence[Record]) -> bool:
    """Whether each record is one element, and none stands in another."""
    ids = {record.nodes[0].mem_id for record in records}
    parents: dict[int, LexborNode] = {}
    for record in records:
        parent = record.nodes[0].parent
        if len(record.nodes) > 1 or parent is None:
            return False
        parents[parent.mem_id] = parent
    return not any(above.mem_id in ids for node in parents.values() for above in _chain(node))


def _dealt(records: Sequence[Record], found: Iterable[LexborNode]) -> list[LexborNode | None]:
    """The first in each record of some nodes, which stand in the order of the page."""
    first: dict[int, LexborNode | None] = {record.nodes[0].mem_id: None for record in records}
    for node in found:
        above: LexborNode | None = node
        while above is not None and above.mem_id not in first:
            above = above.parent
        if above is not None and first[above.mem_id] is None:
            first[above.mem_id] = node
    return list(first.values())


def said(node: LexborNode | None, field: Field) -> str | None:
    """What a field says that names this node, ``None`` when it is not there or empty."""
    if node is None:
        return None
    if field.attribute is None:
        return text_of(node) or None
    return " ".join((node.attributes.get(field.attribute) or "").split()) or None


def find_records(tree: LexborHTMLParser, pattern: ListingPattern) -> list[Record]:
    """The records of a page, in its order."""
    leaders = tree.css(pattern.record)
    records = _runs(leaders) if pattern.flat else [Record((node,), {}) for node in leaders]
    for name in ("title", "link", "date", "teaser", "kind"):
        selector = getattr(pattern, name)
        if selector and (field := compile_field(selector)).above:
            if field.selector:
                _look_above(tree, pattern, field.selector, records, dates=name == "date")
            else:
                for record in records:
                    if text := _text_before(record.nodes[0]):
                        record.above[""] = text
    return records


def _text_before(node: LexborNode) -> LexborNode | None:
    """The text that stands directly before an element, line breaks aside."""
    before = node.prev
    while before is not None:
        if before.is_text_node and (before.text_content or "").strip():
            return before
        if before.is_element_node and before.tag != "br":
            return None
        before = before.prev
    return None


def _runs(leaders: Sequence[LexborNode]) -> list[Record]:
    starts = {leader.mem_id for leader in leaders}
    runs: list[list[LexborNode]] = []
    for leader in leaders:
        run = [leader]
        node = leader.next
        while node is not None and node.mem_id not in starts:
            if node.is_element_node or node.is_text_node:
                run.append(node)
            node = node.next
        runs.append(run)
    # The last run of some siblings has no end: what follows it may be the foot of the page.  It is as
    # long as the others at most.
    longest = max(
        (
            _elements(run)
            for run, following in pairwise(runs)
            if _parent(run[0]) == _parent(following[0])
        ),
        default=0,
    )
    ends = [_parent(a[0]) != _parent(b[0]) for a, b in pairwise(runs)] + [True] * bool(runs)
    return [
        Record(_cut(run, longest) if last else run, {})
        for run, last in zip(runs, ends, strict=True)
    ]


def _parent(node: LexborNode) -> int:
    return node.parent.mem_id if node.parent is not None else 0


def _cut(run: list[LexborNode], longest: int) -> list[LexborNode]:
    kept = 0
    for place, node in enumerate(run):
        kept += node.is_element_node
        if 0 < longest < kept:
            return run[:place]
    return run


def _elements(run: Sequence[LexborNode]) -> int:
    return sum(node.is_element_node for node in run)


def _look_above(
    tree: LexborHTMLParser,
    pattern: ListingPattern,
    selector: str,
    records: Sequence[Record],
    *,
    dates: bool,
) -> None:
    starts = {record.nodes[0].mem_id: record for record in records}
    inside = {node.mem_id for record in records for node in record.nodes}
    last: LexborNode | None = None
    for node in tree.css(f"{pattern.record}, {selector}"):
        record = starts.get(node.mem_id)
        if record is None:
            if not any(above.mem_id in inside for above in _chain(node)):
                # A heading without a date ends what the one before it says.
                last = node if not dates or looks_dated(text_of(node)) else None
        elif last is not None:
            record.above[selector] = last


def _chain(node: LexborNode) -> Iterator[LexborNode]:
    above: LexborNode | None = node
    while above is not None:
        yield above
        above = above.parent


def _texts(nodes: Iterator[LexborNode] | Sequence[LexborNode]) -> Iterator[LexborNode]:
    return (node for node in nodes if node.is_text_node and (node.text_content or "").strip())
