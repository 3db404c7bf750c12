"""Two readings of one listing, the earlier and the later: what of the first the second finds again.

Pure.  Entries are the same by their address, or by their title where it is the title of one only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import dropwhile
from typing import Final

from rapidfuzz.fuzz import ratio

from pipelines.entry import Entry
from pipelines.identity import canonical_url, host_of, path_key

_ALIKE: Final = 60  # of 100: texts that an editor may have made of one another
_COMPARED: Final = 300  # characters of a teaser
_ZONES: Final = timedelta(days=1)  # a date may stand in another zone
_PRINTED: Final[dict[str | None, int]] = {"year": 4, "month": 7, "day": 10}
_MINUTES: Final = 16

Pair = tuple[Entry, Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A field in the entries that both readings have: in how many it stood, is lost, is another.

    ``same`` counts those in which it is to the letter what it was, as far as both print it; ``gained``
    those in which it did not stand.
    """

    had: int = 0
    lost: int = 0
    changed: int = 0
    same: int = 0
    gained: int = 0

    @property
    def retold(self) -> int:
        """In how many it is there, and not to the letter what it was."""
        return self.had - self.lost - self.same


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What became of an earlier reading.

    Of its ``before`` entries the later one has ``known`` again; ``missed`` counts those that it has
    not, though the page leads to them, ``skipped`` those that it has not, though it has one that stood
    below them: a listing forgets its last entries first.  ``strange`` counts its other entries, ``newer``
    those of them that are dated later than all before, ``amiss`` the undated ones that do not stand at
    the top, where new entries do, ``at_home`` those that stand in a section of the site in which entries
    stood.
    ``inside``: some entry is on a host that entries were on.  ``moved`` counts the known ones that do not
    stand at their address any more.
    """

    before: int
    known: int
    missed: int
    skipped: int
    strange: int
    newer: int
    amiss: int
    at_home: int
    inside: bool
    moved: int
    title: Kept = Kept()
    date: Kept = Kept()
    teaser: Kept = Kept()

    @property
    def kept(self) -> tuple[Kept, Kept, Kept]:
        """Title, date and teaser."""
        return self.title, self.date, self.teaser


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
    sections = {_section(entry) for entry in before}
    newest = max((e.published.date() for e in before if e.published), default=None)
    return Comparison(
        before=len(before),
        known=len(pairs),
        missed=sum(key_of(entry) in linked for entry in lost),
        skipped=_amid(before, found),
        strange=len(strange),
        newer=sum(_is_newer(entry, newest) for entry in strange),
        amiss=_amiss(now, met),
        at_home=sum(_section(entry) in sections for entry in strange),
        inside=not hosts or any(entry.url and host_of(entry.url) in hosts for entry in now),
        moved=sum(key_of(old) not in (None, key_of(new)) for old, new in pairs),
        title=_kept(pairs, _title_of, _title_changed, _same_title),
        date=_kept(pairs, _date_of, _date_changed, _same_date),
        teaser=_kept(pairs, _teaser_of, _teaser_changed, _same_teaser),
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
    path, _, query = key.partition("#")[0].partition("?")
    return key if path.strip("/\t\r\n") or query else None


def _pairs(before: Sequence[Entry], now: Sequence[Entry]) -> Iterator[Pair]:
    """What is the same entry: first by all that it says, then the rest by address, then by title."""
    olds, news = list(before), list(now)
    for name in (_all_of, key_of, _title_of):
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


def _all_of(entry: Entry) -> str | None:
    key, title = key_of(entry), _title_of(entry)
    return f"{key} {title} {_date_of(entry)} {_teaser_of(entry)}" if key and title else None


def _title_of(entry: Entry) -> str | None:
    return " ".join(entry.title.casefold().split()) if entry.title else None


def _section(entry: Entry) -> tuple[str, str]:
    """The host and the first directory of an entry's address."""
    if not entry.url:
        return "", ""
    directory, _, rest = (key_of(entry) or "").strip("/").partition("/")
    return host_of(entry.url), directory if rest else ""


def _amid(before: Sequence[Entry], found: Collection[int]) -> int:
    """Entries that are not found and stand above one that is."""
    last_first = dropwhile(lambda entry: id(entry) not in found, reversed(before))
    return sum(id(entry) not in found for entry in last_first)


def _amiss(now: Sequence[Entry], met: Collection[int]) -> int:
    """Undated entries that are not known and stand below one that is."""
    strange = (
        entry for entry in dropwhile(lambda e: id(e) not in met, now) if id(entry) not in met
    )
    return sum(entry.published is None for entry in strange)


def _date_of(entry: Entry) -> str | None:
    """The date as far as it is printed."""
    if entry.published is None:
        return None
    return entry.published.isoformat()[: _PRINTED.get(entry.published_precision, _MINUTES)]


def _teaser_of(entry: Entry) -> str | None:
    return " ".join(entry.teaser.casefold().split()) if entry.teaser else None


def _is_newer(entry: Entry, newest: date | None) -> bool:
    return bool(newest and entry.published and entry.published.date() >= newest)


def _kept(
    pairs: Sequence[Pair],
    field: Callable[[Entry], str | None],
    changed: Callable[[Entry, Entry], bool],
    same: Callable[[Entry, Entry], bool],
) -> Kept:
    had = [(old, new) for old, new in pairs if field(old) is not None]
    both = [(old, new) for old, new in had if field(new) is not None]
    return Kept(
        had=len(had),
        lost=len(had) - len(both),
        changed=sum(changed(old, new) for old, new in both),
        same=sum(same(old, new) for old, new in both),
        gained=sum(field(old) is None and field(new) is not None for old, new in pairs),
    )


def _same_title(old: Entry, new: Entry) -> bool:
    return _title_of(old) == _title_of(new)


def _same_date(old: Entry, new: Entry) -> bool:
    """Equal as far as both print it.  Relative dates wander with the clock."""
    if (old.published_relative or new.published_relative) and old.published and new.published:
        return abs(old.published.date() - new.published.date()) <= _ZONES
    return _as_far_as_both(_date_of(old) or "", _date_of(new) or "")


def _same_teaser(old: Entry, new: Entry) -> bool:
    """Equal as far as both go: a teaser may be cut elsewhere."""
    return _as_far_as_both(_teaser_of(old) or "", _teaser_of(new) or "")


def _as_far_as_both(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _title_changed(old: Entry, new: Entry) -> bool:
    return ratio(_title_of(old) or "", _title_of(new) or "") < _ALIKE


def _date_changed(old: Entry, new: Entry) -> bool:
    """Whether the days differ, as far as both print them.  Relative dates wander with the clock."""
    if old.published_relative or new.published_relative or old.day is None or new.day is None:
        return False
    return abs(old.day - new.day) > _ZONES


def _teaser_changed(old: Entry, new: Entry) -> bool:
    one, other = ((_teaser_of(entry) or "")[:_COMPARED] for entry in (old, new))
    shorter = min(len(one), len(other))
    return ratio(one[:shorter], other[:shorter]) < _ALIKE
