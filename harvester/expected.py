"""A recorded page beside the entries that a source has to read from it.

    tests/sources/NAME/page.html       the page as it came, without content encoding
    tests/sources/NAME/expected.json   its address, type and time, its entries and next page, and whether
                                       a person has compared them with the page

What a program writes here is what it read, right or wrong: until a person has compared the two and set
``"reviewed": true``, nothing is expected.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from harvester.page import Page
from harvester.parsers.listing import Listing

PAGE: Final = "page.html"
EXPECTED: Final = "expected.json"


class Unusable(Exception):
    """A recording that cannot be read; the message names the file, what is wrong and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """A recorded page, and what a source has to read from it: entries and next page as plain values."""

    page: Page
    reviewed: bool
    next_url: str | None
    entries: list[dict[str, Any]]


def expected_json(page: Page, listing: Listing) -> str:
    """The text of ``expected.json`` for what was read from a page, for a person to review."""
    values = {
        "reviewed": False,
        "page": {
            "url": page.url,
            "content_type": page.headers.get("content-type", ""),
            "fetched_at": page.fetched_at.isoformat() if page.fetched_at else None,
            "sha256": hashlib.sha256(page.body).hexdigest(),
        },
        "next_url": listing.next_url,
        "entries": _plain(listing),
    }
    return json.dumps(values, ensure_ascii=False, indent=1) + "\n"


def _plain(listing: Listing) -> list[dict[str, Any]]:
    """Entries as JSON has them."""
    return [
        {k: v.isoformat() if isinstance(v, datetime) else v for k, v in asdict(entry).items()}
        for entry in listing.entries
    ]


def load(folder: Path) -> Expected:
    """The recording in a folder.  Raises ``Unusable``."""
    path = folder / EXPECTED
    try:
        body = (folder / PAGE).read_bytes()
        told = json.loads(path.read_text("utf-8"))
    except OSError as error:
        again = "take it from version control, or remove the folder and add the source again"
        raise Unusable(f"{error.filename}: {error.strerror}; {again}") from error
    except ValueError as error:  # no JSON, no UTF-8
        raise Unusable(f"{path}: not JSON in UTF-8: {error}") from error
    try:
        about = told["page"]
        at = about["fetched_at"]
        page = Page(
            about["url"],
            body,
            headers={"content-type": about["content_type"]},
            fetched_at=datetime.fromisoformat(at) if at else None,
        )
        if about["sha256"] != hashlib.sha256(body).hexdigest():
            raise Unusable(
                f"{folder / PAGE}: not the page that was recorded, {len(body):,} bytes; take it from "
                "version control, and keep editors and line endings away from it"
            )
        return Expected(
            page=page,
            reviewed=told["reviewed"] is True,
            next_url=told["next_url"],
            entries=[dict(entry) for entry in told["entries"]],
        )
    except KeyError as error:
        raise Unusable(f"{path}: has no {error.args[0]!r}") from error
    except (TypeError, ValueError) as error:
        raise Unusable(f"{path}: not the form that `harvester add` writes: {error}") from error


def differences(expected: Expected, listing: Listing) -> Iterator[str]:
    """What a source reads that is not expected, a line each; nothing where all is as expected."""
    read = _plain(listing)
    if len(read) != len(expected.entries):
        yield f"{len(expected.entries)} entries expected, {len(read)} read"
    for number, (wanted, got) in enumerate(zip(expected.entries, read, strict=False), 1):
        for name in sorted({*wanted, *got}):
            if name not in wanted or name not in got or wanted[name] != got[name]:
                yield f"entry {number}, {name}: expected {wanted.get(name)!r}, read {got.get(name)!r}"
    if listing.next_url != expected.next_url:
        yield f"next_url: expected {expected.next_url!r}, read {listing.next_url!r}"
