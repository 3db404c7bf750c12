"""Dates of other calendars, and the small words around dates, put into a form that all readers know.

The Republic of China counts years from 1912, Thailand from 543 BC, Japan by its emperors; Iran has
months of its own, whose years begin in March.  Only a page in the language of such a calendar is read
with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta
from typing import Final

_MINGUO: Final = re.compile(
    r"(?<!\d)(?:(?:中華)?民[國国]\s?(\d{1,3})\s?[年./-]|(1[0-4]\d)[年./-])\s?(\d{1,2})\s?[月./-]\s?(\d{1,2})(?!\d)日?"
)
_BUDDHIST: Final = re.compile(r"(?<!\d)(2[456]\d\d)(?!\d)")
# 67 is 2567, which is 2024; years of the common era have not come so far.
_SHORT_BUDDHIST: Final = re.compile(
    r"(?<![\d./-])(\d{1,2}(?:\s?[./-]\s?\d{1,2}\s?[./-]\s?|\s[^\d\s]{2,14}\s))([4-9]\d)(?![\d./:-])"
)
_ERAS: Final = {"明治": 1867, "大正": 1911, "昭和": 1925, "平成": 1988, "令和": 2018}
_ERA: Final = re.compile(rf"({'|'.join(_ERAS)})\s?(\d{{1,2}}|元)\s?年")
_ERA_LETTERS: Final = {"S": 1925, "H": 1988, "R": 2018}
_SHORT_ERA: Final = re.compile(
    r"(?<!\w)([SHR])\s?(\d{1,2})\s?[./年]\s?(?=\d{1,2}\s?[./月]\s?\d{1,2})"
)
_JALALI: Final = re.compile(
    r"(?<!\d)(?:(?P<y>1[34]\d\d)\s?[/.-]\s?(?P<m>\d{1,2})\s?[/.-]\s?(?P<d>\d{1,2})(?!\d)"
    r"|(?P<d2>\d{1,2})\s(?P<name>[^\W\d_]{2,9})(?:\sماه)?[،,]?\s(?P<y2>1[34]\d\d)(?!\d))"
)
_JALALI_MONTHS: Final = "فروردین اردیبهشت خرداد تیر مرداد شهریور مهر آبان آذر دی بهمن اسفند".split()
_FOREIGN_DIGIT: Final = re.compile(r"[^\D0-9]")
# Words for "year", "month" and "day" that stand inside dates and say nothing.
_PARTICLES: Final = {
    "lt": re.compile(r"(?<=\s)[md]\.(?=\s|$)"),
    "lv": re.compile(r"\bgada\b"),
    "hu": re.compile(r"\bhó(?:nap)?\b"),
}


def gregorian(text: str, language: str) -> str:
    """A date text with its year, or all of it, in the common calendar.  ``language``: two letters."""
    if not text.isascii():
        text = _FOREIGN_DIGIT.sub(lambda match: str(int(match[0])), text)
    if particles := _PARTICLES.get(language):
        text = " ".join(particles.sub(" ", text).split())
    convert = _CALENDARS.get(language)
    return convert(text) if convert else text


def _minguo(text: str) -> str:
    def common(match: re.Match[str]) -> str:
        return f"{int(match[1] or match[2]) + 1911}-{int(match[3]):02}-{int(match[4]):02}"

    return _MINGUO.sub(common, text)


def _buddhist(text: str) -> str:
    text = _SHORT_BUDDHIST.sub(r"\g<1>25\2", text)
    return _BUDDHIST.sub(lambda match: str(int(match[1]) - 543), text)


def _era(text: str) -> str:
    def common(match: re.Match[str]) -> str:
        return f"{_ERAS[match[1]] + (1 if match[2] == '元' else int(match[2]))}年"

    def short(match: re.Match[str]) -> str:
        return f"{_ERA_LETTERS[match[1]] + int(match[2])}."

    return _ERA.sub(common, _SHORT_ERA.sub(short, text))


def _jalali(text: str) -> str:
    def common(match: re.Match[str]) -> str:
        if match["name"] and match["name"] not in _JALALI_MONTHS:
            return match[0]
        month = int(match["m"] or 0) or _JALALI_MONTHS.index(match["name"]) + 1
        day = int(match["d"] or match["d2"])
        if not (1 <= month <= 12 and 1 <= day <= (31 if month < 7 else 30)):
            return match[0]
        return _from_jalali(int(match["y"] or match["y2"]), month, day).isoformat()

    return _JALALI.sub(common, text)


def _from_jalali(year: int, month: int, day: int) -> date:
    """The arithmetic solar Hijri calendar: eight leap years in every 33, right for 1178 to 1633."""
    years = year - 1
    cycles, rest = divmod(years, 33)
    days = 365 * years + 8 * cycles + (rest + (3 if rest <= 20 else 2)) // 4
    days += 31 * (month - 1) if month <= 7 else 30 * (month - 1) + 6
    return date(622, 3, 21) + timedelta(days=days + day - 1)


_CALENDARS: Final[dict[str, Callable[[str], str]]] = {
    "zh": _minguo,
    "th": _buddhist,
    "ja": _era,
    "fa": _jalali,
}


def rewrites(language: str) -> bool:
    """Whether ``gregorian`` changes texts of a language for more than their digits."""
    return language in _CALENDARS or language in _PARTICLES
