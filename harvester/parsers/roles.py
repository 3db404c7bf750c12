"""What a column is: the title, the date, the teaser, the label, or nothing that is asked for.

Every column of a group is described by the same readable features, as a whole; linear rankers, one
for each role, weigh them (``weights.toml``).  ``none`` competes with the columns and scores 0.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import log1p
from statistics import fmean
from typing import Final
from urllib.parse import unquote

from harvester.parsers.candidates import Group, Span
from harvester.parsers.columns import DATED, Cell, Column, sample
from harvester.parsers.dates import dated_part, looks_dated
from harvester.parsers.outline import Outline
from harvester.parsers.rankers import Features

HEADINGS: Final = frozenset(["h1", "h2", "h3", "h4", "h5", "h6"])
_AROUND: Final = HEADINGS | {"a"}
_LETTERS: Final = re.compile(r"[^\W\d_]{2,}")
_IDEOGRAMS: Final = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_STRONG: Final = frozenset(["b", "strong", "em", "th"])


def _hint(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|[-_]|[a-z](?=[A-Z]))(?:{words})", re.IGNORECASE)


_WORD: Final = re.compile(r"[^\W_]{2,}")
_TITLED: Final = ("::attr(title)", "::attr(alt)", "::attr(aria-label)")
_DATES: Final = tuple(f"::attr({name})" for name in DATED if name != "title")
_LONGEST_LABEL: Final = 40
_SHARE_DATED: Final = 0.3
_HINTS: Final = {
    "named like a title": _hint("title|tit|headline|heading|subject|name|hdr|story"),
    "named like a date": _hint("date|time|publish|posted|created|day|datum|fecha|when"),
    "named like a teaser": _hint(
        "excerpt|summary|teaser|desc|intro|lead|deck|snippet|abstract|dek|subtitle|subhead|blurb"
    ),
    "named like a body": _hint("content|text|body|entry|para|copy|message"),
    "named like a label": _hint("cat|tag|label|kicker|topics|badge|rubri|flag|pill|chip|eyebrow"),
    "named like small print": _hint(
        "meta|author|byline|by-|comment|shar|social|more|readm|views?|count|foot|info|button|btn|user|avatar|credit|source"
    ),
}
_SENTENCE: Final = re.compile(r"[.!?…。！？।؟»”\"\]]\s*$|\.\.\.")
_BYLINE: Final = re.compile(r"^(?:by|von|par|por|da|di|от|автор)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sheet:
    """A group with its columns, and what they are judged against."""

    group: Group
    spans: tuple[Span, ...]
    columns: list[Column]
    features: list[Features]  # of each column, whatever its role
    sizes: list[int]  # characters that each record prints
    leads: list[frozenset[str]]  # where each record leads, and no other does
    slugs: list[frozenset[str]]  # the words in these addresses
    told: list[frozenset[str]]  # what the attributes of its links and images say


@dataclass(frozen=True, slots=True)
class Roles:
    """The columns of a group that are fields of its entries, and how sure the title is."""

    title: Column | None
    title_score: float
    title_lead: float  # over the next best column
    date: Column | None = None
    teaser: Column | None = None
    kind: Column | None = None


def may_be_title(column: Column) -> bool:
    """Whether a column could hold titles: anything printed, and the texts of images and links.

    A link or a heading is a title as a whole or not at all.
    """
    if column.part.startswith("::text") and column.names & _AROUND:
        return False
    return column.part != "::above" and (
        not column.part.startswith("::attr") or column.part in _TITLED
    )


def may_be_date(column: Column) -> bool:
    """Whether enough of a column looks like dates."""
    if column.part.startswith("::attr") and column.part not in _DATES:
        if column.part != "::attr(title)" or not column.names & {"abbr", "time", "span"}:
            return False
    texts = [cell.text for cell in column.cells if cell]
    return _share(map(looks_dated, texts)) >= _SHARE_DATED


def may_be_teaser(column: Column) -> bool:
    """Whether a column could hold teasers: anything that is printed inside the record."""
    return not column.part.startswith(("::attr", "::above"))


def sheet(page: Outline, group: Group, columns: list[Column]) -> Sheet:
    """Lay out a group's first records."""
    spans = sample(group)
    sizes = [page.chars[span.last] - page.chars[span.first] for span in spans]
    leads = own_targets(page, spans)
    slugs = [frozenset(word for target in lead for word in _slug_words(target)) for lead in leads]
    told = [_told(page, span) for span in spans]
    found = Sheet(group, spans, columns, [], sizes, leads, slugs, told)
    found.features.extend(_describe(page, found, column) for column in columns)
    return found


def own_targets(page: Outline, spans: Sequence[Span]) -> list[frozenset[str]]:
    """Where each record leads and no other one does."""
    targets = []
    for span in spans:
        links = page.links_in(span.start, span.stop) or _link_around(page, span.start)
        targets.append({_target(page, link) for link in links})
    uses = Counter(target for found in targets for target in found)
    return [frozenset(t for t in found if t and uses[t] == 1) for found in targets]


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
    words = _words(text[:200])
    both = len(words & slug)
    return 2 * both / (len(words) + len(slug)) if both else 0.0


def _link_around(page: Outline, number: int) -> list[int]:
    return [above for above in page.ancestors(number) if page.tag[above] == "a"][:1]


def _target(page: Outline, link: int) -> str:
    """Where a link leads, but for a place on this very page."""
    href = (page.attributes[link].get("href") or "").strip()
    return "" if href.startswith(("#", "javascript:", "mailto:")) else href.partition("#")[0]


def _leads(page: Outline, number: int) -> set[str]:
    """Where an element leads: the links in it, or the one around it."""
    links = page.links_in(number, page.end[number]) or _link_around(page, number)
    return {_target(page, link) for link in links}


def _longest(page: Outline, sheet: Sheet, column: Column) -> float:
    """The share of records in which a column is the longest text that is all link, or all not."""
    wins = []
    for row, cell in enumerate(column.cells):
        if cell is None:
            continue
        span = sheet.spans[row]
        linked = page.linked[cell.first + 1] > page.linked[cell.first] if cell.last > cell.first else False
        longest = max(
            (
                len(page.texts[leaf])
                for leaf in range(span.first, span.last)
                if (page.linked[leaf + 1] > page.linked[leaf]) == linked
            ),
            default=0,
        )
        wins.append(len(cell.text) >= longest > 0)
    return _share(wins)


def _describe(page: Outline, sheet: Sheet, column: Column) -> Features:
    """What can be said of a column whatever its role."""
    cells = [cell for cell in column.cells if cell]
    rows = len(column.cells)
    texts = [cell.text for cell in cells]
    lengths = [len(text) for text in texts]
    spans = [span for span, cell in zip(sheet.spans, column.cells, strict=True) if cell]
    chars = [page.chars[cell.last] - page.chars[cell.first] or 1 for cell in cells]
    links = [page.linked[cell.last] - page.linked[cell.first] for cell in cells]
    sizes = [size for size, cell in zip(sheet.sizes, column.cells, strict=True) if cell]
    before = [
        max(page.chars[cell.first] - page.chars[span.first], 0) / (size or 1)
        for cell, span, size in zip(cells, spans, sizes, strict=True)
    ]
    inner = {page.tag[cell.node] for cell in cells}
    outside = {
        page.tag[above]
        for cell, span in zip(cells[:6], spans, strict=False)
        for above in _between(page, cell.node, span.start)
    }
    words = [name for name in column.names]
    wordy = _share(len(_LETTERS.findall(text)) > 1 or len(_IDEOGRAMS.findall(text)) > 4 for text in texts)
    begins, ends = _parts_of_heading(sheet, column)
    features = {
        "any": 1.0,
        "coverage": len(cells) / rows,
        "complete": float(len(cells) == rows),
        "distinct": len(set(texts)) / len(texts),
        "mostly distinct": float(len(set(texts)) > 0.85 * len(texts)),
        "length": log1p(fmean(lengths)) / 5,
        "at least 15 long": _share(length >= 15 for length in lengths),
        "at least 50 long": _share(length >= 50 for length in lengths),
        "at least 120 long": _share(length >= 120 for length in lengths),
        "at most 3 long": _share(length <= 3 for length in lengths),
        "share of record": fmean(c / (s or 1) for c, s in zip(chars, sizes, strict=True)),
        "longest of its kind": _longest(page, sheet, column),
        "leads to the entry": _share(
            bool(sheet.leads[row] & _leads(page, cell.node))
            for row, cell in enumerate(column.cells)
            if cell
        ),
        "spelled in the address": fmean(
            _spelled(cell.text, sheet.slugs[row]) for row, cell in enumerate(column.cells) if cell
        ),
        "told by an attribute": _share(
            cell.text in sheet.told[row] for row, cell in enumerate(column.cells) if cell
        )
        * (not column.part.startswith("::attr")),
        "in links": fmean(link / char for link, char in zip(links, chars, strict=True)),
        "heading": float(bool(column.names & HEADINGS)),
        "link": float("a" in column.names),
        "part of a link": fmean(link / char for link, char in zip(links, chars, strict=True))
        * ("a" not in column.names),
        "in heading": float(bool(outside & HEADINGS)),
        "strong": float(bool((column.names | outside) & _STRONG)),
        "paragraph": float("p" in column.names),
        "time": float("time" in column.names),
        "table cell": float("td" in column.names),
        "first link": _share(
            page.linked[cell.last] > page.linked[span.first] == page.linked[cell.first]
            for cell, span in zip(cells, spans, strict=True)
        ),
        "first printed": _share(
            cell.first == span.first for cell, span in zip(cells, spans, strict=True)
        ),
        "printed before": fmean(before),
        "texts inside": log1p(fmean(cell.last - cell.first for cell in cells)) / 3,
        "one text": _share(cell.last - cell.first == 1 for cell in cells),
        "own text": float(column.part.startswith("::text")),
        "later text": float(column.part.startswith("::text") and not column.part.endswith("(1)")),
        "attribute": float(column.part.startswith("::attr")),
        "above": float(column.part == "::above"),
        "repeated": float(column.nth > 0),
        "sentences": _share(bool(_SENTENCE.search(text)) for text in texts),
        "words": log1p(fmean(text.count(" ") for text in texts)) / 4,
        "digits": fmean(sum(map(str.isdigit, text[:80])) / len(text[:80]) for text in texts),
        "letters": fmean(sum(map(str.isalpha, text[:80])) / len(text[:80]) for text in texts),
        "wordy": wordy,
        "wordy link": wordy * ("a" in column.names),
        "wordy heading": wordy * bool(column.names & HEADINGS),
        "begins its heading": begins,
        "ends its heading": ends,
        "dated": _share(looks_dated(text) for text in texts),
        "all date": fmean(map(dated_part, texts)),
        "printed as a date too": _share(
            column.part.startswith("::attr") and looks_dated(page.text(cell.first, cell.last))
            for cell in cells
            if cell.first < cell.last
        ),
        "at most 30 long": _share(length <= 30 for length in lengths),
        "always as many texts": _alike([cell.last - cell.first for cell in cells]),
        "main part": _main_part(sheet, column),
        "largest text": fmean(
            max(map(len, page.texts[cell.first : cell.last]), default=0) / char
            for cell, char in zip(cells, chars, strict=True)
        ),
        "byline": _share(bool(_BYLINE.match(text)) for text in texts),
        "colon at the end": _share(text.endswith(":") for text in texts),
        "container": float(bool(inner & {"div", "li", "article", "section", "ul", "tr", "table"})),
        "hidden": _share(page.hidden[cell.node] for cell in cells),
    }
    for name, hint in _HINTS.items():
        features[name] = float(any(hint.search(word) for word in words))
    return features


def _alike(counts: Sequence[int]) -> float:
    """The share of cells of the usual number of texts, if that is more than one: a made-up whole."""
    count, uses = Counter(counts).most_common(1)[0]
    return uses / len(counts) if count > 1 else 0.0


def _parts_of_heading(sheet: Sheet, column: Column) -> tuple[float, float]:
    """The shares of cells that begin and end a longer heading: a kicker, and the title after it."""
    begins = ends = 0.0
    for other in sheet.columns:
        if other is column or other.part or not other.names & _AROUND:
            continue
        pairs = [(c, o) for c, o in zip(column.cells, other.cells, strict=True) if c and o]
        pairs = [(c, o) for c, o in pairs if o.first <= c.first and c.last <= o.last]
        begin = sum(c.first == o.first and c.last < o.last for c, o in pairs)
        end = sum(c.first > o.first and c.last == o.last for c, o in pairs)
        begins = max(begins, begin / len(column.cells))
        ends = max(ends, end / len(column.cells))
    return begins, ends


def _main_part(sheet: Sheet, column: Column) -> float:
    """The largest share of a column's text that another one, as complete, prints alone."""
    if all(cell is None or cell.last - cell.first == 1 for cell in column.cells):
        return 0.0
    most = 0.0
    for other in sheet.columns:
        if other is column or not may_be_teaser(other):
            continue
        shares = []
        for cell, part in zip(column.cells, other.cells, strict=True):
            if cell is None and part is None:
                continue
            if cell is None or part is None or not (cell.first <= part.first and part.last <= cell.last):
                break
            if cell.last - cell.first > part.last - part.first:
                shares.append(len(part.text) / len(cell.text))
        else:
            if len(shares) > len(column.cells) / 2:
                most = max(most, fmean(shares))
    return most


def _between(page: Outline, number: int, start: int) -> list[int]:
    """The elements around a cell, inside its record."""
    found = []
    for above in page.ancestors(number):
        if above < start:
            break
        found.append(above)
    return found


def _share(flags: object) -> float:
    values = list(flags)  # type: ignore[call-overload]
    return sum(values) / len(values) if values else 0.0


def rest(page: Outline, cell: Cell, taken: Sequence[tuple[int, int]]) -> str:
    """What a cell says beside the texts that other fields took."""
    left = [
        leaf
        for leaf in range(cell.first, cell.last)
        if not any(first <= leaf < last for first, last in taken)
    ]
    if len(left) == cell.last - cell.first:
        return cell.text
    return "".join(page.spaced[leaf] for leaf in left).strip()


def beside(
    page: Outline, sheet: Sheet, column: Column, title: Column | None, date: Column | None
) -> Features:
    """What more can be said of a column once the title and the date are known."""
    rows = [row for row, cell in enumerate(column.cells) if cell]
    rests, within, after, over, dated, same, above_all = [], [], [], [], [], [], []
    for row in rows:
        cell = column.cells[row]
        heading = title.cells[row] if title else None
        day = date.cells[row] if date and not date.part.startswith(("::attr", "::above")) else None
        assert cell is not None
        taken = [(c.first, c.last) for c in (heading, day) if c]
        text = rest(page, cell, taken)
        rests.append(len(text))
        span = sheet.spans[row]
        others = page.chars[span.last] - page.chars[span.first]
        if heading:
            within.append(heading.first <= cell.first and cell.last <= heading.last)
            over.append(cell.first <= heading.first and heading.last <= cell.last)
            after.append(cell.first >= heading.last)
            same.append(text[:40] == heading.text[:40])
            others -= len(heading.text)
        if day:
            dated.append(cell.first <= day.first and day.last <= cell.last)
            others -= 0 if heading and heading.first <= day.first < heading.last else len(day.text)
        above_all.append(len(text) / max(others, 1))
    length = fmean(rests)
    return {
        "length beside title and date": log1p(length) / 5,
        "beside them at least 40 long": _share(size >= 40 for size in rests),
        "nothing beside them": _share(size == 0 for size in rests),
        "share of the rest": min(fmean(above_all), 1.5),
        "inside the title": _share(within),
        "around the title": _share(over),
        "after the title": _share(after),
        "begins like the title": _share(same),
        "around the date": _share(dated),
    }


def label(sheet: Sheet, taken: Sequence[Column | None]) -> Column | None:
    """The column of labels ("Press Release"): short, named so, and shared by several records."""
    for column in sheet.columns:
        cells = [cell for cell in column.cells if cell]
        texts = {cell.text for cell in cells}
        if (
            column.part == ""
            and column.nth == 0
            and len(cells) >= len(column.cells) / 2
            and len(texts) <= max(len(cells) * 0.7, 1)
            and max(map(len, texts)) <= _LONGEST_LABEL
            and any(any(map(str.isalpha, text)) for text in texts)
            and any(_HINTS["named like a label"].search(name) for name in column.names)
            and not any(map(looks_dated, texts))
            and not any(other and _overlap(column, other) for other in taken)
        ):
            return column
    return None


def _overlap(column: Column, other: Column) -> bool:
    return any(
        a and b and a.first <= b.first and b.last <= a.last
        for a, b in zip(column.cells, other.cells, strict=True)
    )
