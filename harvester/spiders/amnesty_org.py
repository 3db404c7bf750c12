"""Amnesty International's own listing.

Verified on 28 stored pages of ``/en/search/Belarus/?year=YEAR&language=en`` (1992 to 2019): every
entry's title, address, date and teaser.  Not verified: the live site, and ``/en/latest/news/``.
"""

from harvester.parsers.pattern import ListingPattern
from harvester.spider import ListingSpider


class AmnestyOrg(ListingSpider):
    """News and documents on Belarus."""

    name = "amnesty_org"
    start_urls = ["https://www.amnesty.org/en/search/Belarus/?language=en&sort=date-desc"]
    language = "en"
    timezone = "Europe/London"
    pattern = ListingPattern(
        record="article.post",
        title=".post-title",
        link=".post-title a",
        date='.post-byline[aria-label="Post published date"]',
        teaser=".post-excerpt",
        kind=".post-category",
        next_page=".post-paginationNext a[href]",
        date_format="%B %d, %Y",
    )
