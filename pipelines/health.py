"""Whether a page of a listing is what it was: its vital signs, held against its own past.  Pure.

    entries --vitals--> what was read --check--> findings
                             |                      |
        habit: what the address showed before, and what of that is found again (comparison)

A quiet source is not a broken one: what counts is not how much is new, but whether what was there is
still read as it was.  A ``doubt`` asks for a second opinion (the page is learned anew); where that
comes to the same, the page has really changed, and the doubt becomes a notice.  What is ``fatal``
keeps the page from being published; a notice is stored and shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

from pipelines.comparison import Comparison, Kept, key_of
from pipelines.entry import Entry
from pipelines.garbled import is_garbled

REMEMBERED: Final = 12  # different pages of an address that say what is usual there
_MOST_HABITS: Final = 500  # addresses of a source
_FEW: Final = 3  # entries that show nothing yet
_USUAL: Final = 0.5  # of the entries: a field that fewer have is none of the listing's
_FALLEN: Final = 0.8  # of the lowest share so far, below which a field is doubtful,
_COLLAPSED: Final = 0.5  # and below which it is lost
_SOME: Final = 0.2  # of the known entries
_GROWN: Final = 1.5  # times the most records so far
_STEADY: Final = 3  # pages in a row, each of which showed some of the one before
_LONG: Final = 5  # times the longest pause between runs: anything may have happened meanwhile
_STALE: Final = 3  # times the longest pause between entries,
_A_WEEK: Final = timedelta(days=7)  # and as much again for holidays


class Severity(StrEnum):
    """What follows from a finding."""

    FATAL = "fatal"
    DOUBT = "doubt"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is odd about a page."""

    url: str
    severity: Severity
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What was read from a page: how many records, and how many of them have each field.

    ``linked`` counts different addresses, ``garbled`` the entries whose text was decoded wrongly.
    ``pause`` is the longest time between two of its entries, in days; ``leads_on``: it has a next page.
    """

    records: int = 0
    titled: int = 0
    linked: int = 0
    dated: int = 0
    teased: int = 0
    garbled: int = 0
    newest: date | None = None
    pause: int | None = None
    leads_on: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A page that an address showed, and how many entries of the one before it had again."""

    fetched_at: datetime
    vitals: Vitals
    known: int | None = None
    missed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """What an address, or the later pages of a listing, showed in the last good runs.

    ``url`` and the archive record are those of the last page, ``digest`` its body's.  ``told`` is what the
    source's file said then of its layout.  ``pattern`` read it, in the pattern's text form; ``instead_of``
    is the one that did no longer, since ``healed``.  ``lively``: it had news once, so it is no archive.
    """

    listing: str
    url: str
    digest: str
    warc_file: str
    warc_record_id: str
    told: str | None
    pattern: str | None
    instead_of: str | None = None
    healed: datetime | None = None
    lively: bool = False
    shown: tuple[Shown, ...] = ()


def vitals(entries: Sequence[Entry], *, leads_on: bool) -> Vitals:
    """The vital signs of a page that was read."""
    days = sorted({day for entry in entries if (day := entry.day)}, reverse=True)
    return Vitals(
        records=len(entries),
        titled=sum(entry.title is not None for entry in entries),
        linked=len({key for entry in entries if (key := key_of(entry))}),
        dated=sum(entry.published is not None for entry in entries),
        teased=sum(entry.teaser is not None for entry in entries),
        garbled=sum(is_garbled(entry.title) or is_garbled(entry.teaser) for entry in entries),
        newest=days[0] if days else None,
        pause=max((a - b).days for a, b in pairwise(days)) if len(days) > _FEW else None,
        leads_on=leads_on,
    )


def check(
    url: str,
    now: Vitals,
    at: datetime,
    habit: Habit | None,
    comparison: Comparison | None,
    *,
    first: bool = True,
) -> list[Finding]:
    """What is odd about a page that was fetched at a moment, the gravest first.

    ``comparison`` holds its entries against those of the last page of the same address.  ``first``: it
    is no later page of a listing, on which nothing new is looked for.
    """
    shown = habit.shown if habit else ()
    told = [
        *(_fields(now, shown, comparison) if shown else ()),
        *(_records(now, shown, comparison) if shown and (first or comparison) else ()),
        *(_known(now, at, shown, comparison) if shown and comparison else ()),
        *(_rhythm(now, at) if habit and habit.lively and first else ()),
    ]
    if not first:  # old pages of a listing may be of another make than new ones
        told = [(Severity.DOUBT if s is Severity.FATAL else s, reason) for s, reason in told]
    told += _garbled(now, shown)
    order = list(Severity)
    found = [Finding(url=url, severity=severity, reason=reason) for severity, reason in told]
    return sorted(found, key=lambda finding: order.index(finding.severity))


def led_on(habit: Habit) -> bool:
    """Whether an address always had a next page."""
    return bool(habit.shown) and all(each.vitals.leads_on for each in habit.shown)


def is_held(findings: Iterable[Finding]) -> bool:
    """Whether a page with these findings must not be published."""
    return any(finding.severity is Severity.FATAL for finding in findings)


def remember(
    habits: Mapping[str, Habit], habit: Habit, page: Shown, *, changed: bool
) -> dict[str, Habit]:
    """The habits after one more good page; ``habit`` describes it, but for what was shown before."""
    before = habits[habit.listing].shown if habit.listing in habits else ()
    shown = (*before, page)[-REMEMBERED:] if changed else before
    lively = habit.listing in habits and habits[habit.listing].lively
    lively = lively or not _is_stale(page.vitals, page.fetched_at)
    others = {name: other for name, other in habits.items() if name != habit.listing}
    while len(others) >= _MOST_HABITS:
        del others[next(iter(others))]
    return {**others, habit.listing: replace(habit, shown=shown, lively=lively)}


def habit_from(told: Mapping[str, Any]) -> Habit:
    """The habit that a ledger tells of.  Raises ``KeyError``, ``TypeError`` or ``ValueError``."""
    healed = told["healed"]
    return Habit(
        **{
            **told,
            "healed": datetime.fromisoformat(healed) if healed else None,
            "shown": tuple(_shown_from(each) for each in told["shown"]),
        }
    )


def _shown_from(told: Mapping[str, Any]) -> Shown:
    known = {field.name for field in fields(Vitals)}
    signs = {name: value for name, value in told["vitals"].items() if name in known}
    if signs["newest"]:
        signs["newest"] = date.fromisoformat(signs["newest"])
    at = datetime.fromisoformat(told["fetched_at"])
    return Shown(fetched_at=at, vitals=Vitals(**signs), known=told["known"], missed=told["missed"])


# ------------------------------------------------------------------ the signs, one by one
Told = Iterator[tuple[Severity, str]]
_FIELDS: Final[tuple[tuple[str, Callable[[Vitals], int], str], ...]] = (
    ("titles", lambda v: v.titled, "title"),
    ("addresses", lambda v: v.linked, ""),
    ("dates", lambda v: v.dated, "date"),
    ("teasers", lambda v: v.teased, "teaser"),
)


def _garbled(now: Vitals, shown: Sequence[Shown]) -> Told:
    usual = max((_share(each.vitals.garbled, each.vitals) for each in shown), default=0.0)
    share = _share(now.garbled, now)
    text = f"the text of {now.garbled} of {now.records} entries is garbled"
    if share >= _USUAL > usual:
        yield Severity.FATAL, text
    elif now.garbled and share > usual:
        yield Severity.NOTICE, text


def _fields(now: Vitals, shown: Sequence[Shown], comparison: Comparison | None) -> Told:
    """Fields that entries had, and have no longer, or that say something else."""
    for plural, count, name in _FIELDS if now.records else ():
        lowest = min(shown, key=lambda each: _share(count(each.vitals), each.vitals)).vitals
        usual, share = _share(count(lowest), lowest), _share(count(now), now)
        kept: Kept = getattr(comparison, name) if comparison and name else Kept()
        text = f"{count(now)} of {now.records} entries have {plural}, where {count(lowest)} of {lowest.records} had"
        if usual >= _USUAL and share < _FALLEN * usual:
            # Where the known entries still have theirs, what came to them is no entry.
            joined = kept.had >= _FEW and not kept.lost and name != "teaser"
            lost = share < _COLLAPSED * usual and kept.lost >= kept.had / 2
            yield (Severity.FATAL if joined or lost else Severity.DOUBT), text
        elif kept.lost >= max(2, _SOME * kept.had):
            yield Severity.DOUBT, f"{kept.lost} of {kept.had} known entries have lost their {name}"
        if kept.changed >= max(2, _SOME * kept.had):
            most = kept.changed >= max(_FEW, kept.had / 2)
            text = f"{kept.changed} of {kept.had} known entries have another {name} now"
            yield (Severity.FATAL if most else Severity.DOUBT), text
        elif name != "teaser" and kept.retold >= max(_FEW, kept.had / 2):
            # Nobody edits most of a page at once.
            yield Severity.DOUBT, f"{kept.retold} of {kept.had} known entries have an edited {name}"


def _records(now: Vitals, shown: Sequence[Shown], comparison: Comparison | None) -> Told:
    """Many records fewer, or more, than there ever were."""
    if not now.records:  # that is said anyway
        return
    fewest = min(each.vitals.records for each in shown)
    most = max(each.vitals.records for each in shown)
    usual = max(each.missed for each in shown)
    c = comparison
    # A page of today's news begins anew every morning.  And where just the last ones are no longer
    # there, and nothing leads to them, it does show fewer.
    anew = c is not None and not c.known and c.newer == c.strange > 0
    fewer = c is not None and c.known and not c.skipped and c.missed <= usual
    if 2 * now.records < fewest and fewest - now.records >= _FEW:
        text = f"{now.records} entries, where there were {fewest} at least"
        yield (Severity.NOTICE if anew or fewer else Severity.FATAL), text
    elif 4 * now.records < 3 * most and most - now.records >= _FEW:
        text = f"{now.records} entries, where there were {most} at most"
        yield (Severity.NOTICE if anew or fewer else Severity.DOUBT), text
    elif now.records > most * _GROWN and now.records - most >= _FEW:
        yield Severity.DOUBT, f"{now.records} entries, where there were {most} at most"
    copies = max(each.vitals.records - each.vitals.linked for each in shown)
    if now.records - now.linked >= copies + _FEW:
        text = (
            f"{now.records - now.linked} of {now.records} entries lead nowhere, or where others do"
        )
        yield Severity.DOUBT, text
    if comparison and comparison.missed >= usual + max(2, _SOME * comparison.before):
        text = f"{comparison.missed} entries that were read before are linked, and not read"
        yield Severity.DOUBT, text


def _known(now: Vitals, at: datetime, shown: Sequence[Shown], comparison: Comparison) -> Told:
    """Nothing that was there is there: a long pause, another listing, or another part of the page."""
    if not now.records or comparison.known or comparison.before < _FEW:
        return
    again = [each.known for each in shown if each.known is not None]
    times = [each.fetched_at for each in shown]
    longest = max((b - a for a, b in pairwise(times)), default=timedelta())
    soon = at - times[-1] <= _LONG * longest
    text = f"none of the {comparison.before} entries that the page had before"
    if not comparison.inside:
        yield Severity.FATAL, f"{text}, and none on their hosts"
    elif again and not min(again):  # as it does
        return
    elif min(comparison.newer, comparison.at_home) >= _FALLEN * comparison.strange > 0:
        yield Severity.NOTICE, f"{text}; those in between may have been missed"
    elif len(again) >= _STEADY and soon:
        yield Severity.FATAL, text
    else:
        yield Severity.DOUBT, text


def _rhythm(now: Vitals, at: datetime) -> Told:
    """Nothing new for long, by the listing's own measure."""
    if _is_stale(now, at):
        yield Severity.NOTICE, f"nothing new since {now.newest}"


def _is_stale(signs: Vitals, at: datetime) -> bool:
    if signs.newest is None or signs.pause is None:
        return False
    return at.date() - signs.newest > _STALE * timedelta(days=signs.pause) + _A_WEEK


def _share(count: int, signs: Vitals) -> float:
    return count / signs.records if signs.records else 0.0
