"""Learn where a listing keeps its records, from one page and nothing else ("wrapper induction").

    page --outline--> candidates --a glance--> a few --columns, roles--> judged --selectors--> pattern

Candidates, then judgement: everything on the page that repeats may be the listing; rankers whose
weights were fitted on real pages choose the group, and in it the columns.  The winning columns are
selectors already, and together they are the pattern.  docs/learning.md tells the whole story.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final

from selectolax.lexbor import LexborHTMLParser

from harvester.parsers.candidates import Group, candidates, group_of
from harvester.parsers.columns import Column, Places
from harvester.parsers.dates import read_column, settled_format
from harvester.parsers.examples import by_example
from harvester.parsers.features import Sheet
from harvester.parsers.metadata import Declared, declared_entries
from harvester.parsers.outline import Outline, outline
from harvester.parsers.pagination import next_selector
from harvester.parsers.pattern import ListingPattern, check_fields
from harvester.parsers.rankers import chance, weights
from harvester.parsers.ranking import Judged, doubts_of, ranked
from harvester.parsers.roles import may_be_date
from harvester.parsers.selectors import record_selector
from harvester.parsers.tree import absolute, base_url
from pipelines.entry import Entry

LEAST_PLAUSIBLE: Final = 0.04  # below, the best group is no listing
_DAYS: Final = ("day", "minute", "second")
_MOST_READ: Final = 0.9


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a page was read as it was, in words, and how likely it is that it was read right.

    ``confidence`` is a share of pages, measured on pages of sites that the rankers had not seen: of
    those with 0.9, nine in ten have their entries right (an F1 of 0.95 or more).  1 where a person
    gave the pattern; where there is no listing, how sure that is.
    """

    confidence: float
    reasons: tuple[str, ...] = ()
    doubts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Learned:
    """A pattern, or ``None`` where the page shows no listing, and why."""

    pattern: ListingPattern | None
    evidence: Evidence


def learn(
    tree: LexborHTMLParser,
    language: str | None = None,
    hint: Mapping[str, Any] | None = None,
    url: str | None = None,
    examples: Sequence[Entry] = (),
) -> Learned:
    """The pattern of the page's main listing, or with ``examples`` of the listing that shows these.

    ``hint`` are fields of a pattern that are kept.  ``url`` is the page's address; with it the pattern
    has a selector of the next page, where one can be trusted.
    """
    page = outline(tree)
    places = Places(page)
    hint = dict(hint or {})
    check_fields(hint)
    base = base_url(tree, url) if url else ""
    declared = declared_entries(tree, base)
    groups = groups_of(tree, page, hint)
    if examples:
        judged = by_example(page, places, groups, examples, base, language)
    else:
        judged = ranked(page, places, groups, hint, declared, base)
    doubts = doubts_of(judged)
    sure = round(chance(doubts, weights()["confidence"]), 3)
    if judged and (examples or doubts["plausible"] >= LEAST_PLAUSIBLE or "record" in hint):
        for each in judged:
            if not _tells_apart(each):
                continue
            if record := hint.get("record") or _selector(tree, page, places, each):
                if each is not judged[0]:  # the likeliest cannot be told from other elements
                    doubts = doubts_of([each, *(other for other in judged if other is not each)])
                    sure = round(chance(doubts, weights()["confidence"]), 3)
                known = _known_days(each, declared, base)
                pattern = _pattern(page, places, each, record, language, hint, known)
                if url and not pattern.next_page:
                    selector = next_selector(tree, url, base)
                    pattern = replace(pattern, next_page=selector)
                missed = tuple(
                    f"the hint {name} = {hint[name]!r} finds nothing" for name in each.missed
                )
                reasons = (*_reasons(page, each, judged), *missed)
                return Learned(pattern, Evidence(0.0 if missed else sure, reasons, doubts))
    if "record" in hint:
        reason = f"the hint record = {hint['record']!r} finds no records"
        return Learned(None, Evidence(0.0, (reason,), doubts))
    reason = "nothing that repeats here looks like a listing"
    return Learned(None, Evidence(round(1 - doubts["plausible"], 3), (reason,), doubts))


def _tells_apart(judged: Judged) -> bool:
    """Whether the records differ in what they say or where they lead: one card, repeated, is no list."""
    title = judged.roles.title
    titles = {cell.text for cell in title.cells if cell} if title else set()
    return len(titles) > 1 or sum(map(bool, judged.sheet.leads)) > 1


def groups_of(tree: LexborHTMLParser, page: Outline, hint: Mapping[str, Any]) -> list[Group]:
    """All that may be the listing: what repeats, or what a hint names."""
    if "record" not in hint:
        return [g for g in candidates(page) if hint.get("flat") in (None, g.flat)]
    leaders = {node.mem_id for node in tree.css(hint["record"])}
    numbers = [number for number, node in enumerate(page.nodes) if node.mem_id in leaders]
    return [group_of(page, numbers, flat=bool(hint.get("flat")))] if numbers else []


def _selector(tree: LexborHTMLParser, page: Outline, places: Places, judged: Judged) -> str | None:
    """A selector of the group's records, or of the elements in them that print as much."""
    title = judged.roles.title
    held = [title.selector] if title and title.selector and "::" not in title.selector else []
    leaders: list[int] | None = [span.start for span in judged.sheet.group.spans]
    while leaders:
        if found := record_selector(tree, page, places, leaders, held):
            return found
        leaders = None if judged.sheet.group.flat else _narrowed(page, leaders)
    return None


def _narrowed(page: Outline, leaders: Sequence[int]) -> list[int] | None:
    """For each record the child that prints all of it, ``None`` if one has no such child."""
    inner = []
    for leader in leaders:
        span = (page.leaves[leader], page.until[leader])
        child = next(
            (n for n in page.children(leader) if (page.leaves[n], page.until[n]) == span), None
        )
        if child is None:
            return None
        inner.append(child)
    return inner


def _pattern(
    page: Outline,
    places: Places,
    judged: Judged,
    record: str,
    language: str | None,
    hint: Mapping[str, Any],
    known: Sequence[date | None],
) -> ListingPattern:
    roles = judged.roles
    dates, date_format = _date_column(judged, language, known)
    fields: dict[str, Any] = {
        "record": record,
        "flat": judged.sheet.group.flat,
        "title": roles.title.selector if roles.title else None,
        "link": _link(page, places, judged),
        "date": dates.selector if dates else None,
        "teaser": roles.teaser.selector if roles.teaser else None,
        "kind": roles.kind.selector if roles.kind else None,
        "date_format": date_format,
    }
    return ListingPattern(**(fields | dict(hint)))


def _known_days(judged: Judged, declared: Mapping[str, Declared], base: str) -> list[date | None]:
    """The days that the page's metadata gives for the records."""
    found: list[date | None] = []
    for lead in judged.sheet.leads:
        urls = (absolute(target, base) for target in lead)
        days = {declared[url].day for url in urls if url is not None and url in declared}
        found.append(days.pop() if len(days) == 1 else None)
    return found


def _date_column(
    judged: Judged, language: str | None, declared: Sequence[date | None]
) -> tuple[Column | None, str | None]:
    """The column of dates, and the format that settles its order of day and month.

    What is shown goes before what an attribute says, which may be in another zone; but attributes
    settle what is ambiguous as it is shown, as do the days that the page's metadata declares.
    """
    column = judged.roles.date
    if column is None or (judged.sheet.group.flat and _belongs_to_next(column)):
        return None, None
    known: Sequence[date | None] = attribute_days(judged.sheet, language)
    known = known if any(known) else declared
    for candidate in _dates_of_element(judged.sheet, column):
        order = settled_format(candidate.texts, language, known)
        readings = read_column(candidate.texts, language=language, date_format=order)
        days = sum(reading.precision in _DAYS for reading in readings)
        if days >= _MOST_READ * sum(map(bool, column.cells)):
            return candidate, order
    return column, settled_format(column.texts, language, known)


def _belongs_to_next(column: Column) -> bool:
    """Whether only the last of several runs lacks a date: it may be that each holds the next one's."""
    has = [cell is not None for cell in column.cells]
    return column.printed and len(has) > 2 and all(has[:-1]) and not has[-1]


def _dates_of_element(sheet: Sheet, column: Column) -> list[Column]:
    """A column of dates and its other forms, what elements print before what their attributes say."""
    forms = [
        other
        for other in sheet.columns
        if other is not column
        and (other.part == "" or may_be_date(other))
        and all(
            a is None or (b is not None and (a.first, a.last) == (b.first, b.last))
            for a, b in zip(column.cells, other.cells, strict=True)
        )
    ]
    return sorted([column, *forms], key=lambda form: not form.printed)


def attribute_days(sheet: Sheet, language: str | None) -> list[date | None]:
    """The days that the records' attributes give."""
    for column in sheet.columns:
        if column.part.startswith("::attr") and may_be_date(column):
            readings = read_column(column.texts, language=language)
            return [reading.value.date() if reading.value else None for reading in readings]
    return []


def _link(page: Outline, places: Places, judged: Judged) -> str | None:
    """The selector of the link, where it is not the title's own."""
    title = judged.roles.title
    spans = judged.sheet.spans
    leads = judged.sheet.leads
    if title and _share_linked(page, title) > 0.5:
        return None
    found: Counter[str] = Counter()
    first: Counter[str] = Counter()
    for row, span in enumerate(spans):
        seen: Counter[str] = Counter()
        led = False
        for link in page.links_in(span.start, span.stop):
            own = page.attributes[link].get("href") in leads[row]
            for selector in places.of(link):
                seen[selector] += 1
                if own and seen[selector] == 1:
                    found[selector] += 1
            if own and not led:
                led = True
                for selector in places.of(link):
                    if seen[selector] == 1:
                        first[selector] += 1
    if not found:
        return None
    return max(found, key=lambda selector: (found[selector] + first[selector], -len(selector)))


def _share_linked(page: Outline, column: Column) -> float:
    """The share of cells that are, hold, or stand in a link."""
    cells = [cell for cell in column.cells if cell]
    linked = sum(
        bool(page.links_in(cell.node, page.end[cell.node]))
        or any(page.tag[above] == "a" for above in page.ancestors(cell.node))
        for cell in cells
    )
    return linked / len(cells) if cells else 0.0


def _reasons(page: Outline, judged: Judged, every: Sequence[Judged]) -> tuple[str, ...]:
    spans = judged.sheet.group.spans
    others = [each for each in every if each is not judged]
    found = f"{len(spans)} records, score {judged.score:.1f}"
    if others:
        best = others[0]
        found += f"; next best: {len(best.sheet.group.spans)} records, score {best.score:.1f}"
    return (found,)
