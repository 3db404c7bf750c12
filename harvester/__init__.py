"""Harvester turns news listing pages into a data set that people can trust."""

from harvester.parsers.listing import Listing, read_listing
from harvester.parsers.pattern import ListingPattern
from pipelines.entry import Entry
from pipelines.version import VERSION as __version__

__all__ = ["Entry", "Listing", "ListingPattern", "__version__", "read_listing"]
