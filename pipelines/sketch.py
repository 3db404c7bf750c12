"""Which of many texts could be alike?  A few numbers of each, worked out for thousands at once.  Pure.

*Keys* find a text.  They are a bottom-k sketch (Broder, "On the resemblance and containment of
documents", 1997; Cohen and Kaplan, "Summarizing data using bottom-k sketches", 2007): of all runs of
four words, those with the lowest digests.  A text that is a piece of another, or the other with
something added, has most of its keys in common with it, which is not so with the usual bands of
MinHash: they ask how much of *both* texts is the same.  A title and its runs of three words are keys
too, so that a long teaser does not hide it.  Texts with ``LEAST_SHARED`` keys in common are worth a look.

The *glance* is that look, at no cost: a set of bits for the words of a text, of which two texts have no
fewer in common than the words that they share in one order.

Digests are polynomials over code points and over words, modulo 2 ** 64, well stirred: that of any run
is a difference of two sums.  Nobody is kept from writing two texts with one digest; he gains a look.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from pipelines.words import MOST_CHARACTERS, Words, gathered, split

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LEAST_SHARED: Final = 2
LEAST_WORDS: Final = 5  # fewer say nothing: "Press release", "News in brief"
_KEYS: Final = 16
_TITLE_KEYS: Final = 4
_RUN: Final = 4
_TITLE_RUN: Final = 3
_BITS: Final = 512  # of a glance
_AT_ONCE: Final = 512  # texts that are worked on together: what fits a processor's cache
_CHARACTERS: Final = 16 * MOST_CHARACTERS  # of these
_SHORT: Final = 54  # bits of a digest: with the number of its text it fills 64
_BASE: Final = 0xA24BAED4963EE407  # odd, as are all these
_STEPS: Final = (0x9FB21C651E98DF25, 0xD6E8FEB86659FD93, 0xC2B2AE3D27D4EB4F)
_SPREAD: Final = 0x9E3779B97F4A7C15
_STIR: Final = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # splitmix64's


@dataclass(frozen=True, slots=True)
class Sketches:
    """Those of some texts.  The keys of the first text are ``keys[:first[1]]``, and so on."""

    keys: Array
    first: Array
    words: Array  # how many there are in each title, in each teaser, and in both
    _bits: Array  # one for all words with the same end of their digests
    _spare: Array  # how many more words there are than bits

    def __len__(self) -> int:
        return len(self.first) - 1

    @property
    def owners(self) -> Array:
        """The number of the text that each key is of."""
        import numpy as np

        return np.repeat(np.arange(len(self)), np.diff(self.first))

    def keys_of(self, number: int) -> Array:
        """Those of one text."""
        first, last = self.first[number : number + 2].tolist()
        keys: Array = self.keys[first:last]
        return keys

    def take(self, numbers: Array) -> Sketches:
        """Those of some of the texts."""
        import numpy as np

        counts = np.diff(self.first)[numbers]
        places = ranges(self.first[:-1][numbers], counts)
        first = np.concatenate([[0], np.cumsum(counts)])
        bits = self._bits[:, numbers]
        return Sketches(self.keys[places], first, self.words[numbers], bits, self._spare[numbers])

    def common(self, field: int, these: Array, those: Array) -> Array:
        """No fewer than the words that stand in both of two texts in the same order, for pairs of texts.

        ``field`` is 0 for their titles, 1 for their teasers, 2 for both together.
        """
        import numpy as np

        bits, spare = self._bits[field], self._spare[:, field]
        found: Array = _ones(bits[these] & bits[those])
        found += np.minimum(spare[these], spare[those])
        return found


def sketch(texts: Sequence[tuple[str | None, str | None]]) -> Sketches:
    """The sketches of texts, told as title and teaser."""
    return joined([_sketched(split(batch)) for batch in _batches(texts)])


def sketch_words(title: Sequence[str], teaser: Sequence[str]) -> Sketches:
    """The sketch of one text whose words are known."""
    return _sketched(gathered([title, teaser]))


def _batches(texts: Sequence[tuple[str | None, str | None]]) -> Iterator[list[str | None]]:
    """Titles and teasers by turns, as many at once as are quick to work on."""
    batch: list[str | None] = []
    size = 0
    for text in texts:
        batch += text
        size += sum(len(each) for each in text if each)
        if len(batch) == 2 * _AT_ONCE or size > _CHARACTERS:
            yield batch
            batch, size = [], 0
    yield batch


def joined(parts: Sequence[Sketches]) -> Sketches:
    """Those of some texts, and of those after them."""
    import numpy as np

    counts = [np.diff(part.first) for part in parts]
    return Sketches(
        np.concatenate([part.keys for part in parts]),
        np.concatenate([[0], np.cumsum(np.concatenate(counts))]),
        np.concatenate([part.words for part in parts]),
        np.concatenate([part._bits for part in parts], axis=1),
        np.concatenate([part._spare for part in parts]),
    )


def _sketched(words: Words) -> Sketches:
    """The sketches of texts of which each is two in a row, a title and a teaser."""
    import numpy as np

    start, middle, end = words.first[:-1:2], words.first[1::2], words.first[2::2]
    tells = end - start >= LEAST_WORDS
    digests = _digests(words)
    fours, threes = _runs(digests, _RUN), _runs(digests, _TITLE_RUN)
    # A text that is too short is over as soon as it begins.
    keys = [
        _lowest(_each(fours, start, np.where(tells, end, start) - _RUN + 1), _KEYS),
        _lowest(_each(threes, start, np.where(tells, middle, start) - _TITLE_RUN + 1), _TITLE_KEYS),
    ]
    after = np.minimum(end, middle + _RUN + 1)  # what a cut leaves, however short
    keys.append(_each(fours, middle, np.where(tells, after, middle) - _RUN + 1))
    sums = _sums(digests)
    for stop, which in ((end, tells), (middle, tells & (middle - start >= LEAST_WORDS))):
        texts = np.flatnonzero(which)
        whole = _of(texts, _short(_between(sums, start[texts], stop[texts])))
        keys += [whole, whole ^ np.uint64(1)]  # as good as two others
    every = distinct(np.concatenate(keys))
    counts = np.bincount((every >> np.uint64(_SHORT)).astype(np.intp), minlength=len(start))
    lengths = np.diff(words.first).reshape(-1, 2)
    lengths = np.concatenate([lengths, lengths.sum(axis=1, keepdims=True)], axis=1)
    bits = _bits(digests, words.first)
    return Sketches(
        (every & np.uint64((1 << _SHORT) - 1)) * np.uint64(_SPREAD),
        np.concatenate([[0], np.cumsum(counts)]),
        lengths,
        bits,
        lengths - _ones(bits).T,
    )


# ------------------------------------------------------------------ digests
def _digests(words: Words) -> Array:
    """One of each word."""
    return _stirred(_between(_sums(words.codes), words.starts, words.ends))


def _sums(values: Array) -> Array:
    """Of all values before each, the sum as a polynomial has it."""
    import numpy as np

    sums = np.zeros(values.size + 1, dtype=np.uint64)
    powers, _ = _powers(values.size)
    np.cumsum(values * powers[: values.size], dtype=np.uint64, out=sums[1:])
    return sums


def _between(sums: Array, starts: Array, ends: Array) -> Array:
    """The polynomial of the values from one place to another."""
    _, inverse = _powers(sums.size)
    return (sums[ends] - sums[starts]) * inverse[starts]


def _runs(digests: Array, length: int) -> Array:
    """One of each run of so many words, by its first."""
    import numpy as np

    count = max(digests.size - length + 1, 0)
    total = digests[:count].copy()
    for step, factor in enumerate(_STEPS[: length - 1], 1):
        total += digests[step : step + count] * np.uint64(factor)
    return _short(total)


def _stirred(values: Array) -> Array:
    """What every bit of a value has a part in, in every bit."""
    import numpy as np

    values = values ^ values >> np.uint64(30)
    for factor, shift in zip(_STIR, (27, 31), strict=True):
        values *= np.uint64(factor)
        values ^= values >> np.uint64(shift)
    return values


def _short(values: Array) -> Array:
    """A digest of ``_SHORT`` bits."""
    import numpy as np

    return _stirred(values) >> np.uint64(64 - _SHORT)


def _powers(count: int) -> tuple[Array, Array]:
    """Those of the base, and of its inverse, at least so many."""
    return _so_many_powers(1 << count.bit_length())


@lru_cache(maxsize=4)
def _so_many_powers(count: int) -> tuple[Array, Array]:
    import numpy as np

    factors = np.array([[_BASE], [pow(_BASE, -1, 1 << 64)]], dtype=np.uint64).repeat(count, axis=1)
    factors[:, 0] = 1
    powers, inverse = np.multiply.accumulate(factors, axis=1)
    return powers, inverse


# ------------------------------------------------------------------ of which text
def _of(texts: Array, digests: Array) -> Array:
    """Short digests, each with the number of its text before it."""
    import numpy as np

    return texts.astype(np.uint64) << np.uint64(_SHORT) | digests


def _each(runs: Array, first: Array, stop: Array) -> Array:
    """The runs of each text, from its first to where they stop."""
    import numpy as np

    counts = np.maximum(stop - first, 0)
    return _of(np.repeat(np.arange(counts.size), counts), runs[ranges(first, counts)])


def ranges(starts: Array, counts: Array) -> Array:
    """So many numbers from each start on."""
    import numpy as np

    numbers: Array = np.repeat(starts - (np.cumsum(counts) - counts), counts)
    numbers += np.arange(numbers.size)
    return numbers


def _lowest(owned: Array, most: int) -> Array:
    """The lowest digests of each text."""
    import numpy as np

    ordered = distinct(owned)
    texts = (ordered >> np.uint64(_SHORT)).astype(np.intp)
    counts = np.bincount(texts)
    ranks = np.arange(ordered.size) - np.repeat(np.cumsum(counts) - counts, counts)
    return ordered[ranks < most]


def numbered(keys: Array) -> tuple[Array, Array, Array]:
    """The keys that there are, in order; the number of each key among them; and how often each is there.

    Sorting numbers is quicker than sorting places, so most of a key and its place are sorted as one.
    """
    import numpy as np

    low = np.uint64((1 << keys.size.bit_length()) - 1)
    order = (np.sort(keys & ~low | np.arange(keys.size, dtype=np.uint64)) & low).astype(np.intp)
    ordered = keys[order]
    if (ordered[1:] < ordered[:-1]).any():  # two keys that begin in the same way
        order = np.argsort(keys)
        ordered = keys[order]
    first = np.ones(keys.size, dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    numbers = np.empty(keys.size, dtype=np.intp)
    numbers[order] = np.cumsum(first) - 1
    return ordered[first], numbers, np.diff(np.append(np.flatnonzero(first), keys.size))


def distinct(values: Array) -> Array:
    """The values in order, none twice."""
    import numpy as np

    values = np.sort(values)
    fresh = np.ones(values.size, dtype=bool)
    np.not_equal(values[1:], values[:-1], out=fresh[1:])
    found: Array = values[fresh]
    return found


def _bits(digests: Array, first: Array) -> Array:
    """The sets of bits of titles, teasers and both."""
    import numpy as np

    bits = np.zeros((first.size - 1, _BITS), dtype=bool)
    texts = np.repeat(np.arange(first.size - 1), np.diff(first))
    bits[texts, (digests & np.uint64(_BITS - 1)).astype(np.intp)] = True
    each = np.packbits(bits, axis=1).view(np.uint64)
    return np.stack([each[::2], each[1::2], each[::2] | each[1::2]])


def _ones(bits: Array) -> Array:
    """How many bits are set in each set."""
    import numpy as np

    # Eight sums of a byte each side by side, then their sum.
    counts = np.ascontiguousarray(np.bitwise_count(bits)).view(np.uint64)[..., 0]
    low = np.uint64(0x00FF00FF00FF00FF)
    counts = (counts & low) + (counts >> np.uint64(8) & low)
    ones: Array = (counts * np.uint64(0x0001000100010001) >> np.uint64(48)).astype(np.intp)
    return ones
