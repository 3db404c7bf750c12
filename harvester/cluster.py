"""Orders performed by the workers of a Dask cluster, each in a child process of its worker.

A worker that dies takes its children along; Dask gives what they were doing to another worker, whose
run first publishes what the dead one had archived.  So an order is performed at least once, and doing
it again changes nothing.  That no two do it at the same time is the business of the source's lock: all
machines share the output folder.  The only user of Dask, which is loaded where ``--cluster`` is said.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from harvester.crawl import NOT_BEGUN, Exit, Outcome
from harvester.nursery import Ended, Nursery
from harvester.orders import Order, Result
from harvester.workers import Lost, run
from pipelines.dataset import CannotCreate
from pipelines.version import VERSION

if TYPE_CHECKING:
    from distributed import Client, Future

LOCAL: Final = "local"
_ADDRESS: Final = re.compile(r"(tcp|tls)://.+:\d+")
_ANSWER: Final = 15.0  # seconds in which a cluster answers, and has a worker
_WITHOUT: Final = 60.0  # seconds that a cluster may be without workers
_A_MOMENT: Final = 1.0  # seconds for which a count of threads is good


class NoCluster(Exception):
    """The cluster cannot be used; the message is one line, ``exit`` the command's exit code."""

    def __init__(self, exit_: Exit, message: str) -> None:
        super().__init__(message)
        self.exit = exit_


def run_there(
    orders: Sequence[Order],
    address: str,
    output: str,
    *,
    workers: int | None = None,
    patience: float = 0.0,
    progress: bool = False,
) -> list[Result]:
    """Perform orders on a cluster; a result for each, in their order.

    ``address`` is the scheduler's, or ``local`` for a cluster of this machine's own with so many
    ``workers`` that lives as long as this call.  ``output`` is the folder that all of them share.
    Raises ``NoCluster``.
    """
    shift = uuid4().hex
    with _client(address, workers) as client, _token(output, shift) as token:
        _check(client, token)
        crew = _OnCluster(client, shift, token)
        return run(orders, crew, patience=patience, progress=progress)


class _OnCluster:
    """The workers of a cluster, which may come and go."""

    def __init__(self, client: Client, shift: str, token: str | None) -> None:
        self._client = client
        self._shift = shift
        self._token = token
        self._begun = 0
        self._futures: dict[str, Future] = {}
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._threads = 0
        self._counted = 0.0
        self._last_seen = monotonic()
        self._gone: list[str] | None = None  # what it is still to say of a cluster that is no more

    def room(self) -> int:
        if self._gone is not None:  # then it is said of every order
            return 1
        now = monotonic()
        if now - self._counted > _A_MOMENT:
            self._threads = self._count()
            self._counted = now
            if self._threads:
                self._last_seen = now
            elif now - self._last_seen > _WITHOUT:
                self._give_up()
        return self._threads - len(self._futures)

    def begin(self, order: Order) -> None:
        if self._gone is not None:
            self._gone.append(order.source)
            return
        self._begun += 1
        future = self._client.submit(
            _perform,
            order,
            self._shift,
            self._token,
            key=f"harvester-{self._shift}-{self._begun}-{order.source}",
            pure=False,
        )
        self._futures[order.source] = future
        # More than so many orders at a time would be waiting at workers that others' orders kill.
        future.add_done_callback(lambda _: self._ended.put(order.source))

    def events(self, seconds: float) -> Iterator[Ended | Lost]:
        if self._gone is None:
            with suppress(queue.Empty):
                source = self._ended.get(timeout=seconds)
                if (future := self._futures.pop(source, None)) is not None:
                    yield _what_became(source, future)
        if self._gone is not None:
            for source in self._gone:
                reason = "the cluster has no workers any more; the next run does it"
                yield Ended(source, Result(Outcome(source, Exit.TRY_LATER, reason, None)))
            self._gone.clear()

    def interrupt(self) -> None:
        self._tell(_interrupt)

    def kill(self) -> None:
        self._tell(_kill)

    def _tell(self, what: Callable[[str], None]) -> None:
        with suppress(Exception):  # a worker that does not hear it any more has nothing to end
            self._client.run(what, self._shift, on_error="ignore")

    def _count(self) -> int:
        try:
            threads = self._client.sync(self._client.scheduler.ncores, callback_timeout=_ANSWER)
        except Exception:
            return 0
        return sum(threads.values())

    def _give_up(self) -> None:
        self._gone = list(self._futures)
        with suppress(Exception):
            self._client.cancel(list(self._futures.values()), force=True)
        self._futures.clear()


def _what_became(source: str, future: Future) -> Ended | Lost:
    from distributed import KilledWorker

    if future.status == "finished":
        with suppress(Exception):
            result: Result = future.result(timeout=_ANSWER)
            return Ended(source, result)
    if future.status == "error":
        error = future.exception(timeout=_ANSWER)
        if not isinstance(error, KilledWorker):
            problem = f"{type(error).__name__}: {error}"
            return Ended(source, Result(Outcome(source, Exit.BUG, problem, None)))
        times = error.allowed_failures + 1
        return Lost(source, f"{times} workers of the cluster died while they were doing it")
    reason = "the cluster lost sight of it; the next run publishes what it had fetched"
    return Lost(source, reason, Exit.TRY_LATER)


# ------------------------------------------------------------------ the cluster
@contextmanager
def _client(address: str, workers: int | None) -> Iterator[Client]:
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        reason = f"--cluster needs Dask ({error}); install it: pip install 'harvester[cluster]'"
        raise NoCluster(Exit.CONFIG, reason) from None
    for name in [*logging.root.manager.loggerDict]:  # what matters of it is told
        if name.partition(".")[0] in ("distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    if address == LOCAL:
        # A terminal's interrupt is this process's to pass on.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            cluster = LocalCluster(
                n_workers=workers or os.cpu_count() or 1,
                threads_per_worker=1,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            )
        finally:
            signal.signal(signal.SIGINT, before)
        with cluster, Client(cluster, set_as_default=False) as client:
            yield client
        return
    if not _ADDRESS.fullmatch(address):
        reason = f"--cluster {address!r} is no scheduler; write it as tcp://HOST:8786, or local"
        raise NoCluster(Exit.USAGE, reason)
    try:
        client = Client(address, timeout=_ANSWER, set_as_default=False)
    except OSError as error:
        reason = f"--cluster {address}: no scheduler answers there ({type(error).__name__})"
        raise NoCluster(Exit.TRY_LATER, reason) from None
    with client:
        yield client


@contextmanager
def _token(output: str, shift: str) -> Iterator[str | None]:
    """A file by which a worker sees that its output folder is ours; none where it is no folder."""
    if "://" in output:
        yield None
        return
    file = Path(output).absolute() / ".lock" / f"cluster-{shift}"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    except OSError as error:
        raise CannotCreate(f"cannot write to {output}: {error.strerror}") from error
    try:
        yield str(file)
    finally:
        file.unlink(missing_ok=True)


def _check(client: Client, token: str | None) -> None:
    """Every worker can do what is asked of it.  Raises ``NoCluster``."""

    def asked(token: str | None) -> tuple[str | None, bool]:  # its code travels: it imports nothing
        try:
            from pipelines.version import VERSION
        except ImportError:
            return None, False
        from pathlib import Path

        return VERSION, token is None or Path(token).exists()

    try:
        client.wait_for_workers(1, timeout=_ANSWER)
    except TimeoutError:
        raise NoCluster(Exit.TRY_LATER, "--cluster: it has no workers; start one") from None
    for worker, (version, shared) in client.run(asked, token).items():
        if version != VERSION:
            raise NoCluster(Exit.CONFIG, f"worker {worker} {_other_version(version)}")
        if not shared:
            raise NoCluster(Exit.CONFIG, f"worker {worker} {_not_shared(token)}")


def _other_version(version: str | None) -> str:
    has = f"has harvester {version}" if version else "has no harvester"
    return f"{has}, the command is {VERSION}; install the same version there"


def _not_shared(token: str | None) -> str:
    folder = Path(token or "").parents[1]
    return f"does not see {folder}; all workers must share the output folder, under this name"


# ------------------------------------------------------------------ the worker
_of_thread = threading.local()
_at_work: dict[str, set[Nursery]] = defaultdict(set)
_interrupted: set[str] = set()


def _perform(order: Order, shift: str, token: str | None) -> Result:
    """Perform an order in a child of this worker."""
    if shift in _interrupted:
        return Result(Outcome(order.source, *NOT_BEGUN))
    wrong = None
    if order.version != VERSION:
        wrong = f"a worker of the cluster has harvester {VERSION}, the command is {order.version}"
    elif token is not None and not Path(token).exists():
        wrong = f"a worker of the cluster {_not_shared(token)}"
    if wrong:
        return Result(Outcome(order.source, Exit.CONFIG, wrong, None))
    if not hasattr(_of_thread, "nursery"):
        _of_thread.nursery = Nursery()
    nursery: Nursery = _of_thread.nursery
    nursery.begin(order)
    _at_work[shift].add(nursery)
    try:
        while True:
            for event in nursery.events(_A_MOMENT):
                if isinstance(event, Ended):
                    return event.result
    finally:
        _at_work[shift].discard(nursery)


def _interrupt(shift: str) -> None:
    _interrupted.add(shift)
    for nursery in [*_at_work[shift]]:
        nursery.interrupt()


def _kill(shift: str) -> None:
    for nursery in [*_at_work[shift]]:
        nursery.kill()
