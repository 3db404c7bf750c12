"""Amnesty International USA's newsroom, filtered to Belarus.

Read without selectors.  No page of the site was at hand, so nothing is verified on the site itself:
the address is known from other people's scrapers, and learning was tried on pages rebuilt from the
class names that these rely on.
"""

from harvester.spider import ListingSpider


class AmnestyUsa(ListingSpider):
    """Press releases, reports and updates on Belarus."""

    name = "amnesty_usa"
    start_urls = ["https://www.amnestyusa.org/news/?country=belarus"]
    language = "en-US"
    timezone = "America/New_York"
