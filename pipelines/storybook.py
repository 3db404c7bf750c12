"""The book of all stories: an index over the entries of all sources, in ``.stories/`` of the output.

It is a cache.  Each source has a mark in it, the digest of the manifest that it was told of; where that
is not the source's manifest, because a run died in between or a backup came back, the source is read
anew.  A book that is missing or damaged is made from the tables.  Its holder holds its own source
already and waits for nobody else, so two runs cannot wait for each other.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from pipelines.dataset import Change, Dataset
from pipelines.known import ENTRIES, REVISIONS
from pipelines.revisions import first_versions
from pipelines.sealed import Sealed, unseal
from pipelines.stories import STORIES, Member, Settled, member_of, settle
from pipelines.table import Damaged, DatasetError, Place, Stored, key

FOLDER: Final = ".stories"
_WHOLE: Final = "told/WHOLE"  # there once the book has been made from all tables
ALL: Final = "all"  # the one partition
_NONE: Final = ""  # the mark of a source that has no rows
_HALF: Final = "half"  # no digest looks like this
_AT_ONCE: Final = 20_000  # entries that are settled together: what is held in memory


class Storybook:
    """The stories of one data set.  Only inside ``opened`` can it be told anything."""

    def __init__(self, dataset: Dataset) -> None:
        self.own = dataset.within(FOLDER)
        # Sources with rows that tell another story than they should.
        self.awaiting: set[str] = set()
        self._dataset = dataset
        self._stored = Stored(self.own.root, STORIES, ALL, ())
        self._pending: Settled | None = None

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold the book, as soon as others have done with it."""
        with self.own.lock(ALL, wait=True):
            try:
                whole = self._open().parts or not self._dataset.sources()
            except DatasetError:
                whole = False
            if not whole or not (self.own.root / _WHOLE).exists():
                self._make()
            self._forget_lost()
            yield

    def discard(self) -> None:
        """Forget all; the tables know it too."""
        for path in self.own.root.glob("*"):
            if path.is_dir() and path.name != ".lock":
                shutil.rmtree(path)

    def tell(
        self, source: str, entries: Iterable[Member], *, whole: bool = False
    ) -> dict[str, str]:
        """Tell of entries of one source whose rows will tell their stories; the story of each row.

        Rows of the source that were not told of may be among them: their story is another one now.
        ``whole``: there are no others.  What was told counts once ``commit`` is called.
        """
        every = list(entries)
        try:
            return self._told(source, every, whole)
        except Damaged:
            self._make()
            return self._told(source, every, whole)

    def commit(self, source: str) -> None:
        """Keep what was told, now that the source's manifest says so too."""
        try:
            waiting = {m.entry_id: m for m in self._stored.find([key("waits")]).values()}
            waiting |= self._pending.members if self._pending else {}
            self.awaiting = {member.of for member in waiting.values() if member.waits}
            self._save(self._pending, source, self._digest(source))
        except Damaged:
            self.discard()  # the next run makes it anew
        self._pending = None

    def marks(self) -> list[Path]:
        """The files that say how far each source was told of."""
        return sorted(self.own.root.glob("told/*"))

    # -------------------------------------------------------------- inside
    def _open(self) -> Stored[Member]:
        stored = self.own.stored(STORIES, ALL)
        stored.remember(self._stored)
        self._stored = stored
        return stored

    def _told(self, source: str, entries: Iterable[Member], whole: bool) -> dict[str, str]:
        if not whole and self._mark(source) != self._digest(source):
            self._take_in(source)
        stories: dict[str, str] = {}
        for piece in self._pieces(source, entries, whole):
            if self._pending is not None:
                self._save(self._pending, source, _HALF)
            self._pending = settled = settle(piece, self._stored, telling=source)
            for name, member in settled.members.items():
                if member.of == source:
                    stories[name] = member.story_id
        return stories

    def _make(self) -> None:
        """Make the book from the tables.  A source that cannot be read now is told of when it runs."""
        self.discard()
        self._open()
        self._pending = None
        for source in self._dataset.sources():
            with suppress(DatasetError):
                self._take_in(source)
        self.own.commit(ALL, (), "", {_WHOLE: Sealed({"manifest": _NONE})})

    def _forget_lost(self) -> None:
        """A source whose folder was taken away tells no story any more."""
        told = {path.stem for path in self.own.root.glob(_mark_name("*"))}
        for source in told - {path.stem for path in self._dataset.root.glob("manifests/*.json")}:
            with suppress(DatasetError):
                if self._mark(source) != _NONE:
                    self._take_in(source)

    def _take_in(self, source: str) -> None:
        """Read all that a source has."""
        digest = self._digest(source)
        names, order = self._order(source)
        for gone in filter(None, self._gone(source, names)):
            self._save(settle(gone, self._stored), source, _HALF)
        for start in range(0, len(order), _AT_ONCE):
            members = self._members(source, order[start : start + _AT_ONCE])
            self._save(settle(members, self._stored), source, _HALF)
        self._save(None, source, digest)

    def _order(self, source: str) -> tuple[set[str], list[Place]]:
        """The names of a source's entries, and where each lies, the first one first."""
        stored = self._dataset.stored(ENTRIES, source)
        found: list[tuple[Any, Any, Place]] = []
        for number, part in enumerate(stored.parts):  # one after the other: none is kept in memory
            [rows] = Stored(self._dataset.root, ENTRIES, source, (part,)).parts_read()
            seen, names = (rows[name].to_pylist() for name in ("first_seen", "entry_id"))
            places = (Place(number, row) for row in range(len(names)))
            found += zip(seen, names, places, strict=True)
        found.sort()
        return {name for _, name, _ in found}, [place for _, _, place in found]

    def _members(self, source: str, places: list[Place]) -> list[Member]:
        """The entries at some places, as the stories know them."""
        rows = self._dataset.stored(ENTRIES, source).rows_at(places).values()
        names = {row.entry_id for row in rows}
        versions = self._dataset.stored(REVISIONS, source).find(key("id", name) for name in names)
        first = first_versions(v for v in versions.values() if v.entry_id in names)
        return [member_of(row, first.get(row.entry_id, row)) for row in rows]

    def _gone(self, source: str, names: AbstractSet[str]) -> Iterator[list[Member]]:
        """Those that the book has of a source and that are not among these, as they are to be."""
        places = self._stored.places_of([key("of", source)])
        for start in range(0, len(places), _AT_ONCE):
            some = self.own.stored(STORIES, ALL).rows_at(places[start : start + _AT_ONCE])
            yield [
                replace(member, title=None, teaser=None, shown=member.entry_id)
                for member in some.values()
                if member.of == source and member.entry_id not in names
            ]

    def _pieces(
        self, source: str, entries: Iterable[Member], whole: bool
    ) -> Iterator[list[Member]]:
        """What is told, and what was left to be told, the first one first."""
        told = {member.entry_id: member for member in entries}
        if whole:
            yield from filter(None, self._gone(source, told.keys()))
        else:
            for member in self._stored.find([key("waits", source)]).values():
                if member.of == source:
                    told.setdefault(member.entry_id, member)
        waiting = iter(sorted(told.values(), key=lambda member: member.order))
        while piece := list(islice(waiting, _AT_ONCE)):
            yield piece

    def _save(self, settled: Settled | None, source: str, digest: str) -> None:
        """Keep what is settled, and how far the source is told of."""
        changed = settled.changed if settled else {}
        change = Change(self._stored, changed, settled.new if settled else ())
        self.own.commit(ALL, (change,), "", {_mark_name(source): Sealed({"manifest": digest})})
        self._open()

    def _mark(self, source: str) -> str:
        try:
            told = unseal((self.own.root / _mark_name(source)).read_bytes())
        except (OSError, ValueError):
            return _NONE
        return str(told.get("manifest"))

    def _digest(self, source: str) -> str:
        try:
            return hashlib.sha256(self._dataset.manifest_file(source).read_bytes()).hexdigest()
        except FileNotFoundError:
            return _NONE


def _mark_name(source: str) -> str:
    return f"told/{source}.json"
