"""The Scrapy part that hands every answer to the archive, before anyone else sees it.

A downloader middleware at the wire's end of the chain: bodies are still compressed, redirects and
error answers pass by too.  What the archive has already is asked for conditionally; where a server
says "not modified", the spider gets the archived page, as a replay would.  It works for a run that
publishes (the item pipeline has named it), and stays out of the way of ``scrapy shell`` and
``scrapy fetch``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Self

from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.retry import get_retry_request
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Headers, Request, Response
from scrapy.responsetypes import responsetypes
from scrapy.settings import BaseSettings

from harvester.archive.past import Past, validators
from harvester.archive.words import NOT_MODIFIED, Answer, Exchange, Truncated
from harvester.archive.writer import ArchiveWriter
from harvester.browser import RENDER, RENDERED_BY
from harvester.reading import Evidence
from harvester.spider import EVIDENCE, ListingSpider, OutputError
from pipelines.dataset import Dataset, open_dataset

_KNOWN: Final = "harvester_known"
_SECRET: Final = (b"Authorization", b"Proxy-Authorization")
_CONDITIONS: Final = ("If-None-Match", "If-Modified-Since")


class Recorder:
    """Archives each exchange and leaves its evidence with the request."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler
        self._largest = crawler.settings.getint("DOWNLOAD_MAXSIZE")
        self._writer: ArchiveWriter | None = None
        self._past: Past | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def process_request(self, request: Request) -> None:
        """Ask only for what is not archived yet."""
        for name in _CONDITIONS:  # a redirected request carries those of another address
            request.headers.pop(name, None)
        request.meta.pop(_KNOWN, None)
        spider = self._spider()
        if spider is None or request.method != "GET":
            return
        if self._past is None:
            dataset = self._dataset()
            self._past = Past(dataset.archive_names(spider.name), dataset.at_hand)
        if answer := self._past.answer(request.url):
            request.meta[_KNOWN] = answer
            if RENDER not in request.meta:  # "not modified" is no page that scripts could run in
                request.headers.update(validators(answer))

    def process_response(self, request: Request, response: Response) -> Response | Request:
        """Write the exchange down, then let the answer pass."""
        spider = self._spider()
        if spider is None:
            return response
        known: Answer | None = request.meta.pop(_KNOWN, None)
        if response.status == NOT_MODIFIED and not any(map(request.headers.get, _CONDITIONS)):
            known = None  # nobody had asked; it confirms nothing
        exchange = Exchange(
            url=response.url,
            method=request.method,
            request_headers=pairs(request),
            status=response.status,
            protocol=response.protocol or "HTTP/1.1",
            headers=pairs(response),
            body=response.body,
            fetched_at=datetime.now(UTC),
            ip_address=str(response.ip_address) if response.ip_address else None,
            listing="chain" in request.cb_kwargs,
            article_of=request.cb_kwargs.get("article_of"),
            truncated=_truncated(response),
            known=known,
            rendered_by=request.meta.pop(RENDERED_BY, None),
        )
        try:
            writer = self._writer or self._opened(spider)
            written = writer.append(exchange)
        except OSError as error:
            raise OutputError(f"{error.filename or 'the archive'}: {error.strerror}") from error
        request.meta[EVIDENCE] = Evidence(
            spider.run.run_id if spider.run else "",
            written.file,
            written.record_id,
            exchange.fetched_at,
            written.body_from,
            next(iter(request.meta.get("redirect_urls", ())), None),
        )
        if exchange.truncated == "length":
            raise IgnoreRequest(f"longer than {self._largest} bytes")
        if exchange.truncated:
            again = get_retry_request(request, spider=spider, reason="the answer ended early")
            if again is None:
                raise IgnoreRequest("the answer ended early")
            return again
        if response.status == NOT_MODIFIED and known is not None:
            return _archived(response, known)
        return response

    # -------------------------------------------------------------- inside
    def _spider(self) -> ListingSpider | None:
        """The spider, if it is at work on a run."""
        spider = self._crawler.spider
        return spider if isinstance(spider, ListingSpider) and spider.run is not None else None

    def _dataset(self) -> Dataset:
        return open_dataset(self._crawler.settings["HARVESTER_OUTPUT"])

    def _opened(self, spider: ListingSpider) -> ArchiveWriter:
        assert spider.run is not None
        folder = self._dataset().archive_folder(spider.name)
        told = about(self._crawler.settings)
        self._writer = spider.archive = ArchiveWriter(folder, spider.run, told)
        return self._writer


def _truncated(response: Response) -> Truncated | None:
    if "download_stopped" in response.flags:
        return "length"
    return "disconnect" if "dataloss" in response.flags else None


def _archived(response: Response, known: Answer) -> Response:
    """The archived page in place of a "not modified"."""
    headers = Headers(dict(known.headers))
    kind = responsetypes.from_args(headers=headers, url=known.url, body=known.body)
    return kind(
        url=response.url,
        status=known.status,
        headers=headers,
        body=known.body,
        request=response.request,
        flags=["archived"],
        ip_address=response.ip_address,
        protocol=response.protocol,
    )


def about(settings: BaseSettings) -> dict[str, str]:
    """What the archive says of who fetched, and how."""
    return {
        "operator": settings["HARVESTER_OPERATOR"],
        "http-header-user-agent": settings["USER_AGENT"],
        "robots": "obeyed" if settings.getbool("ROBOTSTXT_OBEY") else "ignored",
    }


def pairs(message: Request | Response) -> list[tuple[bytes, bytes]]:
    """The headers of a request or an answer, as they are archived: without logins, archives are shared."""
    return [
        (name, value)
        for name, values in message.headers.items()
        for value in values
        if name not in _SECRET
    ]
