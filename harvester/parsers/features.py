"""What can be said of a column: readable features of all its cells together, whatever its role.

Features are shares and logarithms, so that most lie between 0 and 1; ``weights.toml`` holds what each
is worth as a sign of a title, a date or a teaser.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import log1p
from typing import Final
from urllib.parse import unquote

from harvester.parsers.candidates import Group, Span
from harvester.parsers.columns import Cell, Column, sample
from harvester.parsers.datelike import dated_part, looks_dated
from harvester.parsers.outline import Outline, width
from harvester.parsers.rankers import Features

HEADINGS: Final = frozenset(["h1", "h2", "h3", "h4", "h5", "h6"])
TITLE_TAGS: Final = HEADINGS | {"a"}
_STRONG: Final = frozenset(["b", "strong", "em", "th"])
_CONTAINERS: Final = frozenset(["div", "li", "article", "section", "ul", "tr", "table"])


def _named(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|[-_]|[a-z](?=[A-Z]))(?:{words})", re.IGNORECASE)


NAMED: Final = {
    "named like a title": _named("title|tit|headline|heading|subject|name|hdr|story"),
    "named like a date": _named("date|time|publish|posted|created|day|datum|fecha|when"),
    "named like a teaser": _named(
        "excerpt|summary|teaser|desc|intro|lead|deck|snippet|abstract|dek|subtitle|subhead|blurb"
    ),
    "named like a body": _named("content|text|body|entry|para|copy|message"),
    "named like a label": _named("cat|tag|label|kicker|topics|badge|rubri|flag|pill|chip|eyebrow"),
    "named like small print": _named(
        "meta|author|byline|by-|comment|shar|social|more|readm|count|foot|info|button|btn|user"
        "|avatar|credit|source"
    ),
}
OTHER_DAY: Final = re.compile(
    r"\b(?:dead ?line|clos(?:es?|ing)|apply|expir\w+|due|valid|updated?|modified|changed|frist|geändert"
    r"|aktualisiert|endet|échéance|limite|límite|cierre|actualizad\w+|modifié|mis à jour|aggiornat\w+"
    r"|scadenza|prazo|atualizad\w+|termin składania|zaktualizowan\w+|обновлен\w*|изменен\w*|срок|до)\b",
    re.IGNORECASE,
)
_LONGEST_MORE: Final = 40  # characters of "continue reading"
_SENTENCE: Final = re.compile(r"[.!?…。！？।؟»”\"\]]\s*$|\.\.\.")
_BYLINE: Final = re.compile(r"^(?:by|von|par|por|da|di|от|автор)\b", re.IGNORECASE)
_FRAGMENT: Final = re.compile(r"[-–—,;:.)|/·•]|[a-zß-öø-ÿа-я]")
_LETTERS: Final = re.compile(r"[^\W\d_]{2,}")
_IDEOGRAMS: Final = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_WORD: Final = re.compile(r"[^\W\d_]{2,}")


@dataclass(slots=True)
class Sheet:
    """A group with its columns, laid out for judgement: what each of its records prints and holds."""

    group: Group
    spans: tuple[Span, ...]
    columns: list[Column]
    sizes: list[int]  # characters that each record prints
    longest: list[tuple[int, int]]  # the longest text of each, outside and inside of links
    leads: list[frozenset[str]]  # where each record leads, and no other does
    slugs: list[frozenset[str]]  # the words in these addresses
    told: list[frozenset[str]]  # what the attributes of its links and images say
    features: list[Features] = field(default_factory=list)  # of each column


def sheet(page: Outline, group: Group, columns: list[Column]) -> Sheet:
    """Lay out a group, and describe its columns."""
    spans = sample(group)
    leads = own_targets(page, spans)
    found = Sheet(
        group,
        spans,
        columns,
        sizes=[page.chars[span.last] - page.chars[span.first] for span in spans],
        longest=[_longest(page, span) for span in spans],
        leads=leads,
        slugs=[frozenset(w for target in lead for w in _slug_words(target)) for lead in leads],
        told=[_told(page, span) for span in spans],
    )
    found.features.extend(_describe(page, found, column) for column in columns)
    return found


def own_targets(page: Outline, spans: Sequence[Span]) -> list[frozenset[str]]:
    """Where each record leads and no other one does."""
    targets = []
    for span in spans:
        links = page.links_in(span.start, span.stop) or _link_around(page, span.start)
        targets.append({page.targets[link] for link in links})
    uses = Counter(target for found in targets for target in found)
    return [frozenset(t for t in found if t and uses[t] == 1) for found in targets]


def _link_around(page: Outline, number: int) -> list[int]:
    return [above for above in page.ancestors(number) if above in page.targets][:1]


def _longest(page: Outline, span: Span) -> tuple[int, int]:
    plain = linked = 0
    for leaf in range(span.first, span.last):
        size = len(page.texts[leaf])
        if page.linked[leaf + 1] > page.linked[leaf]:
            linked = max(linked, size)
        else:
            plain = max(plain, size)
    return plain, linked


def _told(page: Outline, span: Span) -> frozenset[str]:
    values = (
        page.attributes[number].get(name)
        for number in range(span.start, span.stop)
        if page.tag[number] in ("a", "img")
        for name in ("title", "alt", "aria-label")
    )
    return frozenset(" ".join(value.split()) for value in values if value)


@lru_cache(maxsize=4096)
def _slug_words(target: str) -> frozenset[str]:
    """The words of an address's last part, as far as it is written in words."""
    slug = unquote(target.partition("?")[0]).rstrip("/").rpartition("/")[2]
    return _words(slug.rpartition(".")[0] or slug)


@lru_cache(maxsize=8192)
def _words(text: str) -> frozenset[str]:
    plain = unicodedata.normalize("NFKD", text.lower())
    return frozenset(_WORD.findall("".join(c for c in plain if not unicodedata.combining(c))))


def _spelled(text: str, slug: frozenset[str]) -> float:
    """How well the words of a text are those of an address: the harmonic mean of both shares."""
    if not slug:
        return 0.0
    words = _words(text[:200])
    both = len(words & slug)
    return 2 * both / (len(words) + len(slug)) if both else 0.0


# ------------------------------------------------------------------ texts
_OF_TEXTS: Final = (
    "at least 15 long",
    "at least 50 long",
    "at least 120 long",
    "at most 3 long",
    "at most 30 long",
    "sentences",
    "digits",
    "letters",
    "wordy",
    "dated",
    "all date",
    "byline",
    "colon at the end",
    "fragment",
    "_length",
    "_blanks",
)


@lru_cache(maxsize=16384)
def _profile(text: str) -> tuple[float, ...]:
    """What can be said of one text; in the order of ``_OF_TEXTS``."""
    length = width(text)
    head = text[:80]
    dated = dated_part(text)
    return (
        length >= 15,
        length >= 50,
        length >= 120,
        length <= 3,
        length <= 30,
        _SENTENCE.search(text) is not None,
        sum(map(str.isdigit, head)) / len(head),
        sum(map(str.isalpha, head)) / len(head),
        len(_LETTERS.findall(head)) > 1 or len(_IDEOGRAMS.findall(head)) > 4,
        dated > 0,
        dated,
        _BYLINE.match(text) is not None,
        text.endswith(":"),
        _FRAGMENT.match(text) is not None,
        length,
        text.count(" "),
    )


# ------------------------------------------------------------------ columns
def _describe(page: Outline, sheet: Sheet, column: Column) -> Features:
    rows = [row for row, cell in enumerate(column.cells) if cell]
    cells = [cell for cell in column.cells if cell]
    count = len(cells)
    ends = [_before_more(page, cell) for cell in cells]
    profiles = [
        _profile(page.text(cell.first, end) if column.printed and end < cell.last else cell.text)
        for cell, end in zip(cells, ends, strict=True)
    ]
    counts = [end - cell.first for cell, end in zip(cells, ends, strict=True)]
    features = {
        name: sum(values) / count
        for name, values in zip(_OF_TEXTS, zip(*profiles, strict=True), strict=True)
    }
    features["length"] = log1p(features.pop("_length")) / 5
    features["words"] = log1p(features.pop("_blanks")) / 4
    names = column.names
    attribute = column.part.startswith("::attr")
    own = column.part.startswith("::text")
    share = linked = longest = leading = spelled = first = first_link = before = 0.0
    hidden = largest = told = printed = astray = 0.0
    for row, cell in zip(rows, cells, strict=True):
        span, size = sheet.spans[row], sheet.sizes[row] or 1
        chars = page.chars[cell.last] - page.chars[cell.first] or 1
        in_links = page.linked[cell.last] - page.linked[cell.first]
        share += chars / size
        linked += in_links / chars
        hidden += page.hidden[cell.node]
        first += cell.first == span.first
        first_link += in_links > 0 and page.linked[cell.first] == page.linked[span.first]
        before += max(page.chars[cell.first] - page.chars[span.first], 0) / size
        largest += max(map(len, page.texts[cell.first : cell.last]), default=0) / chars
        rival = sheet.longest[row][in_links > 0]
        longest += len(cell.text) >= rival > 0
        targets = _leads(page, cell) - {""}
        leading += not sheet.leads[row].isdisjoint(targets)
        astray += bool(targets) and sheet.leads[row].isdisjoint(targets)
        spelled += _spelled(cell.text, sheet.slugs[row])
        told += not attribute and cell.text in sheet.told[row]
        printed += (
            attribute and cell.first < cell.last and looks_dated(page.text(cell.first, cell.last))
        )
    outside = {
        page.tag[above]
        for row, cell in zip(rows[:4], cells, strict=False)
        for above in _between(page, cell.node, sheet.spans[row].start)
    }
    distinct = len({cell.text for cell in cells}) / count
    heading = float(bool(names & HEADINGS))
    link = float("a" in names)
    begin, end = _parts_of_heading(sheet, column)
    features |= {
        "any": 1.0,
        "coverage": count / len(column.cells),
        "complete": float(count == len(column.cells)),
        "distinct": distinct,
        "mostly distinct": float(distinct > 0.85),
        "share of record": share / count,
        "longest of its kind": longest / count,
        "leads to the entry": leading / count,
        "leads where others do": astray / count,
        "spelled in the address": spelled / count,
        "told by an attribute": told / count,
        "in links": linked / count,
        "heading": heading,
        "link": link,
        "part of a link": linked / count * (1 - link),
        "in heading": float(bool(outside & HEADINGS)),
        "strong": float(bool((names | outside) & _STRONG)),
        "paragraph": float("p" in names),
        "time": float("time" in names),
        "table cell": float("td" in names),
        "first link": first_link / count,
        "first printed": first / count,
        "printed before": before / count,
        "texts inside": log1p(sum(counts) / count) / 3,
        "one text": counts.count(1) / count,
        "own text": float(own),
        "later text": float(own and not column.part.endswith("(1)")),
        "attribute": float(attribute),
        "above": float(column.part == "::above"),
        "repeated": float(column.nth > 0),
        "wordy link": features["wordy"] * link,
        "wordy heading": features["wordy"] * heading,
        "begins its heading": begin,
        "ends its heading": end,
        "printed as a date too": printed / count,
        "always as many texts": _usual_number(counts),
        "main part": _main_part(sheet, column),
        "largest text": largest / count,
        "container": float(any(page.tag[cell.node] in _CONTAINERS for cell in cells)),
        "hidden": hidden / count,
        "dated rows": features["dated"] * count / len(column.cells),
        "only dates": float(features["dated"] == 1),
        "of another day": _of_another_day(page, column) if features["dated"] else 0.0,
        "around another date": _around_date(sheet, column) if features["dated"] else 0.0,
    }
    # In "teaser__title" the first part names the record, and the last one this part of it.
    parts = {name.rpartition("__")[2] for name in names}
    for name, pattern in NAMED.items():
        features[name] = float(any(map(pattern.search, parts)))
    return features


def _before_more(page: Outline, cell: Cell) -> int:
    """Where a cell's texts end, without a short link after text that is none: "Read more"."""
    last = cell.last
    while last > cell.first and page.linked[last] > page.linked[last - 1]:
        last -= 1
    short = page.chars[cell.last] - page.chars[last] <= _LONGEST_MORE
    return last if cell.first < last and short else cell.last


def _leads(page: Outline, cell: Cell) -> set[str]:
    """Where a cell leads: the links in it, or the one around it."""
    links = page.links_in(cell.node, page.end[cell.node]) or _link_around(page, cell.node)
    return {page.targets[link] for link in links}


def _between(page: Outline, number: int, start: int) -> list[int]:
    """The elements around a cell, inside its record."""
    found = []
    for above in page.ancestors(number):
        if above < start:
            break
        found.append(above)
    return found


def _usual_number(counts: Sequence[int]) -> float:
    """The share of cells of the usual number of texts, if that is more than one: a made-up whole."""
    count, uses = Counter(counts).most_common(1)[0]
    return uses / len(counts) if count > 1 else 0.0


def _parts_of_heading(sheet: Sheet, column: Column) -> tuple[float, float]:
    """The shares of cells that begin and end a longer heading: a kicker, and the title after it."""
    begins = ends = 0
    for other in sheet.columns:
        if other is column or other.part or other.single or not other.names & TITLE_TAGS:
            continue
        begin = end = 0
        for cell, outer in zip(column.cells, other.cells, strict=True):
            if cell and outer and outer.first <= cell.first and cell.last <= outer.last:
                begin += cell.first == outer.first and cell.last < outer.last
                end += cell.first > outer.first and cell.last == outer.last
        begins, ends = max(begins, begin), max(ends, end)
    return begins / len(column.cells), ends / len(column.cells)


def _main_part(sheet: Sheet, column: Column) -> float:
    """The largest share of a column's text that another one, as complete, prints alone."""
    if column.single:
        return 0.0
    most = 0.0
    for other in sheet.columns:
        if other is column or other.rows != column.rows or not other.printed:
            continue
        part = inside = 0.0
        for cell, inner in zip(column.cells, other.cells, strict=True):
            if cell and inner:
                if not (cell.first <= inner.first and inner.last <= cell.last):
                    break
                if cell.last - cell.first > inner.last - inner.first:
                    part += len(inner.text) / len(cell.text)
                    inside += 1
        else:
            if inside > len(column.cells) / 2:
                most = max(most, part / inside)
    return most


def _of_another_day(page: Outline, column: Column) -> float:
    """The share of dates that say of themselves, or under whose heading it says, that they are others.

    A deadline and a change have a date too, but not that of the publication.
    """
    cells = [cell for cell in column.cells if cell]
    return sum(
        OTHER_DAY.search(cell.text) is not None
        or OTHER_DAY.search(_heading_of_cell(page, cell.node)) is not None
        for cell in cells
    ) / len(cells)


def _heading_of_cell(page: Outline, number: int) -> str:
    """What the head of a table says above one of its cells."""
    row = page.parent[number]
    if page.tag[number] != "td" or row < 0:
        return ""
    table = next((above for above in page.ancestors(row) if page.tag[above] == "table"), None)
    place = list(page.children(row)).index(number)
    if table is None:
        return ""
    first = next(n for n in range(table, page.end[table]) if page.tag[n] == "tr")
    heads = list(page.children(first))
    if place >= len(heads) or page.tag[heads[place]] != "th":
        return ""
    return page.text_of(heads[place])


def _around_date(sheet: Sheet, column: Column) -> float:
    """The share of a column's dates that a part of their cells prints, which is a column too."""
    dated = [cell if cell and looks_dated(cell.text) else None for cell in column.cells]
    most = 0
    for other in sheet.columns:
        if other is not column and other.part == "":
            found = sum(
                outer.first <= inner.first
                and inner.last <= outer.last
                and len(inner.text) < len(outer.text)
                and looks_dated(inner.text)
                for inner, outer in zip(other.cells, dated, strict=True)
                if inner and outer
            )
            most = max(most, found)
    return most / max(sum(map(bool, dated)), 1)


# ------------------------------------------------------------------ columns, given others
def rest(page: Outline, cell: Cell, taken: Iterable[tuple[int, int]]) -> str:
    """What a cell says beside the texts that other fields took."""
    taken = [pair for pair in taken if pair[0] < cell.last and cell.first < pair[1]]
    if not taken:
        return cell.text
    left = (
        leaf
        for leaf in range(cell.first, cell.last)
        if not any(first <= leaf < last for first, last in taken)
    )
    return "".join(page.spaced[leaf] for leaf in left).strip()


def beside(
    page: Outline, sheet: Sheet, column: Column, title: Column | None, date: Column | None
) -> Features:
    """What more can be said of a column once the title and the date are known."""
    rows = [row for row, cell in enumerate(column.cells) if cell]
    printed_date = date if date and date.printed else None
    length = long = nothing = most = 0.0
    within = around = after = same = dated = 0
    titles = dates = 0
    for row in rows:
        cell = column.cells[row]
        heading = title.cells[row] if title else None
        day = printed_date.cells[row] if printed_date else None
        assert cell is not None
        text = rest(page, cell, [(c.first, c.last) for c in (heading, day) if c])
        size = width(text)
        length += size
        long += size >= 40
        nothing += size == 0
        others = sheet.sizes[row]
        if heading:
            titles += 1
            within += heading.first <= cell.first and cell.last <= heading.last
            around += cell.first <= heading.first and heading.last <= cell.last
            after += cell.first >= heading.last
            same += text[:40] == heading.text[:40]
            others -= width(heading.text)
        if day:
            dates += 1
            dated += cell.first <= day.first and day.last <= cell.last
            others -= (
                0 if heading and heading.first <= day.first < heading.last else width(day.text)
            )
        most += size / max(others, 1)
    count = len(rows)
    return {
        "length beside title and date": log1p(length / count) / 5,
        "beside them at least 40 long": long / count,
        "nothing beside them": nothing / count,
        "share of the rest": min(most / count, 1.5),
        "inside the title": within / (titles or 1),
        "around the title": around / (titles or 1),
        "after the title": after / (titles or 1),
        "begins like the title": same / (titles or 1),
        "around the date": dated / (dates or 1),
    }
