"""Harvester turns news listing pages into a data set that people can trust."""

from __future__ import annotations

from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipelines.version import VERSION as __version__

if TYPE_CHECKING:
    import pandas as pd

    from harvester.parsers.listing import Listing, read_listing
    from harvester.parsers.pattern import ListingPattern
    from pipelines.entry import Entry

__all__ = ["Entry", "Listing", "ListingPattern", "__version__", "load", "read_listing"]

# Imported when they are asked for: who wants the help of a command need not wait for parsers.
_ROOMS: Final = {
    "Entry": "pipelines.entry",
    "Listing": "harvester.parsers.listing",
    "ListingPattern": "harvester.parsers.pattern",
    "read_listing": "harvester.parsers.listing",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)


def load(
    output: str | Path = "output",
    table: str = "entries",
    *,
    new_since: datetime | str | None = None,
) -> pd.DataFrame:
    """A table of a data set, "entries" or "revisions", as a pandas frame with the contract's types.

    ``new_since``, a moment or its ISO text, leaves out what was first seen before (UTC where it names
    no zone).  Raises ``DatasetError`` where there is no data set.
    """
    from pipelines.dataset import open_dataset

    moment = datetime.fromisoformat(new_since) if isinstance(new_since, str) else new_since
    return open_dataset(output).refreshed().read(table, moment)
