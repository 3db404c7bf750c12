"""A data set in an object store keeps the promises of a folder, whoever dies, comes late, or says no.

The store is moto's S3 on loopback.  A proxy before it strikes: it kills the writer at a request, holds
the request, or answers in the server's place.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Event, Lock, Thread

import pandas as pd
import publisher
import pytest
from conftest import ROOT, a_page, article, listing

from pipelines import objects
from pipelines.check import check, check_stories
from pipelines.dataset import Dataset, Locked, Overtaken, open_dataset
from pipelines.known import ENTRIES, REVISIONS
from pipelines.storybook import ALL, Storybook

pytest.importorskip("obstore", reason="the extra s3 is not installed")
pytest.importorskip("flask", reason="moto's server is not installed")
moto_server = pytest.importorskip("moto.server", reason="moto is not installed")
boto3 = pytest.importorskip("boto3", reason="moto is not installed")

BUCKET = "bucket"
# What two crawls of the same pages do not have in common.
MOMENTS = ["first_seen", "last_seen", "since", "until", "missing_since"]
MOMENTS += ["warc_file", "warc_record_id", "run_id", "story_id"]
DENIED = (
    403,
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>InvalidAccessKeyId</Code></Error>',
)

Rule = Callable[[str, str], tuple[int, bytes] | str | None]


@dataclass
class Proxy:
    """Stands before the store.  ``rule`` says of a request (method, name) what happens to it.

    ``"kill"`` ends ``victim`` before it is passed on, ``"kill after"`` before the answer is, ``"hold"``
    waits for ``let_go``; a status and a body are the answer.
    """

    target: tuple[str, int]
    rule: Rule = lambda method, name: None
    victim: int = 0
    url: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    held: Event = field(default_factory=Event)
    let_go: Event = field(default_factory=Event)
    struck: bool = False
    alone: Lock = field(default_factory=Lock)

    def decide(self, method: str, path: str) -> tuple[int, bytes] | str | None:
        name = path.partition("?")[0].removeprefix(f"/{BUCKET}/").partition("/")[2]
        with self.alone:
            self.asked.append((method, name))
            done = self.rule(method, name)
        if done == "hold":
            self.held.set()
            self.let_go.wait(60)
        return done

    def kill(self) -> None:
        self.struck = True
        os.kill(self.victim, signal.SIGKILL)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        done = self.proxy.decide(self.command, self.path)
        if done == "kill":
            self.proxy.kill()
            self.close_connection = True
            return
        if isinstance(done, tuple):
            self.answer(done[0], {}, done[1])
            return
        server = http.client.HTTPConnection(*self.proxy.target)
        server.request(self.command, self.path, body, dict(self.headers))
        answer = server.getresponse()
        content = answer.read()
        server.close()
        if done == "kill after":
            self.proxy.kill()
            self.close_connection = True
            return
        self.answer(answer.status, dict(answer.getheaders()), content)

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_DELETE = do_HEAD = do_POST = pass_on

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Whom it kills hangs up."""


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, int]]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = moto_server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    yield moto.get_host_and_port()
    moto.stop()


@dataclass
class Store:
    """One prefix of the bucket, as seen by tests; ``env`` leads a command to it, through the proxy."""

    client: object
    proxy: Proxy
    prefix: str
    env: dict[str, str]

    @property
    def address(self) -> str:
        return f"s3://{BUCKET}/{self.prefix}"

    def names(self) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=BUCKET, Prefix=f"{self.prefix}/")
        keys = [each["Key"] for page in found for each in page.get("Contents", ())]
        return [key.removeprefix(f"{self.prefix}/") for key in keys]

    def get(self, name: str) -> bytes:
        return self.client.get_object(Bucket=BUCKET, Key=f"{self.prefix}/{name}")["Body"].read()

    def put(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=f"{self.prefix}/{name}", Body=data)

    def download(self, folder: Path) -> Path:
        """The tree as a folder.  What a killed writer has asked for last may still take a file away."""
        for name in self.names():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(self.client.exceptions.NoSuchKey):
                path.write_bytes(self.get(name))
        return folder

    def lease(self, name: str, until: float) -> None:
        """Another machine's claim."""
        told = {"owner": "elsewhere", "until": until, "claim": "x"}
        self.put(name, json.dumps(told).encode())

    def let_leases_run_out(self) -> None:
        for name in self.names():
            if ".lock/" in name:
                self.lease(name, time.time() - 1)


@pytest.fixture
def store(server, tmp_path, monkeypatch) -> Iterator[Store]:
    url = "http://{}:{}".format(*server)
    keys = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
    }
    for name, value in {**keys, "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    proxy = Proxy(server)
    handler = type("Bound", (Handler,), {"proxy": proxy})
    with Server(("127.0.0.1", 0), handler) as before:
        proxy.url = f"http://127.0.0.1:{before.server_address[1]}"
        Thread(target=before.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        env = {"HARVESTER_CACHE": str(tmp_path / "machine-1")}
        yield Store(client, proxy, tmp_path.name, env)
        proxy.let_go.set()
        before.shutdown()


@pytest.fixture
def three_pages(site):
    for number in (1, 2, 3):
        site.pages[f"/list/{number}"] = a_page(number)
    return site


def machine(tmp_path: Path, name: str) -> dict[str, str]:
    return {"HARVESTER_CACHE": str(tmp_path / name)}


def arguments(site, output, *more) -> list[str]:
    start = ["--start-url", site.url("/list/1")]
    return ["crawl", "amnesty_org", *start, "--output", str(output), *more]


def crawl(run, site, output, *more, **env):
    return run("harvester", *arguments(site, output, *more), **env)


def told(output: Path, table: str = "entries") -> list[dict]:
    """What the rows say, by the manifests, whenever it was fetched."""
    dataset = Dataset(output)
    tables = {"entries": ENTRIES, "revisions": REVISIONS}
    frame = pd.concat(
        part.to_pandas()
        for source in dataset.sources()
        for part in dataset.stored(tables[table], source).parts_read()
    )
    frame["warc_record_id"] = frame["warc_record_id"].notna()
    keys = [n for n in ("entry_id", "revision") if n in frame]
    frame = frame.drop(columns=[n for n in MOMENTS if n in frame]).sort_values(keys)
    return json.loads(frame.to_json(orient="records", date_format="iso"))


def ledgers(output: Path) -> list[dict]:
    paths = sorted((output / "runs").glob("*.json"))
    return [json.loads(path.read_text("utf-8")) for path in paths]


def revisits(output: Path) -> int:
    indices = output.glob("archive/*/*.cdxj")
    return sum(path.read_text("utf-8").count("warc/revisit") for path in indices)


# ------------------------------------------------------------------ as in a folder
def test_an_address_holds_what_a_folder_does(run, three_pages, store, tmp_path) -> None:
    three_pages.tags = True  # so that what is archived is asked for conditionally
    folder = tmp_path / "folder"

    def both(*more: str, **env: str) -> None:
        for output in (folder, store.address):
            done = crawl(run, three_pages, output, *more, **env)
            assert (done.code, done.out, done.err) == (0, "", "")

    both(**store.env)
    both(**store.env)  # a quiet hour
    edited = article("Entry 1-0, corrected", "/news/entry-1-0/", "July 25, 2011", "Said anew")
    fresh = article("Brand new", "/news/new/", "July 27, 2011", "What is new")
    rest = a_page(1).partition("</article>")[2].partition("</main>")[0]
    three_pages.pages["/list/1"] = listing(fresh, edited, rest, next_page="/list/2")
    both("--full", **machine(tmp_path, "cold"))
    both("--full", **store.env)  # the other machine's run is seen
    copy = store.download(tmp_path / "copy")
    for table in ("entries", "revisions"):
        assert told(copy, table) == told(folder, table)
    for one, other in zip(ledgers(copy), ledgers(folder), strict=True):
        for name in ("counts", "rows", "mode"):
            assert one[name] == other[name]
        assert one["course"]["stops"] == other["course"]["stops"]
    assert revisits(copy) == revisits(folder) > 0, "a cold copy knows what the archive has"
    assert run("harvester", "check", "--output", copy).err == "", "the tree is a folder's"
    for table in ("entries", "revisions"):
        assert len(pd.read_parquet(copy / table)) == len(told(copy, table)), "and nothing else"


def test_commands_that_look_need_no_copy(run, three_pages, store, tmp_path) -> None:
    folder = tmp_path / "folder"
    for output in (folder, store.address):
        assert crawl(run, three_pages, output, **store.env).code == 0
    machines = count()

    def on_both(*command: str):
        cold = machine(tmp_path, f"cold-{next(machines)}")
        done = [run("harvester", *command, "--output", o, **cold) for o in (folder, store.address)]
        assert [(d.code, d.err) for d in done] == [(0, "")] * 2, command
        return [d.out for d in done]

    one, other = map(str.splitlines, on_both("export", "--to", "jsonl"))
    assert len(one) == len(other) == 9
    entry_id = json.loads(one[0])["entry_id"]
    assert [json.loads(text)[0]["rows"] for text in on_both("status", "amnesty_org", "--json")] == [
        9, 9
    ]  # fmt: skip
    for command in (("check",), ("archive", "check"), ("sources", "--diff")):
        assert on_both(*command) == ["", ""]
    shown = on_both("show", entry_id)[1]
    assert f"file: {store.address}/archive/amnesty_org/" in shown
    on_both("diff", entry_id)
    on_both("archive", "prove", entry_id)
    before = told(store.download(tmp_path / "before"))
    on_both("replay", "amnesty_org")
    assert told(store.download(tmp_path / "after")) == before
    again = tmp_path / "again"
    there = ("--archive", store.address, "--output", again)
    assert run("harvester", "replay", "amnesty_org", *there, **store.env).code == 0
    assert told(again) == before
    wrong = run("harvester", "diff", "e1-none", "--output", store.address, **store.env)
    assert (wrong.code, store.address in wrong.err, wrong.err.count("\n")) == (64, True, 1)


def test_a_warm_copy_fetches_nothing_again(run, three_pages, store) -> None:
    assert crawl(run, three_pages, store.address, **store.env).code == 0
    store.proxy.asked.clear()
    assert crawl(run, three_pages, store.address, **store.env).code == 0
    fetched = {name for method, name in store.proxy.asked if method == "GET" and "." in name}
    assert fetched == {".lock/amnesty_org", ".stories/.lock/all"}


def test_readers_of_the_docs_read_it(run, three_pages, store, monkeypatch) -> None:
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    import harvester

    assert crawl(run, three_pages, store.address, **store.env).code == 0
    monkeypatch.setenv("HARVESTER_CACHE", store.env["HARVESTER_CACHE"] + "-reader")
    frame = harvester.load(store.address)
    assert len(frame) == 9
    assert set(frame["source"]) == {"amnesty_org"}
    page = (ROOT / "docs" / "object-storage.md").read_text("utf-8")
    names: dict = {}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(code.replace("bucket/prefix", f"{BUCKET}/{store.prefix}"), names)
        assert len(names["frame"]) == 9
        rows = names["rows"]
        assert duckdb.sql("SELECT count(*) FROM rows").fetchall() == [(9,)]
        assert set(polars.scan_pyarrow_dataset(rows).collect()["source"]) == {"amnesty_org"}


def test_a_folder_costs_nothing_of_it() -> None:
    code = (
        "import sys; from pipelines.dataset import open_dataset; open_dataset('output')\n"
        "assert not {'obstore', 'pipelines.remote'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_check_looks_at_what_the_store_has_and_repairs_it(run, three_pages, store) -> None:
    assert crawl(run, three_pages, store.address, **store.env).code == 0
    [part] = [name for name in store.names() if name.startswith("entries/")]
    before = store.get(part)
    store.put(part, before[:99] + bytes([before[99] ^ 1]) + before[100:])
    done = run("harvester", "check", "--output", store.address, **store.env)
    assert (done.code, f"{store.address}/{part}" in done.err) == (65, True)
    done = run("harvester", "check", "--repair", "--output", store.address, **store.env)
    assert "rebuilt, 9 rows" in done.err
    done = run("harvester", "check", "--output", store.address, **store.env)
    assert (done.code, done.err) == (0, "")


# ------------------------------------------------------------------ killed
ORDERS = [f"{source}:{day}" for source, day in publisher.RUNS]


@dataclass
class Machine:
    """A process that forks others, which publish; all share its copy."""

    process: subprocess.Popen[str]

    def publish(self, store: Store, order: str) -> int:
        assert self.process.stdin and self.process.stdout
        print(store.address, order, file=self.process.stdin, flush=True)
        store.proxy.victim = int(self.process.stdout.readline())
        print(file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())


@pytest.fixture
def machines(store, tmp_path) -> Iterator[Callable[[str], Machine]]:
    begun: dict[str, Machine] = {}

    def of(name: str) -> Machine:
        if name not in begun:
            env = {**os.environ, **machine(tmp_path, name)}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            begun[name] = Machine(
                subprocess.Popen([sys.executable, publisher.__file__], env=env, **pipes)
            )
        return begun[name]

    yield of
    for each in begun.values():
        each.process.stdin.close()
        each.process.wait()


def published(store: Store, folder: Path) -> dict[str, list[dict]]:
    copy = store.download(folder)
    frames = {name: pd.read_parquet(copy / name) for name in ("entries", "revisions")}
    return {
        name: json.loads(
            frame.sort_values(list(frame.columns[:3])).to_json(orient="records", date_format="iso")
        )
        for name, frame in frames.items()
    }


KINDS = [(when, next_one) for when in ("kill", "kill after") for next_one in ("first", "second")]
EVERY = os.environ.get("HARVESTER_FAULTS") == "all"  # else the kinds take turns, which is quicker


@pytest.mark.parametrize("kinds", [[kind] for kind in KINDS] if EVERY else [KINDS], ids=str)
def test_killed_at_every_write_the_next_run_ends_what_it_began(
    store, machines, tmp_path, monkeypatch, kinds
) -> None:
    order = ORDERS[-1]
    for each in ORDERS[:-1]:
        assert machines("first").publish(store, each) == 0
    begun = store.download(tmp_path / "begun")
    assert machines("first").publish(store, order) == 0
    whole = published(store, tmp_path / "whole")
    assert len(whole["entries"]) == 8
    prefix = store.prefix
    for number in count(1):
        when, next_one = kinds[number % len(kinds)]
        store.prefix = f"{prefix}-{number}"
        for path in (path for path in begun.rglob("*") if path.is_file()):
            store.put(path.relative_to(begun).as_posix(), path.read_bytes())
        writes = count(1)

        def strike(method: str, name: str, when=when, writes=writes, number=number) -> str | None:
            is_write = method in ("PUT", "DELETE", "POST")
            return when if is_write and next(writes) == number else None

        store.proxy.rule, store.proxy.struck = strike, False
        code = machines("first").publish(store, order)
        store.proxy.rule = lambda method, name: None
        if not store.proxy.struck:
            break
        assert code == -signal.SIGKILL
        # Who reads by the manifests finds all as it was before, or all as it is after.
        rows = Dataset(store.download(tmp_path / f"killed-{number}")).records("early")
        assert len(rows) in (5, 6)
        if next_one != "first":  # on another machine, when the leases have run out
            store.let_leases_run_out()
        assert machines(next_one).publish(store, order) == 0
        assert published(store, tmp_path / f"after-{number}") == whole, number
        monkeypatch.setenv("HARVESTER_CACHE", str(tmp_path / "checker"))
        store.let_leases_run_out()  # the book's may still be that of the dead
        assert all_findings(open_dataset(store.address)) == [], number
        tree = Dataset(store.download(tmp_path / f"checked-{number}"))
        assert all_findings(tree) == [], "the strays are gone, too"
    assert number > 10


def all_findings(dataset: Dataset) -> list[str]:
    """What is wrong, but for the archive, which these runs do not have."""
    with dataset.lock("early"), dataset.lock("late"), Storybook(dataset).own.lock(ALL, wait=True):
        found = [*check(dataset, "early"), *check(dataset, "late"), *check_stories(dataset)]
    return [str(f) for f in found if "archive file that proves rows" not in f.problem]


@pytest.mark.parametrize(
    ("name", "when"),
    [
        (".warc.gz", "kill"),
        (".cdxj", "kill"),
        ("entries/", "kill"),
        ("manifests/amnesty_org.json", "kill"),
        ("manifests/amnesty_org.json", "kill after"),
        ("runs/", "kill"),
        ("told/amnesty_org.json", "kill"),
    ],
)
def test_a_crawl_that_is_killed_while_it_brings_its_work_there(
    run, three_pages, store, tmp_path, name, when
) -> None:
    env = {**os.environ, **store.env}
    command = Path(sys.executable).parent / "harvester"
    with subprocess.Popen(
        [command, *arguments(three_pages, store.address)], env=env, cwd=tmp_path
    ) as process:
        store.proxy.victim = process.pid
        store.proxy.rule = lambda method, n: when if method == "PUT" and name in n else None
        assert process.wait() == -signal.SIGKILL
    store.proxy.rule = lambda method, n: None
    three_pages.asked.clear()
    done = crawl(run, three_pages, store.address, **store.env)
    assert (done.code, done.err) == (0, "")
    assert three_pages.asked == ["/robots.txt", "/list/1"], "nothing is fetched twice"
    folder = tmp_path / "folder"
    assert crawl(run, three_pages, folder).code == 0
    copy = store.download(tmp_path / "copy")
    assert told(copy) == told(folder)
    assert [each["counts"]["new"] for each in ledgers(copy)] == [9, 0]
    done = run("harvester", "check", "--output", store.address, **store.env)
    assert (done.code, done.err) == (0, "")


# ------------------------------------------------------------------ two writers
def test_what_another_machine_holds_is_left_to_it(run, three_pages, store) -> None:
    store.lease(".lock/amnesty_org", time.time() + 3600)
    done = crawl(run, three_pages, store.address, **store.env)
    assert (done.code, done.out, done.err.count("\n")) == (75, "", 1)
    assert store.address in done.err
    assert store.names() == [".lock/amnesty_org"]
    assert three_pages.asked == []
    store.lease(".lock/amnesty_org", time.time() - 1)  # it died there
    assert crawl(run, three_pages, store.address, **store.env).code == 0


def test_a_lease_is_renewed_until_another_has_it(store, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(objects, "_RENEWED", 0.01)
    monkeypatch.setenv("HARVESTER_CACHE", str(tmp_path / "here"))
    dataset = open_dataset(store.address)

    def seen_again(before: bytes) -> bytes:
        while (now := store.get(".lock/early")) == before:
            time.sleep(0.01)
        return now

    with dataset.lock("early"):
        seen_again(seen_again(store.get(".lock/early")))
        store.lease(".lock/early", time.time() + 3600)
        with pytest.raises(Overtaken, match=store.address):  # as soon as it looks
            while True:
                dataset.commit("early", (), "", {"runs/20260101T000000Z-early.json": b"{}"})
                time.sleep(0.01)
        claim = store.get(".lock/early")
    assert store.get(".lock/early") == claim, "what is another's is not given back"
    with pytest.raises(Locked, match=store.address), dataset.lock("early"):
        pass


@pytest.mark.parametrize("name", [".warc.gz", "entries/", "manifests/amnesty_org.json"])
def test_a_writer_that_is_late_destroys_and_doubles_nothing(
    run, three_pages, store, tmp_path, name
) -> None:
    assert crawl(run, three_pages, store.address, **store.env).code == 0
    fresh = article("Brand new", "/news/new/", "July 27, 2011", "What is new")
    rest = a_page(1).partition("<main>")[2].partition("</main>")[0]
    three_pages.pages["/list/1"] = listing(fresh, rest, next_page="/list/2")
    command = Path(sys.executable).parent / "harvester"
    late = subprocess.Popen(
        [command, *arguments(three_pages, store.address, "--full")],
        env={**os.environ, **store.env},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    held = iter(["hold"])
    store.proxy.rule = lambda method, n: next(held, None) if method == "PUT" and name in n else None
    assert store.proxy.held.wait(60)
    store.let_leases_run_out()
    other = machine(tmp_path, "machine-2")
    assert crawl(run, three_pages, store.address, "--full", **other).code == 0
    before = told(store.download(tmp_path / "before"))
    store.proxy.let_go.set()
    _, said = late.communicate(timeout=60)
    assert (late.returncode, said.count("\n")) == (75, 1)
    assert store.address in said
    copy = store.download(tmp_path / "copy")
    assert told(copy) == before
    fetched = {path.name.partition(".")[0] for path in copy.glob("archive/*/*.warc.gz")}
    assert len(fetched) == 3, "what it had fetched is there"
    # The next run publishes it, wherever that is, unless the other one has done so.
    assert crawl(run, three_pages, store.address, **machine(tmp_path, "machine-3")).code == 0
    after = store.download(tmp_path / "after")
    assert fetched < {each["run_id"] for each in ledgers(after)}
    assert told(after) == before
    assert len(pd.read_parquet(after / "entries")) == 10
    for env in (store.env, other):
        done = run("harvester", "check", "--output", store.address, **env)
        assert (done.code, done.err) == (0, "")


# ------------------------------------------------------------------ a store that says no
def failing(times: int, where: str, status: int = 503) -> Rule:
    left = iter(range(times))

    def rule(method: str, name: str) -> tuple[int, bytes] | None:
        struck = method == "PUT" and where in name and next(left, None) is not None
        return (status, b"") if struck else None

    return rule


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_fails_for_a_moment_is_asked_again(run, three_pages, store, status) -> None:
    store.proxy.rule = failing(2, "manifests/amnesty_org.json", status)
    done = crawl(run, three_pages, store.address, **store.env)
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("where", ["", ".warc.gz", "manifests/amnesty_org.json", "runs/"])
def test_a_server_that_goes_on_failing_loses_nothing(run, three_pages, store, where) -> None:
    store.proxy.rule = failing(1000, where)
    done = crawl(run, three_pages, store.address, **store.env)
    assert (done.code, done.err.count("\n")) == (74, 1)
    assert "503" in done.err
    assert store.address in done.err
    store.proxy.rule = lambda method, name: None
    three_pages.asked.clear()
    assert crawl(run, three_pages, store.address, **store.env).code == 0
    if where:  # it had fetched them
        assert three_pages.asked == ["/robots.txt", "/list/1"]
    done = run("harvester", "export", "--output", store.address, **store.env)
    assert done.out.count("\n") == 10
    done = run("harvester", "check", "--output", store.address, **store.env)
    assert (done.code, done.err) == (0, "")


def test_a_server_that_is_not_there(run, three_pages, store) -> None:
    nowhere = {**store.env, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    done = crawl(run, three_pages, store.address, **nowhere)
    assert (done.code, done.err.count("\n")) == (74, 1)
    done = run("harvester", "status", "--output", store.address, **nowhere)
    assert (done.code, done.err.count("\n")) == (74, 1)


def test_who_is_not_let_in_is_told_so(run, three_pages, store) -> None:
    store.proxy.rule = lambda method, name: DENIED
    for command in (arguments(three_pages, store.address), ["check", "--output", store.address]):
        done = run("harvester", *command, **store.env)
        assert (done.code, done.err.count("\n")) == (73, 1)
        assert "InvalidAccessKeyId" in done.err


def test_a_bucket_that_is_not_there(run, three_pages, store) -> None:
    for command in (
        arguments(three_pages, "s3://no-such/x"),
        ["check", "--output", "s3://no-such"],
    ):
        done = run("harvester", *command, **store.env)
        assert (done.code, done.err.count("\n")) == (73, 1)
        assert "there is no such bucket" in done.err


def test_what_cannot_be_an_output_is_said(run, three_pages, store, tmp_path) -> None:
    for output in ("s3://", "gs://bucket/x"):
        done = crawl(run, three_pages, output, **store.env)
        assert (done.code, done.err.count("\n")) == (73, 1)
    (tmp_path / "without" / "obstore").mkdir(parents=True)
    (tmp_path / "without" / "obstore" / "__init__.py").write_text("raise ImportError")
    path = f"{tmp_path / 'without'}{os.pathsep}{ROOT}"
    done = crawl(run, three_pages, store.address, **{**store.env, "PYTHONPATH": path})
    assert (done.code, done.err.count("\n")) == (78, 1)
    assert "pip install 'harvester[s3]'" in done.err
    assert crawl(run, three_pages, tmp_path / "folder", PYTHONPATH=path).code == 0
