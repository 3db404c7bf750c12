"""Harvester turns news listing pages into a data set that people can trust."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harvester.parsers.listing import Listing, read_listing
from harvester.parsers.pattern import ListingPattern
from pipelines.entry import Entry
from pipelines.version import VERSION as __version__

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Entry", "Listing", "ListingPattern", "__version__", "load", "read_listing"]


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
