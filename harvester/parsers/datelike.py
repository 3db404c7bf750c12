"""What looks like a date, in any language: cheap, for those who only want to know where to look.

Wrong now and then, in both directions; what a text says is for ``dates`` to read.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_SHORTEST: Final = 3
_LONGEST: Final = 100  # characters; no date is this long
_LONGEST_RELATIVE: Final = 40
_NAME: Final = r"[^\s\d.,;:/|()\[\]-]{2,14}"
_DATED: Final = re.compile(
    # 11.07.2011, 115.03.19, 7/11/11; 2011-07-11, 2011年7月11日
    r"(?<![\d.,/:-])\d{1,3}\s?[./|-]\s?\d{1,2}\s?[./|-]\s?(?:\d{4}|\d\d)(?!\d)"
    r"|(?<!\d)\d{4}\s?[./年년-]\s?\d{1,2}\s?[./月월-]\s?\d{1,2}"
    r"|(?<!\d)\d{1,3}\s?年\s?\d{1,2}\s?月\s?\d{1,2}"
    # 11 July 2011, 20th of July, 2012, 11 de julio de 2011; July 11, 2011; 2011. július 11.
    rf"|(?<!\d)\d{{1,2}}(?:st|nd|rd|th|er|[.ºª])?[\s/.-]+(?:(?:of|de|d'|tháng)\s?)?{_NAME}[.,]?[\s/.,-]+(?:\w{{2,4}}\s)?\d{{4}}(?!\d)"
    r"|(?<!\d)\d{1,2}\s[^\W\d]{1,3}\.[^\W\d]{1,3}\.\s\d{2,4}(?!\d)"  # abbreviated: 17 พ.ค. 2567
    rf"|(?<!\w){_NAME}\.?\s\d{{1,2}}(?:st|nd|rd|th)?[\s,.]{{1,3}}\d{{4}}(?!\d)"
    rf"|(?<!\d)(?:19|20)\d\d\.?,?\s(?:[^\W\d]{{1,4}}\.?\s)?{_NAME}\s(?:[^\W\d]{{1,3}}\s)?\d{{1,2}}(?!\d)"
    rf"|(?<!\d)(?:19|20)\d\d\.\s(?:[^\W\d]{{4}}\s)?\d{{1,2}}\.\s{_NAME}"
)
# "3 hours ago": what stands before such a number, or after it.
_BEFORE: Final = r"vor|il y a|hace|há|před|pred|prije|pre|преди|acum|πριν|לפני|منذ|قبل|prieš|pirms"
_AFTER: Final = (
    r"ago|atrás|fa|geleden|sedan|siden|sitten|temu|назад|тому|таму|ezelőtt|napja|órája|perce|önce|پیش"
    r"|قبل|पहले|আগে|trước|(?:yang )?lalu|tagasi|წინ|առաջ"
)
_AFTER_UNSPACED: Final = r"前|전|ที่แล้ว|ที่ผ่านมา"
_DAYS: Final = (
    r"today|yesterday|heute|gestern|vorgestern|aujourd.hui|hier|hoy|ayer|hoje|ontem|oggi|ieri|vandaag"
    r"|gisteren|idag|igår|i dag|i går|tänään|eilen|dziś|dzisiaj|wczoraj|dnes|včera|danas|jučer|juče"
    r"|сегодня|вчера|сьогодні|вчора|сёння|учора|днес|azi|astăzi|ma|tegnap|bugün|dün|σήμερα|χθες"
    r"|היום|אתמול|اليوم|أمس|امروز|دیروز|आज|कल|hari ini|kemarin|hôm nay|hôm qua|šiandien|vakar|šodien"
    r"|täna|eile"
)
_RELATIVE: Final = re.compile(
    rf"(?:{_BEFORE})\s\D{{0,12}}\d{{1,2}}\s?\D{{1,14}}"
    rf"|\D{{0,16}}(?<!\d)(?:\d{{1,2}}|an?|one)\s?\D{{1,14}}\s(?:{_AFTER})\W*"
    rf"|\D{{0,8}}(?<!\d)\d{{1,2}}\s?\D{{1,10}}(?:{_AFTER_UNSPACED})\W*"
    rf"|(?:(?:{_DAYS})(?!\w)|[昨今前]天|昨日|今日|어제|오늘|วันนี้|เมื่อวาน)\W{{0,3}}\D{{0,8}}(?:\d?\d[:.]\d\d.{{0,6}})?",
    re.IGNORECASE,
)


def looks_dated(text: str) -> bool:
    """Whether a short text seems to hold a whole date, or to say how long ago something was."""
    return dated_part(text) > 0


@lru_cache(maxsize=8192)
def dated_part(text: str) -> float:
    """The share of a text that is a date."""
    if not _SHORTEST <= len(text) <= _LONGEST:
        return 0.0
    if found := _DATED.search(text):
        return len(found[0]) / len(text)
    return float(len(text) <= _LONGEST_RELATIVE and _RELATIVE.fullmatch(text) is not None)
