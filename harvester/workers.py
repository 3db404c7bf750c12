"""Many sources, each in a process of its own: which one is begun when, and what is done if one is lost.

Whoever runs the processes is a ``Crew``: this machine (``nursery.py``) or a cluster (``cluster.py``).
Whatever crew it is and however large, results come back in the order of the orders.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import monotonic
from types import FrameType
from typing import Final, Protocol

from harvester.crawl import NOT_BEGUN, Exit, Outcome, Turns
from harvester.nursery import Ended, Nursery, Told
from harvester.orders import Order, Result
from harvester.progress import Line, Progress

_A_WHILE: Final = 0.2  # seconds in which an interrupt may wait to be seen
_PAUSE: Final = 1.0  # seconds before a source that is held is tried again; twice as many each time
_LONGEST_PAUSE: Final = 30.0


@dataclass(frozen=True, slots=True)
class Lost:
    """A source's process was lost, perhaps through no fault of the source."""

    source: str
    reason: str
    exit: Exit = Exit.OS_ERROR


class Crew(Protocol):
    """Who performs orders."""

    def room(self) -> int:
        """How many more orders can be begun now."""

    def begin(self, order: Order) -> None:
        """Begin an order."""

    def events(self, seconds: float) -> Iterable[Told | Ended | Lost]:
        """What has happened; waits so long for something to happen."""

    def interrupt(self) -> None:
        """Have what is being done end soon, and be stored."""

    def kill(self) -> None:
        """Have what is being done end at once."""


class Local:
    """So many processes on this machine."""

    def __init__(self, nursery: Nursery, workers: int) -> None:
        self._nursery = nursery
        self._workers = workers
        self.begin = nursery.begin
        self.events = nursery.events
        self.interrupt = nursery.interrupt
        self.kill = nursery.kill

    def room(self) -> int:
        return self._workers - len(self._nursery)


def run_here(orders: Sequence[Order], workers: int, *, progress: bool = False) -> list[Result]:
    """Perform orders in so many processes on this machine; a result for each, in their order."""
    with Nursery() as nursery:
        return run(orders, Local(nursery, workers), progress=progress)


def run(
    orders: Sequence[Order], crew: Crew, *, patience: float = 0.0, progress: bool = False
) -> list[Result]:
    """Perform orders by a crew; a result for each, in their order.

    No two of one host go on at the same time.  A source that somebody else holds is tried again for
    ``patience`` seconds, and each source that is held or lost at last once more while nothing else is
    done: what goes wrong then is its own.  An interrupt lets what is being done end and begins nothing
    new; a second one ends all at once.
    """
    with Progress(enabled=progress) as shown, _interrupts() as interrupts:
        shift = _Shift(orders, crew, patience, shown)
        heard = 0
        while shift.goes_on(stopping=heard > 0):
            if len(interrupts) > heard:
                heard += 1
                if heard == 1:
                    crew.interrupt()
                else:
                    crew.kill()
            if not heard:
                shift.begin(monotonic())
            for event in crew.events(_A_WHILE):
                shift.take(event, monotonic())
        return shift.results()


class _Shift:
    """What waits, what is being done, what is tried again, and what came of the rest."""

    def __init__(
        self, orders: Sequence[Order], crew: Crew, patience: float, shown: Progress
    ) -> None:
        self._orders = {order.source: order for order in orders}
        self._turns = Turns({order.source: order.hosts for order in orders})
        self._crew = crew
        self._patience = patience
        self._shown = shown
        self._running: dict[str, Line] = {}
        self._results: dict[str, Result] = {}
        # When a source is tried again; ``None``: when nothing else is left to do, and then alone.
        self._resting: dict[str, float | None] = {}
        self._held: dict[str, tuple[float, float]] = {}  # since when, and the pause before a try
        self._alone = False
        self._retell: Order | None = None
        self._retelling = False

    def goes_on(self, *, stopping: bool) -> bool:
        """Whether anything is left to do."""
        left = self._turns or self._resting or self._retell
        return bool(self._running or (left and not stopping))

    def begin(self, now: float) -> None:
        """Begin what can be begun."""
        if self._alone:
            return
        for source, at in [*self._resting.items()]:
            if at is not None and at <= now:
                del self._resting[source]
                self._turns.again(source)
        while self._crew.room() > 0 and (name := self._turns.take()):
            self._start(self._orders[name])
        if self._running or self._turns or self._crew.room() <= 0:
            return
        alone = next((each for each, at in self._resting.items() if at is None), None)
        if alone is not None:
            del self._resting[alone]
            self._alone = True
            self._start(self._orders[alone])
        elif self._retell and not self._resting:
            self._retelling = True
            self._start(self._retell)
            self._retell = None

    def take(self, event: Told | Ended | Lost, now: float) -> None:
        """Note what has happened."""
        source = event.source
        if isinstance(event, Told):
            self._running[source].count(event.pages, event.entries)
            return
        self._running.pop(source).end()
        self._turns.end(source)
        if isinstance(event, Lost):
            result = Result(Outcome(source, event.exit, event.reason, None))
        else:
            result = event.result
        if self._retelling:
            self._retold(result)
            return
        self._results[source] = result
        if not self._alone and isinstance(event, Lost):
            self._resting[source] = None
        elif not self._alone and result.held:
            since, pause = self._held.get(source, (now, _PAUSE))
            self._resting[source] = now + pause if now - since < self._patience else None
            self._held[source] = (since, min(2 * pause, _LONGEST_PAUSE))
        self._alone = False

    def results(self) -> list[Result]:
        """A result for each order."""
        return [
            self._results.get(source) or Result(Outcome(source, *NOT_BEGUN))
            for source in self._orders
        ]

    def _start(self, order: Order) -> None:
        if self._running and not order.arguments.get("dry_run"):
            # A source may have told another one's story while that one was held: rows wait for it.
            self._retell = replace(order, command="retell", arguments={})
        self._running[order.source] = self._shown.line(order.source)
        self._crew.begin(order)

    def _retold(self, result: Result) -> None:
        """That rows do not tell their stories yet is said where all is well otherwise."""
        before = self._results[result.outcome.source]
        if result.outcome.problem and not before.outcome.problem:
            told = replace(result.outcome, report=before.outcome.report)
            self._results[result.outcome.source] = replace(before, outcome=told)


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """The signals that came in the meantime and ask this process to end, as they come."""
    heard: list[int] = []

    def hear(number: int, _: FrameType | None) -> None:
        heard.append(number)

    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, hear) for number in numbers}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
