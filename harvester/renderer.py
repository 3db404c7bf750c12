"""Pages as they stand after their scripts ran: a Scrapy download handler, Chromium by way of Playwright.

A page is fetched by Scrapy, as any other, and Chromium gets what came.  It has no network of its own:
what scripts ask for is fetched here too, under the rules that hold for pages (``guard``, robots.txt,
one request at a time to a host, limits of size and time).  So there is no way around these rules by a
redirect, a socket or a worker, and what cannot be fetched so (sockets, beacons, frames) is not there.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import defaultdict
from contextlib import suppress
from importlib.metadata import version
from inspect import isawaitable
from itertools import count
from time import monotonic
from typing import Any, Final

from playwright.async_api import Browser, Page, Route
from playwright.async_api import Error as PlaywrightError
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.httpauth import HttpAuthMiddleware
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.downloadermiddlewares.httpproxy import HttpProxyMiddleware
from scrapy.downloadermiddlewares.redirect import RedirectMiddleware
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.exceptions import IgnoreRequest
from scrapy.http import HtmlResponse, Request, Response
from scrapy_playwright.handler import ScrapyPlaywrightDownloadHandler
from scrapy_playwright.provider import PlaywrightBrowserProvider

from harvester.browser import RENDER, RENDERED_BY
from harvester.guard import Guard
from harvester.wire import Wire
from pipelines.identity import host_of

# Of what a page asks for, only this can change what it says.
_WANTED: Final = frozenset(("script", "stylesheet", "xhr", "fetch"))
_MOST_REQUESTS: Final = 300  # of one page; a script that asks for more asks for ever
_QUIET: Final = 1.5  # seconds; scripts wait about a second at most before they ask for more
_SLICE: Final = 0.1
# Of the time that a page has: how long an answer to a script may take, and how long a page stands
# still that never stops asking.  The second is longer, so that an answer that matters has come.
_ANSWER: Final = 0.25
_STILL: Final = 0.5
# Elements, links, and the length of the text: a clock that ticks does not change them.
_MEASURE: Final = """() => JSON.stringify([document.readyState,
    document.getElementsByTagName("*").length, document.links.length,
    document.documentElement.textContent.length])"""
_SIZE: Final = "() => document.documentElement.outerHTML.length"
# Headers that are true of the bytes that the site sent, and not of what became of them.
_OF_THE_BYTES: Final = (
    "Content-Encoding Content-Length Transfer-Encoding ETag Last-Modified Accept-Ranges"
    " Content-MD5 Digest Content-Digest Repr-Digest"
).split()
_NOT_FOR_SCRIPTS: Final = frozenset(
    "content-encoding content-length transfer-encoding content-disposition set-cookie".split()
)

_log = logging.getLogger(__name__)


class BrowserFailed(OSError):
    """Chromium crashed, or could not start; the page is asked for again, as after other failures."""


class Driver(PlaywrightBrowserProvider):  # type: ignore[misc]
    """Starts Playwright with the first page, not with the crawl, which may have nothing to render."""

    async def start(self) -> None:
        """Wait for the first page."""

    async def launch_browser(self) -> Browser:
        """A new browser: the first, or the next after a crash."""
        if self.playwright is None:
            await super().start()
        try:
            browser: Browser = await super().launch_browser()
        except PlaywrightError as error:
            path = self.config.launch_options["executable_path"]
            raise BrowserFailed(
                f"Chromium does not start; see why: {path} --headless --dump-dom about:blank"
            ) from error
        return browser


class Renderer(ScrapyPlaywrightDownloadHandler):  # type: ignore[misc]
    """Fetches as Scrapy does, and renders the pages whose requests ask for it."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self.crawler = crawler
        self._wire = Wire(crawler)
        self._numbers = count()
        self._hosts: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def download_request(self, request: Request) -> Response:
        """The answer to a request, rendered if it is a page that asks for it."""
        began = monotonic()
        response = await self._wire.download_request(request)
        if RENDER not in request.meta or _is_cut(response):
            return response
        try:
            plain = self._unpacked(request, response)
        except Exception:  # the archive has to have it; then the same error ends it
            return response
        if not _is_page(plain):
            return response
        limit = float(request.meta["download_timeout"])
        rendering = _Rendering(self, request, plain, limit)
        name = f"page {next(self._numbers)}"
        try:
            async with asyncio.timeout_at(_loop_time(began + limit)):
                await super().download_request(order := rendering.order(name))
                text = await rendering.rest(order.meta["playwright_page"])
        except TimeoutError:
            raise IgnoreRequest(
                f"its scripts did not come to rest within {limit:g} seconds (DOWNLOAD_TIMEOUT)"
            ) from None
        except PlaywrightError as error:
            raise BrowserFailed(f"Chromium: {error.message.splitlines()[0]}") from error
        finally:
            await rendering.end()
            await self._forget(name)
        return self._rendered(request, response, text, rendering.browser)

    async def ask(self, request: Request) -> Response:
        """What a script asks for, by the rules of this crawl.  Raises as Scrapy's middlewares do."""
        while True:
            for kind in (Guard, RobotsTxtMiddleware, HttpAuthMiddleware, HttpProxyMiddleware):
                part = self._part(kind)
                told = part.process_request(request) if part else None
                if isawaitable(told):
                    await told
            async with self._hosts[host_of(request.url)]:
                response = await self._wire.download_request(request)
            if _is_cut(response):
                raise IgnoreRequest("the answer is too long, or ended early")
            part = self._part(RedirectMiddleware)
            moved = part.process_response(request, response) if part else response
            if isinstance(moved, Request):
                request = moved
                continue
            return self._unpacked(request, response)

    async def close(self) -> None:
        """Close all connections, and the browser."""
        await self._wire.close()
        await super().close()

    def _part(self, kind: type[Any]) -> Any:
        """The crawler's own middleware of a kind, if it has one."""
        return self.crawler.get_downloader_middleware(kind)

    def _unpacked(self, request: Request, response: Response) -> Response:
        part = self._part(HttpCompressionMiddleware)
        unpacked = part.process_response(request, response.copy()) if part else response
        assert isinstance(unpacked, Response)
        return unpacked

    async def _forget(self, name: str) -> None:
        """Close all that a page has opened.  A browser that does not even do that is ended."""
        if (held := self.context_wrappers.get(name)) is None:
            return
        with suppress(PlaywrightError):
            try:
                async with asyncio.timeout(5):
                    await held.context.close()
            except TimeoutError:
                await self.browser.close()

    def _rendered(
        self, request: Request, response: Response, text: str, browser: str
    ) -> HtmlResponse:
        body = text.encode("utf-8", "replace")
        largest = self.crawler.settings.getint("DOWNLOAD_MAXSIZE")
        if 0 < largest < len(body):
            raise IgnoreRequest(f"longer than {largest} bytes")
        headers = response.headers.copy()
        for header in _OF_THE_BYTES:
            headers.pop(header, None)
        headers["Content-Type"] = "text/html; charset=utf-8"
        request.meta[RENDERED_BY] = browser
        return response.replace(cls=HtmlResponse, headers=headers, body=body, encoding="utf-8")


class _Rendering:
    """One page in the browser, from what the site sent to where its scripts come to rest."""

    def __init__(self, handler: Renderer, request: Request, page: Response, limit: float) -> None:
        settings = handler.crawler.settings
        self.browser = ""
        self._handler = handler
        self._request = request
        self._page = page
        self._limit = limit
        self._room = self._largest = settings.getint("DOWNLOAD_MAXSIZE") or sys.maxsize
        self._led_to = ""
        self._tasks: set[asyncio.Task[None]] = set()

    def order(self, name: str) -> Request:
        """What scrapy-playwright is told: a fresh browser context of that name, for this page alone."""
        spider = self._handler.crawler.spider
        agent = self._request.headers.get("User-Agent")
        context = {
            "user_agent": agent.decode("latin-1") if agent else None,
            # Scripts write dates for who looks: not for the machine that the crawl runs on.
            "locale": getattr(spider, "language", None),
            "timezone_id": getattr(spider, "timezone", None),
            "accept_downloads": False,
            "service_workers": "block",
        }
        meta = {
            "playwright": True,
            "playwright_context": name,
            "playwright_context_kwargs": {n: v for n, v in context.items() if v is not None},
            "playwright_include_page": True,
            "playwright_page_goto_kwargs": {"wait_until": "commit"},
            "playwright_page_init_callback": self.begin,
        }
        return Request(self._request.url, meta=meta)

    async def begin(self, page: Page, _: Request) -> None:
        """Take over all that the page will ask for; once more, where Chromium died at it."""
        browser = page.context.browser
        self.browser = (
            f"Chromium/{browser.version if browser else '?'} (Playwright {version('playwright')})"
        )
        self._shown, self._asked, self._busy_at = False, 0, monotonic()
        self._frame = page.main_frame
        await page.route("**", self._route)

    async def rest(self, page: Page) -> str:
        """The document, when the page has said what it has to say.

        "Loaded" is too early, because scripts begin to ask then; "no more requests" never comes where
        scripts ask for news every few seconds.  So the page has to stand still for a moment in which
        nothing was asked for, or, if it asks for ever, for a long time.  ``download_request`` bounds it.
        """
        said, since = None, monotonic()
        while True:
            told = await page.evaluate(_MEASURE)
            if self._led_to:
                raise IgnoreRequest(f"its scripts lead on to {self._led_to}; read that address")
            now = monotonic()
            if told != said:
                said, since = told, now
            if not self._tasks and min(now - since, now - self._busy_at) >= _QUIET:
                break
            if now - since >= _STILL * self._limit:
                break
            await asyncio.sleep(_SLICE)
        if await page.evaluate(_SIZE) > self._largest:
            raise IgnoreRequest(f"longer than {self._largest} bytes")
        return await page.content()

    async def end(self) -> None:
        """Nobody waits for answers any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _route(self, route: Route) -> None:
        """Give the page, then what its scripts ask for; refuse the rest."""
        with suppress(PlaywrightError):  # the page is gone
            if not self._shown and route.request.is_navigation_request():
                self._shown = True
                await route.fulfill(
                    status=200, headers=_for_scripts(self._page), body=self._page.body
                )
            elif route.request.resource_type in _WANTED and self._asked < _MOST_REQUESTS:
                self._asked += 1
                task = asyncio.create_task(self._answer(route))
                self._tasks.add(task)
                task.add_done_callback(self._answered)
            else:
                # What is archived under an address is what that address says, and no other; and what
                # stood further down is not read by a browser that is on its way elsewhere.
                if route.request.is_navigation_request() and route.request.frame == self._frame:
                    self._led_to = route.request.url
                await route.abort("aborted")

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._busy_at = monotonic()

    async def _answer(self, route: Route) -> None:
        asked = route.request
        request = Request(
            asked.url,
            method=asked.method,
            headers={**asked.headers, "accept-encoding": "gzip, deflate"},
            body=asked.post_data_buffer or b"",
            meta={
                "download_timeout": _ANSWER * self._limit,
                "download_maxsize": max(1, self._room),
            },
        )
        try:
            response = await self._handler.ask(request)
        except Exception as error:  # the page has to do without it, as in any browser
            _log.warning("%s asked for %s: %s", self._page.url, asked.url, error)
            with suppress(PlaywrightError):
                await route.abort("failed")
            return
        self._room -= len(response.body)
        with suppress(PlaywrightError):
            await route.fulfill(
                status=response.status, headers=_for_scripts(response), body=response.body
            )


def _is_page(response: Response) -> bool:
    """Whether there is something to render: no redirect, no error, nothing empty."""
    return (
        isinstance(response, HtmlResponse) and 200 <= response.status < 300 and bool(response.body)
    )


def _is_cut(response: Response) -> bool:
    """Whether an answer was too long, or its connection broke."""
    return not {"download_stopped", "dataloss"}.isdisjoint(response.flags)


def _for_scripts(response: Response) -> dict[str, str]:
    """The headers of an answer, as far as they concern a page that has its body."""
    return {
        name.decode("latin-1"): b", ".join(values).decode("latin-1")
        for name, values in response.headers.items()
        if name.decode("latin-1").lower() not in _NOT_FOR_SCRIPTS
    }


def _loop_time(moment: float) -> float:
    """A moment of ``monotonic`` by the clock of the event loop."""
    return asyncio.get_running_loop().time() + moment - monotonic()
