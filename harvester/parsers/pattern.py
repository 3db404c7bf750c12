"""ListingPattern: where a listing keeps its records and their fields.

Written by hand to pin a source, printed by ``harvester peek``, learned where nobody wrote one.  Its
text form is TOML:

    record = "article.post"
    title = ".post-title a"
    date = "time::attr(datetime)"

A field is a CSS selector, looked up inside the record (the record itself counts); the first match in
document order speaks.  ``::attr(name)`` takes an attribute instead of the text, and alone it takes
the record's own.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Final, Self

from selectolax.lexbor import LexborHTMLParser, LexborNode, SelectolaxError

from harvester.parsers.tree import text_of

_ATTRIBUTE: Final = re.compile(r"(.*?)\s*::attr\(\s*([\w:-]+)\s*\)\s*", re.DOTALL)


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
    title: str | None = None
    link: str | None = None
    date: str | None = None
    teaser: str | None = None
    kind: str | None = None
    next_page: str | None = None
    date_format: str | None = None

    def __post_init__(self) -> None:
        for name, value in self.to_dict().items():
            if not isinstance(value, str) or not value.strip():
                raise PatternError(f"{name}: expected a selector, got {value!r}")
            if name != "date_format":
                _check(name, value)

    def to_dict(self) -> dict[str, str]:
        """The fields that are set, in their order."""
        pairs = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: value for name, value in pairs if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The pattern with these fields.  Raises ``PatternError`` for unknown or missing ones."""
        names = [f.name for f in fields(cls)]
        unknown = sorted(set(values) - set(names))
        if unknown:
            raise PatternError(f"unknown field {unknown[0]!r}; known are {', '.join(names)}")
        if "record" not in values:
            raise PatternError("record: missing; it is the selector of one entry of the list")
        return cls(**values)  # type: ignore[arg-type]

    def to_toml(self) -> str:
        """The text form.  A TOML basic string escapes as a JSON string does."""
        lines = (f"{k} = {json.dumps(v, ensure_ascii=False)}\n" for k, v in self.to_dict().items())
        return "".join(lines)

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Read the text form.  Raises ``PatternError``."""
        try:
            return cls.from_dict(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise PatternError(f"not TOML: {error}") from error


@dataclass(frozen=True, slots=True)
class Field:
    """One compiled field: a selector (empty: the record itself) and the attribute it asks for."""

    selector: str
    attribute: str | None

    def node(self, record: LexborNode) -> LexborNode | None:
        """The node that the field names inside a record."""
        return record.css_first(self.selector) if self.selector else record

    def value(self, record: LexborNode) -> str | None:
        """What the field says, ``None`` when it is not there or empty."""
        node = self.node(record)
        if node is None:
            return None
        if self.attribute is None:
            return text_of(node) or None
        return (node.attributes.get(self.attribute) or "").strip() or None


@lru_cache(maxsize=1024)
def compile_field(text: str) -> Field:
    """Split a field into its selector and its attribute."""
    if match := _ATTRIBUTE.fullmatch(text):
        return Field(match[1].strip(), match[2])
    return Field(text.strip(), None)


@lru_cache(maxsize=1024)
def _check(name: str, text: str) -> None:
    field = compile_field(text)
    if name == "record" and (field.attribute or not field.selector):
        raise PatternError(f"record: {text!r} must name elements, not an attribute")
    try:
        if field.selector:
            _EMPTY.css(field.selector)
    except SelectolaxError as error:
        raise PatternError(
            f"{name}: {text!r} is no CSS selector that is understood here"
        ) from error


_EMPTY: Final = LexborHTMLParser("<html></html>")
