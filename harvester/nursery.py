"""Processes that cost little: a server imports all there is to import, and forks a child for each order.

The server has one thread and no reactor, and does nothing else, so that forking it is safe.  It has a
session of its own: a terminal's interrupt reaches the command alone, which passes it on.

    command ──► door ──► server ──fork──► child ──► performs one order
       ▲                   │ how it ended    │ how far it is, and its result
       └───────────────────┴─────────────────┘

Whoever ends, and however, nobody is left behind: where the command's end of the door is closed, the
server kills its children and leaves; where the server is killed, the kernel kills them (on Linux).
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from threading import Lock
from types import TracebackType
from typing import Any, Final, NoReturn, Self

from scrapy.settings import Settings

from harvester import ListingPattern, read_listing
from harvester.crawl import Exit, Outcome, project_settings
from harvester.orders import Order, Result, perform
from harvester.sources import Sources

# What is imported only where it is needed, by us or by Scrapy and pyarrow behind our backs.
_LAZY: Final = (
    "dateparser",
    "numpy",
    "pandas",
    "pyarrow.parquet",
    "scrapy.squeues",
    "twisted.web.client",
)
_A_PAGE: Final = "<li><h3><a href='/a'>A title</a></h3><time>July 11, 2011</time></li>"
_ITS_PATTERN: Final = ListingPattern(record="li", title="h3", date="time")
# Libraries that start threads when they are imported; a process that forks has one only.
_NO_THREADS: Final = {
    "OPENBLAS_NUM_THREADS": "1",  # numpy
    "JE_ARROW_MALLOC_CONF": "background_thread:false",  # pyarrow
}
_SIZE: Final = struct.Struct("!Q")
_ENDED: Final = struct.Struct("!qi")  # the number of an order, and the exit code of its child
_GONE: Final = "the process that starts the others was killed; the next run does what is left"
_SERVER: Final = """
import sys
door, *sys.path = sys.argv[1:]
from harvester.nursery import serve
serve(int(door))
"""


@dataclass(frozen=True, slots=True)
class Told:
    """How far a source is."""

    source: str
    pages: int
    entries: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A source has ended."""

    source: str
    result: Result


class Nursery:
    """The command's side.  Orders go in, what becomes of them comes out; a context manager.

    ``interrupt`` and ``kill`` may be called in another thread than the rest.
    """

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._door: socket.socket
        self._lock = Lock()
        self._begun = 0
        self._children: dict[int, tuple[str, Connection]] = {}
        self._results: dict[int, Result] = {}
        self._killed = False

    def __len__(self) -> int:
        """How many orders are being performed."""
        return len(self._children)

    def begin(self, order: Order) -> None:
        """Have a child perform an order."""
        if not self._children:
            self._killed = False
            if self._server is not None and self._server.poll() is not None:
                self._close()
        if self._server is None:
            self._server, self._door = _start()
        reader, writer = Pipe(duplex=False)
        self._begun += 1
        self._children[self._begun] = (order.source, reader)
        with writer, suppress(OSError):  # a server that was killed is noticed as one
            self._send((self._begun, order), writer.fileno())

    def events(self, seconds: float) -> Iterator[Told | Ended]:
        """What has happened; waits so long for something to happen."""
        if not self._children:
            return
        readers = [reader for _, reader in self._children.values() if not reader.closed]
        ready = wait([self._door, *readers], seconds)
        for number, (_, reader) in list(self._children.items()):
            if reader in ready:
                yield from self._hear(number, once=True)
        if self._door in ready:
            ended = _receive(self._door, _ENDED.size)
            if ended is not None:
                yield from self._end(*_ENDED.unpack(ended))
            else:
                yield from self._bury()

    def interrupt(self) -> None:
        """Have each child finish the page that it is reading, store what it has, and end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End each child at once."""
        self._killed = True
        self._signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for _, reader in self._children.values():
            reader.close()
        self._children.clear()
        self._close()

    # -------------------------------------------------------------- inside
    def _hear(self, number: int, *, once: bool = False) -> Iterator[Told]:
        """What a child has said, to the end or as much as is sure to be there."""
        source, reader = self._children[number]
        try:
            while not reader.closed:
                said = reader.recv()
                if isinstance(said, Result):
                    self._results[number] = said
                else:
                    yield Told(source, *said)
                if once:
                    break
        except (EOFError, OSError, pickle.UnpicklingError):
            reader.close()

    def _end(self, number: int, status: int) -> Iterator[Told | Ended]:
        yield from self._hear(number)
        source, reader = self._children.pop(number)
        reader.close()
        result = self._results.pop(number, None)
        if status or result is None:
            result = Result(_died(source, status, self._killed))
        yield Ended(source, result)

    def _bury(self) -> Iterator[Ended]:
        """The server has gone, and its children with it; the next order gets another one."""
        self._close()
        while self._children:
            _, (source, reader) = self._children.popitem()
            reader.close()
            yield Ended(source, Result(Outcome(source, Exit.OS_ERROR, _GONE, None)))

    def _signal(self, number: int) -> None:
        if self._server is not None:
            with suppress(OSError):
                self._send(number)

    def _send(self, message: object, *handles: int) -> None:
        data = pickle.dumps(message)
        with self._lock:
            socket.send_fds(self._door, [_SIZE.pack(len(data))], handles)
            self._door.sendall(data)

    def _close(self) -> None:
        if self._server is not None:
            self._door.close()
            self._server.wait()
            self._server = None


def _start() -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    with theirs:
        handle = theirs.fileno()
        server = subprocess.Popen(  # noqa: S603 it is this program
            # It imports from where this process does, whatever lies in the working directory.
            [sys.executable, "-P", "-c", _SERVER, str(handle), *sys.path],
            stdin=subprocess.DEVNULL,
            pass_fds=[handle],
            env={**os.environ, **_NO_THREADS},
            start_new_session=True,
        )
    return server, ours


def _died(source: str, status: int, killed: bool) -> Outcome:
    """The outcome of a source whose process did not live to tell it."""
    later = "the next run publishes what it had fetched"
    if status >= 0:
        reason = f"its process ended with {status} and without a result; {later}"
        return Outcome(source, Exit.BUG, reason, None)
    if killed or -status in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        return Outcome(source, Exit.TRY_LATER, f"interrupted; {later}", None)
    name = signal.Signals(-status).name
    if -status == signal.SIGKILL:
        reason = f"its process was killed ({name}), as systems do when memory runs out; {later}"
        return Outcome(source, Exit.OS_ERROR, reason, None)
    return Outcome(source, Exit.BUG, f"its process crashed ({name}); {later}", None)


def _receive(door: socket.socket, size: int) -> bytes | None:
    """So many bytes; ``None`` where the other side has gone."""
    with suppress(OSError):
        data = door.recv(size, socket.MSG_WAITALL)
        if len(data) == size:
            return data
    return None


# ------------------------------------------------------------------ the server
def serve(handle: int) -> NoReturn:
    """Fork a child for each order that comes through the door, until the door is closed."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)
    door = socket.socket(fileno=handle)
    settings = project_settings(None)
    _import_all(settings)
    read_listing(_A_PAGE, "https://example.org/", _ITS_PATTERN, language="en")  # fills caches
    known = Sources(settings)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    gc.collect()
    gc.freeze()  # what is shared with the children stays shared
    children: dict[int, int] = {}
    while True:
        ready = wait([door, woken])
        if woken in ready:
            os.read(woken, 4096)
            for number, status in _ended(children):
                with suppress(OSError):
                    door.sendall(_ENDED.pack(number, status))
        if door in ready:
            message, handles = _message(door)
            if message is None:
                _kill_all(children)
                sys.exit()
            if isinstance(message, int):
                for pid in children:
                    os.kill(pid, message)
                continue
            number, order = message
            [handle] = handles
            try:
                pid = os.fork()
            except OSError as error:
                _not_started(number, order, handle, door, error)
                continue
            if not pid:
                door.close()
                os.close(woken)
                os.close(wake)
                _live(order, known, handle)
            children[pid] = number
            os.close(handle)


def _not_started(
    number: int, order: Order, handle: int, door: socket.socket, error: OSError
) -> None:
    problem = f"no process can be started for it: {error.strerror}"
    with Connection(handle, readable=False) as writer:
        writer.send(Result(Outcome(order.source, Exit.OS_ERROR, problem, None)))
    with suppress(OSError):
        door.sendall(_ENDED.pack(number, 0))


def _import_all(settings: Settings) -> None:
    """Import what children will need; what cannot be had is for them to complain of.

    The reactor is left alone: each child has its own.
    """
    parts = list(_LAZY)
    for value in settings.copy_to_dict().values():
        if isinstance(value, str):
            parts.append(value)
        elif isinstance(value, dict):
            parts += filter(_is_text, (*value, *value.values()))
    for part in parts:
        with suppress(Exception):
            importlib.import_module(part if part in _LAZY else part.rpartition(".")[0])


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _message(door: socket.socket) -> tuple[Any, list[int]]:
    """What has come through the door, with the handles that came along; ``None`` where it is closed."""
    with suppress(OSError):
        head, handles, _, _ = socket.recv_fds(door, _SIZE.size, 1, socket.MSG_WAITALL)
        if len(head) == _SIZE.size:
            [size] = _SIZE.unpack(head)
            data = _receive(door, size)
            for handle in handles:
                os.set_inheritable(handle, False)
            if data is not None:
                return pickle.loads(data), handles  # noqa: S301 it is the command's own
    return None, []


def _ended(children: dict[int, int]) -> Iterator[tuple[int, int]]:
    """The children that have ended; they are forgotten."""
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        yield children.pop(pid), os.waitstatus_to_exitcode(status)


def _kill_all(children: Mapping[int, int]) -> None:
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    for pid in children:
        os.waitpid(pid, 0)


# ------------------------------------------------------------------ the child
def _live(order: Order, known: Sources, handle: int) -> NoReturn:
    """Perform an order, tell its result, and end without a further word."""
    status = 1
    try:
        _die_with_parent()
        signal.set_wakeup_fd(-1)
        for each in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if order.command == "replay":  # a crawl has handlers of its own
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        with Connection(handle, readable=False) as writer:
            writer.send(perform(order, known, _telling(writer) if order.watched else None))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _telling(writer: Connection) -> Callable[[int, int], None]:
    def tell(pages: int, entries: int) -> None:
        writer.send((pages, entries))

    return tell


def _die_with_parent() -> None:
    """Have the kernel kill this process when its parent has gone, where it can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
