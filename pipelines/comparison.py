"""Two readings of one listing, the earlier and the later: what of the first the second finds again.

Pure.  Entries are the same by their address, or by their title where it is the title of one only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final
from urllib.parse import urlsplit

from rapidfuzz.fuzz import ratio

from pipelines.entry import Entry
from pipelines.identity import canonical_url, host_of, path_key

_ALIKE: Final = 60  # of 100: texts that an editor may have made of one another
_COMPARED: Final = 300  # characters of a teaser
_ZONES: Final = timedelta(days=1)  # a date may stand in another zone

Pair = tuple[Entry, Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A field in the entries that both readings have: in how many it stood, is lost, is another."""

    had: int = 0
    lost: int = 0
    changed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What became of an earlier reading.

    Of its ``before`` entries the later one has ``known`` again; ``missed`` counts those that it has
    not, though the page leads to them.  ``strange`` counts its other entries, ``newer`` those of them
    that are dated later than all before.  ``inside``: they are on the hosts that entries were on.
    """

    before: int
    known: int
    missed: int
    strange: int
    newer: int
    inside: bool
    title: Kept = Kept()
    date: Kept = Kept()
    teaser: Kept = Kept()


def compare(
    before: Sequence[Entry], now: Sequence[Entry], linked: Collection[str] = ()
) -> Comparison:
    """Hold a later reading of a listing against an earlier one.

    ``linked`` are the keys (``key_of``) of all addresses that the later page leads to.
    """
    pairs = list(_pairs(before, now))
    found = {id(old) for old, _ in pairs}
    met = {id(new) for _, new in pairs}
    lost = [entry for entry in before if id(entry) not in found]
    strange = [entry for entry in now if id(entry) not in met]
    hosts = {host_of(entry.url) for entry in before if entry.url}
    newest = max((e.published.date() for e in before if e.published), default=None)
    return Comparison(
        before=len(before),
        known=len(pairs),
        missed=sum(key_of(entry) in linked for entry in lost),
        strange=len(strange),
        newer=sum(_is_newer(entry, newest) for entry in strange),
        inside=not hosts or any(entry.url and host_of(entry.url) in hosts for entry in now),
        title=_kept(pairs, lambda entry: entry.title, _title_changed),
        date=_kept(pairs, lambda entry: entry.published, _date_changed),
        teaser=_kept(pairs, lambda entry: entry.teaser, _teaser_changed),
    )


def key_of(entry: Entry) -> str | None:
    """What an entry's address says, whatever its scheme and host."""
    return address_key(entry.url) if entry.url else None


def address_key(url: str) -> str | None:
    """The same of an address; ``None`` for one that leads to no page of its own."""
    canonical = canonical_url(url)
    if canonical is None:
        return None
    key = path_key(canonical)
    return key if key != "/" and urlsplit(key).path.strip("/") + urlsplit(key).query else None


def _pairs(before: Sequence[Entry], now: Sequence[Entry]) -> Iterator[Pair]:
    """What is the same entry: first by address, then the rest by title."""
    olds, news = list(before), list(now)
    for name in (key_of, _title_of):
        mine, theirs = _by_name(olds, name), _by_name(news, name)
        both = [(mine[key], theirs[key]) for key in mine if key in theirs]
        yield from both
        paired = {id(entry) for pair in both for entry in pair}
        olds = [entry for entry in olds if id(entry) not in paired]
        news = [entry for entry in news if id(entry) not in paired]


def _by_name(entries: Sequence[Entry], name: Callable[[Entry], str | None]) -> dict[str, Entry]:
    """Entries by a name that no other of them has; copies of one entry have it together."""
    uses = Counter(map(name, dict.fromkeys(entries)))
    return {key: entry for entry in entries if (key := name(entry)) and uses[key] == 1}


def _title_of(entry: Entry) -> str | None:
    return " ".join(entry.title.casefold().split()) if entry.title else None


def _is_newer(entry: Entry, newest: date | None) -> bool:
    return bool(newest and entry.published and entry.published.date() >= newest)


def _kept(
    pairs: Sequence[Pair],
    field: Callable[[Entry], object],
    changed: Callable[[Entry, Entry], bool],
) -> Kept:
    had = [(old, new) for old, new in pairs if field(old) is not None]
    both = [(old, new) for old, new in had if field(new) is not None]
    return Kept(
        had=len(had),
        lost=len(had) - len(both),
        changed=sum(changed(old, new) for old, new in both),
    )


def _title_changed(old: Entry, new: Entry) -> bool:
    return ratio((old.title or "").casefold(), (new.title or "").casefold()) < _ALIKE


def _date_changed(old: Entry, new: Entry) -> bool:
    """Whether the days differ, as far as both print them.  Relative dates wander with the clock."""
    if old.published_relative or new.published_relative or old.day is None or new.day is None:
        return False
    return abs(old.day - new.day) > _ZONES


def _teaser_changed(old: Entry, new: Entry) -> bool:
    one, other = ((entry.teaser or "").casefold()[:_COMPARED] for entry in (old, new))
    shorter = min(len(one), len(other))
    return ratio(one[:shorter], other[:shorter]) < _ALIKE
