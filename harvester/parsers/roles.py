"""What the columns of a group are: the title, the date, the teaser, the label, or nothing asked for.

Linear rankers, one for each role, weigh what can be said of every column; "none of them" stands at 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from harvester.parsers.columns import DATED, Column
from harvester.parsers.dates import looks_dated
from harvester.parsers.features import NAMED, TITLE_TAGS, Sheet, beside
from harvester.parsers.outline import Outline
from harvester.parsers.rankers import Weights, score

_TITLED: Final = ("::attr(title)", "::attr(alt)", "::attr(aria-label)")
_DATES: Final = tuple(f"::attr({name})" for name in DATED if name != "title")
_SHARE_DATED: Final = 0.3
_LONGEST_LABEL: Final = 40


@dataclass(frozen=True, slots=True)
class Roles:
    """The columns of a group that are fields of its entries, and how sure the title is."""

    title: Column | None
    title_score: float
    title_lead: float  # over the next best column
    date: Column | None = None
    teaser: Column | None = None
    kind: Column | None = None


def choose_roles(page: Outline, sheet: Sheet, weights: Mapping[str, Weights]) -> Roles:
    """Which columns are the title, the date, the teaser and the label; the title first."""
    described = list(zip(sheet.columns, sheet.features, strict=True))
    titles = [(c, score(f, weights["title"])) for c, f in described if may_be_title(c)]
    title, title_score = max(titles, key=itemgetter(1), default=(None, 0.0))
    others = [value for column, value in titles if column is not title]
    lead = title_score - max(others, default=0.0)
    if title_score <= 0:
        title = None
    dates = [(c, score(f, weights["date"])) for c, f in described if may_be_date(c)]
    date, date_score = max(dates, key=itemgetter(1), default=(None, 0.0))
    if date_score <= 0:
        date = None
    teasers = [
        (c, score(f | beside(page, sheet, c, title, date), weights["teaser"]))
        for c, f in described
        if may_be_teaser(c) and c is not title and c is not date
    ]
    teaser, teaser_score = max(teasers, key=itemgetter(1), default=(None, 0.0))
    if teaser_score <= 0:
        teaser = None
    return Roles(title, title_score, lead, date, teaser, _label(sheet, (title, date, teaser)))


def may_be_title(column: Column) -> bool:
    """Whether a column could hold titles: anything printed, and the texts of images and links.

    A link or a heading is a title as a whole or not at all.
    """
    if column.part.startswith("::text"):
        return not column.names & TITLE_TAGS
    return column.part == "" or column.part in _TITLED


def may_be_date(column: Column) -> bool:
    """Whether enough of a column looks like dates."""
    if column.part.startswith("::attr") and column.part not in _DATES:
        if column.part != "::attr(title)" or not column.names & {"abbr", "time", "span"}:
            return False
    cells = [cell for cell in column.cells if cell]
    return sum(looks_dated(cell.text) for cell in cells) >= _SHARE_DATED * len(cells)


def may_be_teaser(column: Column) -> bool:
    """Whether a column could hold teasers: anything that is printed inside the record."""
    return column.printed


def _label(sheet: Sheet, taken: Sequence[Column | None]) -> Column | None:
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
            and any(map(NAMED["named like a label"].search, column.names))
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
