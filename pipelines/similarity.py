"""Do two texts tell the same story in nearly the same words?  Pure.

Two steps, as in near-duplicate search everywhere: a few keys of each text find those that could be
alike (``sketch.py``), and a look at both words by words decides.

The decision is containment: the longest common subsequence of words, as a share of the shorter text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from rapidfuzz.distance import LCSseq

from pipelines.sketch import LEAST_WORDS, Sketches, sketch_words
from pipelines.words import words_of

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

VERSION: Final = 3  # of keys and rules: a book that was made by another is made anew
_ENOUGH_WORDS: Final = 20
_LEAST_SHARE: Final = (0.85, 0.75)  # of short texts, of long ones
_LEAST_OF_TITLE: Final = 0.6
_LEAST_OF_TEASER: Final = 0.6
# What one of a series has in place of a number; other languages, and other forms, are not known.
_SERIES: Final = tuple(
    frozenset(words.split())
    for words in (
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
        " seventeen eighteen nineteen twenty",
        "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth",
        "january february march april may june july august september october november december"
        " jan feb mar apr jun jul aug sep sept oct nov dec",
        "monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun",
        "zwei drei vier fünf sechs sieben acht neun zehn",
        "januar februar märz april mai juni juli august september oktober november dezember",
        "montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag",
        "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia",
        "январь февраль март апрель май июнь июль август сентябрь октябрь ноябрь декабрь",
        "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
        "январе феврале марте апреле мае июне июле августе сентябре октябре ноябре декабре",
        "понедельник вторник среда среду четверг пятница пятницу суббота субботу воскресенье",
        "студзень люты сакавік красавік май чэрвень ліпень жнівень верасень кастрычнік лістапад снежань",
        "студзеня лютага сакавіка красавіка мая чэрвеня ліпеня жніўня верасня кастрычніка лістапада снежня",
        "січень лютий березень квітень травень червень липень серпень вересень жовтень листопад грудень",
        "січня лютого березня квітня травня червня липня серпня вересня жовтня листопада грудня",
        "первая вторая третья четвертая четвёртая пятая шестая седьмая восьмая девятая десятая",
        "першая другая трэцяя чацвёртая пятая шостая сёмая восьмая дзявятая дзясятая",
        "يناير فبراير مارس أبريل مايو يونيو يوليو أغسطس سبتمبر أكتوبر نوفمبر ديسمبر",
        "जनवरी फरवरी फ़रवरी मार्च अप्रैल मई जून जुलाई अगस्त सितंबर सितम्बर अक्टूबर अक्तूबर नवंबर नवम्बर दिसंबर दिसम्बर",
        "一 二 三 四 五 六 七 八 九 十",
    )
)
_KINDS: Final[tuple[Callable[[str], object], ...]] = (
    lambda word: word[0].isdigit(),
    re.compile("[ivx]+").fullmatch,
    re.compile("[a-zа-яіў]").fullmatch,  # Part A is not Part B
    *(words.__contains__ for words in _SERIES),
)


Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """The words of a title and of the teaser after it, case folded."""

    title: Words
    teaser: Words

    @property
    def words(self) -> Words:
        """All words, in their order."""
        return self.title + self.teaser

    def __bool__(self) -> bool:
        return len(self.title) + len(self.teaser) >= LEAST_WORDS


def text_of(title: str | None, teaser: str | None) -> Text:
    """The words of an entry.  It is false when they are too few to tell a story."""
    return Text(words_of(title), words_of(teaser))


def keys(text: Text) -> frozenset[int]:
    """What finds a text: 64-bit numbers.  None for a text that is too short."""
    return frozenset(sketch_words(text.title, text.teaser).keys.tolist())


def could_be_alike(sketches: Sketches, these: Array, those: Array) -> Array:
    """Of pairs of texts the numbers of those that a glance could take for ``alike``."""
    import numpy as np

    could = np.arange(these.size)
    for field, share in ((2, None), (0, _LEAST_OF_TITLE), (1, _LEAST_OF_TEASER)):
        a, b = these[could], those[could]
        words = np.minimum(sketches.words[a, field], sketches.words[b, field])
        least = _least_common(words, np.minimum) if share is None else share * words
        could = could[sketches.common(field, a, b) >= least]
    return could


def alike(a: Text, b: Text) -> bool:
    """Whether two texts are near-duplicates: one is the other, but for a cut, an addition, an edit.

    A number in the place of another number makes another story: Part 3 is not Part 4.
    """
    if not a or not b:
        return False
    if a == b:
        return True
    shorter, longer = sorted((a.words, b.words), key=len)
    common = LCSseq.similarity(shorter, longer)
    if common < _least_common(len(shorter)):
        return False
    if a.title and b.title and not _titled_alike(*sorted((a.title, b.title), key=len)):
        return False
    if a.teaser and b.teaser:  # the title may be that of many: "News in brief"
        cut, whole = sorted((a.teaser, b.teaser), key=len)
        if LCSseq.similarity(cut, whole) < _LEAST_OF_TEASER * len(cut):
            return False
    return not any(_count_otherwise(*gap) for gap in _gaps(shorter, longer))


def _least_common(words: Any, lesser: Callable[[float, Any], Any] = min) -> Any:
    """How many words of a text another one has to have, to be alike to it; or of many texts."""
    fullness = lesser(1.0, (words - LEAST_WORDS) / (_ENOUGH_WORDS - LEAST_WORDS))
    return (_LEAST_SHARE[0] + fullness * (_LEAST_SHARE[1] - _LEAST_SHARE[0])) * words


def _titled_alike(shorter: Words, longer: Words) -> bool:
    """Whether two titles are: teasers alone may be boilerplate, and so may the beginning of a title."""
    if shorter == longer:
        return True
    if LCSseq.similarity(shorter, longer) < _LEAST_OF_TITLE * len(shorter):
        return False
    replaced = sum(min(map(len, gap)) for gap in _gaps(shorter, longer))
    return replaced <= max(1, len(shorter) // 3)


def _gaps(shorter: Words, longer: Words) -> Iterator[tuple[Words, Words]]:
    """What stands in each of two texts between, before and after the words that they share."""
    start = begin = 0
    for step in LCSseq.opcodes(shorter, longer):
        if step.tag == "equal":
            yield shorter[start : step.src_start], longer[begin : step.dest_start]
            start, begin = step.src_end, step.dest_end
    rest, more = shorter[start:], longer[begin:]
    if rest and len(rest) <= len(more) and more[len(rest) - 1].startswith(rest[-1]):
        rest = rest[:-1]  # the piece of a word that was cut
    yield rest, more


def _count_otherwise(gap: Words, other: Words) -> bool:
    """Whether what stands between the same words holds numbers of one kind, and no number in common."""
    if not gap or not other:
        return False
    mine, theirs = _numbers(gap), _numbers(other)
    return any(mine[kind].isdisjoint(theirs[kind]) for kind in mine.keys() & theirs.keys())


def _numbers(words: Words) -> dict[int, set[str]]:
    """The numbers of each kind."""
    found: dict[int, set[str]] = {}
    for word in words:
        for kind in _kinds(word):
            found.setdefault(kind, set()).add(word)
    return found


@lru_cache(maxsize=1 << 14)
def _kinds(word: str) -> tuple[int, ...]:
    """Which kinds of number a word could be."""
    return tuple(n for n, kind in enumerate(_KINDS) if kind(word))
