"""What the last page of each address said, so that an unchanged page need not be read again.

A cache in ``.index/`` of the output: by the digest of all that the reading of a page depends on, the
program included.  Where it is missing, damaged or of another page, the page is read.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from xxhash import xxh3_128_hexdigest

from harvester.page import Page
from harvester.parsers import pattern as patterns
from harvester.parsers.induction import Evidence
from harvester.parsers.listing import Listing
from pipelines.entry import Entry
from pipelines.sealed import Sealed, unseal
from pipelines.version import VERSION

_MOST: Final = 64  # addresses
_AGAIN: Final = Evidence(1.0, ("it is the page that was read before",))


class Recall:
    """The listings of one source's last pages, as they were read; ``how`` else they are read."""

    def __init__(self, path: Path, how: str) -> None:
        self._path = path
        self._how = f"{VERSION}\0{_program()}\0{how}"
        self._changed = False
        self._told: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            self._told = unseal(path.read_bytes())["pages"]

    def listing(self, name: str, page: Page, digest: str, pattern: str | None) -> Listing | None:
        """What a page said that was read so before; ``None`` where nobody remembers."""
        told = self._told.get(name, {})
        if told.get("of") != self._key(page, digest, pattern):
            return None
        return Listing(
            entries=tuple(map(_entry, told["entries"])),
            next_url=told["next_url"],
            language=told["language"],
            pattern=patterns.pattern_from(pattern) if pattern else None,
            evidence=_AGAIN,
        )

    def remember(
        self, name: str, page: Page, digest: str, pattern: str | None, listing: Listing
    ) -> None:
        """Keep what a page said."""
        if listing.evidence is _AGAIN:
            return
        self._told.pop(name, None)
        while len(self._told) >= _MOST:
            del self._told[next(iter(self._told))]
        self._told[name] = (self._key(page, digest, pattern), listing)
        self._changed = True

    def save(self) -> None:
        """Write it all down, best effort."""
        if self._changed:
            pages = {n: _told(t) if isinstance(t, tuple) else t for n, t in self._told.items()}
            draft = self._path.with_suffix(".draft")
            with suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                draft.write_bytes(b"".join(Sealed({"pages": pages})))
                draft.replace(self._path)
            self._changed = False

    def _key(self, page: Page, digest: str, pattern: str | None) -> str:
        label = page.headers.get("content-type")
        parts = (self._how, page.url, digest, str(page.fetched_at), str(label), str(pattern))
        return xxh3_128_hexdigest("\0".join(parts).encode())


def _told(kept: tuple[str, Listing]) -> dict[str, Any]:
    key, listing = kept
    return {
        "of": key,
        "entries": [asdict(entry) for entry in listing.entries],
        "next_url": listing.next_url,
        "language": listing.language,
    }


def _entry(told: dict[str, Any]) -> Entry:
    at = told["published"]
    return Entry(**{**told, "published": datetime.fromisoformat(at) if at else None})


def _program() -> str:
    """Which files read pages, and when they were written: another program reads otherwise."""
    folder = Path(patterns.__file__).parent
    files = sorted(folder.glob("*.*"))
    return json.dumps([(path.name, path.stat().st_mtime_ns) for path in files])
