"""Learn by example: where a page keeps entries that are known from an earlier reading of it.

A listing that changed its looks mostly still shows what it did.  So the group of records is the one
that holds the known entries, one in each, and a column is the one that says what they said; what no
example settles is chosen as on any other page.  Wrapper induction from labelled examples after
Kushmerick (1997), with the source's own past as the labels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from harvester.parsers.candidates import Group
from harvester.parsers.columns import Column, Places, columns
from harvester.parsers.dates import read_column
from harvester.parsers.features import Sheet, sheet
from harvester.parsers.fields import cut_teaser
from harvester.parsers.judgement import describe_group
from harvester.parsers.outline import Outline
from harvester.parsers.rankers import score, weights
from harvester.parsers.ranking import Judged
from harvester.parsers.roles import choose_roles, may_be_date
from harvester.parsers.tree import absolute
from pipelines.entry import Entry

_FEWEST: Final = 2  # known entries on a page, without which there is nothing to learn from
_LOOKED_INTO: Final = 8  # groups that hold the examples best
_NEARLY: Final = 0.15  # less than the best of them
_AGREED: Final = 0.6  # of the examples in a sheet that say the same in a column
_BEGINNING: Final = 60  # characters of a teaser that are compared; it may be cut anywhere, but
_LEAST: Final = 20  # for these

Says = Callable[[Any, Entry], bool]


@dataclass(frozen=True, slots=True)
class Examples:
    """Known entries, and where a page names them: by the links and by the texts of its outline."""

    entries: Sequence[Entry]
    links: Mapping[int, int]
    texts: Mapping[int, int]

    def inside(self, page: Outline, start: int, stop: int, first: int, last: int) -> set[int]:
        """Which of them some part of the page names."""
        linked = {self.links[link] for link in page.links_in(start, stop) if link in self.links}
        return linked | {self.texts[leaf] for leaf in range(first, last) if leaf in self.texts}


def by_example(
    page: Outline,
    places: Places,
    groups: Sequence[Group],
    entries: Sequence[Entry],
    base: str,
    language: str | None,
) -> list[Judged]:
    """The groups that hold known entries, the best first; none where too few are on the page.

    The score of each is how well it holds them (0 to 1) and how many of their fields it says.
    """
    examples = _on_page(page, entries, base)
    present = set(examples.links.values()) | set(examples.texts.values())
    if len(present) < _FEWEST:
        return []
    held = [(_holds(page, group, examples, len(present)), group) for group in groups]
    best = max((share for share, _ in held), default=0.0)
    near = [pair for pair in held if pair[0] > 0 and pair[0] >= best - _NEARLY]
    near.sort(key=lambda pair: -pair[0])
    judged = [
        _judged(page, places, group, examples, base, language, share)
        for share, group in near[:_LOOKED_INTO]
    ]
    return sorted(judged, key=lambda each: -each.score)


def _on_page(page: Outline, entries: Sequence[Entry], base: str) -> Examples:
    by_address = _numbered(entries, lambda entry: _plain(entry.url))
    by_title = _numbered(entries, lambda entry: _folded(entry.title))
    links = {
        link: by_address[url]
        for link, target in page.targets.items()
        if target and (url := _plain(absolute(target, base))) in by_address
    }
    texts = {
        leaf: by_title[title]
        for leaf, text in enumerate(page.texts)
        if (title := _folded(text)) in by_title
    }
    return Examples(entries, links, texts)


def _numbered(
    entries: Sequence[Entry], name: Callable[[Entry], str | None]
) -> dict[str | None, int]:
    """Entries by a name of theirs that no other has."""
    found: dict[str | None, int] = {}
    twice: set[str | None] = {None}
    for number, entry in enumerate(entries):
        key = name(entry)
        if key in found:
            twice.add(key)
        found[key] = number
    return {key: number for key, number in found.items() if key not in twice}


def _holds(page: Outline, group: Group, examples: Examples, present: int) -> float:
    """How well a group holds the examples, one in each record: the harmonic mean of both shares."""
    claimed: set[int] = set()
    records = 0
    for span in group.spans:
        inside = examples.inside(page, span.start, span.stop, span.first, span.last) - claimed
        if inside:
            records += 1
            claimed.add(min(inside))
    whole, found = records / len(group.spans), records / present
    return 2 * whole * found / (whole + found) if records else 0.0


def _judged(
    page: Outline,
    places: Places,
    group: Group,
    examples: Examples,
    base: str,
    language: str | None,
    share: float,
) -> Judged:
    found = sheet(page, group, columns(page, group, places))
    known = _known_rows(page, found, examples, base)
    given, agreed = _given(found, known, language)
    roles = choose_roles(page, found, weights(), given)
    features = describe_group(page, found, roles)
    # What looks like a listing decides between groups that hold the examples alike.
    looks = score(features, weights()["listing"]) / 1000
    return Judged(found, roles, features, share + agreed + looks)


def _known_rows(
    page: Outline, found: Sheet, examples: Examples, base: str
) -> list[tuple[int, Entry]]:
    """The rows of a sheet that are known entries."""
    rows = []
    for row, span in enumerate(found.spans):
        inside = examples.inside(page, span.start, span.stop, span.first, span.last)
        own = {_plain(absolute(target, base)) for target in found.leads[row]}
        named = [n for n in sorted(inside) if _plain(examples.entries[n].url) in own]
        if named or inside:
            rows.append((row, examples.entries[(named or sorted(inside))[0]]))
    return rows


def _given(
    found: Sheet, known: Sequence[tuple[int, Entry]], language: str | None
) -> tuple[dict[str, Any], float]:
    """The columns that the examples name, by role, and for what share of the fields there is one."""
    given: dict[str, Column | None] = {}
    wanted = 0
    for role, had, says in _ROLES:
        rows = [(row, entry) for row, entry in known if had(entry)]
        if not rows:  # what the listing never printed is not looked for now
            if len(known) > _FEWEST:
                given[role] = None
            continue
        wanted += 1
        options: list[tuple[Column, Sequence[Any]]]
        if role == "date":
            options = [(c, _days_of(c, language)) for c in found.columns if may_be_date(c)]
        else:
            options = [(column, column.texts) for column in found.columns]
        if column := _best(options, rows, says, had):
            given[role] = column
    named = sum(column is not None for column in given.values())
    return given, named / wanted if wanted else 0.0


def _best(
    options: Sequence[tuple[Column, Sequence[Any]]],
    rows: Sequence[tuple[int, Entry]],
    says: Says,
    had: Callable[[Entry], str | None],
) -> Column | None:
    """The column in which most rows say what their entries do; to the letter, if there are several."""
    best, most = None, 0.0
    for column, told in options:
        agree = sum(told[row] is not None and says(told[row], entry) for row, entry in rows)
        texts = column.texts
        exact = sum(_folded(texts[row]) == _folded(had(entry)) for row, entry in rows)
        # What is printed goes before attributes, and a whole element before a part of one.
        value = agree + exact / len(rows) + 0.2 * column.printed + 0.1 * (column.part == "")
        if agree >= _AGREED * len(rows) and value > most:
            best, most = column, value
    return best


def _days_of(column: Column, language: str | None) -> list[tuple[str | None, date | None]]:
    """What a column of dates prints, and the days that are read from it."""
    readings = read_column(column.texts, language=language)
    days = [reading.value.date() if reading.value else None for reading in readings]
    return list(zip(column.texts, days, strict=True))


def _says_date(told: tuple[str | None, date | None], entry: Entry) -> bool:
    text, day = told
    return (text is not None and _folded(text) == _folded(entry.published_raw)) or (
        day is not None and day == entry.day
    )


def _says_title(text: str, entry: Entry) -> bool:
    return _folded(text) == _folded(entry.title)


def _says_teaser(text: str, entry: Entry) -> bool:
    says, said = _folded(cut_teaser(text)[0]), _folded(entry.teaser)
    if not says or not said:
        return False
    size = min(len(says), len(said), _BEGINNING)
    return says[:size] == said[:size] and (size >= _LEAST or says == said)


def _says_kind(text: str, entry: Entry) -> bool:
    return _folded(text) == _folded(entry.kind)


_ROLES: Final[Sequence[tuple[str, Callable[[Entry], str | None], Says]]] = (
    ("title", lambda entry: entry.title, _says_title),
    ("date", lambda entry: entry.published_raw, _says_date),
    ("teaser", lambda entry: entry.teaser, _says_teaser),
    ("kind", lambda entry: entry.kind, _says_kind),
)


def _folded(text: str | None) -> str | None:
    return " ".join(text.casefold().split()) or None if text else None


def _plain(url: str | None) -> str | None:
    """An address without what changes with a server's settings."""
    if url is None:
        return None
    return url.partition("#")[0].partition("://")[2].removeprefix("www.").rstrip("/") or None
