"""Which entries tell one story: near-duplicates, whatever their slug, their source, their boilerplate.

The story of an entry is the first entry that it is alike to and that begins a story itself; if there
is none, it begins one.  First is who was seen first.  Only those are held against it that share
``LEAST_SHARED`` keys with it, not counting keys that more than ``COMMON`` stories before it have.

So the stories are a function of the entries alone (of when each was first seen, and what it said
then), not of the order in which runs brought them: what is looked up for a run's own entries is what
a rebuild finds.  An entry that comes late, from an old archive, may begin the story of later ones;
only these are looked at again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pipelines import similarity
from pipelines.entry import Column, Record, Version
from pipelines.similarity import Text
from pipelines.sketch import LEAST_SHARED, Sketches, distinct, joined, numbered, ranges, sketch
from pipelines.sweep import COMMON, sweep
from pipelines.table import Place, Stored, Table, key, of_each

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_PART: Final = 32  # the bit from which on the number of a place tells the part
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


def settle(
    told: Iterable[Member], stored: Stored[Member], *, telling: str | None = None
) -> Settled:
    """Find the stories of entries that are new, or not as they are stored; ``stored`` are all others.

    What these have as their story is not asked.  The stories of others may change with them.  The rows
    of the source that is ``telling`` will show what comes of it.
    """
    book = _Book(told, stored)
    book.settle()
    return book.settled(telling)


class _Book:
    """The members at hand, by their numbers, and behind them those that are stored.

    Entries whose story is asked for are settled in one sweep, the first one first, while all others
    stay as they are.  Who comes after one that now begins a story, or begins none any more, and shares
    keys with it is asked for next, until nobody is.
    """

    def __init__(self, told: Iterable[Member], stored: Stored[Member]) -> None:
        self._stored = stored
        self._last = max((part.newest for part in stored.parts if part.newest), default=None)
        fresh = {member.entry_id: member for member in told}
        found = stored.find(key("id", name) for name in fresh)
        old = {m.entry_id: (place, m) for place, m in found.items() if m.entry_id in fresh}
        self._told = len(fresh)
        self._members = list(fresh.values())
        self._orders = [member.order for member in self._members]
        self._before: list[Member | None] = [None] * self._told  # as they are stored
        self._loaded: dict[int, int] = {}  # which of them lies where
        for number, name in enumerate(fresh):
            if name in old:
                place, self._before[number] = old[name]
                self._loaded[place.part << _PART | place.row] = number
        self._stories = [before.story_id if before else "" for before in self._before]
        # All that others see of each, as they saw it last.
        self._seen = [_says(before, before.begins) if before else None for before in self._before]
        self._sketches = sketch(())
        self._old_keys: dict[int, Array] = {}  # of those whose words were others

    def settle(self) -> None:
        """Find the stories of all that are not stored as they are told."""
        asked = [
            number
            for number, seen in enumerate(self._seen)
            if seen is None or seen[:-1] != _says(self._members[number], True)[:-1]
        ]
        if not asked:
            return
        self._sketches = _sketched(self._members)
        others = {n: m for n in asked if (m := self._before[n]) and _words(m) != self._words(n)}
        sketches = _sketched(others.values())
        self._old_keys = {n: sketches.keys_of(at) for at, n in enumerate(others)}
        alone = True  # nobody was asked before
        while asked:
            asked.sort(key=self._orders.__getitem__)
            self._sweep(asked)
            asked = self._concerned(asked, alone)
            alone = False

    def settled(self, telling: str | None) -> Settled:
        """What came of it."""
        now = [self._as_settled(number, telling) for number in range(len(self._members))]
        changed = {
            Place(place >> _PART, place & (1 << _PART) - 1): now[number]
            for place, number in self._loaded.items()
            if now[number] is not self._before[number] and now[number] != self._before[number]
        }
        new = [n for n in range(self._told) if self._before[n] is None]
        return Settled(
            {member.entry_id: member for member in (*now[: self._told], *changed.values())},
            changed,
            [now[number] for number in sorted(new, key=self._orders.__getitem__)],
        )

    def _as_settled(self, number: int, telling: str | None) -> Member:
        member, story = self._members[number], self._stories[number]
        shown = story if member.of == telling else member.shown
        if member.story_id == story and member.shown == shown:
            return member
        return Member(
            entry_id=member.entry_id,
            of=member.of,
            first_seen=member.first_seen,
            title=member.title,
            teaser=member.teaser,
            story_id=story,
            shown=shown,
        )

    # -------------------------------------------------------------- stories
    def _sweep(self, asked: Sequence[int]) -> None:
        """Settle some, who are told in their order."""
        import numpy as np

        elsewhere = self._gather(asked)
        is_asked = np.zeros(len(self._members), dtype=bool)
        is_asked[asked] = True
        others = np.array([n for n in np.flatnonzero(~is_asked).tolist() if self._begins(n)])
        here = sorted([*asked, *self._near(others, asked)], key=self._orders.__getitem__)
        texts: dict[int, Text] = {}

        def text(number: int) -> Text:
            if number not in texts:
                texts[number] = similarity.text_of(*self._words(here[number]))
            return texts[number]

        numbers = np.array(here)
        found = sweep(
            self._sketches.take(numbers),
            is_asked[numbers],
            elsewhere,
            lambda one, other: similarity.alike(text(one), text(other)),
        )
        for number, first in zip(here, found, strict=True):
            self._stories[number] = self._members[number if first is None else here[first]].entry_id

    def _gather(self, asked: Sequence[int]) -> tuple[Array, Array]:
        """Have at hand who is stored and could be the story of these; the others, by their keys.

        Those share ``LEAST_SHARED`` keys with one of them.  Where a key may have become common, only a
        look at all that have it tells how many come before an entry, unless all do.
        """
        import numpy as np

        sketches = self._sketches.take(np.array(asked))
        if not self._stored.parts:
            return sketches.keys[:0], sketches.first[:0]
        keys, inverse, _ = numbered(sketches.keys)
        found = self._stored.where(keys)
        counts = np.bincount(found.keys, minlength=keys.size)
        late = np.array([not self._is_last(self._members[n]) for n in asked])
        whole = np.zeros(keys.size, dtype=bool)
        if late.any():
            at_hand = self._sketches.keys[np.isin(self._sketches.keys, keys)]
            most = counts + np.bincount(np.searchsorted(keys, at_hand), minlength=keys.size)
            whole[inverse[late[sketches.owners]]] = True
            whole &= most > COMMON
        places = found.parts << _PART | found.rows

        def elsewhere() -> Array:
            here = np.isin(places, np.fromiter(self._loaded, dtype=np.intp))
            return counts - np.bincount(found.keys[here], minlength=keys.size)

        # Who is at hand may begin no story any more.
        _, near = _sharing(sketches.owners, inverse, found.keys, places, elsewhere() <= COMMON)
        self._load(np.concatenate([near, places[whole[found.keys]]]))
        return keys, elsewhere()

    def _near(self, others: Array, asked: Sequence[int]) -> list[int]:
        """Those of others at hand that have a key of those who are asked for."""
        import numpy as np

        if not others.size:
            return []
        sketches = self._sketches.take(others)
        shared = np.isin(sketches.keys, self._sketches.take(np.array(asked)).keys)
        found: list[int] = others[np.unique(sketches.owners[shared])].tolist()
        return found

    # -------------------------------------------------------------- who is asked for next
    def _concerned(self, asked: Sequence[int], alone: bool) -> list[int]:
        """Those after some that were settled, who see them begin a story, or begin none any more."""
        if alone and all(self._is_last(self._members[n]) and not self._before[n] for n in asked):
            return []
        first: dict[int, Order] = {}
        for number in asked:
            says, seen = _says(self._members[number], self._begins(number)), self._seen[number]
            self._seen[number] = says
            if says != seen and (begun := [each[0] for each in (seen, says) if each and each[-1]]):
                first[number] = min(begun)
        if not first:
            return []
        return [*self._after(first) - set(asked)]

    def _after(self, first: Mapping[int, Order]) -> set[int]:
        """Those who share keys with some, and come after a moment that is told for each of these."""
        import numpy as np

        sketches = self._sketches.take(np.array([*first]))
        moments = [*first.values()]
        owners, every = [sketches.owners], [sketches.keys]
        for at, number in enumerate(first):
            if number in self._old_keys:
                every.append(self._old_keys[number])
                owners.append(np.full(every[-1].size, at))
        owner = np.concatenate(owners)
        keys, inverse = np.unique(np.concatenate(every), return_inverse=True)
        # A key that too many have may say something to some again, or to some no more.
        begun, follow = (
            self._stored.where(keys),
            self._stored.where(np.sort(keys ^ np.uint64(_FOLLOWS))),
        )
        which = np.concatenate([begun.keys, np.argsort(keys ^ np.uint64(_FOLLOWS))[follow.keys]])
        places = np.concatenate([each.parts << _PART | each.rows for each in (begun, follow)])
        counts = np.bincount(begun.keys, minlength=keys.size)
        held = np.isin(self._sketches.keys, keys)
        counts += np.bincount(np.searchsorted(keys, self._sketches.keys[held]), minlength=keys.size)
        common = counts > COMMON
        _, near = _sharing(owner, inverse, which, places, ~common)
        self._load(np.concatenate([near, places[common[which]]]))
        held = np.isin(self._sketches.keys, keys)
        which, who = np.searchsorted(keys, self._sketches.keys[held]), self._sketches.owners[held]
        one, other = _sharing(owner, inverse, which, who, ~common)
        found = {
            number
            for at, number in zip(one.tolist(), other.tolist(), strict=True)
            if self._orders[number] > moments[at]
        }
        for key_number in np.flatnonzero(common).tolist():
            moment = min(moments[at] for at in owner[inverse == key_number].tolist())
            having = who[which == key_number].tolist()
            before = sum(self._begins(n) and self._orders[n] < moment for n in having)
            if before <= COMMON:
                found.update(n for n in having if self._orders[n] > moment)
        return found

    # -------------------------------------------------------------- who is at hand
    def _load(self, places: Array) -> None:
        """Have some stored entries at hand."""

        fresh = [place for place in distinct(places).tolist() if place not in self._loaded]
        if not fresh:
            return
        found = self._stored.rows_at(
            [Place(each >> _PART, each & (1 << _PART) - 1) for each in fresh]
        )
        for place, member in found.items():
            self._loaded[place.part << _PART | place.row] = len(self._members)
            self._members.append(member)
            self._orders.append(member.order)
            self._before.append(member)
            self._stories.append(member.story_id)
            self._seen.append(_says(member, member.begins))
        self._sketches = joined([self._sketches, _sketched(found.values())])

    def _words(self, number: int) -> tuple[str | None, str | None]:
        return _words(self._members[number])

    def _begins(self, number: int) -> bool:
        """Whether one begins a story, as far as is known; whose story is asked for begins none."""
        return self._stories[number] == self._members[number].entry_id

    def _is_last(self, member: Member) -> bool:
        """Whether no stored entry comes after this one."""
        return self._last is None or self._last < member.first_seen


def _sharing(
    owners: Array, of_owners: Array, keys: Array, holders: Array, usable: Array
) -> tuple[Array, Array]:
    """Pairs of owners and holders of keys with ``LEAST_SHARED`` usable keys in common.

    ``of_owners`` are the keys of the owners, ``keys`` those of the holders, each by its number.
    """
    import numpy as np

    keep = usable[keys]
    keys, holders = keys[keep], holders[keep]
    names, holders = np.unique(holders, return_inverse=True)
    ordered = np.sort(of_owners << _PART | owners)
    owners = ordered & (1 << _PART) - 1
    first = np.searchsorted(ordered, np.arange(usable.size + 1) << _PART)
    counts = np.diff(first)[keys]
    pairs = owners[ranges(first[keys], counts)] << _PART | np.repeat(holders, counts)
    pairs.sort()
    pairs = distinct(
        pairs[LEAST_SHARED - 1 :][pairs[LEAST_SHARED - 1 :] == pairs[: 1 - LEAST_SHARED]]
    )
    return pairs >> _PART, names[pairs & (1 << _PART) - 1]


def _says(member: Member, begins: bool) -> tuple[Order, str | None, str | None, bool]:
    """All that others see of an entry."""
    return (member.order, member.title, member.teaser, begins)


def _words(member: Member) -> tuple[str | None, str | None]:
    return member.title, member.teaser


def _sketched(members: Iterable[Member]) -> Sketches:
    return sketch([_words(member) for member in members])
