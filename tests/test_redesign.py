"""Redesigns of pages, real ones and invented: flagged before anything is published, and mostly healed.

The real pages lie outside the repository; HARVESTER_CORPUS names the folder.  Seeds were chosen once.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from html import escape
from itertools import permutations
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pandas as pd
import pytest
from redesigns import Redesign, as_browsers_take_it, redesigned

from harvester.page import Page
from harvester.parsers.listing import Listing, read
from harvester.reading import Evidence, Read, Reader
from harvester.spider import ListingSpider
from pipelines.comparison import address_key
from pipelines.health import Habit, is_held

CORPUS = Path(os.environ.get("HARVESTER_CORPUS", "/nonexistent")) / "dev"
corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason="HARVESTER_CORPUS names no corpus")

FIRST = datetime(2026, 6, 1, 12, tzinfo=UTC)  # noon, so that "an hour ago" is today
LARGEST = 100_000  # bytes: longer pages take longer, and are redesigned alike


class Anything(ListingSpider):
    """A source whose listing is learned."""

    name = "anything"
    start_urls = ("https://example.org/",)


@dataclass(frozen=True, slots=True)
class Visited:
    """A page as a source first met it, and what is usual there since."""

    name: str
    url: str
    body: bytes
    read: Read
    habits: tuple[Habit, ...]

    def again(self, body: bytes) -> Read:
        """What the next run makes of this address, with this body."""
        reader = Reader(Anything(), self.habits, lambda habit: page(self.url, self.body))
        return reader.read(page(self.url, body, 1), evidence(1))

    def by_its_pattern(self, body: bytes) -> Listing:
        """What the pattern that read the page makes of another body."""
        return Anything().read(page(self.url, body, 1), self.read.listing.pattern)


def page(url: str, body: bytes, minute: int = 0) -> Page:
    return Page(url, body, 200, {"content-type": "text/html"}, FIRST + timedelta(minutes=minute))


def evidence(minute: int) -> Evidence:
    at = FIRST + timedelta(minutes=minute)
    return Evidence(f"run {minute}", "archive", f"record {minute}", at, at)


def visit(name: str, url: str, body: bytes) -> Visited:
    reader = Reader(Anything())
    found = reader.read(page(url, body), evidence(0))
    return Visited(name, url, body, found, reader.finish())


# ------------------------------------------------------------------ what came of it
class Tally:
    """What came of redesigns; ``wrong`` tells of each that must not be."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []

    def add(self, visited: Visited, design: Redesign) -> None:
        now = visited.again(design.body)
        right = design.shown_in(now.listing.entries)
        held = is_held(now.findings) or not now.listing.entries
        anew = any("learned anew" in finding.reason for finding in now.findings)
        told = f"{visited.name} {', '.join(design.operations)}"
        self.counts["all"] += 1
        if not held and not right and not now.findings:
            self.wrong.append(f"published without a word: {told}: {difference(design, now)}")
        if not held and not right and anew:
            self.wrong.append(f"healed wrong: {told}: {difference(design, now)}")
        if not design.gone and not design.shown_in(visited.by_its_pattern(design.body).entries):
            self.counts["broken"] += 1
            self.counts["healed"] += right and not held

    @property
    def healed(self) -> float:
        return self.counts["healed"] / self.counts["broken"]


def difference(design: Redesign, now: Read) -> str:
    """The first entry that is not what it was."""
    was, found = list(design.entries), list(now.listing.entries)
    for old, new in zip(was, found, strict=False):
        if (old.title, old.url, old.day) != (new.title, new.url, new.day):
            return f"{old.title!r} {old.url} {old.day} -> {new.title!r} {new.url} {new.day}"
    return f"{len(was)} entries -> {len(found)}"


# ------------------------------------------------------------------ pages that are invented here
PEOPLE = "court union mayor ministry parliament observers students farmers police doctors".split()
DEEDS = "reject praise postpone question welcome publish forbid reopen sell repair".split()
THINGS = "appeal budget report festival bridge hospital archive harvest election library".split()
PLACES = "Minsk Hrodna Brest Vitsebsk Homel Pinsk Orsha Lida Mir Slutsk".split()
DATES = ("%d %B %Y", "%Y-%m-%d", "%B %d, %Y", "%d/%m/%Y")


def invented(chance: Random) -> Visited:
    """A small listing page in one of several layouts."""
    layout = chance.choice([cards, bullets, table, definitions, linked_cards])
    form = chance.choice(DATES)
    day = datetime(2026, 5, 28)
    told = []
    for number in range(chance.randint(6, 20), 0, -1):
        who, deed, what = (chance.choice(words) for words in (PEOPLE, DEEDS, THINGS))
        place = chance.choice(PLACES)
        title = f"{place} {who} {deed} the {what} after {number + 3} days"
        teaser = (
            f"In {place}, {chance.choice(PEOPLE)} and {who} spoke about the {what} for {number} hours, "
            f"while {chance.choice(PEOPLE)} of {chance.choice(PLACES)} saw no reason to {deed} it."
        )
        told.append((f"/{day:%Y}/{what}-{number}", title, day.strftime(form), teaser))
        day -= timedelta(days=chance.randint(0, 3))
    body = (
        "<!DOCTYPE html><html lang=en><head><title>News</title></head><body>"
        '<div class="top"><a href="/">Home</a> <a href="/about">About</a></div>'
        f'<div class="content"><h1>News</h1>{layout(told)}</div>'
        '<div class="foot"><a href="/imprint">Imprint</a></div></body></html>'
    )
    url = "https://news.example.org/list"
    return visit(layout.__name__, url, as_browsers_take_it(body.encode()))


Told = list[tuple[str, str, str, str]]


def cards(told: Told) -> str:
    return "".join(
        f'<div class="card"><span class="when">{date}</span><h2 class="head"><a href="{url}">'
        f'{escape(title)}</a></h2><p class="lead">{escape(teaser)}</p></div>'
        for url, title, date, teaser in told
    )


def bullets(told: Told) -> str:
    items = "".join(
        f'<li class="entry"><a class="t" href="{url}">{escape(title)}</a> '
        f'<em class="d">{date}</em><div class="s">{escape(teaser)}</div></li>'
        for url, title, date, teaser in told
    )
    return f'<ul class="entries">{items}</ul>'


def table(told: Told) -> str:
    rows = "".join(
        f'<tr class="row"><td class="day">{date}</td><td class="what"><a href="{url}">{escape(title)}'
        "</a></td></tr>"
        for url, title, date, _ in told
    )
    return f'<table class="news"><tbody>{rows}</tbody></table>'


def definitions(told: Told) -> str:
    items = "".join(
        f'<article class="post"><header><h3><a href="{url}">{escape(title)}</a></h3>'
        f'<time class="at">{date}</time></header><div class="text"><p>{escape(teaser)}</p></div></article>'
        for url, title, date, teaser in told
    )
    return f'<section class="posts">{items}</section>'


def linked_cards(told: Told) -> str:
    return "".join(
        f'<div class="tile"><a href="{url}"><strong class="name">{escape(title)}</strong>'
        f'<span class="sum">{escape(teaser)}</span><small class="date">{date}</small></a></div>'
        for url, title, date, teaser in told
    )


def test_redesigns_of_invented_pages() -> None:
    chance = Random(1)
    tally = Tally()
    while tally.counts["all"] < 150:
        visited = invented(chance)
        assert visited.read.listing.pattern is not None
        for _ in range(5):
            if design := design_of(visited, chance):
                tally.add(visited, design)
    assert tally.wrong == []
    assert tally.healed >= 0.9, tally.counts


def design_of(visited: Visited, chance: Random) -> Redesign | None:
    """A redesign of a page; one in four takes fields away."""
    listing = visited.read.listing
    assert listing.pattern is not None
    losing = chance.random() < 0.25
    return redesigned(visited.body, listing.pattern, listing.entries, chance, losing)


# ------------------------------------------------------------------ pages of the corpus
@cache
def names() -> list[str]:
    """The pages of a size and with so many entries that something can be learned."""
    found = []
    for path in sorted((CORPUS / "truth").glob("*.json")):
        entries = json.loads(path.read_text("utf-8"))["entries"]
        size = (CORPUS / "pages" / f"{path.stem}.html").stat().st_size
        if entries and len(entries) >= 4 and size <= LARGEST:
            found.append(path.stem)
    return found


@cache
def truth(name: str) -> dict:
    return json.loads((CORPUS / "truth" / f"{name}.json").read_text("utf-8"))


def address(name: str) -> str:
    return truth(name).get("page_url") or truth(name)["url"]


def body_of(name: str) -> bytes:
    return (CORPUS / "pages" / f"{name}.html").read_bytes()


def host(name: str) -> str:
    return urlsplit(address(name)).netloc.removeprefix("www.")


@cache
def met(name: str) -> Visited:
    """A page of the corpus as it lies there."""
    return visit(name, address(name), body_of(name))


@corpus
def test_redesigns_of_real_pages() -> None:
    chance = Random(2)
    tally = Tally()
    for name in chance.sample(names(), len(names())):
        if tally.counts["all"] >= 500:
            break
        visited = visit(name, address(name), as_browsers_take_it(body_of(name)))
        if visited.read.listing.pattern is None:
            continue
        for _ in range(12):
            if design := design_of(visited, chance):
                tally.add(visited, design)
    assert tally.counts["all"] >= 500
    assert tally.wrong == []
    assert tally.healed >= 0.9, tally.counts


def pairs() -> Iterator[tuple[str, str]]:
    """Two pages of one site, or one in two years, either after the other."""
    sites: dict[str, list[str]] = {}
    for path in sorted((CORPUS / "truth").glob("*.json")):
        if truth(path.stem)["entries"] is not None:
            sites.setdefault(host(path.stem), []).append(path.stem)
    for found in sites.values():
        yield from permutations(found, 2)


@corpus
def test_another_page_of_the_site_is_read_as_well_as_if_it_were_new_or_told() -> None:
    wrong = []
    outcomes: Counter[str] = Counter()
    for one, other in pairs():
        now = met(one).again(body_of(other))
        if is_held(now.findings) or not now.listing.entries:
            outcomes["held"] += 1
            continue
        outcomes["published"] += 1
        anew = any("learned anew" in finding.reason for finding in now.findings)
        new = read(page(address(one), body_of(other)))
        got, fresh = share(other, now.listing), share(other, new)
        if got < fresh and (anew or not now.findings):
            wrong.append(f"{one} -> {other}: {got:.2f}, where learning gives {fresh:.2f}")
    assert wrong == []
    assert outcomes["published"] > 40
    assert outcomes["held"] > 10


def share(name: str, listing: Listing) -> float:
    """The F1 of titles and addresses against the truth."""
    true = Counter(
        (fold(e["title"]), e["url"] and address_key(e["url"])) for e in truth(name)["entries"]
    )
    found = Counter((fold(e.title), e.url and address_key(e.url)) for e in listing.entries)
    return 2 * (true & found).total() / (true.total() + found.total())


def fold(text: str | None) -> str:
    return " ".join((text or "").casefold().split())


@corpus
def test_a_page_of_another_site_is_never_published() -> None:
    chance = Random(3)
    published = []
    tried = 0
    while tried < 200:
        one, other = chance.sample(names(), 2)
        if host(one) == host(other) or not met(one).read.listing.entries:
            continue
        tried += 1
        now = met(one).again(body_of(other))
        if now.listing.entries and not is_held(now.findings):
            published.append(f"{one} -> {other}: {[f.reason for f in now.findings]}")
    assert published == []


# ------------------------------------------------------------------ from end to end
def test_a_crawl_heals_or_holds_what_was_redesigned(run, site, tmp_path) -> None:
    chance = Random(4)
    for number, losing in enumerate([False, False, True, False, True]):
        visited, design = invented(chance), None
        every = frozenset(range(len(visited.read.listing.entries)))
        while design is None or design.gone != ({"date": every} if losing else {}):
            design = design_of(visited, chance)
        path, output = f"/{number}/list", tmp_path / str(number)
        start = ["--start-url", site.url(path), "--output", output]
        site.pages[path] = visited.body
        assert run("harvester", "crawl", "belhelcom", *start).code == 0
        before = pd.read_parquet(output / "entries")
        site.pages[path] = design.body
        done = run("harvester", "crawl", "belhelcom", *start)
        assert done.code == (69 if losing else 0), (design.operations, done.err)
        assert len(done.err.splitlines()) == (1 if losing else 0)
        told = ["entry_id", "title", "url", "published", "teaser", "revision"]
        after = pd.read_parquet(output / "entries")
        pd.testing.assert_frame_equal(before[told], after[told])
