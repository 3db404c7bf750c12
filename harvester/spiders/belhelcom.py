"""The Belarusian Helsinki Committee's news.

Read without selectors.  No page of the site was at hand, so nothing is verified on the site itself.
Learning was tried on pages of an assumed Drupal 7 view; only the order title, teaser, "//", date as
DD.MM.YYYY and the heading "Pages" before the pager have been seen, in stored text.
"""

from harvester.spider import ListingSpider


class Belhelcom(ListingSpider):
    """News in English; start addresses under ``/be/`` and ``/ru/`` read alike."""

    name = "belhelcom"
    start_urls = ["https://belhelcom.org/en/news"]
    language = "en"
    timezone = "Europe/Minsk"
