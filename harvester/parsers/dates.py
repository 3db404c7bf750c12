"""A column of date texts -> dates.  Strict: what the page does not say is not there.

The only user of dateparser, whose answer is the reference.  Asking it costs milliseconds, so each
*shape* of text ("july N, Y") is asked about once: two made-up dates of that shape, with numbers that
cannot be confused, show which number is the day, the year, the hour.  From then on texts of the shape
are read by looking numbers up.  A shape for which the two answers do not agree with such a reading
("N:N pm", two-digit years) is never learned, and dateparser reads each of its texts.

The order of day and month is a property of the whole column ("5/6/2011" alone has none): a number
above 12 decides it, then the notation (dots are day first), then the order of the entries, then the
language.  A column that stays ambiguous gives nulls.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any, Final, Literal

from harvester.parsers.calendars import gregorian, rewrites
from pipelines.entry import Precision

Order = Literal["DMY", "MDY", "YMD"]
Time = tuple[int, int, int]
_FORMATS: Final[dict[Order, tuple[str, str, str]]] = {
    "DMY": ("%d", "%m", "%Y"),
    "MDY": ("%m", "%d", "%Y"),
    "YMD": ("%Y", "%m", "%d"),
}
_ORDERS: Final[dict[str | None, Order]] = {"DMY": "DMY", "MDY": "MDY", "YMD": "YMD"}
MAX_LENGTH: Final = 100  # dateparser takes half a minute for 50 KB of text; no date is this long
_MOST_READ: Final = 10_000  # texts that are remembered
_YEARS: Final = range(1900, 2101)

_TOKEN: Final = re.compile(r"\d+|[^\W\d_]+|\s+|.", re.DOTALL)
_ISO: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:(?:[T ]| T )(\d\d:\d\d)(:\d\d(?:\.\d{1,9})?)?\s?(?:Z|UTC|[+-]\d\d:?\d\d)?)?"
)
# Two numbers and a year, or a year and two numbers, between equal separators; then perhaps a time.
_NUMERIC: Final = re.compile(
    r"(?<![\d.,/:-])(?<!\d\s)(?<![A-Za-z])(?:(?P<a>\d{1,2})(?P<s>\s?[./|-]\s?|\s)(?P<b>\d{1,2})(?P=s)(?P<y>\d{4}|\d\d)"
    r"|(?P<y2>\d{4})(?:(?P<s2>[./-])|\s?[年년]\s?)(?P<m2>\d{1,2})(?:(?P=s2)|\s?[月월]\s?)"
    r"(?P<d2>\d{1,2})[日일]?)"
    r"(?:[\s,|-]{1,4}(?P<h>\d{1,2}):(?P<min>\d\d)(?::(?P<sec>\d\d))?(?!\s?[ap]\.?m))?(?![\d/:]|[.,-]\d)",
    re.IGNORECASE,
)
_TIME: Final = re.compile(r"\d:\d\d")
_DIGITS: Final = re.compile(r"[0-9]+")
_MASKED: Final = str.maketrans(dict.fromkeys("0123456789", "0"))
_YEAR: Final = re.compile(r"(?:19|20)\d\d")
# A date in words inside a longer text: "Posted on July 11, 2011 by Anna".
_WORDED: Final = re.compile(
    r"(?<![\w:.,/])(?:\d{1,2}(?:st|nd|rd|th|\.|º)?\s(?:de\s|d')?[^\W\d_]{3,12}\.?,?\s(?:de\s)?\d{4}"
    r"|[^\W\d_]{3,12}\.?\s\d{1,2}(?:st|nd|rd|th)?,?\s\d{4}"
    r"|(?:19|20)\d\d\.?\s[^\W\d_]{3,12}\s\d{1,2})(?!\w)"
)
# A month and a year, and nothing else: "Q2 2011" and "about 2011" name no month.
_MONTH: Final = re.compile(
    r"[^\W\d_]{3,}\.?,?\s(?:de\s)?\d{4}|\d{4}\s?[年년]\s?\d{1,2}\s?[月월]|\d{1,2}[/.]\d{4}"
)
# A date in a language that the page does not speak: only in the order that most of them write.
_FOREIGN: Final = re.compile(
    r"\D{0,15}\d{1,2}\D{1,4}[^\W\d_]{3,}\D{1,5}\d{4}\D{0,4}(?:\d\d:\d\d\D{0,3})?"
)
# "3 min" is how long something takes; "3 minutes ago" is when it was.
_DURATION: Final = re.compile(
    r"\d+\s*[^\W\d_\u0e00-\uffff]+\.?(?:\s+(?:read|lesezeit))?", re.IGNORECASE
)
_RANGE: Final = re.compile(r"(?:[-–—]|\b(?:to|bis|until|au|al|по|да))$")
_DAY_BEFORE: Final = re.compile(
    r"\d[\d./]*(?:st|nd|rd|th)?(?:\s[^\W\d_]{3,12})?(?:,?\s\d{4})?\s?\W*\w{0,5}$"
)
_TO_ANOTHER: Final = re.compile(
    r"(?:[-–—]|\b(?:to|bis|until|au|al|по|да)\b)\s*(?:(?!\d{1,2}:\d\d)\d|[^\W\d_]{3,9}\.?\s\d)"
)
# "17 and 18 May 2024", "17, 18 May 2024": several days; "May 17 - 19, 2024".
_SEVERAL: Final = re.compile(
    r"(?<![\d:.])\d{1,2}(?:st|nd|rd|th|\.)?\s?(?:,|&|and|und|et|y|e|и|і)\s*\d{1,2}(?:st|nd|rd|th|\.)?\s(?:de\s)?[^\W\d_]{3,}"
    r"|[^\W\d_]{3,}\.?\s\d{1,2}\s?(?:-|–|—|&|to|and)\s?\d{1,2},?\s\d{4}"
)
_DECORATION: Final = " \t\r\n\xa0/|•·–—-:;,()[]<>»«"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a date text says.  ``value`` is the wall clock as printed, ``None`` when unreadable."""

    value: datetime | None = None
    precision: Precision | None = None
    relative: bool = False


UNREAD: Final = Reading()


def read_column(
    texts: Sequence[str | None],
    *,
    language: str | None = None,
    date_format: str | None = None,
    clock: datetime | None = None,
) -> list[Reading]:
    """One reading for each text of a column, in order.

    ``language`` is a BCP 47 tag; ``date_format`` a strptime format whose directives settle the order
    of day and month; ``clock`` the naive local time at the source when the page was fetched, without
    which relative dates ("3 hours ago") stay unread.
    """
    reader = _reader((language or "").partition("-")[0].lower())
    # Where texts are rewritten first, what they look like says nothing of what was read before.
    plain = not rewrites(reader.language)
    quick = [reader.read_known(text) if plain else None for text in texts]
    if all(quick):
        return quick  # type: ignore[return-value]
    cleaned = [gregorian(_clean(text), reader.language) for text in texts]
    order = _format_order(date_format) or _column_order(cleaned, language)
    return [
        known or (reader.read(text, order, clock) if text else UNREAD)
        for known, text in zip(quick, cleaned, strict=True)
    ]


def _clean(text: str | None) -> str:
    if text is None or len(text) > MAX_LENGTH:
        return ""
    return " ".join(text.split()).strip(_DECORATION)


# ------------------------------------------------------------------ the order of day and month
def _format_order(date_format: str | None) -> Order | None:
    """The order in which a strptime format names year, month and day."""
    named = re.findall(r"%-?([dmbByY])", date_format or "")
    letters = "".join({"b": "M", "B": "M"}.get(letter, letter.upper()) for letter in named)
    return _ORDERS.get(letters)


def _column_order(texts: Iterable[str], language: str | None) -> Order | None:
    """Day first or month first, from what the whole column shows; ``None`` when nothing decides."""
    found = [match for text in texts if (match := _NUMERIC.search(text)) and match["y"]]
    if any(map(_short, found)) and (
        any(int(m["a"]) > 31 for m in found) or _language_order(language) == "YMD"
    ):
        return "YMD" if all(map(_short, found)) else None
    pairs = [(int(m["a"]), int(m["b"]), _full_year(m["y"])) for m in found]
    day_first = any(a > 12 >= b for a, b, _ in pairs)
    month_first = any(b > 12 >= a for a, b, _ in pairs)
    if day_first != month_first:
        return "DMY" if day_first else "MDY"
    if day_first or not pairs:
        return None
    if all("." in match["s"] for match in found):
        return "DMY"  # no country writes the month first with dots
    as_dmy = _is_ordered([(y, b, a) for a, b, y in pairs])
    as_mdy = _is_ordered([(y, a, b) for a, b, y in pairs])
    if as_dmy != as_mdy:
        return "DMY" if as_dmy else "MDY"
    return _language_order(language)


def _short(match: re.Match[str]) -> bool:
    """Whether a date is of numbers of two digits: the first may be the year as well as the last."""
    return len(match["y"]) == len(match["a"]) == 2


def settled_format(
    texts: Sequence[str | None], language: str | None, known: Sequence[date | None] = ()
) -> str | None:
    """The format that settles a column's order of day and month, where its texts leave it open.

    ``known`` are the days that other evidence gives for the same entries; they count before the
    language, and may be a day off (attributes are often in another zone).  ``None`` where the texts
    are no pairs of numbers and a year, or nothing decides.
    """
    found = [_NUMERIC.search(_clean(text)) for text in texts]
    numbers = [match for match in found if match and match["y"]]
    if not numbers:
        return None
    votes: Counter[Order] = Counter()
    for match, day in zip(found, known, strict=False):
        if match and match["y"] and day:
            for each in _FORMATS:
                value = _read_numeric(match, each).value
                votes[each] += value is not None and abs((value.date() - day).days) <= 1
    likely = [each for each in votes if votes[each] == max(votes.values())]
    short = all(map(_short, numbers))
    order: Order | None
    if len(likely) == 1 and short:
        order = likely[0]
    else:
        order = _column_order([match[0] for match in numbers], language if short else None)
        order = order or (likely[0] if len(likely) == 1 else _language_order(language))
    if order is None or (order == "YMD" and not short):
        return None
    year = "%Y" if len(numbers[0]["y"]) == 4 else "%y"
    return (numbers[0]["s"].strip() or " ").join(_FORMATS[order]).replace("%Y", year)


def _is_ordered(days: list[tuple[int, int, int]]) -> bool:
    """Whether enough dates stand in order for that to be no accident."""
    ordered = days == sorted(days) or days == sorted(days, reverse=True)
    return ordered and len(days) > 3 and len(set(days)) > 2


def _language_order(language: str | None) -> Order | None:
    """The order that a language writes; English only with its region, for its regions differ."""
    name, _, region = (language or "").partition("-")
    if name == "en":
        return None if not region else "MDY" if region.upper() in ("US", "PH") else "DMY"
    if not name:
        return None
    from dateparser.languages.loader import LocaleDataLoader

    try:
        return _ORDERS.get(LocaleDataLoader().get_locale(name).info.get("date_order"))
    except ValueError:
        return None


# ------------------------------------------------------------------ one text
@dataclass(frozen=True, slots=True)
class _Shape:
    """How texts of one shape are read: the number that holds each part, and the month in words."""

    month: int
    day: int
    year: int
    hour: int | None
    minute: int | None
    second: int | None

    def read(self, numbers: list[int]) -> Reading:
        hour, minute, second = (
            numbers[i] if i is not None else 0 for i in (self.hour, self.minute, self.second)
        )
        precision: Precision = "day"
        if self.minute is not None:
            precision = "second" if self.second is not None else "minute"
        return _date(
            numbers[self.year], self.month, numbers[self.day], (hour, minute, second), precision
        )


class _NoShape(Enum):
    """Why texts of a shape are not read by looking numbers up."""

    ASK_EACH_TIME = "dateparser reads them, but not as a table would"
    NO_DATE = "dateparser finds no date in them"


_ASK: Final = _NoShape.ASK_EACH_TIME
_NO_DATE: Final = _NoShape.NO_DATE


@lru_cache(maxsize=64)
def _reader(language: str) -> _Reader:
    return _Reader(language)


@dataclass(slots=True)
class _Reader:
    """Reads texts of one language; remembers the shapes it has learned."""

    language: str
    _shapes: dict[str, _Shape | _NoShape] = field(default_factory=dict)
    _known: dict[str, tuple[_Shape, tuple[tuple[int, int], ...]]] = field(default_factory=dict)
    _read: dict[str, Reading] = field(default_factory=dict)
    _slow: dict[tuple[str, Order | None, datetime | None], Reading] = field(default_factory=dict)

    def read_known(self, text: str | None) -> Reading | None:
        """A text just like one that was read before, but for its digits; ``None`` for all others."""
        if text is None:
            return None
        if again := self._read.get(
            text
        ):  # a page's dates are those of the page before, and its own
            return again
        known = self._known.get(text.translate(_MASKED))
        if known is None:
            return None
        shape, spans = known
        if len(self._read) >= _MOST_READ:
            self._read.clear()
        reading = shape.read([int(text[start:end]) for start, end in spans])
        self._read[text] = reading
        return reading

    def read(self, text: str, order: Order | None, clock: datetime | None) -> Reading:
        if iso := _ISO.fullmatch(text):
            return _read_iso(iso)
        if (numeric := _NUMERIC.search(text)) and _is_range(text, numeric):
            return UNREAD  # which of the days would it be?
        if numeric:
            reading = _read_numeric(numeric, order)
            told = numeric["h"] or not _TIME.search(text)
            return reading if told or reading is UNREAD else self._remembered(text, order, clock)
        if _SEVERAL.search(text):
            return UNREAD
        if _YEAR.fullmatch(text):
            return Reading(datetime(int(text), 1, 1), "year")
        inner = _WORDED.search(text)
        if inner and inner[0] != text and _is_range(text, inner):
            return UNREAD
        if inner and inner[0] != text and not _TIME.search(text):
            # "Published on 11 July 2011": asking about all of it would try every language.
            shape, numbers = self._shape_of(inner[0])
            if isinstance(shape, _Shape):
                return shape.read(numbers)
        shape, numbers = self._shape_of(text)
        if isinstance(shape, _Shape):
            if len(self._known) < 10_000:
                spans = tuple(number.span() for number in _DIGITS.finditer(text))
                self._known[text.translate(_MASKED)] = shape, spans
            return shape.read(numbers)
        if shape is _NO_DATE and inner and inner[0] != text:
            return self.read(inner[0], order, clock)
        return self._remembered(text, order, clock)

    def _shape_of(self, text: str) -> tuple[_Shape | _NoShape, list[int]]:
        """How texts like this one are read, and the numbers in it."""
        tokens = _TOKEN.findall(text)
        key = "".join(
            {1: "\1", 2: "\1", 4: "\2"}.get(len(t), "\3") if t.isdecimal() else t for t in tokens
        ).lower()
        if key not in self._shapes:
            if len(self._shapes) > 10_000:  # texts that are no dates: each has its own shape
                self._shapes.clear()
            self._shapes[key] = self._learn(key)
        return self._shapes[key], [int(token) for token in tokens if token.isdecimal()]

    def _learn(self, key: str) -> _Shape | _NoShape:
        """Ask dateparser about two made-up dates of this shape; see the module."""
        if "\3" in key or key.count("\2") != 1 or not 1 <= key.count("\1") <= 4:
            return _ASK
        late = self._probe(key, 2017, (21, 22, 23, 20))
        early = self._probe(key, 2014, (11, 10, 9, 8))
        if late != early or not isinstance(late, _Shape):
            return _ASK if late != early else late
        # "12:07 am" is the one time at which a shape with "am" shows that it is no table.
        numbers = [2015 if c == "\2" else 7 for c in key if c in "\1\2"]
        if late.hour is not None:
            numbers[late.hour] = 12
        noon = self._ask(_filled(key, numbers), "day", any_language=True)
        return late if noon == late.read(numbers).value else _ASK

    def _probe(self, key: str, year: int, values: tuple[int, ...]) -> _Shape | _NoShape:
        rest = iter(values)
        numbers = [year if c == "\2" else next(rest) for c in key if c in "\1\2"]
        answer = self._ask(_filled(key, numbers), "day", any_language=True)
        if answer is None:
            return _NO_DATE
        parts = (answer.day, answer.year, answer.hour, answer.minute, answer.second)
        where = [numbers.index(part) if part in numbers else None for part in parts]
        day, year_at, hour, minute, second = where
        if day is None or year_at is None or len(numbers) != sum(i is not None for i in where):
            return _ASK
        return _Shape(answer.month, day, year_at, hour, minute, second)

    def _remembered(self, text: str, order: Order | None, clock: datetime | None) -> Reading:
        key = (text, order, clock)
        if key not in self._slow:
            if len(self._slow) > 10_000:
                self._slow.clear()
            self._slow[key] = self._read_slowly(text, order, clock)
        return self._slow[key]

    def _read_slowly(self, text: str, order: Order | None, clock: datetime | None) -> Reading:
        """What no shape reads: odd forms, months without a day, relative dates."""
        if re.search(r"\d", text):
            if found := self._ask(text, "day", order):
                at = (found.hour, found.minute, found.second)
                return _date(found.year, found.month, found.day, at, "minute" if any(at) else "day")
            if _MONTH.fullmatch(text) and (found := self._ask(text, "month")):
                return _date(found.year, found.month, 1, (0, 0, 0), "month")
        if clock is None or _DURATION.fullmatch(text):
            return UNREAD
        found = self._dateparser(text, PARSERS=["relative-time"], RELATIVE_BASE=clock)
        # Weeks and months ago do not name a day, and what is to come was not published.
        if found is None or not timedelta(0) <= clock - found < timedelta(days=7):
            return UNREAD
        day = found.replace(hour=0, minute=0, second=0, microsecond=0)
        return Reading(day, "day", relative=True)

    def _ask(
        self,
        text: str,
        precision: Literal["day", "month"],
        order: Order | None = None,
        *,
        any_language: bool = False,
    ) -> datetime | None:
        settings: dict[str, Any] = {
            "PARSERS": ["absolute-time"],
            "REQUIRE_PARTS": ["month", "year"],
        }
        if precision == "day":
            settings["REQUIRE_PARTS"] = ["day", "month", "year"]
        if order:
            settings["DATE_ORDER"] = order
        return self._dateparser(text, any_language=any_language, **settings)

    def _dateparser(
        self, text: str, *, any_language: bool = False, **settings: Any
    ) -> datetime | None:
        import dateparser

        tries: list[list[str] | None] = [[self.language, "en"] if self.language else ["en"]]
        if (any_language or not self.language) and _FOREIGN.fullmatch(text):
            tries.append(None)  # pages do print dates in another language than their own
        for languages in tries:
            try:
                found: datetime | None = dateparser.parse(
                    text, languages=languages, settings=settings
                )
            except (ValueError, OverflowError, RecursionError):
                continue  # a language or a number beyond dateparser
            if found:
                return found.replace(tzinfo=None)
        return None


def _is_range(text: str, day: re.Match[str]) -> bool:
    """Whether a date in a text is one end of a range of days."""
    before, after = text[: day.start()].rstrip(), text[day.end() :].lstrip()
    begun = _RANGE.search(before) and _DAY_BEFORE.search(before)
    return bool(begun or _TO_ANOTHER.match(after))


def _filled(key: str, numbers: list[int]) -> str:
    """A text of a shape, with these numbers."""
    rest = iter(numbers)
    return re.sub("[\1\2]", lambda _: f"{next(rest):02}", key)


def _read_iso(match: re.Match[str]) -> Reading:
    day, time, seconds = match.groups()
    try:
        value = datetime.fromisoformat(f"{day}T{time or '00:00'}{(seconds or ':00')[:3]}")
    except ValueError:
        return UNREAD
    if value.year not in _YEARS:
        return UNREAD
    precision: Precision = "day" if time is None else "second" if seconds else "minute"
    return Reading(value, precision)


def _read_numeric(match: re.Match[str], order: Order | None) -> Reading:
    if match["y"]:
        a, b, year = int(match["a"]), int(match["b"]), _full_year(match["y"])
        if order == "YMD" and _short(match):
            year, month, day = _full_year(match["a"]), b, int(match["y"])
        elif order in ("DMY", "MDY") or a == b:
            day, month = (b, a) if order == "MDY" else (a, b)
        else:
            return UNREAD
    else:
        year, month, day = int(match["y2"]), int(match["m2"]), int(match["d2"])
    at = (int(match["h"] or 0), int(match["min"] or 0), int(match["sec"] or 0))
    precision: Precision = "second" if match["sec"] else "minute" if match["min"] else "day"
    return _date(year, month, day, at, precision)


def _full_year(digits: str) -> int:
    """Two digits as POSIX reads them: 69 to 99 are the last century."""
    year = int(digits)
    return year if len(digits) == 4 else year + (1900 if year > 68 else 2000)


def _date(year: int, month: int, day: int, at: Time, precision: Precision) -> Reading:
    if year not in _YEARS:
        return UNREAD
    try:
        return Reading(datetime(year, month, day, *at), precision)
    except ValueError:
        return UNREAD
