"""Dates of a known format, as ratios to dateparser, and whether the two ever disagree.

    python benchmarks/dates.py

Days of a century in the month names of every language that dateparser knows, in the form in which it
reads them itself.  A text that we refuse to read is told; one that we read otherwise is a fault.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

import dateparser
from dateparser.data import date_translation_data

from harvester.parsers.dates import read_column

MONTHS = (
    "january february march april may june july august september october november december"
).split()
WHOLE = {"PARSERS": ["absolute-time"], "REQUIRE_PARTS": ["day", "month", "year"]}  # no "now"
EACH = 12  # texts of a language that dateparser is asked about, too
MANY = 3000  # texts that we are timed with


def main() -> None:
    """Compare, then time."""
    chance = random.Random(7)
    days = [date(1950, 1, 1) + timedelta(days=chance.randrange(36_500)) for _ in range(MANY)]
    agreed = refused = wrong = 0
    ratios = []
    for name in sorted(m.name for m in pkgutil.iter_modules(date_translation_data.__path__)):
        info = importlib.import_module(f"dateparser.data.date_translation_data.{name}").info
        names = [str(info[month][0]) for month in MONTHS if info.get(month)]
        if len(names) < 12 or "_" in name or "-" in name:
            continue
        texts = [f"{day.day} {names[day.month - 1]} {day.year}" for day in days]
        start = time.process_time()
        asked = [
            dateparser.parse(text, languages=[name, "en"], settings=WHOLE) for text in texts[:EACH]
        ]
        theirs = (time.process_time() - start) / EACH
        read = read_column(texts, language=name)
        start = time.process_time()
        read_column(texts, language=name)
        ours = (time.process_time() - start) / len(texts)
        for text, told, found in zip(texts, asked, read, strict=False):
            if found.value is None:
                refused += 1
            elif told is not None and told.date() == found.value.date():
                agreed += 1
            else:
                wrong += 1
                print(f"{name}: {text!r} is {found.value:%Y-%m-%d} here, {told} there")
        if read[0].value is not None:
            ratios.append(theirs / ours)
    print(f"{len(ratios)} languages: {agreed} texts agree, {refused} are refused, {wrong} disagree")
    print(
        f"a text of a known format: dateparser takes {median(ratios):,.0f} times as long (median)"
    )


if __name__ == "__main__":
    main()
