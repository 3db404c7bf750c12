"""The same on a Dask cluster: whoever of it dies, the rows are those of one process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT
from test_crawl import frame, ledgers
from test_many import Project, Web, checkout, page, serving, settings_of_its_own, titles
from test_workers import LEAVES_ITS_PID, alive, asked, pids, rows, wait_for, waiting_sources

pytest.importorskip("distributed", reason="the extra `cluster` is not installed")

KILLS_ITS_WORKER = """
    def read_record(self, tag):
        import os, signal
        server = os.getppid()
        worker = int(open(f"/proc/{server}/stat").read().rpartition(")")[2].split()[1])
        os.kill(worker, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def web() -> Iterator[Web]:
    yield from serving()


@pytest.fixture
def project(tmp_path) -> Project:
    return checkout(tmp_path / "checkout")


class Cluster:
    """A scheduler and workers, each a process as people start it."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.file = project.root / "scheduler.json"
        self.processes: list[subprocess.Popen] = []
        self.scheduler = self.start("scheduler", "--host", "127.0.0.1", "--port", "0")
        wait_for(self.file.exists)
        wait_for(lambda: self.file.read_text().endswith("}"))
        self.address = json.loads(self.file.read_text())["address"]

    def start(
        self, what: str, *more: str, root: Path | None = None, within: Sequence[str] = ()
    ) -> subprocess.Popen:
        root = root or self.project.root
        order = [
            *within,
            Path(sys.executable).parent / "dask",
            what,
            "--scheduler-file",
            self.file,
            *more,
        ]
        process = subprocess.Popen(
            [*map(str, order), "--no-dashboard"],
            cwd=root, env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def workers(self, number: int, root: Path | None = None) -> None:
        for _ in range(number):
            self.start("worker", "--nthreads", "1", root=root)

    def end(self) -> None:
        for process in self.processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def cluster(project) -> Iterator[Cluster]:
    started = Cluster(project)
    yield started
    started.end()


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


# ------------------------------------------------------------------ the same
def test_two_hundred_sources_on_four_workers_are_those_of_one_process(
    web, project, cluster
) -> None:
    names = [f"s{n:03}" for n in range(200)]
    hanging, redirecting, broken = bad = [names[n] for n in (10, 120, 199)]
    web.answers[f"/{hanging}/1"] = lambda handler: web.let_go.wait(200)
    web.answers[f"/{redirecting}/1"] = lambda handler: handler.reply(
        302, b"", Location=f"http://localhost:{web.port}/secret"
    )
    more = {
        hanging: settings_of_its_own(DOWNLOAD_TIMEOUT=2, RETRY_TIMES=0),
        broken: "    def read_record(self, tag):\n        return 1 / 0\n",
    }
    for n, name in enumerate(names):  # some hosts have several sources
        url = web.url(f"127.0.1.{n % 190 + 1}", f"/{name}/1")
        project.source(name, url, more=more.get(name, ""))
    project.file("misspelt", "class S(:\n")
    alone = project.run("crawl", "--all", "--output", "alone")
    web.most.clear()
    cluster.workers(4)
    done = project.run("crawl", "--all", "--cluster", cluster.address)
    assert (done.code, alone.code) == (70, 70)
    assert [line.split(": ")[1] for line in done.err] == [*bad, "misspelt"], done.err
    assert [line.partition(" ledger ")[0] for line in done.err] == [
        line.partition(" ledger ")[0] for line in alone.err
    ]
    pd.testing.assert_frame_equal(rows(project.root / "alone"), rows(project.output))
    its_own = {"all", "127.0.1.11"}  # answers that hang are still being given
    assert all(most == 1 for host, most in web.most.items() if host not in its_own)
    assert sorted(ledger["source"] for ledger in ledgers(project.output)) == names
    assert project.run("check").err == []


def test_a_replay_on_a_cluster_of_its_own(web, project) -> None:
    for n in range(6):
        project.source(f"s{n}", web.url(f"127.0.1.{n + 1}", f"/s{n}/1"))
    assert project.run("crawl", "--all").code == 0
    orders = {"here": [], "there": ["--cluster", "local", "--workers", "2"]}
    for name, order in orders.items():
        done = project.run("replay", "--archive", "output", "--output", name, *order)
        assert (done.code, done.out, done.err) == (0, "", [])
    here, there = (frame(project.root / name) for name in orders)
    for table in (here, there):
        table["urls"] = table["urls"].map(tuple)
    pd.testing.assert_frame_equal(here, there)


# ------------------------------------------------------------------ who dies
def test_a_worker_that_is_killed_changes_no_row(web, project, cluster) -> None:
    names = [f"s{n}" for n in range(8)]
    for n, name in enumerate(names):
        more = LEAVES_ITS_PID
        project.source(name, web.url(f"127.0.1.{n + 1}", f"/{name}/1"), more=more)
        web.answers[f"/{name}/2"] = lambda handler: (
            web.let_go.wait(60), handler.reply(200, page(handler.path[1:3], 2))
        )  # fmt: skip
    cluster.workers(2)
    process = project.begin("crawl", "--all", "--cluster", cluster.address)
    # The first page of two sources is archived, the second one is being fetched.
    wait_for(lambda: sum(asked(web, f"/{name}/2") for name in names) == 2)
    child, other = sorted(pids(project))
    os.kill(parent(parent(child)), signal.SIGKILL)
    os.kill(child, signal.SIGKILL)
    os.kill(parent(parent(other)), signal.SIGKILL)  # its child ends by itself
    wait_for(lambda: not alive(other))
    web.let_go.set()
    _, err = process.communicate(timeout=90)
    assert (process.returncode, err) == (0, "")
    modes = [ledger["mode"] for ledger in ledgers(project.output)]
    assert (modes.count("crawl"), modes.count("recovery")) == (8, 2)
    assert project.run("crawl", "--all", "--output", "alone").code == 0
    pd.testing.assert_frame_equal(rows(project.root / "alone"), rows(project.output))
    assert project.run("check").err == []


def test_a_source_that_kills_its_workers_fails_alone(web, project) -> None:
    names = ["bad", *(f"s{n}" for n in range(5))]
    for n, name in enumerate(names, 1):
        more = KILLS_ITS_WORKER if name == "bad" else ""
        project.source(name, web.url(f"127.0.1.{n}", f"/{name}/1"), more=more)
    done = project.run("crawl", "--all", "--cluster", "local", "--workers", "2")
    assert done.code == 71
    [line] = done.err
    assert line.startswith("harvester: bad: ") and "died" in line
    assert sorted(frame(project.output)["title"]) == sorted(t for n in names[1:] for t in titles(n))


def test_a_scheduler_that_is_killed_is_told(web, project, cluster) -> None:
    names = waiting_sources(web, project)
    cluster.workers(2)
    process = project.begin("crawl", *names[:2], "--cluster", cluster.address)
    wait_for(lambda: asked(web, "/s00/1") and asked(web, "/s01/1"))
    cluster.scheduler.kill()
    web.let_go.set()
    _, err = process.communicate(timeout=115)
    assert process.returncode == 75, err
    assert [line.split(": ")[1] for line in err.splitlines()] == names[:2]
    wait_for(lambda: not any(map(alive, pids(project))))
    assert project.run("crawl", *names[:2]).code == 0
    assert len(frame(project.output)) == 8


def test_a_source_that_another_process_holds_is_tried_until_it_has_ended(
    web, project, cluster
) -> None:
    for n, name in enumerate(("free", "held"), 1):
        project.source(name, web.url(f"127.0.1.{n}", f"/{name}/1"))
    web.answers["/held/1"] = lambda handler: (
        web.let_go.wait(60), handler.reply(200, page("held", 1))
    )  # fmt: skip
    other = project.begin("crawl", "held")
    wait_for(lambda: asked(web, "/held/1"))
    cluster.workers(1)
    process = project.begin("crawl", "--all", "--cluster", cluster.address)
    wait_for(lambda: asked(web, "/free/2"))
    time.sleep(5)
    assert process.poll() is None
    web.let_go.set()
    assert other.wait(60) == 0
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert len(frame(project.output)) == 8


def test_an_interrupt_reaches_the_workers(web, project, cluster) -> None:
    names = waiting_sources(web, project)
    cluster.workers(2)
    process = project.begin("crawl", "--all", "--cluster", cluster.address)
    wait_for(lambda: sum(asked(web, f"/{name}/1") for name in names) == 2)
    process.send_signal(signal.SIGTERM)
    time.sleep(3)
    web.let_go.set()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    told = [line.partition(": ")[2] for line in err.splitlines()]
    assert told == [
        *(f"{name}: interrupted; what was fetched is stored" for name in names[:2]),
        *(f"{name}: interrupted before it began" for name in names[2:]),
    ]
    assert len(frame(project.output)) == 2 * 2


def test_nobody_outlives_a_command_with_a_cluster_of_its_own(web, project) -> None:
    names = waiting_sources(web, project)
    process = project.begin("crawl", "--all", "--cluster", "local", "--workers", "2")
    wait_for(lambda: sum(asked(web, f"/{name}/1") for name in names) == 2)
    children = pids(project)
    servers = {parent(pid) for pid in children}
    everyone = children | servers | {parent(pid) for pid in servers}
    assert len(everyone) == 6 and all(map(alive, everyone))
    process.kill()
    process.wait(60)
    wait_for(lambda: not any(map(alive, everyone)))


def test_what_was_begun_is_published_though_the_command_is_killed(web, project, cluster) -> None:
    names = waiting_sources(web, project)
    cluster.workers(2)
    process = project.begin("crawl", "--all", "--cluster", cluster.address)
    wait_for(lambda: sum(asked(web, f"/{name}/1") for name in names) == 2)
    process.kill()
    process.wait(60)
    time.sleep(3)
    web.let_go.set()
    wait_for(lambda: not any(map(alive, pids(project))))
    assert len(frame(project.output)) == 2 * 4
    assert len(pids(project)) == 2, "nothing else was begun"


# ------------------------------------------------------------------ what cannot be used
def test_a_cluster_that_cannot_be_used_is_told_in_one_line(project, cluster) -> None:
    project.source("one", "http://127.0.0.1:9/one/1")
    for address, code, reason in (
        ("tcp://127.0.0.1:9", 75, "no scheduler answers there"),
        (cluster.address, 75, "it has no workers"),
        ("nonsense", 64, "write it as tcp://HOST:8786"),
    ):
        for order in (["crawl", "--all"], ["crawl", "one"]):
            done = project.run(*order, "--cluster", address)
            assert (done.code, len(done.err), done.out) == (code, 1, ""), done.err
            assert reason in done.err[0]
    done = project.run("crawl", "--all", "--cluster", cluster.address, "--workers", "2")
    assert (done.code, len(done.err)) == (64, 1)


def test_a_worker_of_another_version_is_told(project, cluster, tmp_path) -> None:
    project.source("one", "http://127.0.0.1:9/one/1")
    old = tmp_path / "old"
    shutil.copytree(project.root / "harvester", old / "harvester")
    shutil.copytree(ROOT / "pipelines", old / "pipelines")
    (old / "pipelines" / "version.py").write_text('VERSION = "0.0.9"\n')
    cluster.workers(1, old)
    done = project.run("crawl", "--all", "--cluster", cluster.address)
    assert (done.code, len(done.err)) == (78, 1), done.err
    assert "has harvester 0.0.9, the command is" in done.err[0]
    assert "install the same version" in done.err[0]


def test_a_worker_that_does_not_share_the_output_is_told(project, cluster) -> None:
    project.source("one", "http://127.0.0.1:9/one/1")
    project.output.mkdir()
    apart = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"']
    apart.append(str(project.output))
    if not shutil.which("unshare") or subprocess.run([*apart, "true"], check=False).returncode:
        pytest.skip("no folder can be hidden from a process here")
    cluster.start("worker", "--nthreads", "1", within=apart)
    done = project.run("crawl", "--all", "--cluster", cluster.address)
    assert (done.code, len(done.err)) == (78, 1), done.err
    assert f"does not see {project.output}; all workers must share" in done.err[0]
    assert not (project.output / "archive").exists()


def test_without_dask_it_is_said_what_to_install(project) -> None:
    project.source("one", "http://127.0.0.1:9/one/1")
    (project.root / "distributed.py").write_text("raise ImportError('No module named distributed')")
    done = project.run("crawl", "--all", "--cluster", "local")
    assert (done.code, len(done.err)) == (78, 1), done.err
    assert "pip install 'harvester[cluster]'" in done.err[0]
    assert project.run("sources").code == 0, "nothing else asks for it"
