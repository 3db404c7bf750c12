"""The three ways of crawling the benchmark's site; ``crawl.py`` runs each in a process of its own.

bare       Scrapy as it comes, which only downloads: the unit
textbook   Scrapy, BeautifulSoup with html.parser, dateparser for each date, pandas to Parquet
harvester  this project: archive, read, de-duplicate, publish
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import scrapy
from scrapy.crawler import CrawlerProcess

from harvester.parsers.pattern import ListingPattern
from harvester.spider import ListingSpider


class Bare(scrapy.Spider):
    name = "bare"

    def parse(self, response: Any) -> None:
        len(response.body)


class Textbook(scrapy.Spider):
    name = "textbook"
    output = ""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows: list[dict[str, Any]] = []

    def parse(self, response: Any) -> Any:
        import dateparser
        from bs4 import BeautifulSoup

        soup = BeautifulSoup(response.text, "html.parser")
        for card in soup.select("article.card"):
            item = {
                "title": card.select_one("h3").get_text(strip=True),
                "url": response.urljoin(card.select_one("h3 a")["href"]),
                "published": dateparser.parse(card.select_one(".date").get_text()),
                "teaser": card.select_one(".teaser").get_text(strip=True),
                "kind": card.select_one(".label").get_text(strip=True),
            }
            self.rows.append(item)
            yield item

    def closed(self, _: str) -> None:
        import pandas as pd

        pd.DataFrame(self.rows).drop_duplicates().to_parquet(Path(self.output) / "rows.parquet")


class Ours(ListingSpider):
    name = "benchmark"
    language = "en"
    start_urls = ["http://127.0.0.1/"]
    pattern = ListingPattern(
        record="article.card",
        title="h3.title",
        link="h3.title a",
        date=".date",
        teaser=".teaser",
        kind=".label",
        next_page="a.next",
        date_format="%B %d, %Y",
    )


def run(contestant: str, port: str, pages: int, output: str) -> None:
    """Crawl ``pages`` pages; all contestants ask for the same addresses at the same concurrency."""
    urls = [f"http://127.0.0.1:{port}/page/{number}" for number in range(pages)]
    if contestant == "harvester":
        from harvester.crawl import crawl, project_settings

        settings = project_settings(Path(output))
        settings.set("SPIDER_MODULES", ["contestants"])
        crawl({"benchmark": {"start_url": urls, "max_pages": 1}}, settings, progress=False)
    else:
        process = CrawlerProcess()
        cls = {"bare": Bare, "textbook": Textbook}[contestant]
        process.crawl(cls, start_urls=urls, output=output)
        process.start()


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
