"""Redesigns of listing pages: what the people of a site do to it between two visits, at random.

A page goes in with the pattern that reads it and what it reads; a page comes out that a browser shows
without repairing it, and what a reader should find there.  The same seed gives the same redesigns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from bs4 import BeautifulSoup, Comment, NavigableString, Tag
from selectolax.lexbor import LexborHTMLParser
from soupsieve import SelectorSyntaxError

from harvester.page import Page
from harvester.parsers.pattern import ListingPattern, compile_field
from pipelines.entry import Entry

LETTERS = "abcdefghijklmnopqrstuvwxyz"
# Elements whose edges no reader sees white space at.
BLOCKS = frozenset(
    "html head body main section article aside header footer nav div ul ol li dl dt dd table thead"
    " tbody tr td th h1 h2 h3 h4 h5 h6 p form figure".split()
)
_TAG = re.compile(r"</?[a-zA-Z][a-zA-Z0-9]*")
OTHER_TAGS = {
    "article": "div", "section": "div", "li": "div", "ul": "div", "ol": "div", "h1": "h2",
    "h2": "h3", "h3": "h4", "h4": "h3", "span": "em", "time": "span", "p": "div", "strong": "b",
}  # fmt: skip


@dataclass(slots=True)
class Draft:
    """A page under redesign: its tree, its records, and what each of them shows, in page order."""

    soup: BeautifulSoup
    pattern: ListingPattern
    records: list[Tag]
    entries: list[Entry]
    chance: Random
    gone: dict[str, frozenset[int]] = field(default_factory=dict)

    def part(self, record: Tag, name: str) -> Tag | None:
        """The element that shows a field of a record, if it has one of its own."""
        selector = getattr(self.pattern, name)
        if not selector:
            return None
        told = compile_field(selector)
        if not told.selector or told.above or told.text:
            return None
        found = record.select(told.selector)
        return found[told.nth - 1] if len(found) >= told.nth else None

    def link(self, record: Tag) -> Tag | None:
        """The link of a record's title, or the title's own."""
        title = self.part(record, "title")
        for one in (self.part(record, "link"), title, title and title.find("a", href=True)):
            if isinstance(one, Tag) and one.name == "a" and one.get("href"):
                return one
        return title.find_parent("a", href=True) if title is not None else None

    def list_of_records(self) -> Tag:
        """The smallest element that holds all records."""
        shared = list(self.records[0].parents)
        for record in self.records[1:]:
            above = set(map(id, record.parents))
            shared = [each for each in shared if id(each) in above]
        return next(each for each in shared if isinstance(each, Tag))


@dataclass(frozen=True, slots=True)
class Redesign:
    """A redesigned page, what was done to it, and the entries that it shows.

    ``gone`` are the fields that records no longer show, each with the places of these records.
    """

    body: bytes
    operations: tuple[str, ...]
    entries: tuple[Entry, ...]
    gone: dict[str, frozenset[int]]

    def shown_in(self, found: Sequence[Entry]) -> bool:
        """Whether a reading is what the page shows: title, address and day of each entry, in order.

        What a record shows no longer in its place is right when it is missing, or as it was.
        """
        if len(found) != len(self.entries):
            return False
        return all(
            got == told or (got is None and number in self.gone.get(name, ()))
            for number, (new, old) in enumerate(zip(found, self.entries, strict=True))
            for name, got, told in (
                ("title", new.title, old.title),
                ("link", new.url, old.url),
                ("date", new.day, old.day),
            )
        )


Operation = Callable[[Draft], None]


class NotSo(Exception):
    """A page that an operation cannot be done to."""


# ------------------------------------------------------------------ of the whole page
def rename_all(draft: Draft) -> None:
    _rename(draft, 1.0)


def rename_some(draft: Draft) -> None:
    _rename(draft, 0.5)


def _rename(draft: Draft, share: float) -> None:
    names: dict[str, str] = {}

    def new(name: str) -> str:
        if name not in names:
            word = "".join(draft.chance.choices(LETTERS, k=7))
            names[name] = word if draft.chance.random() < share else name
        return names[name]

    for tag in draft.soup.find_all(True):
        if tag.get("class"):
            tag["class"] = [new(name) for name in tag["class"]]
        if tag.get("id"):
            tag["id"] = new(str(tag["id"]))


def drop_names(draft: Draft) -> None:
    for tag in draft.soup.find_all(True):
        tag.attrs.pop("class", None)
        tag.attrs.pop("id", None)


def other_tags(draft: Draft) -> None:
    for tag in draft.soup.find_all(list(OTHER_TAGS)):
        tag.name = OTHER_TAGS[tag.name]


def reverse_attributes(draft: Draft) -> None:
    for tag in draft.soup.find_all(True):
        tag.attrs = dict(reversed(tag.attrs.items()))


def minify(draft: Draft) -> None:
    for text in list(draft.soup.find_all(string=True)):
        if isinstance(text, Comment):
            text.extract()
        elif type(text) is NavigableString and not text.find_parent(["pre", "textarea"]):
            near = (text.previous_sibling, text.next_sibling, text.parent)
            at_edge = any(isinstance(tag, Tag) and tag.name in BLOCKS for tag in near)
            if not text.strip() and at_edge:
                text.extract()
            else:
                text.replace_with(re.sub(r"[ \t\r\n]+", " ", text))


# ------------------------------------------------------------------ of the list
def wrap_list(draft: Draft) -> None:
    around = draft.list_of_records()
    if around.name == "body":
        _wrap_inside(draft, around, "section", "listing-v2")
    else:
        around.wrap(draft.soup.new_tag("section", attrs={"class": "listing-v2"}))


def wrap_records(draft: Draft) -> None:
    for record in draft.records:
        record.wrap(draft.soup.new_tag("div", attrs={"class": "card-wrap"}))


def wrap_insides(draft: Draft) -> None:
    for record in draft.records:
        _wrap_inside(draft, record, "div", "inner")


def _wrap_inside(draft: Draft, tag: Tag, name: str, label: str) -> None:
    inner = draft.soup.new_tag(name, attrs={"class": label})
    for child in list(tag.children):
        inner.append(child.extract())
    tag.append(inner)


def fewer_records(draft: Draft) -> None:
    total = len(draft.records)
    kept = draft.chance.randint((total + 1) // 2, total - 1) if total > 5 else total
    if kept == total:
        raise NotSo
    for record in draft.records[kept:]:
        record.decompose()
    del draft.records[kept:]
    del draft.entries[kept:]


# ------------------------------------------------------------------ of each record
def move_date(draft: Draft) -> None:
    _move(draft, "date")


def move_teaser(draft: Draft) -> None:
    _move(draft, "teaser")


def move_title(draft: Draft) -> None:
    _move(draft, "title")


def _move(draft: Draft, name: str) -> None:
    """To the beginning or to the end of the record, the same in all."""
    first = draft.chance.random() < 0.5
    moved = 0
    for record in draft.records:
        part = draft.part(record, name)
        if part is None or _holds_others(draft, record, part, name):
            continue
        part.extract()
        record.insert(0 if first else len(record.contents), part)
        moved += 1
    if not moved:
        raise NotSo


def _holds_others(draft: Draft, record: Tag, part: Tag, name: str) -> bool:
    """Whether the element of a field is that of another one, too, or is around it."""
    others = [draft.part(record, other) for other in ("title", "date", "teaser") if other != name]
    return any(one is part or part in one.parents for one in others if one is not None)


def swap_classes(draft: Draft) -> None:
    one, other = draft.chance.sample(["title", "date", "teaser"], 2)
    swapped = 0
    for record in draft.records:
        a, b = draft.part(record, one), draft.part(record, other)
        if a is not None and b is not None and a is not b and a.get("class") != b.get("class"):
            names = a.get("class"), b.get("class")
            for tag, given in ((a, names[1]), (b, names[0])):
                tag.attrs.pop("class", None)
                if given:
                    tag["class"] = given
            swapped += 1
    if not swapped:
        raise NotSo


def card_as_link(draft: Draft) -> None:
    """The whole card leads to the article."""
    for record in draft.records:
        link = draft.link(record)
        if link is None or link is record:
            raise NotSo
        address = link["href"]
        for tag in record.find_all("a"):
            tag.name = "span"
            tag.attrs.pop("href", None)
        around = draft.soup.new_tag("a", attrs={"class": "card", "href": address})
        for child in list(record.children):
            around.append(child.extract())
        record.append(around)


# ------------------------------------------------------------------ beside the list
def navigation(draft: Draft) -> None:
    items = "".join(
        f'<li class="item"><a href="/topic/{n}">Topic number {n} and more</a></li>'
        for n in range(1, 13)
    )
    _beside(draft, f'<ul class="menu">{items}</ul>')


def related(draft: Draft) -> None:
    cards = "".join(
        f'<div class="rel"><a href="/dossier/{n}/"><h4>A dossier of ours, part {n}</h4></a>'
        f"<p>What we found out about this in year {1990 + n}, told at length.</p></div>"
        for n in range(1, draft.chance.randint(5, 9))
    )
    _beside(draft, f'<aside class="related"><h3>Dossiers</h3>{cards}</aside>')


def most_read(draft: Draft) -> None:
    """Entries that the list shows, too."""
    links = [(link["href"], e.title) for r, e in zip(draft.records, draft.entries, strict=True)
             if (link := draft.link(r)) is not None and e.title]  # fmt: skip
    some = draft.chance.sample(links, min(len(links), 5))
    items = draft.soup.new_tag("ol", attrs={"class": "top"})
    for address, title in some:
        item, link = draft.soup.new_tag("li"), draft.soup.new_tag("a", attrs={"href": address})
        link.string = title
        item.append(link)
        items.append(item)
    _beside(draft, f'<div class="most"><h3>Most read</h3>{items}</div>')


def _beside(draft: Draft, html: str) -> None:
    block = BeautifulSoup(html, "html.parser").find(True)
    assert block is not None
    around = draft.list_of_records()
    before = draft.chance.random() < 0.5
    if around.name == "body":
        draft.records[0].insert_before(block) if before else around.append(block)
    else:
        (around.insert_before if before else around.insert_after)(block)


KEEPING: tuple[Operation, ...] = (
    rename_all, rename_some, drop_names, other_tags, reverse_attributes, minify, wrap_list,
    wrap_records, wrap_insides, fewer_records, move_date, move_teaser, move_title, swap_classes,
    card_as_link, navigation, related, most_read,
)  # fmt: skip
# These make of what other operations look for something else; they come last.
LAST = (rename_all, rename_some, drop_names, other_tags)
# Flat listings have no element for a record.
OF_RECORDS = (
    wrap_records, wrap_insides, fewer_records, move_date, move_teaser, move_title, card_as_link
)  # fmt: skip


def remove(name: str, share: float) -> Operation:
    """Take a field (``link``: the addresses) from all records, or from so many."""

    def remove(draft: Draft) -> None:
        having = [n for n, r in enumerate(draft.records) if _removable(draft, r, name)]
        count = round(share * len(draft.records))
        if count < 3 or len(having) < count:
            raise NotSo
        chosen = frozenset(draft.chance.sample(having, count) if share < 1 else having)
        for number in chosen:
            record = draft.records[number]
            if name == "link":
                for tag in record.find_all("a"):
                    tag.name = "span"
                    tag.attrs.pop("href", None)
            else:
                part = draft.part(record, name)
                assert part is not None
                part.decompose()
        draft.gone[name] = chosen
        if name == "title":  # its link goes with it
            draft.gone["link"] = chosen

    remove.__name__ = f"remove_{name}_of_{'all' if share == 1 else 'some'}"
    return remove


def _removable(draft: Draft, record: Tag, name: str) -> bool:
    if name == "link":
        return record.name != "a" and draft.link(record) in record.find_all("a")
    part = draft.part(record, name)
    return part is not None and not _holds_others(draft, record, part, name)


REMOVING = tuple(
    remove(name, share) for name in ("date", "teaser", "link", "title") for share in (1, 0.5)
)


def redesigned(
    body: bytes, pattern: ListingPattern, entries: Sequence[Entry], chance: Random, losing: bool
) -> Redesign | None:
    """The page after one to three operations, ``losing`` with fields removed before.

    ``None`` where the operations cannot be done, or do not give a page that browsers take as it is.
    """
    pool = [o for o in KEEPING if not (pattern.flat and o in OF_RECORDS)]
    chosen = chance.sample(pool, chance.choice([1, 1, 2, 2, 3, 4]))
    chosen.sort(key=lambda operation: operation in LAST)
    if losing:
        chosen.insert(0, chance.choice(REMOVING))
    draft = _draft(body, pattern, entries, chance)
    if draft is None:
        return None
    try:
        for operation in chosen:
            operation(draft)
    except NotSo:
        return None
    page = str(draft.soup)
    if not _is_valid(page):
        return None
    return Redesign(
        page.encode(), tuple(o.__name__ for o in chosen), tuple(draft.entries), draft.gone
    )


def as_browsers_take_it(body: bytes) -> bytes:
    """A page that needs no repair, in UTF-8: one that redesigns are made of."""
    return str(_soup(Page("", body).utf8)).encode()


def _draft(
    body: bytes, pattern: ListingPattern, entries: Sequence[Entry], chance: Random
) -> Draft | None:
    soup = _soup(body)
    try:
        records = soup.select(pattern.record)
    except SelectorSyntaxError:
        return None
    if len(records) != len(entries):  # where two readers of CSS do not agree
        return None
    return Draft(soup, pattern, records, list(entries), chance)


def _soup(body: bytes) -> BeautifulSoup:
    return BeautifulSoup(LexborHTMLParser(body).html or "", "html.parser")


def _is_valid(page: str) -> bool:
    """Whether a browser makes of a page just the tree that is written down."""
    return _TAG.findall(page) == _TAG.findall(LexborHTMLParser(page).html or "")
