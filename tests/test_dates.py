"""Dates: nothing is invented, the column decides, and the quick way agrees with dateparser."""

from __future__ import annotations

from datetime import UTC, date, datetime

import dateparser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harvester.parsers.dates import read_column

NOON = datetime(2026, 11, 22, 12, 0)


def read(text, language="en", **more):
    return read_column([text], language=language, **more)[0]


@pytest.mark.parametrize(
    ("text", "language", "value", "precision"),
    [
        ("July 11, 2011", "en", datetime(2011, 7, 11), "day"),
        ("Jul. 11, 2011", "en", datetime(2011, 7, 11), "day"),
        ("// 24.02.2022", "be", datetime(2022, 2, 24), "day"),
        ("14 снежня 2011", "be", datetime(2011, 12, 14), "day"),
        ("11 июля 2011 г.", "ru", datetime(2011, 7, 11), "day"),
        ("11 июля 2011 г.", "be", datetime(2011, 7, 11), "day"),
        ("Mo, 11.07.2011", "de", datetime(2011, 7, 11), "day"),
        ("2011年7月11日", "zh", datetime(2011, 7, 11), "day"),
        ("2011-07-11", "en", datetime(2011, 7, 11), "day"),
        ("2011-07-11T14:35:06+03:00", "en", datetime(2011, 7, 11, 14, 35, 6), "second"),
        ("11 July 2011, 14:35", "en", datetime(2011, 7, 11, 14, 35), "minute"),
        ("July 11, 2011 2:37 pm", "en", datetime(2011, 7, 11, 14, 37), "minute"),
        ("July 11, 2011 12:07 am", "en", datetime(2011, 7, 11, 0, 7), "minute"),
        ("Posted on July 11, 2011 by Anna", "en", datetime(2011, 7, 11), "day"),
        ("July 2011", "en", datetime(2011, 7, 1), "month"),
        ("R6.5.17", "ja", datetime(2024, 5, 17), "day"),
        ("24.05.17", "ko", datetime(2024, 5, 17), "day"),
        ("17 พ.ค. 2567 10.45 น.", "th", datetime(2024, 5, 17, 10, 45), "minute"),
        ("17/5/67", "th", datetime(2024, 5, 17), "day"),
        ("05 06 2011", "de", datetime(2011, 6, 5), "day"),
        ("2011", "en", datetime(2011, 1, 1), "year"),
    ],
)
def test_what_is_printed_is_read(text, language, value, precision) -> None:
    found = read(text, language)
    assert (found.value, found.precision) == (value, precision)


@pytest.mark.parametrize(
    "text",
    ["May", "1", "11", "31/02/2011", "30 February 2011", "12:30", "Tuesday", "March 11", "11 Jul",
     "14 снежня", "no date at all", "", "   ", "iPhone 12 review", "0", "99.99.2011", "2011/13/45",
     "No. 5, 2011", "Sat 5 2011", "12:30 May 2011", "out 5, 2011", "here 5, 2011", "by 5, 2011",
     "Q2 2011", "about 2011", "3 min", "2 hours", "10 minutes read", "1 day",
     "17 and 18 May 2024", "17, 18, 19 May 2024", "May 17 - 19, 2024", "05 06 2011", "v1.2.2024",
     "tomorrow", "in 3 days", "5 July - 7 August 2011", "July 11 - July 15, 2011",
     "July 11, 2011 " * 4000, "5" * 50_000],
)  # fmt: skip
def test_nothing_is_invented(text) -> None:
    assert read(text, clock=NOON).value is None


def test_only_a_clock_reads_relative_dates() -> None:
    assert read("3 hours ago").value is None
    found = read("3 hours ago", clock=NOON)
    assert (found.value, found.precision, found.relative) == (datetime(2026, 11, 22), "day", True)
    assert read("yesterday", clock=NOON).value == datetime(2026, 11, 21)
    assert read("учора", "be", clock=NOON).value == datetime(2026, 11, 21)
    assert read("3 weeks ago", clock=NOON).value is None, "it names no day"


def days(texts, **more):
    return [r.value.date() if r.value else None for r in read_column(texts, **more)]


def test_the_column_decides_the_order_of_day_and_month() -> None:
    april, third = date(2011, 4, 3), date(2011, 3, 4)
    assert days(["03/04/2011", "25/03/2011"], language="en") == [april, date(2011, 3, 25)]
    assert days(["03/04/2011", "03/25/2011"], language="en") == [third, date(2011, 3, 25)]
    assert days(["03.04.2011"], language="en-US") == [april], "dots are day first everywhere"
    assert days(["03/04/2011"], language="en-US") == [third]
    assert days(["03/04/2011"], language="en-GB") == [april]
    assert days(["03/04/2011"], language="fr") == [april]
    assert days(["03/04/2011"], language="en") == [None], "nothing decides"
    assert days(["03/04/2011"], language="en", date_format="%d/%m/%Y") == [april]
    assert days(["06/02/2011", "05/02/2011", "01/03/2011", "12/03/2010"], language="en") == [
        date(2011, 6, 2), date(2011, 5, 2), date(2011, 1, 3), date(2010, 12, 3)
    ], "the reading that keeps the list in order"  # fmt: skip
    assert days(["25/03/2011", "03/25/2011"], language="fr") == [None, None], (
        "it contradicts itself"
    )
    assert days(["03/04/11", "25/04/11"], language="en")[0] == april


# A shape is learned from dateparser once; whatever is read with it must be dateparser's own answer.
SHAPES = {
    "en": ["{d} {month} {y}", "{month} {d}, {y}", "{d} {month} {y}, {h:02}:{m:02}", "{month} {d}, {y} {h12}:{m:02} {ampm}"],
    "be": ["{d} {month} {y}", "{d} {month} {y}, {h:02}:{m:02}"],
    "de": ["{d}. {month} {y}", "{d}. {month} {y} {h:02}:{m:02}"],
    "fr": ["{d} {month} {y}"],
    "es": ["{d} de {month} de {y}"],
}  # fmt: skip
MONTHS = {
    "en": "January February March April May June July August September October November December",
    "be": "студзеня лютага сакавіка красавіка мая чэрвеня ліпеня жніўня верасня кастрычніка "
    "лістапада снежня",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
}


@given(
    when=st.datetimes(datetime(1950, 1, 1), datetime(2049, 12, 31)),
    language=st.sampled_from(sorted(SHAPES)),
    data=st.data(),
)
def test_the_quick_way_agrees_with_dateparser(when, language, data) -> None:
    shape = data.draw(st.sampled_from(SHAPES[language]))
    text = shape.format(
        d=when.day, month=MONTHS[language].split()[when.month - 1], y=when.year, h=when.hour,
        m=when.minute, h12=when.hour % 12 or 12, ampm="am" if when.hour < 12 else "pm",
    )  # fmt: skip
    settings = {"REQUIRE_PARTS": ["day", "month", "year"], "PARSERS": ["absolute-time"]}
    assert read(text, language).value == dateparser.parse(
        text, languages=[language], settings=settings
    )


@given(st.text(max_size=120))
def test_any_text_is_read_or_refused(text) -> None:
    found = read(text, clock=NOON)
    assert (found.value is None) == (found.precision is None)


def test_the_clock_of_a_page_is_the_sources_own() -> None:
    from harvester import ListingPattern, read_listing

    page = "<html><body><li><b>Title</b><i>today</i></li></body></html>"
    pattern = ListingPattern(record="li", title="b", date="i")
    late = datetime(2026, 11, 22, 22, 30, tzinfo=UTC)
    for zone, day in [("UTC", 22), ("Europe/Minsk", 23), ("America/New_York", 22)]:
        [entry] = read_listing(
            page, "http://x/", pattern, language="en", timezone=zone, fetched_at=late
        ).entries
        assert entry.day == date(2026, 11, day)


def test_other_calendars_are_read_the_same_each_time() -> None:
    for text, language in (
        ("11 กรกฎาคม 2554", "th"),
        ("115.03.19", "zh-Hant"),
        ("平成23年7月11日", "ja"),
        ("1390/04/20", "fa"),
        ("2011 m. liepos 11 d.", "lt"),
    ):
        first, second = (read_column([text], language=language)[0] for _ in range(2))
        assert first == second and first.value is not None
        assert first.value.date() in (date(2011, 7, 11), date(2026, 3, 19))


@pytest.mark.parametrize(
    ("text", "language", "day"),
    [
        ("11-13 July 2011", "en", None),
        ("12/25/2011 - 12/30/2011", "en-US", None),
        ("July 11 - August 3, 2011", "en", None),
        ("28 July to 3 August 2011", "en", None),
        ("Minsk - 11 July 2011", "en", date(2011, 7, 11)),
        ("Press Release - 11/25/2011", "en-US", date(2011, 11, 25)),
        ("luglio 11, 2011 - 5:47 pm", "it", date(2011, 7, 11)),
        ("October 17, 2014 — Op. Atty. Gen 16-b", "en", date(2014, 10, 17)),
    ],
)
def test_a_range_of_days_is_no_day(text, language, day) -> None:
    value = read_column([text], language=language)[0].value
    assert (value.date() if value else None) == day
