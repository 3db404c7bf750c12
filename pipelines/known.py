"""Which stored rows a sighting could be of, without reading them all.

The judge looks rows up by address, content, words and birth.  The same things are keys of the stored
table, a little coarser (an address without its host), so that what is fetched is all that the judge
could ask for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Sequence

from pipelines import identity
from pipelines.entry import COLUMNS, VERSION_COLUMNS, Record, Sighting, Version
from pipelines.table import Place, Stored, Table, key, of_each


def row_keys(row: Record) -> Iterator[int]:
    """What finds a row of the ``entries`` table."""
    yield key("id", row.entry_id)
    yield key("born", row.first_seen.isoformat(), row.page_url, row.position)
    for url in row.urls:
        yield key("at", identity.path_key(url))
    if identity.tells_apart(row):
        yield key("says", identity.fingerprint(row))
    yield from (key("word", text) for text in (row.title, row.teaser) if text is not None)


def version_keys(version: Version) -> Iterator[int]:
    """What finds a row of the ``revisions`` table."""
    yield key("id", version.entry_id)
    yield key("version", version.entry_id, version.revision)


ENTRIES = Table("entries", COLUMNS, Record, of_each(row_keys))
REVISIONS = Table("revisions", VERSION_COLUMNS, Version, of_each(version_keys))


class Known:
    """The rows of one source that have been looked up so far, and where each lies."""

    def __init__(self, stored: Stored[Record]) -> None:
        self.stored = stored
        self._uses: Counter[str] = Counter()
        self.places: dict[str, Place] = {}
        self.rows: dict[str, Record] = {}

    def look_up(
        self, sightings: Sequence[Sighting], touched: Collection[Container[str]] = ()
    ) -> list[Record]:
        """The rows that these sightings could be of and that were not looked up before.

        ``touched`` are the entries that sightings before these were of.
        """
        if not self.stored.parts:
            return []
        keys: set[int] = set()
        addresses = [identity.path_key(s.url) if s.url else None for s in sightings]
        self._uses.update(address for address in addresses if address)
        for sighting, address in zip(sightings, addresses, strict=True):
            keys.add(
                key("born", sighting.fetched_at.isoformat(), sighting.page_url, sighting.position)
            )
            content = identity.fingerprint(sighting)
            bases = [content]
            if sighting.url and address:
                keys.add(key("at", address))
                bases += [address, identity.address_key(sighting.url, frozenset())]
            if content is not None:
                keys.add(key("says", content))
            for basis in filter(None, bases):
                keys.add(key("id", identity.entry_id(sighting.source, basis)))
        fresh = self._fetch(keys)
        for row in fresh if touched else ():
            if any(row.entry_id in entries for entries in touched):
                self._uses.update(map(identity.path_key, row.urls))
        bearers = Counter(identity.path_key(url) for row in self.rows.values() for url in row.urls)
        words = {
            key("word", text)
            for sighting, address in zip(sightings, addresses, strict=True)
            if address is None
            or self._uses[address] > 1
            or bearers[address] > 1
            or not identity.leads_inward(sighting.url or "", sighting.page_url)
            for text in (sighting.title, sighting.teaser)
            if text is not None
        }
        return fresh + self._fetch(words)

    def add(self, found: Iterable[tuple[Place, Record]]) -> list[Record]:
        """Rows that were found in another way; those that are new here."""
        fresh = []
        for place, row in found:
            if row.entry_id not in self.rows:
                self.rows[row.entry_id] = row
                self.places[row.entry_id] = place
                fresh.append(row)
        return fresh

    def _fetch(self, keys: Iterable[int]) -> list[Record]:
        return self.add(self.stored.find(keys).items())
