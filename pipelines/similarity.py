"""Do two texts tell the same story in nearly the same words?  Pure.

Two steps, as in near-duplicate search everywhere: a few keys of each text find those that could be
alike, and a look at both words by words decides.

Keys are a bottom-k sketch (Broder, "On the resemblance and containment of documents", 1997; Cohen and
Kaplan, "Summarizing data using bottom-k sketches", 2007): of all runs of four words, those with the
lowest digests.  A text that is a piece of another, or the other with something added, has most of its
keys in common with it, which is not so with the usual bands of MinHash: they ask how much of *both*
texts is the same.  A title and its runs of three words are keys too, so that a long teaser does not hide it.
Texts with ``LEAST_SHARED`` keys in common are worth a look.

The decision is containment: the longest common subsequence of words, as a share of the shorter text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import nsmallest
from typing import Final

import regex
from rapidfuzz.distance import LCSseq
from xxhash import xxh3_64_intdigest

VERSION: Final = 2  # of keys and rules: a book that was made by another is made anew
_RUN: Final = 4
_KEYS: Final = 16
LEAST_SHARED: Final = 2
_TITLE_RUN: Final = 3
_TITLE_KEYS: Final = 4
_MOST_WORDS: Final = 1000  # of a title, and of a teaser: a comparison takes their product
_MOST_CHARACTERS: Final = 16 * _MOST_WORDS
_LEAST_WORDS: Final = 5  # fewer say nothing: "Press release", "News in brief"
_ENOUGH_WORDS: Final = 20
_LEAST_SHARE: Final = (0.85, 0.75)  # of short texts, of long ones
_LEAST_OF_TITLE: Final = 0.6
_LEAST_OF_TEASER: Final = 0.6
# Scripts that put no spaces between words: each character counts as one.
_UNSPACED: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
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
_ASCII_WORD: Final = re.compile(r"[^\W_]+", re.ASCII)
# The standard library takes the vowel signs of Indic scripts for the end of a word.
_WORD: Final = regex.compile(f"[{_UNSPACED}]|[^\\W_{_UNSPACED}]+")


@dataclass(frozen=True, slots=True)
class Text:
    """The words of a title and of the teaser after it, case folded."""

    title: tuple[str, ...]
    teaser: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """All words, in their order."""
        return self.title + self.teaser

    def __bool__(self) -> bool:
        return len(self.title) + len(self.teaser) >= _LEAST_WORDS


def text_of(title: str | None, teaser: str | None) -> Text:
    """The words of an entry.  It is false when they are too few to tell a story."""
    return Text(_words(title), _words(teaser))


def _words(text: str | None) -> tuple[str, ...]:
    if text is None:
        return ()
    text = text[:_MOST_CHARACTERS]
    if text.isascii():
        words = _ASCII_WORD.findall(text.casefold())
    else:
        words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return tuple(words[:_MOST_WORDS])


def keys(text: Text) -> frozenset[int]:
    """What finds a text: 64-bit numbers.  None for a text that is too short."""
    if not text:
        return frozenset()
    words = text.words
    whole = [_digest(words)]
    if len(text.title) >= _LEAST_WORDS:
        whole.append(_digest(text.title))
    every = {each ^ bit for each in whole for bit in (0, 1)}  # as good as two others
    every.update(nsmallest(_KEYS, _runs(words, _RUN)))
    every.update(_runs(text.teaser[: _RUN + 1], _RUN))  # what a cut leaves, however short
    every.update(nsmallest(_TITLE_KEYS, _runs(text.title, _TITLE_RUN)))
    return frozenset(every)


def _runs(words: tuple[str, ...], length: int) -> set[int]:
    return {_digest(words[start : start + length]) for start in range(len(words) - length + 1)}


def _digest(words: tuple[str, ...]) -> int:
    return xxh3_64_intdigest(" ".join(words).encode())


def alike(a: Text, b: Text) -> bool:
    """Whether two texts are near-duplicates: one is the other, but for a cut, an addition, an edit.

    A number in the place of another number makes another story: Part 3 is not Part 4.
    """
    if not a or not b:
        return False
    shorter, longer = sorted((a.words, b.words), key=len)
    common = LCSseq.similarity(shorter, longer)
    fullness = min(1.0, (len(shorter) - _LEAST_WORDS) / (_ENOUGH_WORDS - _LEAST_WORDS))
    least = _LEAST_SHARE[0] + fullness * (_LEAST_SHARE[1] - _LEAST_SHARE[0])
    if common < least * len(shorter):
        return False
    if a.title and b.title and not _titled_alike(*sorted((a.title, b.title), key=len)):
        return False
    if a.teaser and b.teaser:  # the title may be that of many: "News in brief"
        cut, whole = sorted((a.teaser, b.teaser), key=len)
        if LCSseq.similarity(cut, whole) < _LEAST_OF_TEASER * len(cut):
            return False
    return not any(_count_otherwise(*gap) for gap in _gaps(shorter, longer))


def _titled_alike(shorter: tuple[str, ...], longer: tuple[str, ...]) -> bool:
    """Whether two titles are: teasers alone may be boilerplate, and so may the beginning of a title."""
    replaced = sum(min(map(len, gap)) for gap in _gaps(shorter, longer))
    common = LCSseq.similarity(shorter, longer)
    return common >= _LEAST_OF_TITLE * len(shorter) and replaced <= max(1, len(shorter) // 3)


def _gaps(
    shorter: tuple[str, ...], longer: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
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


def _count_otherwise(gap: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether what stands between the same words holds numbers of one kind, and no number in common."""
    for mine, theirs in zip(_numbers(gap), _numbers(other), strict=True):
        if mine and theirs and not mine & theirs:
            return True
    return False


def _numbers(words: tuple[str, ...]) -> list[set[str]]:
    return [{word for word in words if kind(word)} for kind in _KINDS]
