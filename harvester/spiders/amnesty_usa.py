"""Amnesty International USA's newsroom, filtered to Belarus.

The class names are those that other people's scrapers of the current theme rely on; their order and
nesting are assumed.  No page of the site was at hand, so nothing here is verified on the site itself.
"""

from harvester.parsers.pattern import ListingPattern
from harvester.spider import ListingSpider


class AmnestyUsa(ListingSpider):
    """Press releases, reports and updates on Belarus."""

    name = "amnesty_usa"
    start_urls = ["https://www.amnestyusa.org/news/?country=belarus"]
    language = "en-US"
    timezone = "America/New_York"
    pattern = ListingPattern(
        record=".ts-grid-col-3-outline .card-md",
        title="h3.utility-md",
        link="a.hocus-headline",
        date=".card-md--tag--hocus",
        teaser="p.body-xs",
        kind=".card-md--tag",
        next_page="div.next > a.next",
        date_format="%B %d, %Y",
    )
