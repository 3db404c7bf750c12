"""A hostile server on loopback: each fault ends within bounds, with the right code and a clear line."""

from __future__ import annotations

import gzip
import re
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import brotli
import pytest
from conftest import a_page, article, listing
from test_crawl import frame, ledgers

from harvester.guard import is_public, literal
from pipelines.dataset import Dataset

MEMORY = 300 * 1024  # KiB
HTML = "Content-Type: text/html; charset=utf-8\r\n"


@dataclass
class Hostile:
    """A server of raw answers: what is sent, by path; a function writes to the socket itself."""

    port: int = 0
    answers: dict[str, bytes | Callable[[socket.socket], None]] = field(default_factory=dict)
    asked: list[tuple[float, str]] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def times(self, path: str) -> list[float]:
        return [at for at, asked in self.asked if asked == path]


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    server = Hostile()

    def serve(connection: socket.socket) -> None:
        with connection:
            connection.settimeout(30)
            data = b""
            while b"\r\n\r\n" not in data:
                chunk = connection.recv(65536)
                if not chunk:
                    return
                data += chunk
            path = data.split()[1].decode()
            server.asked.append((time.monotonic(), path))
            answer = server.answers.get(path, reply(b"nothing here", "404 Not Found"))
            try:
                if callable(answer):
                    answer(connection)
                else:
                    connection.sendall(answer)
            except OSError:
                pass

    def listen() -> None:
        while True:
            try:
                connection, _ = door.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as door:
        server.port = door.getsockname()[1]
        threading.Thread(target=listen, daemon=True).start()
        yield server


def reply(body: bytes | str, status: str = "200 OK", headers: str = HTML) -> bytes:
    body = body.encode() if isinstance(body, str) else body
    head = f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def page(body: str) -> bytes:
    """A page that is no listing, as long as pages are."""
    return reply(f"<!DOCTYPE html><html><body>{body}<!-- {'x' * 600} --></body></html>")


def to(address: str) -> bytes:
    return reply(b"", "302 Found", f"Location: {address}\r\n")


@dataclass
class Ended:
    code: int
    err: str
    seconds: float
    memory: int


# What counts is the largest size of the process itself; that of its parent would be part of rusage.
COMMAND = """
import atexit, pathlib, sys
told = pathlib.Path(sys.argv.pop(1))
atexit.register(lambda: told.write_text(pathlib.Path("/proc/self/status").read_text()))
from harvester.cli import main
main(sys.argv[1:])
"""


def run(output: Path, *urls: str) -> Ended:
    """A crawl of its own process; how it ended, how long it took, and its largest size in KiB."""
    order = ["crawl", "amnesty_org", "--output", str(output)]
    order += [x for url in urls for x in ("--start-url", url)]
    status = output.with_suffix(".status")
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, status, *order],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    seconds = time.monotonic() - begun
    [memory] = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())
    return Ended(done.returncode, done.stderr, seconds, int(memory))


def good(hostile: Hostile) -> str:
    hostile.answers["/good"] = reply(a_page(1, last=1))
    return hostile.url("/good")


def bomb(encoding: str) -> bytes:
    """200 MB of blanks, small on the wire."""
    if encoding == "br":
        brotlied = brotli.Compressor(quality=1)
        body = b"".join(brotlied.process(b" " * 1_000_000) for _ in range(200)) + brotlied.finish()
        return reply(body, headers=f"{HTML}Content-Encoding: br\r\n")
    squeeze = zlib.compressobj(9, wbits=31 if encoding == "gzip" else 15)
    body = b"".join(squeeze.compress(b" " * 1_000_000) for _ in range(200)) + squeeze.flush()
    if encoding == "gzip":  # twice
        body, encoding = gzip.compress(body, 9), "gzip, gzip"
    return reply(body, headers=f"{HTML}Content-Encoding: {encoding}\r\n")


def endless(connection: socket.socket) -> None:
    connection.sendall(f"HTTP/1.1 200 OK\r\n{HTML}Connection: close\r\n\r\n".encode())
    while True:
        connection.sendall(b"<p>more</p>" * 10_000)


ANSWERS: dict[str, tuple[bytes | Callable[[socket.socket], None], int, str]] = {
    "eleven bytes": (reply(b"hello world"), 69, "no entries: the answer is nearly empty (11 bytes)"),
    "a login": (page("<form><input name=u><input type=password></form>"), 69, "asks for a login"),
    "a challenge": (page("<div class=g-recaptcha></div>Please wait"), 69, "challenge for robots"),
    "a question": (page("<h1>One moment</h1>Verify you are human to go on."), 69, "challenge for robots"),
    "a wall": (page("<div id=consent-layer><button>Accept all</button></div>"), 69, "asks for consent"),
    "a soft 404": (page("<h1>Page not found</h1><p>Try the search."), 69, "no such page"),
    "a hard 404 in Russian": (page("<h1>Страница не найдена</h1>"), 69, "no such page"),
    "repairs": (page("<title>Scheduled maintenance</title>Back soon."), 69, "the site is down"),
    "scripts only": (page("<div id=app></div><script src=a></script><script src=b></script>"), 69, "made by scripts"),
    "nothing": (reply(b""), 69, "no entries"),
    "no HTTP": (b"what?\r\n\r\n", 69, ""),
    "reset": (lambda connection: None, 69, ""),
    "half a body": (reply(b"<p>" * 1000)[:-1500], 69, "ended early"),
    "too long": (b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nx", 69, "longer than"),
    "endless": (endless, 69, "longer than"),
    "gzip bomb": (bomb("gzip"), 69, ""),
    "deflate bomb": (bomb("deflate"), 69, ""),
    "brotli bomb": (bomb("br"), 69, ""),
    "a million tags": (reply(b"<div>" * 1_000_000), 69, "nest"),
    "binary": (reply(bytes(range(256)) * 400), 69, "no entries"),
    "not found": (reply(b"gone", "404 Not Found"), 69, "404"),
    "forbidden": (reply(b"no", "403 Forbidden"), 69, "403"),
    "broken": (reply(b"oops", "500 Internal Server Error"), 69, "500"),
    "odd status": (reply(b"?", "999 Whatever"), 69, "999"),
    "too many": (reply(b"slow down", "429 Too Many Requests"), 75, "429"),
    "come back tomorrow": (
        reply(b"later", "503 Service Unavailable", "Retry-After: 86400\r\n"), 75, "86400 seconds",
    ),
    "to itself": (to("/bad"), 69, "redirect"),
    "to another port": (to("http://127.0.0.1:9/"), 69, "refused: 127.0.0.1 is 127.0.0.1"),
    "to localhost": (to("http://localhost:9/"), 69, "refused: localhost is 127.0.0.1"),
    "to metadata": (to("http://169.254.169.254/latest"), 69, "refused: 169.254.169.254"),
    "to a neighbour": (to("http://10.0.0.1/"), 69, "refused: 10.0.0.1"),
    "to a number": (to("http://2130706433:9/"), 69, "refused: 2130706433 is 127.0.0.1"),
    "to six": (to("http://[::1]:9/"), 69, "refused: ::1"),
    "to a mapped one": (to("http://[::ffff:7f00:1]:9/"), 69, "refused"),
    "to a file": (to("file:///etc/passwd"), 69, ""),
    "to ftp": (to("ftp://127.0.0.1/x"), 69, ""),
    "to script": (to("javascript:alert(1)"), 69, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
def test_each_fault_ends_and_costs_the_other_pages_nothing(hostile, tmp_path, name) -> None:
    hostile.answers["/bad"], code, reason = ANSWERS[name]
    done = run(tmp_path / "o", hostile.url("/bad"), good(hostile))
    assert done.code == code, done.err
    assert reason in done.err
    assert done.err.startswith("harvester: amnesty_org: ")
    assert done.err.count("\n") == 1, "one line"
    assert "Traceback" not in done.err
    assert done.seconds < 60
    assert done.memory < MEMORY
    assert len(frame(tmp_path / "o")) == 3, "the good page"
    assert run(tmp_path / "o", good(hostile)).code == 0
    check = subprocess.run(
        [Path(sys.executable).parent / "harvester", "archive", "check", "--output", tmp_path / "o"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (check.returncode, check.stderr) == (0, "")


def drip(first: bytes) -> Callable[[socket.socket], None]:
    def send(connection: socket.socket) -> None:
        connection.sendall(first)
        for _ in range(100):
            connection.sendall(b"X")
            time.sleep(0.2)

    return send


@pytest.mark.parametrize("first", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n<p>"])
def test_a_slow_server_is_left_after_a_while(hostile, tmp_path, first) -> None:
    hostile.answers["/bad"] = drip(first)
    command = [
        Path(sys.executable).parent / "scrapy", "crawl", "amnesty_org", "-s", "DOWNLOAD_TIMEOUT=1",
        "-a", f"start_url={hostile.url('/bad')} {good(hostile)}", "-s", f"HARVESTER_OUTPUT={tmp_path / 'o'}",
    ]  # fmt: skip
    subprocess.run(
        command, cwd=Path(__file__).parents[1], capture_output=True, timeout=60, check=True
    )
    [told] = ledgers(tmp_path / "o")
    assert "Timeout" in told["course"]["failures"][0]["reason"]
    assert len(frame(tmp_path / "o")) == 3


def test_a_server_is_left_alone_as_long_as_it_asks(hostile, tmp_path) -> None:
    page = reply(a_page(1, last=1))
    late = reply(b"later", "503 Service Unavailable", "Retry-After: 2\r\n")

    def once(connection: socket.socket) -> None:
        connection.sendall(late if len(hostile.times("/bad")) == 1 else page)

    hostile.answers["/bad"] = once
    done = run(tmp_path / "o", hostile.url("/bad"))
    assert (done.code, done.err) == (0, "")
    first, second = hostile.times("/bad")
    assert second - first >= 1.9
    assert len(frame(tmp_path / "o")) == 3


def test_links_that_lead_nowhere_good_are_not_followed(hostile, tmp_path) -> None:
    links = ["file:///etc/passwd", "javascript:go()", "data:text/html,x", "ftp://127.0.0.1/", "mailto:a@b",
             "http://169.254.169.254/next", "//localhost:9/next", "http://["]  # fmt: skip
    urls = []
    for number, link in enumerate(links):
        page = listing(article("One", link, "July 1, 2011", f"Teaser {number}"), next_page=link)
        hostile.answers[f"/{number}"] = reply(page)
        urls.append(hostile.url(f"/{number}"))
    done = run(tmp_path / "o", *urls)
    assert done.code in (0, 69), done.err
    assert {path for _, path in hostile.asked} <= {
        "/robots.txt",
        *(f"/{n}" for n in range(len(links))),
    }
    rows = Dataset(tmp_path / "o").records("amnesty_org")
    assert len(rows) == len(links)
    assert all(row.url is None or row.url.startswith("http") for row in rows)


def test_a_password_in_an_address_is_refused_and_not_repeated(hostile, tmp_path) -> None:
    good(hostile)
    done = run(tmp_path / "o", hostile.url("/good", host="user:secret@127.0.0.1"))
    assert done.code == 64
    assert "secret" not in done.err
    assert not hostile.asked


def test_which_addresses_are_of_the_internet() -> None:
    for host in (
        "127.0.0.1", "127.1", "0x7f.1", "2130706433", "017700000001", "0.0.0.0", "10.1.2.3", "172.16.0.1",
        "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1",
        "fc00::1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1", "fe80::1%eth0",
    ):  # fmt: skip
        address = literal(host)
        assert address is not None, host
        assert not is_public(address), host
    for host in ("8.8.8.8", "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"):
        assert is_public(literal(host)), host
    assert literal("example.org") is None
