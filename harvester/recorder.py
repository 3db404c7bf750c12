"""The Scrapy part that hands every answer to the archive, before anyone else sees it.

A downloader middleware at the wire's end of the chain: bodies are still compressed, redirects and
error answers pass by too.  It works for a run that publishes (the item pipeline has named it), and
stays out of the way of ``scrapy shell`` and ``scrapy fetch``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from scrapy.crawler import Crawler
from scrapy.http import Request, Response

from harvester.archive import ArchiveWriter, Exchange
from harvester.spider import EVIDENCE, Evidence, ListingSpider, OutputError
from pipelines.dataset import Dataset


class Recorder:
    """Archives each exchange and leaves its evidence with the request."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._writer: ArchiveWriter | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def process_response(self, request: Request, response: Response) -> Response:
        """Write the exchange down, then let the answer pass."""
        spider = self._crawler.spider
        if not isinstance(spider, ListingSpider) or spider.run is None:
            return response
        if self._writer is None:
            settings = self._crawler.settings
            folder = Dataset(Path(settings["HARVESTER_OUTPUT"])).archive_folder(spider.name)
            self._writer = ArchiveWriter(folder, spider.run, settings["USER_AGENT"])
            spider.archive = self._writer
        exchange = Exchange(
            url=response.url,
            method=request.method,
            request_headers=_pairs(request),
            status=response.status,
            protocol=response.protocol or "HTTP/1.1",
            headers=_pairs(response),
            body=response.body,
            fetched_at=datetime.now(UTC),
            ip_address=str(response.ip_address) if response.ip_address else None,
            listing="chain" in request.cb_kwargs,
        )
        try:
            record_id = self._writer.append(exchange)
        except OSError as error:
            raise OutputError(f"{self._writer.name}: {error.strerror}") from error
        request.meta[EVIDENCE] = Evidence(
            spider.run.run_id, self._writer.name, record_id, exchange.fetched_at
        )
        return response


def _pairs(message: Request | Response) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, values in message.headers.items() for value in values]
