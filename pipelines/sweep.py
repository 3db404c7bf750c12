"""Which of many entries, one after the other, begin a story, and which tell one that began before?  Pure.

The rule is that of ``stories.py``; here it is applied to thousands of entries by arrays.  They are
looked at block by block: before a block all is decided, so that a key which too many stories share is
known, and nobody goes through those that have it.  Who shares keys within a block is found as well;
what remains after a glance is decided entry by entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pipelines.similarity import could_be_alike
from pipelines.sketch import LEAST_SHARED, Sketches, numbered, ranges

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

COMMON: Final = 64  # stories that share a key; then it says nothing
_BLOCK: Final = 256
_FIRST: Final = 32  # bits of the second of two numbers in one


def sweep(
    sketches: Sketches,
    asked: Array,
    elsewhere: tuple[Array, Array],
    alike: Callable[[int, int], bool],
) -> list[int | None]:
    """For each entry the one that its story began with, or none where it begins one itself.

    The entries are told in their order.  Those that are not ``asked`` begin stories.  ``elsewhere`` are
    keys in order, and how many stories with each began before all these.
    """
    import numpy as np

    return _Sweep(sketches, np.asarray(asked), elsewhere, alike).stories()


class _Sweep:
    """What is known of the entries so far, and of each key (by its number) that several of them have."""

    def __init__(
        self,
        sketches: Sketches,
        asked: Array,
        elsewhere: tuple[Array, Array],
        alike: Callable[[int, int], bool],
    ) -> None:
        import numpy as np

        self._sketches, self._asked, self._alike = sketches, asked, alike
        self._begins = np.ones(len(sketches), dtype=bool)
        self._stories: list[int | None] = [None] * len(sketches)
        values, keys, sizes = numbered(sketches.keys)
        shared = sizes[keys] > 1
        self._keys, self._owners = keys[shared], sketches.owners[shared]
        self._first = np.searchsorted(self._owners, np.arange(len(sketches) + 1))
        self._counts = _counts(values, elsewhere)  # how many stories have each
        # Entries that begin one of these, for each key as many as make it common.
        self._room = np.where(sizes > 1, np.minimum(sizes, COMMON + 1), 0)
        self._start = np.cumsum(self._room) - self._room
        self._listed = np.zeros(sizes.size, dtype=np.intp)
        self._list = np.zeros(self._room.sum(), dtype=np.intp)

    def stories(self) -> list[int | None]:
        for low in range(0, len(self._sketches), _BLOCK):
            self._settle(low, min(low + _BLOCK, len(self._sketches)))
        return self._stories

    def _settle(self, low: int, high: int) -> None:
        """Find the stories of one block."""
        import numpy as np

        here = slice(self._first[low], self._first[high])
        keys, owners = self._keys[here], self._owners[here]
        says = self._counts[keys] <= COMMON
        ordered = np.sort(_pairs(keys[says], owners[says]))
        keys, owners = _apart(ordered)
        ranks = _ranks(keys)
        rivals = self._rivals(keys, owners, ranks)
        if rivals.size:
            # A key of which that many have come before, within the block, may have become common.
            unsure = self._counts[keys] + ranks > COMMON
            self._decide(rivals, _Running(self._counts, self._begins, keys, owners, unsure))
        self._remember(keys, owners)

    def _rivals(self, keys: Array, owners: Array, ranks: Array) -> Array:
        """Pairs of one that is asked for and one before it, which share keys and could be alike."""
        import numpy as np

        asked = self._asked[owners]
        some, who = keys[asked], owners[asked]
        listed = self._listed[some]
        before = self._list[ranges(self._start[some], listed)]
        within = ranks[asked]
        beside = owners[ranges(np.flatnonzero(asked) - within, within)]
        pairs = np.concatenate([
            _pairs(np.repeat(who, listed), before), _pairs(np.repeat(who, within), beside)
        ])  # fmt: skip
        pairs.sort()
        pairs = pairs[LEAST_SHARED - 1 :][pairs[LEAST_SHARED - 1 :] == pairs[: 1 - LEAST_SHARED]]
        pairs = pairs[np.concatenate([[True], pairs[1:] != pairs[:-1]])] if pairs.size else pairs
        open_ones: Array = pairs[could_be_alike(self._sketches, *_apart(pairs))]
        return open_ones

    def _decide(self, rivals: Array, running: _Running) -> None:
        """Hold entries against their rivals, the first one first."""
        for one, other in zip(*(each.tolist() for each in _apart(rivals)), strict=True):
            if self._stories[one] is not None or not self._begins[other]:
                continue
            if one in running.unsure and not self._share(one, other, running):
                continue
            if self._alike(one, other):
                self._stories[one] = other
                self._begins[one] = False

    def _share(self, one: int, other: int, running: _Running) -> bool:
        """Whether two have enough keys in common that say something when it is the turn of ``one``."""
        mine, theirs = (
            {*self._keys[self._first[n] : self._first[n + 1]].tolist()} for n in (one, other)
        )
        return sum(running.before(key, one) <= COMMON for key in mine & theirs) >= LEAST_SHARED

    def _remember(self, keys: Array, owners: Array) -> None:
        """Who of a block begins a story."""
        import numpy as np

        begins = self._begins[owners]
        keys, owners = keys[begins], owners[begins]
        ranks = self._listed[keys] + _ranks(keys)
        fits = ranks < self._room[keys]
        self._list[self._start[keys[fits]] + ranks[fits]] = owners[fits]
        np.add.at(self._listed, keys[fits], 1)
        np.add.at(self._counts, keys, 1)


class _Running:
    """How many stories with a key have begun by the turn of an entry in a block."""

    def __init__(
        self, counts: Array, begins: Array, keys: Array, owners: Array, unsure: Array
    ) -> None:
        import numpy as np

        self.unsure = {*owners[unsure].tolist()}
        self._counts, self._begins = counts, begins
        some = np.isin(keys, keys[unsure])
        self._owners: dict[int, list[int]] = {}
        for key, owner in zip(keys[some].tolist(), owners[some].tolist(), strict=True):
            self._owners.setdefault(key, []).append(owner)
        self._passed = dict.fromkeys(self._owners, 0)
        self._now: dict[int, int] = {}

    def before(self, key: int, entry: int) -> int:
        """Entries are asked about in their order."""
        count = self._now.get(key)
        if count is None:
            count = int(self._counts[key])
        if key in self._owners:
            owners, passed = self._owners[key], self._passed[key]
            while passed < len(owners) and owners[passed] < entry:
                count += bool(self._begins[owners[passed]])
                passed += 1
            self._passed[key] = passed
        self._now[key] = count
        return count


def _counts(values: Array, elsewhere: tuple[Array, Array]) -> Array:
    import numpy as np

    counts = np.zeros(values.size, dtype=np.intp)
    keys, numbers = elsewhere
    if keys.size:
        at = np.minimum(np.searchsorted(keys, values), keys.size - 1)
        known = keys[at] == values
        counts[known] = numbers[at[known]]
    return counts


def _ranks(ordered: Array) -> Array:
    """How many of the same stand before each."""
    import numpy as np

    numbers = np.arange(ordered.size)
    first = np.ones(ordered.size, dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    return numbers - np.maximum.accumulate(np.where(first, numbers, 0))


def _pairs(one: Array, other: Array) -> Array:
    return one << _FIRST | other


def _apart(pairs: Array) -> tuple[Array, Array]:
    return pairs >> _FIRST, pairs & (1 << _FIRST) - 1
