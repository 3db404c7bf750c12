"""What the columns of a group are: the title, the date, the teaser, the label, or nothing asked for.

Linear rankers, one for each role, weigh what can be said of every column; "none of them" stands at 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from harvester.parsers.columns import DATED, Column
from harvester.parsers.datelike import looks_dated
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


def choose_roles(
    page: Outline,
    sheet: Sheet,
    weights: Mapping[str, Weights],
    given: Mapping[str, Column | None] | None = None,
) -> Roles:
    """Which columns are the title, the date, the teaser and the label; the title first.

    ``given`` are the columns of roles that a person named; these are not chosen.
    """
    given = given or {}
    described = list(zip(sheet.columns, sheet.features, strict=True))
    titles = [(c, score(f, weights["title"])) for c, f in described if may_be_title(c)]
    title, title_score, lead = _choice(titles)
    title = given.get("title", title)
    dates = [(c, score(f, weights["date"])) for c, f in described if may_be_date(c)]
    date = given.get("date", _choice(dates)[0])
    teasers = [
        (c, score(f | beside(page, sheet, c, title, date), weights["teaser"]))
        for c, f in described
        if may_be_teaser(c) and c is not title and c is not date
    ]
    teaser = given.get("teaser", _choice(teasers)[0])
    kind = given.get("kind", _label(sheet, (title, date, teaser)))
    return Roles(title, title_score, lead, date, teaser, kind)


def _choice(options: Sequence[tuple[Column, float]]) -> tuple[Column | None, float, float]:
    """The best option if it is better than none, its score, and its lead over the second."""
    ranked = sorted(options, key=itemgetter(1), reverse=True)[:2]
    if not ranked:
        return None, 0.0, 0.0
    best, value = ranked[0]
    lead = value - (ranked[1][1] if len(ranked) > 1 else 0.0)
    return (best if value > 0 else None), value, lead


def may_be_title(column: Column) -> bool:
    """Whether a column could hold titles: anything printed, and the texts of images and links.

    A link or a heading is a title as a whole or not at all.
    """
    if column.part.startswith("::text"):
        return not column.names & TITLE_TAGS
    return column.part == "" or column.part in _TITLED


def may_be_date(column: Column) -> bool:
    """Whether enough of a column looks like dates."""
    dated_title = column.part == "::attr(title)" and column.names & {"abbr", "time", "span"}
    if column.part.startswith("::attr") and column.part not in _DATES and not dated_title:
        return False
    cells = [cell for cell in column.cells if cell]
    return sum(looks_dated(cell.text) for cell in cells) >= _SHARE_DATED * len(cells)


def may_be_teaser(column: Column) -> bool:
    """Whether a column could hold teasers: any words that are printed inside the record."""
    cells = [cell for cell in column.cells if cell]
    return column.printed and 2 * sum(any(map(str.isalpha, c.text)) for c in cells) >= len(cells)


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
