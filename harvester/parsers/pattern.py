"""ListingPattern: where a listing keeps its records and their fields.

Written by hand to pin a source, printed by ``harvester peek``, learned where nobody wrote one.  Its
text form is TOML:

    record = "article.post"
    title = ".post-title a"
    date = "time::attr(datetime)"

A field is a CSS selector, looked up inside the record (the record itself counts); the first match in
document order speaks.  What may follow it:

    ::attr(name)   an attribute instead of the text; alone, the record's own
    ::nth(2)       the second match instead of the first
    ::text(2)      the second of the texts that stand in the element beside other elements
    ::above        the last match before the record and outside of all records: a day's heading;
                   alone, the text directly before the record

With ``flat = true`` a record is the matched element and the siblings after it up to the next one.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Final, Self

from selectolax.lexbor import LexborHTMLParser, SelectolaxError

_SUFFIX: Final = re.compile(
    r"(?P<selector>.*?)\s*(?:::nth\(\s*(?P<nth>[1-9]\d?)\s*\))?"
    r"(?:::attr\(\s*(?P<attribute>[\w:-]+)\s*\)|::text\(\s*(?P<text>[1-9]\d?)\s*\)|(?P<above>::above))?\s*",
    re.DOTALL,
)


class PatternError(ValueError):
    """A pattern that cannot be used; the message names the field and what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingPattern:
    """The selectors of a listing.  A field that is ``None`` is not printed by the listing.

    ``link`` may be left out where the title is the link, is inside it, or holds it.  ``next_page``
    left out means that the pager is looked for.  ``date_format`` is a strptime format; it settles the
    order of day and month, "%d/%m/%Y" or "%m/%d/%Y".
    """

    record: str
    flat: bool = False
    title: str | None = None
    link: str | None = None
    date: str | None = None
    teaser: str | None = None
    kind: str | None = None
    next_page: str | None = None
    date_format: str | None = None

    def __post_init__(self) -> None:
        check_fields(self.to_dict())

    def to_dict(self) -> dict[str, str | bool]:
        """The fields that are set, in their order."""
        pairs = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: value for name, value in pairs if value is not None and value is not False}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The pattern with these fields.  Raises ``PatternError`` for unknown or missing ones."""
        check_fields(values)
        if "record" not in values:
            raise PatternError("record: missing; it is the selector of one entry of the list")
        return cls(**values)  # type: ignore[arg-type]

    def to_toml(self) -> str:
        """The text form."""
        return _written(self)

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Read the text form.  Raises ``PatternError``."""
        return cls.from_dict(_read_toml(text))


FIELDS: Final = tuple(f.name for f in fields(ListingPattern))


@lru_cache(maxsize=1024)  # each page is held against the pattern of the page before, as text
def _written(pattern: ListingPattern) -> str:
    """A TOML basic string escapes as a JSON string does."""
    told = pattern.to_dict().items()
    return "".join(f"{k} = {json.dumps(v, ensure_ascii=False)}\n" for k, v in told)


@lru_cache(maxsize=1024)
def pattern_from(text: str) -> ListingPattern:
    """The pattern of a text form, which was read before, as a rule.  Raises ``PatternError``."""
    return ListingPattern.from_toml(text)


def check_fields(values: Mapping[str, object]) -> None:
    """Whether these can be fields of a pattern, all of it or a part.  Raises ``PatternError``."""
    for name, value in values.items():
        if name not in FIELDS:
            raise PatternError(f"unknown field {name!r}; known are {', '.join(FIELDS)}")
        if name == "flat":
            if not isinstance(value, bool):
                raise PatternError(f"flat: expected true or false, got {value!r}")
        elif not isinstance(value, str) or not value.strip():
            raise PatternError(f"{name}: expected a selector, got {value!r}")
        elif name != "date_format":
            _check(name, value)
        elif not {"%d", "%m", "%b", "%B"} & set(re.findall(r"%-?[a-zA-Z]", value)):
            raise PatternError(
                f"date_format: {value!r} names no day and no month, as %d/%m/%Y does"
            )


def hint_from_toml(text: str) -> dict[str, object]:
    """Some fields of a pattern, which learning has to keep.  Raises ``PatternError``."""
    values = _read_toml(text)
    check_fields(values)
    return values


def _read_toml(text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PatternError(f"not TOML: {error}") from error


@dataclass(frozen=True, slots=True)
class Field:
    """One compiled field; an empty selector is the record itself, ``nth`` counts from 1."""

    selector: str
    nth: int = 1
    attribute: str | None = None
    text: int | None = None
    above: bool = False


@lru_cache(maxsize=1024)
def compile_field(text: str) -> Field:
    """Split a field into its selector and what follows it."""
    match = _SUFFIX.fullmatch(text)
    assert match is not None  # every part of the expression may be empty
    return Field(
        selector=match["selector"].strip(),
        nth=int(match["nth"] or 1),
        attribute=match["attribute"],
        text=int(match["text"]) if match["text"] else None,
        above=bool(match["above"]),
    )


@lru_cache(maxsize=1024)
def _check(name: str, text: str) -> None:
    field = compile_field(text)
    if name == "record" and field != Field(field.selector or "?"):
        raise PatternError(f"record: {text!r} must name elements, not a part of one")
    if name == "next_page" and not field.selector:
        raise PatternError(f"next_page: {text!r} needs a selector of the link")
    try:
        if field.selector:
            _EMPTY.css(field.selector)
    except SelectolaxError as error:
        raise PatternError(
            f"{name}: {text!r} is no CSS selector that is understood here"
        ) from error


_EMPTY: Final = LexborHTMLParser("<html></html>")
