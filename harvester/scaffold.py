"""A new source: what was learned from a page, as the text of the source's file and its recorded page.

Everything is decided by pure functions, and ``write`` alone touches the disk: all files or none, and
nothing is overwritten.
"""

from __future__ import annotations

import builtins
import keyword
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import fill
from typing import Any, Final

from harvester.expected import EXPECTED, PAGE, expected_json
from harvester.page import Page
from harvester.parsers.listing import Listing, read
from harvester.parsers.pattern import ListingPattern
from harvester.project import Rooms
from pipelines.run import SOURCE_NAME

SURE: Final = 0.9  # below, more than one page in ten is read wrongly
_WIDTH: Final = 100  # of a line, as the formatter has it
_DEVICES: Final = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)))
)
_IMPORTED: Final = frozenset(("ListingPattern", "ListingSpider"))
_LIBRARIES: Final = frozenset(("harvester", "pipelines", "scrapy"))
_OFFSET: Final = re.compile(
    rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?([+-]\d\d):?(\d\d)(?!\d)"
)
_CLASSES: Final = re.compile(r"(?:\.[\w-]+){4,}")
_POSITION: Final = re.compile(r":nth-(?:of-type|child)\((?!odd|even)")
_LONG_NUMBER: Final = re.compile(r"\d{3,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A source as it would be written, and what it reads from the page that it was learned from.

    ``offsets`` are those of the page's own dates, "+03:00"; ``zoned`` where a person gave the zone.
    """

    name: str
    start_url: str
    language: str | None
    timezone: str
    zoned: bool
    offsets: tuple[str, ...]
    page: Page
    listing: Listing

    @property
    def confidence(self) -> float:
        """How likely it is that all entries are right; see ``Evidence``."""
        return self.listing.evidence.confidence


def module_of(name: str) -> str:
    """The module of a source: "-" may stand in a name, and not in a module's."""
    return name.replace("-", "_")


def unfit(name: str) -> str | None:
    """Why a source cannot have a name; ``None`` where it can."""
    if not SOURCE_NAME.fullmatch(name):
        return "a name begins with a-z and has up to 64 of a-z, 0-9, _ and -"
    module = module_of(name)
    if keyword.iskeyword(module):
        return "it is a word of Python's"
    if module in sys.stdlib_module_names or module in _LIBRARIES:
        return "a file of this name would hide a module of the same name"
    if module in _DEVICES:
        return "Windows has no files of this name"
    return None


def draft(
    page: Page,
    *,
    name: str,
    start_url: str,
    language: str | None = None,
    timezone: str | None = None,
    hint: Mapping[str, Any] | None = None,
) -> Draft:
    """Learn a page.  The draft's listing has no pattern where the page is no listing."""
    offsets = offsets_of(page.body)
    zone = timezone or zone_of(offsets)
    listing = read(page, language=language, timezone=zone, hint=hint)
    if listing.pattern is not None:
        pattern = lasting(listing.pattern, hint or {})
        again = read(page, pattern, language=language or listing.language, timezone=zone)
        listing = replace(again, evidence=listing.evidence)
    return Draft(
        name=name,
        start_url=start_url,
        language=language or listing.language,
        timezone=zone,
        zoned=timezone is not None,
        offsets=offsets,
        page=page,
        listing=listing,
    )


def lasting(pattern: ListingPattern, hint: Mapping[str, Any]) -> ListingPattern:
    """A pattern without what holds for one page of a listing: a link called by its number.

    Without ``next_page`` the pager of every page is looked for.
    """
    learned = pattern.next_page is not None and "next_page" not in hint
    if learned and re.search(r"\d", pattern.next_page or ""):
        return replace(pattern, next_page=None)
    return pattern


def offsets_of(body: bytes) -> tuple[str, ...]:
    """The offsets from UTC that a page's own dates have, JSON-LD's too; UTC itself says nothing."""
    found = {f"{hours.decode()}:{minutes.decode()}" for hours, minutes in _OFFSET.findall(body)}
    return tuple(sorted(found - {"+00:00", "-00:00"}))


def zone_of(offsets: tuple[str, ...]) -> str:
    """The zone of a page's dates, where they have one offset of whole hours; "UTC" otherwise."""
    if len(offsets) != 1 or not offsets[0].endswith(":00"):
        return "UTC"
    hours = int(offsets[0].partition(":")[0])
    # Named the POSIX way: Etc/GMT-3 is three hours ahead of UTC.
    return f"Etc/GMT{-hours:+d}" if -12 <= hours <= 14 else "UTC"


def doubts(draft: Draft) -> Iterator[str]:
    """What a person should look at first, a line each."""
    if draft.confidence < SURE:
        sure = f"confidence {draft.confidence:.2f} of 1"
        yield f"learning is not sure of this page, {sure}: compare every entry; --hint settles a field"
    pattern = draft.listing.pattern
    for field, value in pattern.to_dict().items() if pattern else ():
        if field != "date_format" and isinstance(value, str) and _may_not_last(value):
            yield f"{field} = {literal(value)} may fit this page alone; try it on another page"


def asks(draft: Draft) -> list[str]:
    """What the comments in the source's file ask a person to set."""
    return (["the language"] if draft.language is None else []) + (
        [] if draft.zoned else ["the time zone"]
    )


def _may_not_last(selector: str) -> bool:
    """Whether a selector counts elements, or names many classes, or one with a long number in it."""
    return any(form.search(selector) for form in (_CLASSES, _POSITION, _LONG_NUMBER))


def places(name: str, rooms: Rooms) -> tuple[Path, ...]:
    """What lies where a source's files would, or in its way."""
    module = rooms.sources / module_of(name)
    return (module, module.with_suffix(".py"), rooms.recorded / name)


def files(draft: Draft, rooms: Rooms) -> dict[Path, bytes]:
    """The files of a source.  The last is the source itself, which makes it known."""
    recorded = rooms.recorded / draft.name
    return {
        recorded / PAGE: draft.page.body,
        recorded / EXPECTED: expected_json(draft.page, draft.listing).encode(),
        rooms.sources / f"{module_of(draft.name)}.py": source_text(draft).encode(),
    }


def source_text(draft: Draft) -> str:
    """The file of a source, formatted as ruff formats it."""
    pattern = draft.listing.pattern
    assert pattern is not None  # a page without a listing makes no source
    # Python's docstrings and comments hold nothing of the page: it could end or disguise them.
    where = draft.start_url.replace("\\", "%5C").replace('"', "%22")
    lines = [
        f'"""The listing at {where}.',
        "",
        *_story(draft),
        '"""',
        "",
        "from harvester.parsers.pattern import ListingPattern",
        "from harvester.spider import ListingSpider",
        "",
        "",
        f"class {class_of(draft.name)}(ListingSpider):",
        f'    """What {where} lists."""',
        "",
        f"    name = {literal(draft.name)}",
        *_start_urls(draft.start_url),
        *_language(draft.language),
        *_timezone(draft),
        "    pattern = ListingPattern(",
        *(f"        {name}={literal(value)}," for name, value in pattern.to_dict().items()),
        "    )",
    ]
    return "\n".join(lines) + "\n"


def _story(draft: Draft) -> list[str]:
    """What was verified, for the docstring: nothing."""
    at = draft.page.fetched_at
    day = f" on {at:%Y-%m-%d}" if at else ""
    text = (
        f"Written by `harvester add`{day}.  Not verified: the selectors were learned from one page, and "
        f"nobody has compared its {len(draft.listing.entries)} entries with it.  Page and entries lie in "
        f"``tests/sources/{draft.name}/``; once they are reviewed, say here what was verified, on what."
    )
    return fill(text, _WIDTH, break_on_hyphens=False, break_long_words=False).splitlines()


def _start_urls(url: str) -> list[str]:
    line = f"    start_urls = [{literal(url)}]"
    if len(line) <= _WIDTH:
        return [line]
    return ["    start_urls = [", f"        {literal(url)},", "    ]"]


def _language(language: str | None) -> list[str]:
    if language is None:
        return [
            '    # The page does not say its language; set it, as "en": it tells how dates are written.',
            "    language = None",
        ]
    return [f"    language = {literal(language)}"]


def _timezone(draft: Draft) -> list[str]:
    lines = [f"    timezone = {literal(draft.timezone)}"]
    if draft.zoned:
        return lines
    told = " and ".join(draft.offsets[:3])
    if draft.timezone != "UTC":
        note = (
            f'The page\'s dates say {told}; a place, as "Europe/Minsk", knows its summer time too.'
        )
    elif told:
        note = f'The page\'s dates say {told}; set the place, as "Europe/Minsk", for "3 hours ago".'
    else:
        note = (
            'The page names no time zone; set it, as "Europe/Minsk": "3 hours ago" counts from it.'
        )
    return [f"    # {note}", *lines]


def class_of(name: str) -> str:
    """The class of a source, "AmnestyOrg" for "amnesty_org"."""
    words = "".join(word.capitalize() for word in re.split("[_-]", name))
    taken = words in _IMPORTED or hasattr(builtins, words)
    return f"{words}Source" if taken else words


def literal(value: str | bool) -> str:
    """A value as ruff writes it: in double quotes, where single ones need no fewer escapes."""
    if isinstance(value, bool):
        return repr(value)
    quote = "'" if value.count('"') > value.count("'") else '"'
    # ``repr`` escapes all but the quotes that it chooses by itself.
    body = "".join(f"\\{c}" if c == quote else c if c in "'\"" else repr(c)[1:-1] for c in value)
    return f"{quote}{body}{quote}"


def write(files: Mapping[Path, bytes]) -> None:
    """Write all files or none, and none that exists.  Raises ``OSError``."""
    made: list[Path] = []
    try:
        for path, data in files.items():
            for folder in reversed(path.parents):
                if not folder.exists():
                    folder.mkdir()
                    made.append(folder)
            with path.open("xb") as file:
                made.append(path)
                file.write(data)
    except BaseException:
        for path in reversed(made):
            with suppress(OSError):  # the first trouble is the one to tell of
                (path.rmdir if path.is_dir() else path.unlink)()
        raise
