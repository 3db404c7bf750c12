"""Real pages with their truth, and what the truth says of a group of records or of a column."""

from __future__ import annotations

import bisect
import hashlib
import importlib.util
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from harvester.parsers.candidates import Group, candidates
from harvester.parsers.columns import Column, Places, columns, sample
from harvester.parsers.dates import read_column, settled_format
from harvester.parsers.features import Sheet, rest, sheet
from harvester.parsers.induction import attribute_days
from harvester.parsers.judgement import glance, weight
from harvester.parsers.outline import Outline, outline
from harvester.parsers.rankers import Features
from harvester.parsers.ranking import LONGLIST
from harvester.parsers.roles import may_be_teaser, may_be_title
from harvester.parsers.tree import parse

FOLDS = 10


@cache
def scorer() -> ModuleType:
    """The scorer that lies beside the corpus."""
    path = Path(os.environ["HARVESTER_CORPUS"]).parent / "eval" / "score.py"
    spec = importlib.util.spec_from_file_location("score", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass(eq=False)
class Example:
    """One annotated page."""

    name: str
    html: str
    truth: dict[str, Any]

    @property
    def fold(self) -> int:
        """All pages of a site fall into one fold."""
        site = str(self.truth.get("site") or self.name).removeprefix("www.")
        return int(hashlib.md5(site.encode()).hexdigest(), 16) % FOLDS

    @property
    def url(self) -> str:
        return self.truth.get("url") or ""

    @cached_property
    def page(self) -> Outline:
        return outline(parse(self.html.encode("utf-8", "replace")))

    @cached_property
    def groups(self) -> list[Group]:
        every = candidates(self.page)
        return sorted(every, key=lambda group: -weight(self.page, group))[:LONGLIST]

    @cached_property
    def glances(self) -> list[Features]:
        return [glance(self.page, group) for group in self.groups]

    @cached_property
    def places(self) -> Places:
        return Places(self.page)

    @cached_property
    def where(self) -> list[list[int]]:
        return _locate(self.page, self.truth)


@cache
def examples() -> list[Example]:
    """The pages of the corpus, the same objects each time."""
    corpus = scorer().load_corpus([Path(os.environ["HARVESTER_CORPUS"]) / "dev"])
    return [Example(name, html, truth) for name, html, truth in corpus]


def _locate(page: Outline, truth: dict[str, Any]) -> list[list[int]]:
    """For each true entry the elements that print its title or lead to its address."""
    score = scorer()
    base = truth.get("url") or ""
    by_url: dict[str, list[int]] = defaultdict(list)
    for link in page.links:
        by_url[score.norm_url(page.attributes[link].get("href") or "", base)].append(link)
    by_text: dict[str, list[int]] = defaultdict(list)
    for number in range(len(page.nodes)):
        if 0 < page.until[number] - page.leaves[number] <= 40:
            by_text[score.norm_text(page.text_of(number))].append(number)
    for text, owner in zip(page.texts, page.owners, strict=True):
        by_text[score.norm_text(text)].append(owner)
    found = []
    for entry in truth["entries"]:
        links = set(by_url[score.norm_url(entry["url"], base)] if entry.get("url") else [])
        texts = set(by_text[score.norm_text(entry["title"])] if entry.get("title") else [])
        both = [
            text
            for text in texts
            if any(link <= text < page.end[link] or text <= link < page.end[text] for link in links)
        ]
        found.append(sorted(both) + sorted((links | texts) - set(both)))
    return found


@dataclass
class Labelled:
    """A group, which true entry each of its sampled records is, and its F1."""

    example: Example
    sheet: Sheet
    rows: dict[int, int]
    f1: float

    @cached_property
    def known(self) -> list[date | None]:
        """The days that the records' attributes give."""
        return attribute_days(self.sheet, self.example.truth.get("language"))

    def title(self, column: Column | None) -> float:
        """The share of records whose title a column gives."""
        if column is None or not may_be_title(column):
            return 0.0
        right = scorer().field_right
        hits = []
        for row, number in self.rows.items():
            entry = self.example.truth["entries"][number]
            cell = column.cells[row]
            got = cell.text if cell else None
            whole = f"{entry['kicker']} {entry['title']}" if entry.get("kicker") else None
            hits.append(
                right("title", entry.get("title"), got)
                or bool(whole and right("title", whole, got))
            )
        return sum(hits) / len(hits) if hits else 0.0

    def date(self, column: Column | None) -> float:
        """The share of records whose date a column gives."""
        language = self.example.truth.get("language")
        values: Sequence[date | None] = [None] * len(self.sheet.spans)
        if column:
            order = settled_format(column.texts, language, self.known)
            readings = read_column(column.texts, language=language, date_format=order)
            values = [
                r.value.date() if r.value and r.precision in ("day", "minute", "second") else None
                for r in readings
            ]
        return self._share("date", [day.isoformat() if day else None for day in values])

    def teaser(self, column: Column | None, title: Column | None, day: Column | None) -> float:
        """The share of records whose teaser a column gives."""
        texts: list[str | None] = [None] * len(self.sheet.spans)
        for row, cell in enumerate(column.cells if column else []):
            taken = [
                (other.first, other.last)
                for column_ in (title, day)
                if column_ and may_be_teaser(column_) and (other := column_.cells[row])
            ]
            texts[row] = rest(self.example.page, cell, taken) if cell else None
        return self._share("teaser", texts)

    def _share(self, name: str, values: Sequence[str | None]) -> float:
        truth = self.example.truth
        soft = (truth.get("scored") or {}).get(name) is False
        whole = truth.get("teaser_kind") == "full"
        hits = []
        for row, number in self.rows.items():
            entry = truth["entries"][number]
            if name not in entry or (soft and not entry.get(name)):
                continue
            hits.append(scorer().field_right(name, entry.get(name), values[row], whole))
        return sum(hit is not False for hit in hits) / len(hits) if hits else 1.0


@cache
def align(example: Example, group: Group) -> tuple[dict[int, int], float]:
    """Which true entry each record is, and the F1 of the group."""
    starts = [span.start for span in group.spans]
    rows: dict[int, int] = {}
    for number, places in enumerate(example.where):
        for place in places:
            row = _row(example.page, group, starts, place)
            if row is not None and row not in rows:
                rows[row] = number
                break
    optional = {n for n, e in enumerate(example.truth["entries"]) if e.get("optional")}
    hits = sum(number not in optional for number in rows.values())
    extra = len(group.spans) - sum(number in optional for number in rows.values())
    wanted = len(example.truth["entries"]) - len(optional)
    return rows, 2 * hits / ((extra + wanted) or 1)


def _row(page: Outline, group: Group, starts: Sequence[int], place: int) -> int | None:
    before = bisect.bisect_right(starts, place) - 1
    if before >= 0 and place < group.spans[before].stop:
        return before
    after = bisect.bisect_left(starts, place)  # the record may stand inside of its link
    if after < len(starts) and group.spans[after].stop <= page.end[place]:
        return after
    return None


@cache
def label(example: Example, group: Group) -> Labelled:
    """A group with its columns, and what the truth says of it."""
    rows, f1 = align(example, group)
    found = sheet(example.page, group, columns(example.page, group, example.places))
    numbers = {span.start: row for row, span in enumerate(group.spans)}
    sampled = {
        row: rows[numbers[span.start]]
        for row, span in enumerate(sample(group))
        if numbers[span.start] in rows
    }
    return Labelled(example, found, sampled, f1)


@cache
def oracle(example: Example) -> Labelled:
    """The group that the truth would choose: the right records, with all that they print."""
    ranked = sorted(
        ((align(example, group)[1], group) for group in example.groups), key=lambda x: -x[0]
    )
    best: tuple[float, Labelled] | None = None
    for f1, group in [each for each in ranked if each[0] >= ranked[0][0] - 0.01][:12]:
        found = label(example, group)
        title = max((found.title(column) for column in found.sheet.columns), default=0.0)
        size = sum(found.sheet.sizes) / len(found.sheet.sizes)
        worth = 5 * f1 + title + 0.001 * min(1, size / 1000)
        if best is None or worth > best[0] + 1e-9:
            best = (worth, found)
    assert best is not None
    return best[1]
