"""Where a page repeats itself: every group of elements that might be the records of a listing.

A record is an interval of the page's outline: one element and all it holds, or a run of siblings
from one leader to the next (``<h3>`` and its ``<p>``s, ``<dt>`` and ``<dd>``, two rows of a table).
Groups are found by what the leaders share: a class word, a tag with all its classes, a path of tags
from the root, a parent.  Each record is then widened to the highest element that holds no other one,
so that groups of a title, of its heading and of the card around it become one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

from harvester.parsers.datelike import looks_dated
from harvester.parsers.outline import Outline

FEWEST_RECORDS: Final = 2
MOST_RECORDS: Final = 20_000
_MOST_STEPS: Final = 30
_SHALLOW: Final = frozenset(["body", "main", "html"])


class Span(NamedTuple):
    """One record: the elements ``start .. stop`` and the texts ``first .. last`` of the outline."""

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Group:
    """Records in page order.  ``flat``: each is a run of siblings that begins at its leader."""

    spans: tuple[Span, ...]
    flat: bool = False


def candidates(page: Outline) -> list[Group]:
    """All groups of records of a page, without copies, in a fixed order."""
    found: dict[tuple[object, ...], Group] = {}
    seen: set[tuple[int, ...]] = set()
    for leaders in _alike(page):
        for outer in (_outermost(page, leaders), _outermost(page, _linked(page, leaders))):
            if len(outer) >= FEWEST_RECORDS and outer not in seen:
                seen.add(outer)
                widened = _widened(page, outer)
                if widened == outer or widened not in seen:
                    seen.add(widened)
                    group = group_of(page, widened)
                    found.setdefault(_shown(group), group)
    for group in _runs(page):
        found.setdefault(_shown(group), group)
    return list(found.values())


def group_of(page: Outline, leaders: Sequence[int], *, flat: bool = False) -> Group:
    """The group of just these leaders, as they are."""
    if flat:
        return _run(page, leaders)
    return Group(tuple(Span(n, page.end[n], page.leaves[n], page.until[n]) for n in leaders))


def _shown(group: Group) -> tuple[object, ...]:
    """What a group prints: two groups of the same texts are one."""
    return tuple((span.first, span.last) for span in group.spans)


def _alike(page: Outline) -> Iterator[list[int]]:
    """Elements that share a name or a place."""
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    paths: list[int] = []
    named: list[int] = []
    known: dict[tuple[object, ...], int] = {}
    for number, tag in enumerate(page.tag):
        parent = page.parent[number]
        words = page.words[number]
        above = (paths[parent], named[parent]) if parent >= 0 else (-1, -1)
        paths.append(known.setdefault((above[0], tag), len(known)))
        named.append(known.setdefault((above[1], tag, words), len(known)))
        if tag in _SHALLOW or page.leaves[number] == page.until[number]:
            continue
        for word in words:
            groups["word", word].append(number)
        if words:
            groups["name", tag, words].append(number)
            groups["tag and word", tag, words[0]].append(number)
        groups["path", paths[number]].append(number)
        groups["named path", named[number]].append(number)
        groups["siblings", parent, tag].append(number)
        if parent >= 0:
            groups["children", page.tag[parent], page.words[parent], tag].append(number)
            groups["siblings", parent, tag, words].append(number)
    for leaders in groups.values():
        if FEWEST_RECORDS <= len(leaders) <= MOST_RECORDS:
            yield leaders


def _outermost(page: Outline, leaders: Sequence[int]) -> tuple[int, ...]:
    """The leaders that stand in no other one."""
    outer: list[int] = []
    stop = -1
    for leader in leaders:
        if leader >= stop:
            outer.append(leader)
            stop = page.end[leader]
    return tuple(outer)


def _linked(page: Outline, leaders: Sequence[int]) -> list[int]:
    """Only the leaders that are shown and lead somewhere: not the head of a table, nor a template."""
    return [
        number
        for number in leaders
        if (page.leads[page.end[number]] > page.leads[number] or page.in_link[number])
        and not page.hidden[number]
    ]


def _widened(page: Outline, leaders: tuple[int, ...]) -> tuple[int, ...]:
    """The highest elements around the leaders that hold no other one of them."""
    for _ in range(_MOST_STEPS):
        parents = tuple(page.parent[number] for number in leaders)
        if len(set(parents)) < len(parents) or any(page.tag[p] in _SHALLOW for p in parents):
            return leaders
        # A record that can grow while another cannot would swallow what stands between them.
        if any(page.end[p] > after for p, after in zip(parents, leaders[1:], strict=False)):
            return leaders
        leaders = parents
    return leaders


def _runs(page: Outline) -> Iterator[Group]:
    """Runs of siblings, each from one leader to the next."""
    children: dict[int, list[int]] = defaultdict(list)
    for number in range(1, len(page.nodes)):
        children[page.parent[number]].append(number)
    alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for parent, below in children.items():
        kinds: dict[tuple[object, ...], list[int]] = defaultdict(list)
        for number in below:
            if page.leaves[number] < page.until[number]:
                kinds[(page.tag[number],)].append(number)
                kinds[page.tag[number], page.words[number]].append(number)
        for kind, leaders in kinds.items():
            if len(below) >= 1.5 * len(leaders):
                alike[page.tag[parent], page.words[parent], *kind].extend(leaders)
                if FEWEST_RECORDS <= len(leaders) <= MOST_RECORDS:
                    yield _run(page, _dated_before(page, below, leaders) or leaders)
            elif len(leaders) == len(below) and page.tag[leaders[0]] == "tr":
                yield from _pairs(page, leaders)
    for leaders in alike.values():
        parents = {page.parent[number] for number in leaders}
        if len(parents) > 1 and 2 * len(parents) <= len(leaders) <= MOST_RECORDS:
            yield _run(page, sorted(leaders))


def _dated_before(page: Outline, below: Sequence[int], leaders: Sequence[int]) -> list[int]:
    """The dates directly before the leaders, where each has one and nothing dated ends the last run.

    Then the records begin with their dates, and not with what else they all have.
    """
    printed = [number for number in below if page.leaves[number] < page.until[number]]
    place = {number: n for n, number in enumerate(printed)}
    starts = [place[leader] for leader in leaders]
    if starts[0] == 0 or not looks_dated(page.text_of(printed[starts[0] - 1])):
        return []
    dates = [printed[start - 1] for start in starts]
    looks = {(page.tag[n], page.words[n]) for n in dates}
    if len(looks) > 1 or set(dates) & set(leaders):
        return []
    if not all(looks_dated(page.text_of(number)) for number in dates):
        return []
    longest = max((b - a for a, b in pairwise(starts)), default=1)
    for number in printed[starts[-1] : starts[-1] + longest]:
        if (page.tag[number], page.words[number]) in looks and looks_dated(page.text_of(number)):
            return []
    return dates


def _pairs(page: Outline, rows: Sequence[int]) -> Iterator[Group]:
    """Every other row of a table with the row after it, where rows of two kinds take turns."""
    rows = rows[len(rows) % 2 :]  # an odd one is the head
    if not 2 * FEWEST_RECORDS <= len(rows) <= MOST_RECORDS:
        return
    kinds = [{_kind_of_row(page, row) for row in rows[start::2]} for start in (0, 1)]
    if len(kinds[0]) == len(kinds[1]) == 1 and kinds[0] != kinds[1]:
        yield _run(page, rows[::2])


def _kind_of_row(page: Outline, row: int) -> tuple[object, ...]:
    """What can be seen of a row: its cells, whether it begins with a link, whether it is dated."""
    first, last = page.leaves[row], page.until[row]
    linked = first < last and page.linked[first + 1] > page.linked[first]
    dated = any(looks_dated(text) for text in page.texts[first:last])
    return len(list(page.children(row))), linked, dated


def _run(page: Outline, leaders: Sequence[int]) -> Group:
    """The runs that begin at these leaders, each among the siblings of its leader."""
    spans: list[Span] = []
    open_ended: list[int] = []
    longest = 0
    for place, leader in enumerate(leaders):
        parent = page.parent[leader]
        following = leaders[place + 1] if place + 1 < len(leaders) else -1
        if following >= 0 and page.parent[following] == parent:
            stop, last = following, page.leaves[following]
            longest = max(longest, len(siblings(page, leader, stop)))
        else:
            stop, last = page.end[parent], page.until[parent]
            open_ended.append(place)
        spans.append(Span(leader, stop, page.leaves[leader], last))
    # Nothing follows the last run of some siblings but what the page's foot has: it is as long as
    # others at most.
    for place in open_ended:
        span = spans[place]
        run = siblings(page, span.start, span.stop)
        if 0 < longest < len(run):
            stop = run[longest]
            spans[place] = Span(span.start, stop, span.first, page.leaves[stop])
    return Group(tuple(spans), flat=True)


def siblings(page: Outline, start: int, stop: int) -> list[int]:
    """The elements of a run that stand next to each other."""
    found = []
    while start < stop:
        found.append(start)
        start = page.end[start]
    return found
