"""A process for each source: as many as one likes change nothing, and what dies costs the others nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from conftest import article, listing
from test_crawl import frame, ledgers
from test_many import Project, Web, checkout, page, serving, titles

# What tells a test which processes there were.
LEAVES_ITS_PID = """
    def __init__(self, *arguments, **named):
        import os, pathlib
        super().__init__(*arguments, **named)
        pathlib.Path(f"{os.getpid()}.pid").touch()
"""


@pytest.fixture
def web() -> Iterator[Web]:
    yield from serving()


@pytest.fixture
def project(tmp_path) -> Project:
    return checkout(tmp_path / "checkout")


def wait_for(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def pids(project: Project) -> set[int]:
    """The processes that had a source of this project."""
    return {int(path.stem) for path in project.root.glob("*.pid")}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def asked(web: Web, path: str) -> int:
    return sum(path == each for seen in list(web.asked.values()) for _, each in seen)


def without_times(text: str) -> str:
    """What a command printed, but for what differs from run to run."""
    text = re.sub(r"\d{8}T\d{6}Z", "RUN", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:[\d.]+(\+00:00)?", "TIME", text)
    return re.sub(r"urn:uuid:[0-9a-f-]{36}", "RECORD", text)


def rows(output: Path) -> pd.DataFrame:
    """The rows of crawls; who tells a story first depends on who was asked first, and is left out."""
    found = frame(output)
    found["urls"] = found["urls"].map(tuple)
    found["story_id"] = found.groupby("story_id")["entry_id"].transform("min")
    return found.sort_values("entry_id", ignore_index=True).drop(
        columns=["first_seen", "last_seen", "warc_file", "warc_record_id", "run_id"]
    )


def one_story(name: str) -> bytes:
    """A page on which a source tells what all the others tell, too."""
    words = (
        "the judges saw no reason to change the sentence that was handed down in Hrodna last autumn"
    )
    records = [
        article(f"Court number {n} upholds its verdict against a writer", f"/{name}/{n}",
                f"July {20 - n}, 2011", f"In case {n} {words}")
        for n in range(4)
    ]  # fmt: skip
    return listing(*records).encode()


# ------------------------------------------------------------------ equal, however many
def test_a_crawl_is_the_same_whatever_the_number_of_workers(web, project) -> None:
    names = [f"s{n:02}" for n in range(12)]
    more = {"s03": "    def read_record(self, tag):\n        return 1 / 0\n"}
    web.answers["/s05/1"] = lambda handler: handler.reply(404, b"gone")
    for n, name in enumerate(names):
        project.source(name, web.url(f"127.0.1.{n + 1}", f"/{name}/1"), more=more.get(name, ""))
    project.file("misspelt", "class S(:\n")
    told = []
    for workers in (None, "1", "3"):
        option = ["--workers", workers] if workers else []
        output = project.root / f"output{workers}"
        for again in range(2):
            log = f"{workers}-{again}.jsonl"
            done = project.run(
                "crawl", "--all", "--json", "--output", output, "--log", log, *option
            )
            assert done.code == 70, "a bug is the gravest"
            lines = (project.root / log).read_text()
            told.append((again, without_times("\n".join([done.out, *done.err, lines]))))
        assert project.run("check", "--output", output).err == []
    assert told[0::2] == [told[0]] * 3
    assert told[1::2] == [told[1]] * 3
    assert [each["source"] for each in json.loads(done.out)] == [*names, "misspelt"]
    assert [line.split(": ")[1] for line in done.err] == ["s03", "s05", "misspelt"]
    for workers in ("1", "3"):
        pd.testing.assert_frame_equal(
            rows(project.root / "outputNone"), rows(project.root / f"output{workers}")
        )


def test_a_replay_is_the_same_whatever_the_number_of_workers(web, project) -> None:
    for n in range(8):
        web.answers[f"/s{n}/1"] = lambda handler: handler.reply(200, one_story(handler.path[1:3]))
        project.source(f"s{n}", web.url(f"127.0.1.{n + 1}", f"/s{n}/1"))
    assert project.run("crawl", "--all").code == 0
    (damaged,) = (project.output / "archive" / "s3").glob("*.warc.gz")
    damaged.write_bytes(damaged.read_bytes()[:-200] + bytes(200))
    found, told = [], []
    for workers in (None, "1", "4"):
        output = project.root / f"output{workers}"
        more = ["--output", output, *(["--workers", workers] if workers else [])]
        done = project.run("replay", "--archive", project.output, "--json", *more)
        assert (done.code, len(done.err)) == (65, 1)
        told.append(without_times("\n".join([done.out, *done.err])))
        table = frame(output)
        table["urls"] = table["urls"].map(tuple)
        found.append(table.sort_values("entry_id", ignore_index=True))
    assert len(found[0]) >= 28
    assert found[0]["story_id"].nunique() == 4, "who told it first is the same, too"
    assert told == [told[0]] * 3
    for table in found[1:]:
        pd.testing.assert_frame_equal(found[0], table)
    order = ["replay", "s1", "s2", "--archive", project.output, "--output", "new", "--dry-run"]
    dry = [project.run(*order, *more).out for more in ([], ["--workers", "2"])]
    assert dry[0] == dry[1]
    assert "s1: 4 rows would change" in dry[0]


def test_sources_of_one_host_follow_one_another(web, project) -> None:
    for name in ("one", "two", "three"):
        project.source(name, web.url("127.0.1.1", f"/{name}/1"))
        web.answers[f"/{name}/1"] = lambda handler: (
            time.sleep(0.3), handler.reply(200, page(handler.path.split("/")[1], 1))
        )  # fmt: skip
    project.source("four", web.url("127.0.1.2", "/four/1"), web.url("127.0.1.1", "/five/1"))
    assert project.run("crawl", "--all", "--workers", "4").code == 0
    assert web.most["127.0.1.1"] == 1
    assert len(frame(project.output)) == 5 * 4


# ------------------------------------------------------------------ contained
def test_what_kills_a_process_costs_the_others_nothing(web, project) -> None:
    ends = {
        "aborts": "import os; os.abort()",
        "exits": "import os; os._exit(3)",
        "greedy": "bytearray(1 << 45)",
        "killed": "import os; os.kill(os.getpid(), 9)",
        "leaves": "raise SystemExit(5)",
        "raises": "1 / 0",
    }
    for n, name in enumerate([*ends, *(f"well{n}" for n in range(6))], 1):
        line = f"    def read_record(self, tag):\n        {ends.get(name)}\n"
        more = line if name in ends else ""
        project.source(name, web.url(f"127.0.1.{n}", f"/{name}/1"), more=more)
    done = project.run("crawl", "--all", "--workers", "3", "--json", "--log", "log.jsonl")
    exits = {each["source"]: each["exit"] for each in json.loads(done.out)}
    problems = {each["source"]: each["problem"] for each in json.loads(done.out)}
    assert done.code == 70
    assert {name: exits[name] for name in ends} == {
        "aborts": 70, "exits": 70, "greedy": 70, "killed": 71, "leaves": 70, "raises": 70
    }  # fmt: skip
    assert "SIGABRT" in problems["aborts"]
    assert "ended with 3" in problems["exits"]
    assert "MemoryError" in problems["greedy"]
    assert "SIGKILL" in problems["killed"] and "memory" in problems["killed"]
    assert "ZeroDivisionError" in problems["raises"]
    assert [name for name, code in exits.items() if not code] == [f"well{n}" for n in range(6)]
    assert sorted(frame(project.output)["title"]) == sorted(
        title for n in range(6) for title in titles(f"well{n}")
    )
    # What was killed had fetched a page; once its file is mended, that is published.
    project.source("killed", web.url("127.0.1.4", "/killed/1"))
    assert project.run("crawl", "killed", "--workers", "1").code == 0
    assert {led["mode"] for led in ledgers(project.output) if led["source"] == "killed"} == {
        "recovery", "crawl"
    }  # fmt: skip


def test_a_source_that_another_process_holds(web, project) -> None:
    for n, name in enumerate(("free", "held"), 1):
        project.source(name, web.url(f"127.0.1.{n}", f"/{name}/1"))
    web.answers["/held/1"] = lambda handler: (
        web.let_go.wait(60), handler.reply(200, page("held", 1))
    )  # fmt: skip
    other = project.begin("crawl", "held")
    wait_for(lambda: asked(web, "/held/1"))
    done = project.run("crawl", "--all", "--workers", "2")
    assert done.code == 75
    assert len(done.err) == 1 and "another process is working on it" in done.err[0]
    web.let_go.set()
    assert other.wait(60) == 0
    assert len(frame(project.output)) == 8


def test_a_server_that_is_killed_costs_only_what_was_being_done(web, project) -> None:
    for n in range(6):
        more = LEAVES_ITS_PID
        project.source(f"s{n}", web.url(f"127.0.1.{n + 1}", f"/s{n}/1"), more=more)
        web.answers[f"/s{n}/1"] = lambda handler: (
            web.let_go.wait(60), handler.reply(200, page(handler.path[1:3], 1))
        )  # fmt: skip
    process = project.begin("crawl", "--all", "--workers", "2")
    wait_for(lambda: asked(web, "/s0/1") and asked(web, "/s1/1"))
    children = pids(project)
    assert len(children) == 2
    [server] = {int(Path(f"/proc/{pid}/stat").read_text().split()[3]) for pid in children}
    os.kill(server, signal.SIGKILL)
    web.let_go.set()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 71
    assert [line.split(": ")[1] for line in err.splitlines()] == ["s0", "s1"], err
    wait_for(lambda: not any(map(alive, pids(project))))
    assert project.run("crawl", "--all", "--workers", "2").code == 0
    assert len(frame(project.output)) == 6 * 4


# ------------------------------------------------------------------ interrupted
def waiting_sources(web: Web, project: Project) -> list[str]:
    names = [f"s{n:02}" for n in range(6)]
    for n, name in enumerate(names):
        project.source(name, web.url(f"127.0.1.{n + 1}", f"/{name}/1"), more=LEAVES_ITS_PID)
        web.answers[f"/{name}/1"] = lambda handler: (
            web.let_go.wait(60), handler.reply(200, page(handler.path[1:4], 1))
        )  # fmt: skip
    return names


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_is_stopped_is_told_and_made_good_by_the_next_run(web, project, number) -> None:
    names = waiting_sources(web, project)
    process = project.begin("crawl", "--all", "--workers", "3", "--log", "log.jsonl")
    wait_for(lambda: all(asked(web, f"/{name}/1") for name in names[:3]))
    process.send_signal(number)
    time.sleep(2)
    web.let_go.set()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert [line.partition(": ")[2] for line in err.splitlines()] == [
        *(f"{name}: interrupted; what was fetched is stored" for name in names[:3]),
        *(f"{name}: interrupted before it began" for name in names[3:]),
    ]
    assert len(frame(project.output)) == 2 * 3
    assert not any(map(alive, pids(project)))
    done = project.run("crawl", "--all", "--workers", "3")
    assert (done.code, done.err) == (0, [])
    assert len(frame(project.output)) == 4 * len(names)


def test_a_second_interrupt_ends_it_at_once(web, project) -> None:
    names = waiting_sources(web, project)
    process = project.begin("crawl", "--all", "--workers", "3")
    wait_for(lambda: all(asked(web, f"/{name}/1") for name in names[:3]))
    process.send_signal(signal.SIGTERM)
    time.sleep(1)
    assert process.poll() is None, "the first one lets them end"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 75
    assert [line.partition(": ")[2].partition(";")[0] for line in err.splitlines()] == [
        *(f"{name}: interrupted" for name in names[:3]),
        *(f"{name}: interrupted before it began" for name in names[3:]),
    ]
    assert not any(map(alive, pids(project)))


def test_a_terminal_interrupts_once(web, project) -> None:
    """It signals the whole group of processes; each source hears of it once."""
    names = waiting_sources(web, project)
    process = subprocess.Popen(
        [Path(sys.executable).parent / "harvester", "crawl", "--all", "--workers", "3"],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        cwd=project.root, env={**os.environ, "PYTHONPATH": str(project.root)},
    )  # fmt: skip
    wait_for(lambda: all(asked(web, f"/{name}/1") for name in names[:3]))
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(2)
    web.let_go.set()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert len(frame(project.output)) == 2 * 3


def test_nobody_outlives_a_command_that_is_killed(web, project) -> None:
    names = waiting_sources(web, project)
    process = project.begin("crawl", "--all", "--workers", "3")
    wait_for(lambda: all(asked(web, f"/{name}/1") for name in names[:3]))
    children = pids(project)
    parents = {int(Path(f"/proc/{pid}/stat").read_text().split()[3]) for pid in children}
    assert len(children) == 3 and all(map(alive, children | parents))
    process.kill()
    process.wait(60)
    wait_for(lambda: not any(map(alive, children | parents)))
    web.let_go.set()
    assert project.run("crawl", "--all", "--workers", "3").code == 0
    assert len(frame(project.output)) == 4 * len(names)


def test_wrong_usage(project) -> None:
    for order in (["crawl", "--all", "--workers", "0"], ["replay", "--workers", "some"]):
        done = project.run(*order)
        assert (done.code, len(done.err)) == (64, 1)
