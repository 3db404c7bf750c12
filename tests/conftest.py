"""What tests have in common: a listing site on loopback, and the commands as a user runs them."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest
from hypothesis import settings

# The first date of a language loads its tables; no test is about time.
settings.register_profile("here", deadline=None)
settings.load_profile("here")

ROOT = Path(__file__).parent.parent


@dataclass
class Late:
    """An answer that comes only when the test lets it go."""

    body: str


@dataclass
class Site:
    """A site whose answers a test sets: body, or (status, headers, body), or ``Late``.

    With ``tags`` it knows its pages again: it sends an ETag, and 304 to who has the page.  ``cut``
    counts the answers that are still to end in the middle.
    """

    address: str = ""
    tags: bool = False
    cut: int = 0
    pages: dict[str, object] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    let_go: Event = field(default_factory=Event)

    def url(self, path: str) -> str:
        return self.address + path


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.asked.append(self.path)
            answer = site.pages.get(self.path, (404, {}, b"no such page"))
            if isinstance(answer, Late):
                site.let_go.wait(60)
                answer = answer.body
            if isinstance(answer, (str, bytes)):
                answer = (200, {}, answer)
            status, headers, body = answer
            body = body.encode() if isinstance(body, str) else body
            if site.tags and status == 200:
                tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
                headers = {**headers, "ETag": tag}
                if self.headers["If-None-Match"] == tag:
                    status, body = 304, b""
            self.send_response(status)
            for name, value in {"Content-Type": "text/html; charset=utf-8", **headers}.items():
                self.send_header(name, value)
            if status != 304:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if site.cut and self.path != "/robots.txt":
                site.cut -= 1
                body = body[: len(body) // 2]
                self.close_connection = True
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.address = f"http://127.0.0.1:{server.server_address[1]}"
        Thread(target=server.serve_forever, daemon=True).start()
        yield site
        site.let_go.set()
        server.shutdown()


@dataclass
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Done]:
    """``run("harvester", "crawl", ...)`` or ``run("scrapy", ...)`` in an empty folder."""

    def run(command: str, *arguments: str | Path, cwd: Path = tmp_path, **env: str) -> Done:
        done = subprocess.run(
            [Path(sys.executable).parent / command, *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, "COLUMNS": "200", **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


def article(title: str, slug: str, date: str, teaser: str, kind: str = "News") -> str:
    """One record as amnesty_org prints it."""
    return f"""<article class="post post--result" aria-label="Article: {title}">
    <a class="floating-anchor" href="{slug}" aria-hidden="true"></a>
    <a class="post-category" href="/kind">{kind}</a>
    <h1 class="post-title"><a href="{slug}">{title}</a></h1>
    <div class="post-excerpt">{teaser}</div>
    <span class="post-byline" aria-label="Post published date">{date}</span></article>"""


def listing(*records: str, next_page: str | None = None) -> str:
    """A listing page as amnesty_org prints it."""
    pager = f'<div class="post-paginationNext"><a href="{next_page}">Next</a></div>'
    return f"""<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"></head><body>
    <main>{"".join(records)}</main>{pager if next_page else ""}</body></html>"""


def a_page(number: int, last: int = 3) -> str:
    """Page ``number`` of a listing of three entries a page, newest first."""
    records = [
        article(
            f"Entry {number}-{place}",
            f"/news/entry-{number}-{place}/",
            f"July {28 - 3 * number - place}, 2011",
            f"What entry {number}-{place} has to say...",
        )
        for place in range(3)
    ]
    return listing(*records, next_page=f"/list/{number + 1}" if number < last else None)
