"""A real process, killed for real or failed by the kernel, at every system call of a publish.

strace counts the calls that change the disk and strikes at the first, the second, the third ... until
there are no more.  After each, readers find the old tables or the new ones, and one more run makes the
same of them as if nothing had happened.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import publisher
import pytest

from pipelines import ledger
from pipelines.check import check, check_stories
from pipelines.dataset import Dataset

ERRORS = ("ENOSPC", "EIO", "EROFS")
EVERY = os.environ.get("HARVESTER_FAULTS") == "all"  # else the errors take turns, which is quicker
CALLS = ["write", "fsync", "rename", "renameat2", "link", "unlink"]
CALLS += ["unlinkat", "mkdir"] if EVERY else []
STRACE = shutil.which("strace")


def may_trace() -> bool:
    """Containers often forbid it."""
    order = [STRACE or "strace", "-o", os.devnull, "true"]
    return (
        STRACE is not None
        and subprocess.run(order, capture_output=True, check=False).returncode == 0
    )


pytestmark = pytest.mark.skipif(not may_trace(), reason="strace is not installed, or may not trace")


@pytest.fixture(scope="module")
def server() -> Iterator[subprocess.Popen[str]]:
    """Forks processes that publish."""
    order = [sys.executable, publisher.__file__]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(order, **pipes) as process:
        yield process
        process.stdin.close()


def struck(
    server: subprocess.Popen[str], output: Path, order: str, inject: str
) -> tuple[int, bool]:
    """How a process ended that published under a fault, and whether this struck."""
    assert server.stdin and server.stdout
    print(output, order, file=server.stdin, flush=True)
    number = server.stdout.readline().strip()
    log = output.with_suffix(".log")
    call = inject.partition(":")[0]
    trace = [STRACE, "-f", "-p", number, "-o", log, "-e", f"trace={call}", "-e", f"inject={inject}"]
    with subprocess.Popen(trace, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr and "attached" in strace.stderr.readline()
        print(file=server.stdin, flush=True)
        code = int(server.stdout.readline())
    return code, code == -signal.SIGKILL or "INJECTED" in log.read_text()


def publish(output: Path, *orders: str) -> None:
    """What the publisher does, in this process."""
    for order in orders:
        source, _, day = order.partition(":")
        publisher.put(Dataset(output), source, int(day))


def state(output: Path) -> dict[str, Any]:
    """Rows, versions, manifests and ledgers of all sources, but for when the ledgers were written."""
    dataset = Dataset(output)
    found: dict[str, Any] = {}
    for source in dataset.sources():
        found[f"rows of {source}"] = dataset.records(source)
        found[f"versions of {source}"] = dataset.versions(source)
        found[f"manifest of {source}"] = dataset.manifest(source)
        for run_id in ledger.run_ids(dataset, source):
            told = ledger.read(dataset.ledger_file(run_id))
            found[f"ledger of {run_id}"] = {k: v for k, v in told.items() if k != "finished"}
    return found


def read(output: Path) -> tuple[list[Any], list[Any]]:
    """What a reader of the earlier source finds."""
    tables = []
    for name in ("entries", "revisions"):
        frame = pd.read_parquet(output / name, filters=[("source", "==", "early")])
        tables.append(sorted(frame.astype(str).values.tolist()))
    return tables[0], tables[1]


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("before") / "o"
    publish(output, "early:1", "late:9")
    return output


@pytest.fixture(scope="module")
def after(before, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("after") / "o"
    shutil.copytree(before, output)
    publish(output, "early:2")
    return output


@pytest.fixture(scope="module")
def one_more(after, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("more") / "o"
    shutil.copytree(after, output)
    publish(output, "early:3")
    [retold] = [r for r in Dataset(output).records("late") if "5" in (r.title or "")]
    assert retold.story_id != retold.entry_id, "a publish changes another source, too"
    return output


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("fault", ["kill", *ERRORS] if EVERY else ["kill", "error"])
def test_every_call(server, before, after, one_more, tmp_path, call, fault) -> None:
    old, new, wanted = read(before), read(after), state(one_more)
    for n in count(1):
        error = ERRORS[n % 3] if fault == "error" else fault
        inject = f"{call}:{'signal=KILL' if fault == 'kill' else f'error={error}'}:when={n}"
        output = tmp_path / str(n)
        shutil.copytree(before, output)
        code, hit = struck(server, output, "early:2", inject)
        if not hit:
            assert code == 0
            break
        entries, versions = read(output)
        assert entries in (old[0], new[0]), inject
        # Two tables change in two steps; what a row says is among its versions at any time.
        assert versions in ((old[1], new[1]) if entries == old[0] and code else (new[1],)), inject
        publish(output, "early:2", "early:3")
        assert state(output) == wanted, inject
        dataset = Dataset(output)
        found = [*check(dataset, "early"), *check(dataset, "late"), *check_stories(dataset)]
        assert [f for f in found if "archive" not in str(f)] == [], inject
        shutil.rmtree(output)
    assert n > 1, "nothing to strike at"
