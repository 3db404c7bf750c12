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
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any, Final

from pipelines import similarity
from pipelines.entry import Column, Record, Version
from pipelines.similarity import Text
from pipelines.sketch import LEAST_SHARED, Glance, Sketches, sketch
from pipelines.table import Place, Stored, Table, key, of_each

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

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


def member_keys(members: Sequence[Member]) -> tuple[Array, Array]:
    """What finds rows of the ``stories`` table."""
    import numpy as np

    sketches = _sketched(members)
    follows = np.array([0 if m.begins else _FOLLOWS for m in members], dtype=np.uint64)
    named, numbers = _NAMES(members)
    owners = sketches.owners
    return np.concatenate([sketches.keys ^ follows[owners], named]), np.concatenate(
        [owners, numbers]
    )


def _names(member: Member) -> Iterator[int]:
    yield key("id", member.entry_id)
    yield key("of", member.of)
    if member.waits:
        yield key("waits")
        yield key("waits", member.of)
    if not member.begins:
        yield key("story", member.story_id)


_NAMES: Final = of_each(_names)


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
        self._fresh: dict[str, frozenset[int]] = {}  # of those that come next
        self._glances: dict[str, Glance] = {}
        # Who at hand begins a story, by key, the first one first.
        self._begun: dict[int, list[Order]] = {}
        self._places: dict[int, list[Place]] = {}  # where in the table a key is
        self._at_hand: Counter[int] = Counter()  # how many of these places are loaded
        self._whole: set[int] = set()  # keys of which all are

    def settle(self, told: Iterable[Member]) -> Settled:
        fresh = {member.entry_id: replace(member, story_id="") for member in told}
        self._load_all({key("id", name) for name in fresh})
        self._sketch(fresh.values())
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
        story = next((m.story_id for m in self._rivals(member) if self._alike(m, member)), None)
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
        worth = [found for found, count in shared.items() if count >= LEAST_SHARED]
        self._load([found for found in worth if isinstance(found, Place)])
        names = [self._loaded[found] if isinstance(found, Place) else found for found in worth]
        return sorted((self._now[name] for name in names), key=_order)

    def _alike(self, a: Member, b: Member) -> bool:
        glances = self._glances[a.entry_id], self._glances[b.entry_id]
        return similarity.could_be_alike(*glances) and similarity.alike(_text(a), _text(b))

    def _concerned(self, old: Member | None, now: Member) -> list[Member]:
        """The stored entries after this one that see it begin a story, or begin none any more."""
        said = [m for m in (old, now) if m is not None and m.begins]
        if not said or (old and _says(old) == _says(now)) or all(map(self._is_last, said)):
            return []
        keys = set(_sketched(said).keys.tolist())
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
        import numpy as np

        if unknown := {each for each in keys if each not in self._places}:
            wanted = np.unique(np.fromiter(unknown, dtype=np.uint64))
            found = self._stored.where(wanted)
            self._places.update((each, []) for each in unknown)
            for each, place in zip(wanted[found.keys].tolist(), found.places(), strict=True):
                self._places[each].append(place)

    def _load_all(self, keys: AbstractSet[int]) -> None:
        """Have all stored entries with these keys at hand."""
        self._find(keys)
        self._load({place for each in keys - self._whole for place in self._places[each]})
        self._whole |= keys

    def _load(self, places: Iterable[Place]) -> None:
        """Have these stored entries at hand."""
        found = self._stored.rows_at(set(places) - self._loaded.keys())
        self._sketch(found.values())
        for place, member in found.items():
            self._loaded[place] = member.entry_id
            self._before[member.entry_id] = self._settled[member.entry_id] = member
            self._put(member)
            if member.begins:
                self._at_hand.update(self._keys[member.entry_id])

    def _sketch(self, members: Collection[Member]) -> None:
        """Have their keys at hand, and what a glance tells."""
        sketches = _sketched(members)
        first = sketches.first.tolist()
        for number, member in enumerate(members):
            keys = sketches.keys[first[number] : first[number + 1]]
            self._fresh[member.entry_id] = frozenset(keys.tolist())
            self._glances[member.entry_id] = sketches.glance(number)

    def _put(self, member: Member) -> None:
        name, old = member.entry_id, self._now.get(member.entry_id)
        if old is not None and old.begins:
            for each in self._keys[name]:
                begun = self._begun[each]
                del begun[bisect_left(begun, old.order)]
        self._now[name] = member
        self._keys[name] = self._fresh.pop(name) if name in self._fresh else self._keys[name]
        if member.begins:
            for each in self._keys[name]:
                insort(self._begun.setdefault(each, []), member.order)


def _order(member: Member) -> Order:
    return member.order


def _says(member: Member) -> tuple[object, ...]:
    """All that others see of an entry."""
    return (member.order, member.title, member.teaser, member.begins)


def _text(member: Member) -> Text:
    return similarity.text_of(member.title, member.teaser)


def _sketched(members: Iterable[Member]) -> Sketches:
    return sketch([(member.title, member.teaser) for member in members])
