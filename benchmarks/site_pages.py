"""A listing of made-up pages on loopback: 30 entries and about 140 KB a page, as a news site weighs.

Run as a script it serves them until it is killed, and prints its port first.
"""

from __future__ import annotations

import random
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ENTRIES = 30
MONTHS = (
    "January February March April May June July August September October November December"
).split()
WORDS = (
    "river stone letter window market winter paper office number table silver garden method report"
    " country council minister court protest freedom journal border harbour engine teacher student"
).split()


def page(number: int) -> str:
    """Page ``number`` of the listing; the same number, the same page."""
    pick = random.Random(number)

    def words(count: int) -> str:
        return " ".join(pick.choice(WORDS) for _ in range(count))

    cards = []
    for place in range(ENTRIES):
        key = f"{number}-{place}"
        menu = "".join(f'<li><a href="/topic/{word}">{word}</a></li>' for word in WORDS)
        cards.append(
            f'<article class="card" id="post-{key}"><a class="cover" href="/news/{key}/">'
            f'<img src="/img/{key}.jpg" srcset="/img/{key}-2.jpg 2x, /img/{key}-3.jpg 3x" alt="">'
            f'</a><span class="label">Press Release</span>'
            f'<h3 class="title"><a href="/news/{key}/">{words(9).capitalize()} {key}</a></h3>'
            f'<time class="date">{pick.choice(MONTHS)} {pick.randint(1, 28)}, {2000 + number % 25}</time>'
            f'<p class="teaser">{words(40).capitalize()} …</p><ul class="topics">{menu}</ul>'
            f'<div class="share" data-share="{words(60)}"></div></article>'
        )
    style = "\n".join(f".rule-{n} {{ color: #{n:06x}; margin: {n % 7}px }}" for n in range(1500))
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>News {number}</title>'
        f"<style>{style}</style></head><body><nav><ul>{'<li><a href=/x>Menu</a></li>' * 40}</ul></nav>"
        f'<main>{"".join(cards)}<div class="pager"><a class="next" href="/page/{number + 1}">Next</a>'
        f"</div></main><footer>{words(300)}</footer></body></html>"
    )


class Handler(BaseHTTPRequestHandler):
    """Serves ``/page/N``; every page is built once."""

    protocol_version = "HTTP/1.1"
    pages: dict[str, bytes] = {}

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        if not name.isdigit():
            self.send_error(404)
            return
        body = self.pages.get(name) or self.pages.setdefault(name, page(int(name)).encode())
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
