"""The Belarusian Helsinki Committee's news.

Assumed, all of it: the site is taken for a Drupal 7 view, and only the order title, teaser, "//",
date as DD.MM.YYYY and the heading "Pages" before the pager have been seen, in stored text.  The
pattern stands in until listings are learned without one.
"""

from harvester.parsers.pattern import ListingPattern
from harvester.spider import ListingSpider


class Belhelcom(ListingSpider):
    """News in English; start addresses under ``/be/`` and ``/ru/`` read alike."""

    name = "belhelcom"
    start_urls = ["https://belhelcom.org/en/news"]
    language = "en"
    timezone = "Europe/Minsk"
    pattern = ListingPattern(
        record=".view-news li.views-row",
        title="h3",
        date=".date",
        teaser="p",
        next_page=".pager-next a[href]",
        date_format="%d.%m.%Y",
    )
