"""Pages that scripts make, read by way of a real Chromium: what is archived, what is refused, how it ends."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import Done, Late, Site, a_page
from test_crawl import assert_same_rows, frame, ledgers
from warcio.archiveiterator import ArchiveIterator

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
needs_a_browser = pytest.mark.skipif(
    not CHROMIUM or find_spec("scrapy_playwright") is None,
    reason="chromium is not installed, or scrapy-playwright",
)

# The command, with a folder of sources beside the project's own.
COMMAND = """
import sys, harvester.spiders
harvester.spiders.__path__.append(sys.argv.pop(1))
from harvester.cli import main
main(sys.argv[1:])
"""
WITHOUT_THE_EXTRA = "import sys; sys.modules['scrapy_playwright'] = None" + COMMAND
SOURCE = """
from harvester.spider import ListingSpider
from harvester.spiders.amnesty_org import AmnestyOrg

class Made(ListingSpider):
    name = "made"
    start_urls = ["{start}"]
    language = "en"
    pattern = AmnestyOrg.pattern
    render = True
    custom_settings = {settings}
"""


class Command:
    """Runs commands of an installation that has a source of its own, ``made``, which is rendered."""

    def __init__(self, folder: Path) -> None:
        self.sources = folder / "sources"
        self.sources.mkdir()
        self.output = folder / "o"

    def source(self, start: str, settings: dict[str, object] | None = None) -> None:
        text = SOURCE.format(start=start, settings=settings or {})
        (self.sources / "made.py").write_text(text)

    def order(self, *arguments: str | Path, code: str = COMMAND) -> list[str]:
        order = [sys.executable, "-c", code, self.sources, *arguments]
        return [*map(str, order), "--output", str(self.output)]

    def __call__(self, *arguments: str | Path, code: str = COMMAND, **env: str) -> Done:
        done = subprocess.run(
            self.order(*arguments, code=code), capture_output=True, text=True, timeout=120,
            check=False, env={**os.environ, "COLUMNS": "200", **env},
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    @property
    def archives(self) -> list[Path]:
        return sorted((self.output / "archive" / "made").glob("*.warc.gz"))

    def pages(self) -> list[tuple[object, bytes]]:
        """The records of listing pages, and their bodies."""
        found = []
        for path in self.archives:
            with path.open("rb") as file:
                for record in ArchiveIterator(file):
                    if record.rec_headers["Harvester-Role"] == "listing":
                        found.append((record, record.content_stream().read()))
        return found


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def second() -> Iterator[tuple[str, list[str]]]:
    """Another server on loopback, which nobody typed: its address, and what it was asked for."""
    asked: list[str] = []
    # Without their lengths, as HTTP/1.0 allows.
    served = {
        path: body.encode() for path, body in zip(("/list", "/api/1"), made(1, last=1), strict=True)
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(served.get(self.path, b""))

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


def shell(script: str) -> str:
    """A page that says nothing until its script ran."""
    return f"""<!DOCTYPE html><html lang="en"><head><title>News</title></head><body><main id="app">
    Loading ...</main><script>{script}</script></body></html>"""


def made(number: int, wait: int = 0, last: int = 3) -> tuple[str, str]:
    """A page whose script fetches page ``number`` of a listing, and that listing."""
    script = f"""setTimeout(() => fetch("/api/{number}").then(r => r.text()).then(text => {{
        const page = new DOMParser().parseFromString(text, "text/html");
        document.getElementById("app").innerHTML = page.body.innerHTML;
    }}), {wait})"""
    return shell(script), a_page(number, last=last)


def put(site: Site, number: int, **how: int) -> None:
    site.pages[f"/list/{number}"], site.pages[f"/api/{number}"] = made(number, **how)


@pytest.fixture
def three_made(site: Site, command: Command) -> Site:
    for number in (1, 2, 3):
        put(site, number, wait=400 * (number - 1))
    command.source(site.url("/list/1"))
    return site


def left_behind(mark: str) -> list[str]:
    """The processes that have a mark in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (path / "environ").read_bytes():
                found.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def browsers(mark: str) -> list[int]:
    """Chromium's processes, its first one and its renderers, of a command with a mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            marked = mark.encode() in (path / "environ").read_bytes()
            if marked and b"--host-resolver-rules" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:
            continue
    return sorted(found)


# ------------------------------------------------------------------ what is read, and what is kept
@needs_a_browser
def test_a_listing_that_scripts_make_is_read_and_replayed(three_made, command, tmp_path) -> None:
    mark = f"{tmp_path}"
    done = command("crawl", "made", MARK=mark)
    assert (done.code, done.out, done.err) == (0, "", ""), "quiet on success"
    rows = frame(command.output)
    assert sorted(rows["title"]) == sorted(f"Entry {n}-{p}" for n in (1, 2, 3) for p in range(3))
    assert three_made.asked.count("/robots.txt") == 1
    assert [path for path in three_made.asked if "list" in path] == [
        f"/list/{n}" for n in (1, 2, 3)
    ]
    assert left_behind(mark) == []

    assert command("replay", "made", "--archive", command.output, PATH="/nowhere").code == 0
    assert_same_rows(frame(command.output), rows, but=("run_id",))
    assert command("archive", "check").code == 0
    assert command("archive", "prove", rows.iloc[0]["entry_id"]).code == 0
    assert "rendered_by: Chromium/" in command("show", rows.iloc[0]["entry_id"]).out


@needs_a_browser
def test_the_archive_says_what_the_page_said_and_who_rendered_it(site, command) -> None:
    text, api = made(1, last=1)
    squeezed = gzip.compress(text.replace("News", "Навіны").encode("cp1251"))
    headers = {"Content-Encoding": "gzip", "Content-Type": "text/html; charset=windows-1251"}
    headers |= {"ETag": '"x"', "Last-Modified": "Mon, 01 Aug 2011 10:00:00 GMT"}
    site.pages["/list/1"] = (200, headers, squeezed)
    site.pages["/api/1"] = api
    command.source(site.url("/list/1"))
    for _ in range(2):
        assert command("crawl", "made", "--full").code == 0
    (first, body), (again, _) = command.pages()
    assert "Навіны" in body.decode("utf-8")
    assert b"Entry 1-2" in body
    assert b"Loading" not in body
    version = subprocess.run([CHROMIUM, "--version"], capture_output=True, text=True, check=True)
    said = first.rec_headers["Harvester-Rendered-By"]
    assert said.split()[0].removeprefix("Chromium/") in version.stdout
    http = first.http_headers
    assert http.get_header("Content-Type") == "text/html; charset=utf-8"
    assert http.get_header("Content-Length") == str(len(body))
    for stale in ("Content-Encoding", "ETag", "Last-Modified"):
        assert http.get_header(stale) is None
    assert again.rec_type == "revisit", "the same document is kept once"
    assert again.rec_headers["Harvester-Rendered-By"] == said
    warcio = Path(sys.executable).parent / "warcio"
    for path in command.archives:
        checked = subprocess.run(
            [warcio, "check", path], capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stdout


@needs_a_browser
def test_what_was_plain_is_asked_for_anew_when_it_is_rendered(site, command) -> None:
    site.tags = True
    put(site, 1, last=1)
    command.source(site.url("/list/1"))
    module = command.sources / "made.py"
    rendered = module.read_text()
    module.write_text(rendered.replace("render = True", "render = False"))
    done = command("crawl", "made")
    assert done.code == 69
    assert "no entries" in done.err
    module.write_text(rendered)
    assert command("crawl", "made").code == 0, "a 304 would have no page to run scripts in"
    assert len(frame(command.output)) == 3


@needs_a_browser
def test_peek_shows_what_the_source_would_read(three_made, command) -> None:
    order = command.order("peek", three_made.url("/list/2"), "--source", "made")[:-2]
    done = subprocess.run(order, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Entry 2-0" in done.stdout


@needs_a_browser
def test_redirects_errors_and_retries_are_scrapys(three_made, command) -> None:
    three_made.pages["/old"] = (302, {"Location": "/list/1"}, b"")
    three_made.pages["/list/3"] = (404, {}, b"<html><body>gone</body></html>")
    done = command("crawl", "made", "--start-url", three_made.url("/old"))
    assert done.code == 69
    assert "HTTP 404" in done.err
    assert len(frame(command.output)) == 6
    records = command.pages()
    assert [record.http_headers.get_statuscode() for record, _ in records] == [
        "302",
        "200",
        "200",
        "404",
    ]
    rendered = [record.rec_headers["Harvester-Rendered-By"] is not None for record, _ in records]
    assert rendered == [False, True, True, False]


@needs_a_browser
def test_other_sources_in_the_process_do_without(three_made, command) -> None:
    plain = command.sources / "plain.py"
    plain.write_text((command.sources / "made.py").read_text().replace("made", "plain")
                     .replace("Made", "Plain").replace("render = True", "render = False")
                     .replace("/list/1", "/plain/1"))  # fmt: skip
    three_made.pages["/plain/1"] = a_page(1, last=1)
    assert command("crawl", "made", "plain").code == 0
    rows = frame(command.output)
    assert rows.groupby("source", observed=True).size().to_dict() == {"made": 9, "plain": 3}
    [archive] = (command.output / "archive" / "plain").glob("*.warc.gz")
    assert b"Rendered-By" not in gzip.decompress(archive.read_bytes())
    spy = COMMAND.replace("main(sys", "import atexit\natexit.register(lambda: print("
                          "'playwright' in sys.modules, 'scrapy_playwright' in sys.modules))\nmain(sys")  # fmt: skip
    assert command("crawl", "plain", code=spy).out == "False False\n"


# ------------------------------------------------------------------ what is missing
@pytest.mark.parametrize("missing", ["the extra", "chromium", "the chromium that was named"])
def test_what_is_missing_is_said_before_anything_is_fetched(site, command, missing) -> None:
    site.pages["/plain/1"] = a_page(1, last=1)
    command.source(site.url("/list/1"))
    text = (command.sources / "made.py").read_text()
    text = text.replace("made", "plain").replace("Made", "Plain").replace("list", "plain")
    (command.sources / "plain.py").write_text(text.replace("render = True", "render = False"))
    env, code, words = {"PATH": "/nowhere"}, COMMAND, "apt-get install chromium"
    if missing == "the extra":
        env, code, words = {}, WITHOUT_THE_EXTRA, "pip install"
    elif find_spec("scrapy_playwright") is None:
        pytest.skip("scrapy-playwright is not installed")
    if missing == "the chromium that was named":
        env, words = {"HARVESTER_CHROMIUM": "/nowhere/chromium"}, "/nowhere/chromium"
    done = command("crawl", "made", "plain", code=code, **env)
    assert (done.code, done.err.count("\n")) == (78, 1)
    assert done.err.startswith("harvester: made: ")
    assert words in done.err
    assert "/list/1" not in site.asked
    assert len(frame(command.output)) == 3, "the other source is read"
    order = command.order("peek", site.url("/list/1"), "--source", "made", code=code)[:-2]
    peek = subprocess.run(
        order, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **env}
    )
    assert (peek.returncode, peek.stderr.count("\n")) == (78, 1)


# ------------------------------------------------------------------ what scripts must not do
WAYS = """
const other = "%s", go = what => {try {what()} catch (e) {}};
go(() => fetch(`http://${other}/fetch`).catch(() => 0));
go(() => fetch("/away").catch(() => 0));
go(() => fetch("/forbidden").catch(() => 0));
go(() => fetch("file:///etc/hostname").then(r => r.text()).then(t => document.body.append(t)).catch(() => 0));
go(() => new WebSocket(`ws://${other}/socket`));
go(() => new EventSource(`http://${other}/events`));
go(() => navigator.sendBeacon(`http://${other}/beacon`, "x"));
go(() => new Worker(URL.createObjectURL(new Blob([`
    fetch("http://${other}/worker").catch(() => 0);
    try {new WebSocket("ws://${other}/worker-socket")} catch (e) {}
    importScripts("http://${other}/imported")`]))));
go(() => navigator.serviceWorker.register("/worker.js").catch(() => 0));
go(() => window.open(`http://${other}/window`));
go(() => new RTCPeerConnection({iceServers: [{urls: `turn:${other}?transport=tcp`,
    username: "a", credential: "b"}]}).createDataChannel("x"));
for (const [tag, name, more] of [["iframe", "src"], ["img", "src"], ["script", "src"], ["embed", "src"],
        ["link", "href", {rel: "stylesheet"}], ["link", "href", {rel: "prefetch"}],
        ["link", "href", {rel: "preconnect"}], ["video", "src"], ["object", "data"]]) go(() => {
    const element = Object.assign(document.createElement(tag), more || {});
    element[name] = `http://${other}/${tag}`;
    document.body.append(element);
});
go(() => {alert("stay"); confirm("?")});
const link = Object.assign(document.createElement("a"), {href: "data:application/zip,x", download: "x"});
document.body.append(link);
go(() => link.click());
"""


@needs_a_browser
def test_scripts_reach_nothing_that_the_operator_did_not_type(site, second, command) -> None:
    other, asked = second
    text, site.pages["/api/1"] = made(1, last=1)
    site.pages["/list/1"] = text.replace("<script>", f"<script>{WAYS % other};", 1)
    site.pages["/away"] = (302, {"Location": f"http://{other}/redirected"}, b"")
    site.pages["/robots.txt"] = "User-agent: *\nDisallow: /forbidden\n"
    command.source(site.url("/list/1"))
    done = command("crawl", "made")
    assert (done.code, done.err) == (0, "")
    assert asked == []
    assert "/away" in site.asked
    assert not {"/forbidden", "/worker.js"} & set(site.asked)
    [(record, body)] = command.pages()
    assert record.rec_headers["WARC-Target-URI"] == site.url("/list/1")
    hostname = Path("/etc/hostname")
    if hostname.exists() and len(hostname.read_text().strip()) > 3:
        assert hostname.read_bytes().strip() not in body
    assert len(frame(command.output)) == 3


@needs_a_browser
def test_a_second_port_is_asked_if_it_was_typed(site, second, command) -> None:
    other, asked = second
    text, site.pages["/api/1"] = made(1, last=1)
    script = f"fetch('http://{other}/fetch')"
    site.pages["/list/1"] = text.replace("<script>", f"<script>{script};", 1)
    command.source(site.url("/list/1"))
    urls = ("--start-url", site.url("/list/1"), "--start-url", f"http://{other}/list")
    assert command("crawl", "made", *urls).code == 0
    assert "/fetch" in asked
    assert asked.count("/api/1") == 1, "the page there is rendered, too"


# ------------------------------------------------------------------ how it ends
NEVER = {
    "a script without an end": (shell("while (true) {}"), "did not come to rest"),
    "a script without an end, later": (
        shell("setTimeout(() => {while (true) {}}, 700)"),
        "did not come to rest",
    ),
    "a page that grows": (
        shell("setInterval(() => {document.body.append(document.createElement('p'))}, 50)"),
        "did not come to rest",
    ),
    "a page that leads on": (shell("location.href = '/other'"), "/other; read that address"),
    "a page that loads itself anew": (shell("location.reload()"), "/list/1; read that address"),
    "a page that is too long": (shell("document.body.append('x'.repeat(2000000))"), "longer than"),
    "a page with too much to fetch": (
        shell("fetch('/much').then(r => r.text()).then(t => document.body.append(t))"),
        "no entries",
    ),
}


@needs_a_browser
@pytest.mark.parametrize("name", NEVER)
def test_what_never_ends_is_ended(site, command, tmp_path, name) -> None:
    page, words = NEVER[name]
    site.pages["/list/1"] = page
    site.pages["/much"] = "x" * 2_000_000
    put(site, 2, last=2)
    command.source(site.url("/list/1"), {"DOWNLOAD_TIMEOUT": 8, "DOWNLOAD_MAXSIZE": 1_000_000})
    mark = f"{tmp_path}"
    urls = ("--start-url", site.url("/list/1"), "--start-url", site.url("/list/2"))
    done = command("crawl", "made", *urls, MARK=mark)
    assert (done.code, done.err.count("\n")) == (69, 1)
    assert words in done.err
    assert site.url("/list/1") in done.err
    assert len(frame(command.output)) == 3, "the other page is read"
    assert site.asked.count("/list/1") == 1, "a second time would end in the same way"
    assert left_behind(mark) == []


@needs_a_browser
def test_a_chromium_that_does_not_start(three_made, command) -> None:
    broken = command.sources / "chromium"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    done = command("crawl", "made", HARVESTER_CHROMIUM=str(broken))
    assert (done.code, done.err.count("\n")) == (69, 1)
    assert f"Chromium does not start; see why: {broken} --headless" in done.err


@needs_a_browser
def test_a_page_that_asks_for_ever_is_read_when_it_stands_still(site, command) -> None:
    text, site.pages["/api/1"] = made(1, last=1)
    polls = "setInterval(() => fetch('/news?' + Math.random()), 300);"
    site.pages["/list/1"] = text.replace("<script>", f"<script>{polls}", 1)
    command.source(site.url("/list/1"), {"DOWNLOAD_TIMEOUT": 12})
    assert command("crawl", "made").code == 0
    assert len(frame(command.output)) == 3


def begun(site: Site, command: Command, mark: str, until: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        command.order("crawl", "made"), env={**os.environ, "MARK": mark},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while until not in site.asked:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process


@needs_a_browser
def test_a_stopped_crawl_finishes_its_page_and_closes_the_browser(
    three_made, command, tmp_path
) -> None:
    mark = f"{tmp_path}"
    three_made.pages["/api/2"] = Late(three_made.pages["/api/2"])
    process = begun(three_made, command, mark, until="/api/2")
    process.terminate()
    time.sleep(0.5)
    three_made.let_go.set()
    process.communicate(timeout=60)
    assert process.returncode == 75
    assert len(frame(command.output)) == 6
    assert left_behind(mark) == []


def gone(mark: str) -> list[str]:
    """What is left of a command that was killed, once the others have had time to notice."""
    for _ in range(100):
        if not left_behind(mark):
            break
        time.sleep(0.1)
    return left_behind(mark)


@needs_a_browser
def test_a_killed_crawl_leaves_no_browser(three_made, command, tmp_path) -> None:
    mark = f"{tmp_path}"
    three_made.pages["/api/2"] = Late(three_made.pages["/api/2"])
    process = begun(three_made, command, mark, until="/api/2")
    process.kill()
    process.communicate(timeout=60)
    assert gone(mark) == []
    three_made.let_go.set()
    assert command("crawl", "made").code == 0
    assert len(frame(command.output)) == 9
    modes = [ledger["mode"] for ledger in ledgers(command.output)]
    assert modes == ["recovery", "crawl"], json.dumps(modes)


@needs_a_browser
@pytest.mark.parametrize("which", [0, -1], ids=["chromium", "a renderer"])
def test_a_crash_of_chromium_costs_nothing(three_made, command, tmp_path, which) -> None:
    mark = f"{tmp_path}"
    three_made.pages["/api/2"] = Late(three_made.pages["/api/2"])
    process = begun(three_made, command, mark, until="/api/2")
    os.kill(browsers(mark)[which], signal.SIGKILL)
    time.sleep(0.5)
    three_made.let_go.set()
    _, err = process.communicate(timeout=100)
    assert (process.returncode, err) == (0, "")
    assert len(frame(command.output)) == 9
    assert left_behind(mark) == []
