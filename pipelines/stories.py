"""Which entries tell one story: near-duplicates, whatever their slug, their source, their boilerplate.

The story of an entry is the first entry that it is alike to and that begins a story itself; if there
is none, it begins one.  First is who was seen first.  Only those are held against it that share
``LEAST_SHARED`` keys with it, not counting keys that more than ``_COMMON`` stories before it have.

So the stories are a function of the entries alone (of when each was first seen, and what it said
then), not of the order in which runs brought them: what is looked up for a run's own entries is what
a rebuild finds.  An entry that comes late, from an old archive, may begin the story of later ones;
only these are looked at again.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import Final

from pipelines import similarity
from pipelines.entry import Column, Record, Version
from pipelines.similarity import Text
from pipelines.table import Place, Places, Stored, Table, key

_COMMON: Final = 64  # stories that share a key; then it says nothing
_FOLLOWS: Final = 0x9E3779B97F4A7C15  # tells the keys of entries that begin no story


Order = tuple[datetime, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An entry ``of`` a source, as the stories know it.

    ``shown`` is the story that its row tells: another one than ``story_id``, while the row waits to be
    changed.
    """

    entry_id: str
    of: str
    first_seen: datetime
    title: str | None
    teaser: str | None
    story_id: str
    shown: str

    @property
    def order(self) -> Order:
        """Who comes before whom."""
        return (self.first_seen, self.of, self.entry_id)

    @property
    def begins(self) -> bool:
        """Whether the story is this entry's own."""
        return self.story_id == self.entry_id

    @property
    def waits(self) -> bool:
        """Whether its row tells another story."""
        return self.story_id != self.shown


def member_of(row: Record, said: Record | Version) -> Member:
    """An entry as the stories know it: what its first version ``said`` tells its story."""
    return Member(
        entry_id=row.entry_id,
        of=row.source,
        first_seen=row.first_seen,
        title=said.title,
        teaser=said.teaser,
        story_id="",
        shown=row.story_id,
    )


def member_keys(member: Member) -> Iterator[int]:
    """What finds a row of the ``stories`` table."""
    yield key("id", member.entry_id)
    yield key("of", member.of)
    if member.waits:
        yield key("waits")
        yield key("waits", member.of)
    if not member.begins:
        yield key("story", member.story_id)
    for each in similarity.keys(_text(member)):
        yield each if member.begins else each ^ _FOLLOWS


STORIES: Final = Table(
    f"stories-{similarity.VERSION}",
    (
        Column("entry_id", "string", False, "the entry"),
        Column("of", "string", False, "its source"),
        Column("first_seen", "instant", False, "when it was first seen"),
        Column("title", "string", True, "its title as first seen"),
        Column("teaser", "string", True, "its teaser as first seen"),
        Column("story_id", "string", False, "the entry that its story began with"),
        Column("shown", "string", False, "the story that its row tells"),
    ),
    lambda source, **row: Member(**row),
    member_keys,
    dated="first_seen",
    times=4,  # more rows are looked up than changed
)


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of it: the members that were told, or changed, and the change of the table."""

    members: Mapping[str, Member]
    changed: Mapping[Place, Member]
    new: Sequence[Member]

    def shown(self, source: str) -> Settled:
        """The same, with rows of a source that tell these stories."""

        def said(member: Member) -> Member:
            return replace(member, shown=member.story_id) if member.of == source else member

        return Settled(
            {name: said(member) for name, member in self.members.items()},
            {place: said(member) for place, member in self.changed.items()},
            [said(member) for member in self.new],
        )


def settle(told: Iterable[Member], stored: Stored[Member]) -> Settled:
    """Find the stories of entries that are new, or not as they are stored; ``stored`` are all others.

    What these have as their story is not asked.  The stories of others may change with them.
    """
    return _Book(stored).settle(told)


class _Book:
    """The members at hand, and behind them those that are stored.

    Entries are settled one after the other, the first one first.  Whose turn is still to come begins
    no story; all before are final.  ``_before`` is how a stored one was, ``_now`` how each is, and
    ``_settled`` how it was when its turn came last, which is what the ones after it have seen of it.
    """

    def __init__(self, stored: Stored[Member]) -> None:
        self._stored = stored
        self._last = max((part.newest for part in stored.parts if part.newest), default=None)
        self._now: dict[str, Member] = {}
        self._before: dict[str, Member] = {}
        self._loaded: dict[Place, str] = {}
        self._settled: dict[str, Member] = {}
        self._keys: dict[str, frozenset[int]] = {}
        # Who at hand begins a story, by key, the first one first.
        self._begun: dict[int, list[Order]] = {}
        self._places: dict[int, Places] = {}  # where in the table a key is
        self._at_hand: Counter[int] = Counter()  # how many of these places are loaded
        self._whole: set[int] = set()  # keys of which all are

    def settle(self, told: Iterable[Member]) -> Settled:
        fresh = {member.entry_id: replace(member, story_id="") for member in told}
        self._load_all({key("id", name) for name in fresh})
        queued = set()
        for name, member in fresh.items():
            old = self._before.get(name)
            if old is not None and replace(old, shown=member.shown, story_id="") == member:
                self._now[name] = replace(old, shown=member.shown)
            else:
                self._put(member)  # it begins nothing until its turn
                queued.add(name)
        for name in list(queued):  # those that it leaves behind may come before it now
            self._settled[name], old = self._now[name], self._before.get(name)
            queued.update(m.entry_id for m in self._concerned(old, self._now[name]))
        self._find(each for name in queued for each in self._keys[name])
        waiting = [self._now[name].order for name in queued]
        heapify(waiting)
        while waiting:
            *_, name = heappop(waiting)
            queued.remove(name)
            for other in self._settle_one(self._now[name]):
                if other.entry_id not in queued:
                    queued.add(other.entry_id)
                    heappush(waiting, other.order)
        stale = {place: name for place, name in self._loaded.items() if self._is_changed(name)}
        return Settled(
            {name: m for name, m in self._now.items() if name in fresh or self._is_changed(name)},
            {place: self._now[name] for place, name in stale.items()},
            sorted((self._now[n] for n in fresh.keys() - self._before.keys()), key=_order),
        )

    def _is_changed(self, name: str) -> bool:
        return self._before.get(name) != self._now[name]

    def _settle_one(self, member: Member) -> list[Member]:
        """Find the story of one entry; the stored ones, later than it, whose story may be another now."""
        story = next((m.story_id for m in self._rivals(member) if _alike(m, member)), None)
        now = replace(member, story_id=story or member.entry_id)
        old = self._settled.get(member.entry_id)
        self._put(now)
        self._settled[member.entry_id] = now
        return self._concerned(old, now)

    def _rivals(self, member: Member) -> list[Member]:
        """Those that begin a story before this entry, and share some of its keys; the first one first."""
        keys = self._keys[member.entry_id]
        self._find(keys)
        if not self._is_last(member):  # then only a look at them tells which are before it
            self._load_all(keys)
        shared: Counter[str | Place] = Counter()
        for each in keys:
            places = self._places[each]
            begun = self._begun.get(each, [])
            before = bisect_left(begun, member.order)
            if before + len(places) - self._at_hand[each] <= _COMMON:
                shared.update(name for *_, name in begun[:before])
                if self._at_hand[each] < len(places):
                    shared.update(place for place in places if place not in self._loaded)
        worth = [found for found, count in shared.items() if count >= similarity.LEAST_SHARED]
        self._load([found for found in worth if isinstance(found, Place)])
        names = [self._loaded[found] if isinstance(found, Place) else found for found in worth]
        return sorted((self._now[name] for name in names), key=_order)

    def _concerned(self, old: Member | None, now: Member) -> list[Member]:
        """The stored entries after this one that see it begin a story, or begin none any more."""
        said = [m for m in (old, now) if m is not None and m.begins]
        if not said or (old and _says(old) == _says(now)) or all(map(self._is_last, said)):
            return []
        keys = {each for m in said for each in similarity.keys(_text(m))}
        keys |= {each ^ _FOLLOWS for each in keys} | {key("story", now.entry_id)}
        self._load_all(keys)
        names = {self._loaded[place] for each in keys for place in self._places[each]}
        first = min(m.order for m in said)
        return [self._now[name] for name in names - {now.entry_id} if self._now[name].order > first]

    def _is_last(self, member: Member) -> bool:
        """Whether no stored entry comes after this one."""
        return self._last is None or self._last < member.first_seen

    # -------------------------------------------------------------- who is where
    def _find(self, keys: Iterable[int]) -> None:
        """Find out where in the table these keys are."""
        if unknown := {each for each in keys if each not in self._places}:
            found = self._stored.where(unknown)
            self._places.update((each, found.get(each, Places())) for each in unknown)

    def _load_all(self, keys: AbstractSet[int]) -> None:
        """Have all stored entries with these keys at hand."""
        self._find(keys)
        self._load({place for each in keys - self._whole for place in self._places[each]})
        self._whole |= keys

    def _load(self, places: Iterable[Place]) -> None:
        """Have these stored entries at hand."""
        for place, member in self._stored.rows_at(set(places) - self._loaded.keys()).items():
            self._loaded[place] = member.entry_id
            self._before[member.entry_id] = self._settled[member.entry_id] = member
            self._put(member)
            self._at_hand.update(member_keys(member))

    def _put(self, member: Member) -> None:
        name, old = member.entry_id, self._now.get(member.entry_id)
        if old is not None and old.begins:
            for each in self._keys[name]:
                begun = self._begun[each]
                del begun[bisect_left(begun, old.order)]
        if old is None or (old.title, old.teaser) != (member.title, member.teaser):
            self._keys[name] = similarity.keys(_text(member))
        self._now[name] = member
        if member.begins:
            for each in self._keys[name]:
                insort(self._begun.setdefault(each, []), member.order)


def _order(member: Member) -> Order:
    return member.order


def _alike(a: Member, b: Member) -> bool:
    return similarity.alike(_text(a), _text(b))


def _says(member: Member) -> tuple[object, ...]:
    """All that others see of an entry."""
    return (member.order, member.title, member.teaser, member.begins)


def _text(member: Member) -> Text:
    return similarity.text_of(member.title, member.teaser)
