"""Which group of records is the page's listing: what can be said of a group, and of its fields."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from math import log1p
from statistics import median, pstdev
from typing import Final
from urllib.parse import urlsplit

from harvester.parsers.candidates import Group
from harvester.parsers.columns import Column
from harvester.parsers.features import HEADINGS, Sheet, own_targets
from harvester.parsers.outline import Outline, width
from harvester.parsers.rankers import Features
from harvester.parsers.roles import Roles

_SLUG: Final = re.compile(r"[^/]*(?:[-_][^/]*){2,}|.*\d{3,}.*")
_ENOUGH: Final = 400  # characters of a record that count
_A_CLAUSE: Final = 15  # characters
_MOST_TITLED: Final = 0.7  # of records that are every other row of a table, or less
_TABLE_CELLS: Final = ("td", "th")
_NUMBERS: Final = re.compile(r"\d+")
_KINDS: Final = {
    "article": ("article",),
    "list item": ("li", "dt", "dd"),
    "table row": ("tr",),
    "table cell": ("td",),
    "link": ("a",),
    "heading": tuple(HEADINGS),
    "paragraph": ("p",),
}


def weight(page: Outline, group: Group) -> float:
    """A first guess, nearly free: many records that print much, lead somewhere and are of a size."""
    spans = group.spans
    sizes = [page.chars[span.last] - page.chars[span.first] for span in spans]
    linked = sum(page.linked[span.last] > page.linked[span.first] for span in spans) / len(spans)
    aside = sum(page.beside[span.start] for span in spans) / len(spans)
    alone = max(sizes) / (sum(sizes) or 1)
    much = sum(min(size, _ENOUGH) ** 0.5 for size in sizes)
    return float(much * (0.3 + linked) * (1.2 - aside) * (1.1 - alone))


def glance(page: Outline, group: Group) -> Features:
    """What can be said of a group without looking into its records."""
    spans = group.spans
    count = len(spans)
    total = max(page.chars[-1], 1)
    sizes = [page.chars[span.last] - page.chars[span.first] for span in spans]
    links = [page.linked[span.last] - page.linked[span.first] for span in spans]
    printed, linked = sum(sizes), sum(links)
    between = max(page.chars[spans[-1].last] - page.chars[spans[0].first], 1)
    gaps = (page.chars[b.first] - page.chars[a.last] for a, b in pairwise(spans))
    parents = Counter(page.parent[span.start] for span in spans)
    tags = Counter(page.tag[span.start] for span in spans)
    words = Counter(word for span in spans for word in page.words[span.start])
    common = {word for word, uses in words.items() if uses > count / 2}
    depths = Counter(page.depth[span.start] for span in spans)
    inside = [page.links_in(span.start, span.stop) for span in spans]
    leads = own_targets(page, spans)
    usual = tags.most_common(1)[0][0]
    left_out, interleaved = _left_out(page, group, usual)
    return {
        "any": 1.0,
        "records": log1p(count),
        "few records": float(count < 4),
        "share of text": printed / total,
        "share of plain text": (printed - linked) / max(total - page.linked[-1], 1),
        "share of links": linked / max(page.linked[-1], 1),
        "in links": linked / max(printed, 1),
        "in the main part": _mean(page.main[span.start] for span in spans),
        "beside the main part": _mean(page.beside[span.start] for span in spans),
        "hidden": _mean(page.hidden[span.start] for span in spans),
        "size": log1p(median(sizes)) / 5,
        "tiny": _mean(size < 20 for size in sizes),
        "spread of sizes": min(pstdev(sizes) / (printed / count or 1), 3),
        "largest record": max(sizes) / max(printed, 1),
        "links in a record": log1p(_mean(map(len, inside))),
        "one link": _mean(len(found) == 1 for found in inside),
        "own address": _mean(map(bool, leads)),
        "addresses": _addresses(leads),
        "slugs": _slugs(leads),
        "dense": printed / between,
        "widest gap": max(gaps, default=0) / total,
        "starts late": page.chars[spans[0].first] / total,
        "ends early": 1 - page.chars[spans[-1].last] / total,
        "one parent": parents.most_common(1)[0][1] / count,
        "parents": log1p(len(parents)) / 3,
        "one tag": tags.most_common(1)[0][1] / count,
        "one depth": depths.most_common(1)[0][1] / count,
        "named alike": _mean(len(common.intersection(page.words[s.start])) for s in spans)
        / len(common)
        if common
        else 1.0,
        "no name": float(not common and usual in ("div", "span", "section", "a")),
        "left out": left_out,
        "interleaved": interleaved,
        "alike elsewhere": _alike_elsewhere(page, group, common),
        "links in sentences": _mean(any(_in_sentence(page, n) for n in found) for found in inside),
        "flat": float(group.flat),
        **{f"is {kind}": float(usual in kinds) for kind, kinds in _KINDS.items()},
    }


def _in_sentence(page: Outline, link: int) -> bool:
    """Whether running text goes on before and after a link."""
    first, last, parent = page.leaves[link], page.until[link], page.parent[link]
    return (
        0 < first < last < len(page.texts)
        and page.owners[first - 1] == page.owners[last] == parent
        and min(len(page.texts[first - 1]), len(page.texts[last])) >= _A_CLAUSE
    )


def _left_out(page: Outline, group: Group, usual: str) -> tuple[float, float]:
    """What siblings of the records, of their tag and with links, are no records; all, and between."""
    starts = {span.start for span in group.spans}
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for number in sorted(starts):
        first.setdefault(page.parent[number], number)
        last[page.parent[number]] = number
    beside = between = 0
    for parent, start in first.items():
        for number in page.children(parent):
            if (
                number not in starts
                and page.tag[number] == usual
                and page.leads[page.end[number]] > page.leads[number]
            ):
                beside += 1
                between += start < number < last[parent]
    count = len(starts)
    return beside / (beside + count), between / (between + count)


def _alike_elsewhere(page: Outline, group: Group, common: set[str]) -> float:
    """The share of the elements with a name that the records share, that are no records."""
    if not common:
        return 0.0
    fewest = min(page.word_counts[word] for word in common)
    return max(1 - len(group.spans) / max(fewest, 1), 0.0)


def describe_group(page: Outline, sheet: Sheet, roles: Roles) -> Features:
    """What can be said of a group as a listing, its fields included."""
    rows = len(sheet.spans)
    coverage = [sum(cell is not None for cell in column.cells) / rows for column in sheet.columns]
    usual = [c for c, share in zip(sheet.columns, coverage, strict=True) if share >= 0.5]
    alike = [
        sum(c.cells[row] is not None for c in usual) / (len(usual) or 1) for row in range(rows)
    ]
    features = glance(page, sheet.group) | {
        "records alike": _mean(alike),
        "least alike": min(alike),
        "regular": _mean(share >= 0.9 for share in coverage) if coverage else 0.0,
        "columns": log1p(len(coverage)) / 4,
        "title score": max(min(roles.title_score, 12.0), -4.0) / 4,
        "no title": float(roles.title is None),
        "several titles": _several(page, sheet, roles.title),
    }
    for name, column in (("title", roles.title), ("date", roles.date), ("teaser", roles.teaser)):
        texts = [cell.text for cell in column.cells if cell] if column else []
        features[f"{name} coverage"] = len(texts) / rows
        features[f"{name} distinct"] = len(set(texts)) / len(texts) if texts else 0.0
    features["many without a title"] = float(features["title coverage"] < _MOST_TITLED)
    if roles.title:
        leads_nowhere = 1 - _leading(page, roles.title)
        lengths = [min(width(cell.text), 150) for cell in roles.title.cells if cell]
        features |= {
            "title length": _mean(lengths) / 50,
            "short titles": _mean(length < 12 for length in lengths),
            "titles in headings": float(bool(roles.title.names & HEADINGS)),
            "top heading": float("h1" in roles.title.names),
            "title leads nowhere": leads_nowhere,
            "title leads nowhere, others do": leads_nowhere
            * _mean(len(lead) > 1 for lead in sheet.leads),
        }
    return features


def _leading(page: Outline, title: Column) -> float:
    """The share of titles that are, hold or stand in a link."""
    cells = [cell for cell in title.cells if cell]
    return _mean(
        page.in_link[cell.node] or bool(page.links_in(cell.node, page.end[cell.node]))
        for cell in cells
    )


def _several(page: Outline, sheet: Sheet, title: Column | None) -> float:
    """The share of records that hold other texts in elements just like their title's: sections."""
    if title is None:
        return 0.0
    found = 0
    for span, cell in zip(sheet.spans, title.cells, strict=True):
        if cell is None:
            continue
        like = _kind(page, cell.node)
        if like[0] in _TABLE_CELLS:
            continue  # all cells of a row are alike, and each says something else
        found += any(
            _kind(page, number) == like
            and page.until[number] - page.leaves[number] > 0
            and page.text_of(number) != cell.text
            and len(page.text_of(number)) > len(cell.text) / 3
            for number in range(cell.node + 1, span.stop)
            if page.tag[number] == like[0]
        )
    return found / len(sheet.spans)


def _kind(page: Outline, number: int) -> tuple[str, tuple[str, ...], str]:
    parent = page.parent[number]
    return page.tag[number], page.words[number], page.tag[parent] if parent >= 0 else ""


def _addresses(leads: Sequence[frozenset[str]]) -> float:
    """The share of records that lead to addresses of the most frequent form."""
    forms = Counter(form for lead in leads for form in {_form(target) for target in lead})
    return forms.most_common(1)[0][1] / len(leads) if forms else 0.0


@lru_cache(maxsize=4096)
def _form(target: str) -> tuple[str, ...]:
    """An address without what differs between entries: numbers, and the last part of the path."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return ("",)
    path = _NUMBERS.sub("0", parts.path).rsplit("/", 1)[0]
    return (parts.netloc, path, str(bool(parts.query)))


def _slugs(leads: Sequence[frozenset[str]]) -> float:
    """The share of records that lead to an address with a name or a number of its own."""
    return _mean(any(map(_slug, lead)) for lead in leads)


@lru_cache(maxsize=4096)
def _slug(target: str) -> bool:
    path = target.partition("?")[0].rstrip("/").rsplit("/", 1)[-1]
    return bool(_SLUG.fullmatch(path)) or "id=" in target


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0
