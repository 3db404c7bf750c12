"""The groups of a page that may be its listing, judged, the likeliest first.

A glance at all of them leaves a few; these are looked into, and a ranker weighs what they hold.  Then
four rules that no sum of features can state: what the page's metadata names, what completes the first
group or divides it, which of its records are none, and what stands between them and is part of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp
from typing import Any, Final

from harvester.parsers.candidates import Group, group_of, siblings
from harvester.parsers.columns import Places, column_of, columns, filled
from harvester.parsers.features import Sheet, sheet
from harvester.parsers.judgement import describe_group, glance, weight
from harvester.parsers.metadata import Declared
from harvester.parsers.outline import Outline
from harvester.parsers.pattern import compile_field
from harvester.parsers.rankers import Features, Weights, chance, score, weights
from harvester.parsers.roles import Roles, choose_roles
from harvester.parsers.tree import absolute

LONGLIST: Final = 36  # groups that are worth a glance
SHORTLIST: Final = 5  # groups whose records are worth looking into,
MARGIN: Final = 3.0  # unless they score less than the first by more than this
_MOST_KEPT: Final = 0.8  # of a group's records; where fewer are alike, it is another group
_MOST_TAILED: Final = 0.8
_MOST_READ: Final = 0.9
_FAIRLY_PLAUSIBLE: Final = 0.3  # above, how plausible a listing is says nothing of its records
_COLUMNS: Final = ("title", "date", "teaser", "kind")
_MISSED: Final = 5.0
_FEWEST_DECLARED: Final = 3
_SUPPORT: Final = 1.0  # what a group gains whose addresses the page's metadata names


@dataclass(frozen=True, slots=True)
class Judged:
    """A group with the roles of its columns, and what the ranker makes of it."""

    sheet: Sheet
    roles: Roles
    features: Features
    score: float
    missed: tuple[str, ...] = ()  # fields of a hint that find nothing in it


def shortlist(
    page: Outline, groups: Sequence[Group], table: Weights, *, most: int, margin: float
) -> list[Group]:
    """The groups that look best at a glance."""
    heavy = sorted(groups, key=lambda group: -weight(page, group))[:LONGLIST]
    glances = [(score(glance(page, group), table), group) for group in heavy]
    ranked = sorted(glances, key=lambda pair: -pair[0])[:most]
    return [group for value, group in ranked if value >= ranked[0][0] - margin]


def ranked(
    page: Outline,
    places: Places,
    groups: Sequence[Group],
    hint: Mapping[str, Any],
    declared: Mapping[str, Declared],
    base: str,
) -> list[Judged]:
    """The likeliest listing and its rivals, all considered."""
    judged = judge(page, places, groups, hint)
    judged = _completed(page, _supported(judged, declared, base))
    if judged and "record" not in hint:
        judged[0] = _lengthened(page, places, _trimmed(page, places, judged[0], hint), hint)
    return judged


def judge(
    page: Outline, places: Places, groups: Sequence[Group], hint: Mapping[str, Any] | None = None
) -> list[Judged]:
    """The groups that look best at a glance, looked into; the likeliest listing first."""
    short = shortlist(page, groups, weights()["glance"], most=SHORTLIST, margin=MARGIN)
    judged = [_look_into(page, places, group, hint or {}) for group in short]
    return sorted(judged, key=lambda each: -each.score)


def _look_into(page: Outline, places: Places, group: Group, hint: Mapping[str, Any]) -> Judged:
    found = sheet(page, group, columns(page, group, places))
    given = {
        name: column_of(page, group, text)
        for name, text in hint.items()
        if name in _COLUMNS and not compile_field(text).above
    }
    roles = choose_roles(page, found, weights(), given)
    features = describe_group(page, found, roles)
    missed = tuple(name for name, column in given.items() if column is None)
    # Where a person's selectors find nothing, the listing is elsewhere.
    value = score(features, weights()["listing"]) - _MISSED * len(missed)
    return Judged(found, roles, features, value, missed)


def _supported(judged: list[Judged], declared: Mapping[str, Declared], base: str) -> list[Judged]:
    """The same, with what the page's metadata names counted in favour of the groups that have it."""
    if len(declared) < _FEWEST_DECLARED:
        return judged
    weighed = [
        replace(each, score=each.score + _SUPPORT * _share_declared(each, declared, base))
        for each in judged
    ]
    return sorted(weighed, key=lambda each: -each.score)


def _share_declared(judged: Judged, declared: Mapping[str, Declared], base: str) -> float:
    """How well a group's addresses are those of the metadata: the harmonic mean of both shares."""
    leads = [{absolute(target, base) for target in lead} for lead in judged.sheet.leads]
    named = sum(not lead.isdisjoint(declared) for lead in leads) / (len(leads) or 1)
    reached = {url for lead in leads for url in lead if url in declared}
    most = min(len(declared), len(leads))
    covered = min(len(reached) / most, 1.0) if most else 0.0
    return 2 * named * covered / (named + covered) if named + covered else 0.0


def _completed(page: Outline, judged: list[Judged]) -> list[Judged]:
    """The same, with a more complete or a finer group first if there is one."""
    if not judged:
        return judged
    first = judged[0]
    larger = [
        each
        for each in judged[1:]
        if _completes(page, each.sheet.group, first.sheet.group) or _divides(each, first)
    ]
    best = max(larger, key=lambda each: len(each.sheet.group.spans), default=first)
    return [best, *(each for each in judged if each is not best)]


def _divides(fine: Judged, coarse: Judged) -> bool:
    """Whether a group's records are the entries of another one's, which are sections of a page."""
    if coarse.features["several titles"] < 0.5 or fine.features["several titles"] > 0.2:
        return False
    outer = [(span.first, span.last) for span in coarse.sheet.group.spans]
    inner = fine.sheet.group.spans
    return (
        fine.roles.title is not None
        and len(inner) >= 1.5 * len(outer)
        and sum(any(a <= s.first and s.last <= b for a, b in outer) for s in inner)
        >= _MOST_READ * len(inner)
    )


def _completes(page: Outline, group: Group, part: Group) -> bool:
    """Whether a group adds only records that another one should have.

    What stands among the records, is called as they are and leads somewhere is one of them, whatever
    it lacks.
    """
    spans = {(span.first, span.last): span for span in group.spans}
    known = {(span.first, span.last) for span in part.spans}
    if group.flat or not known < set(spans):
        return False
    words = set.intersection(*(set(page.words[span.start]) for span in part.spans))
    parents = {page.parent[span.start] for span in part.spans}
    return bool(words) and all(
        words <= set(page.words[span.start])
        and page.parent[span.start] in parents
        and not page.hidden[span.start]
        and any(page.targets[link] for link in page.links_in(span.start, span.stop))
        for texts, span in spans.items()
        if texts not in known
    )


def _trimmed(page: Outline, places: Places, judged: Judged, hint: Mapping[str, Any]) -> Judged:
    """The same without the records that say nothing of what the others say: advertisements, widgets."""
    roles, group = judged.roles, judged.sheet.group
    says = [
        c.selector for c in (roles.title, roles.date, roles.teaser) if c and c.part != "::above"
    ]
    if group.flat or roles.title is None:
        return judged
    rows = zip(*(filled(page, group, selector) for selector in says), strict=True)
    kept = [span.start for span, row in zip(group.spans, rows, strict=True) if any(row)]
    if not _MOST_KEPT * len(group.spans) <= len(kept) < len(group.spans):
        return judged
    return _look_into(page, places, group_of(page, kept), hint)


def _lengthened(page: Outline, places: Places, judged: Judged, hint: Mapping[str, Any]) -> Judged:
    """The same with what stands between the records, where that has a field that they lack.

    An entry of several rows of a table, or a heading with paragraphs after it: what follows each
    record is of one kind, says something else each time and leads nowhere of its own.
    """
    group = judged.sheet.group
    tails = _tails(page, group) if not group.flat and hint.get("flat") is not False else []
    if len(tails) < max(2, _MOST_TAILED * (len(group.spans) - 1)):
        return judged
    kind, uses = Counter(_kinds(page, tail) for tail in tails).most_common(1)[0]
    texts = {" ".join(map(page.text_of, tail)) for tail in tails}
    linked = sum(any(page.leads[page.end[n]] > page.leads[n] for n in tail) for tail in tails)
    before = group.spans[0].start
    above = [n for n in page.children(page.parent[before]) if n < before and _prints(page, n)]
    if (
        not kind
        or uses < _MOST_TAILED * len(tails)
        or 2 * len(texts) < len(tails)
        or 2 * linked > len(tails)
        or _kinds(page, above[-len(kind) :]) == kind  # it stands before each record
    ):
        return judged
    whole = group_of(page, [span.start for span in group.spans], flat=True)
    longer = _look_into(page, places, whole, hint)
    gained = any(
        (column := getattr(longer.roles, name))
        and column.cells[-1] is not None
        and not getattr(judged.roles, name)
        for name in ("date", "teaser")
    )
    return replace(longer, score=judged.score) if gained and longer.roles.title else judged


def _tails(page: Outline, group: Group) -> list[list[int]]:
    """What prints something between two records that stand side by side, for each such pair."""
    tails = []
    for a, b in pairwise(group.spans):
        if page.parent[a.start] == page.parent[b.start]:
            between = siblings(page, page.end[a.start], b.start)
            tails.append([number for number in between if _prints(page, number)])
    return tails


def _kinds(page: Outline, numbers: Sequence[int]) -> tuple[object, ...]:
    """What some elements are and are called; of rows, with their cells: a head is no entry."""
    return tuple(
        (
            page.tag[n],
            page.words[n],
            tuple(page.tag[c] for c in page.children(n)) if page.tag[n] == "tr" else None,
        )
        for n in numbers
    )


def _prints(page: Outline, number: int) -> bool:
    return page.until[number] > page.leaves[number]


def doubts_of(judged: Sequence[Judged]) -> dict[str, float]:
    """What speaks for and against the first group."""
    if not judged:
        return {"any": 1.0, "plausible": 0.0}
    plausible = chance(judged[0].features, weights()["plausible"])
    return {
        "any": 1.0,
        "plausible": plausible,
        "hardly plausible": max(1 - plausible / _FAIRLY_PLAUSIBLE, 0.0),
        "rivals": 5 * _rivals(judged, 1.0),
        "near rivals": 10 * _rivals(judged, 5.0),
    }


def _rivals(judged: Sequence[Judged], sharpness: float) -> float:
    """What share of entries would be wrong if the ranker's scores were chances.

    Groups of nearly the same records are no rivals; ``sharpness`` is how far scores are believed.
    """
    top = judged[0].score
    chances = [exp(min(sharpness * (each.score - top), 5.0)) for each in judged]
    losses = [1 - _agreement(judged[0].sheet.group, each.sheet.group) for each in judged]
    return sum(c * loss for c, loss in zip(chances, losses, strict=True)) / sum(chances)


def _agreement(group: Group, other: Group) -> float:
    """How far two groups are the same records: the share of leaders that stand in both."""
    spans = [(span.first, span.last) for span in other.spans]
    both = sum(any(a < s.last and s.first < b for a, b in spans) for s in group.spans)
    return 2 * both / (len(group.spans) + len(spans)) if len(spans) <= 200 else 1.0
