"""Tell someone who is not looking: a ping for a watchdog, an alert for a person."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import Final, Literal
from urllib.error import URLError
from urllib.request import Request, urlopen

Event = Literal["start", "success", "failure"]

_SECONDS: Final = 10.0
# What watchdogs such as healthchecks.io listen to, after the address that they give.
_PATHS: Final[dict[Event, str]] = {"start": "/start", "success": "", "failure": "/fail"}


class NotTold(Exception):
    """Nobody could be told; the message says why."""


def ping(url: str, event: Event, text: str = "") -> None:
    """Tell a watchdog that a run starts or how it ended.  Raises ``NotTold``."""
    _post(url.rstrip("/") + _PATHS[event], text.encode(), "text/plain; charset=utf-8")


def alert(target: str, text: str) -> None:
    """Give lines to a webhook, as JSON, or to a command, on its standard input.  Raises ``NotTold``."""
    if target.lower().startswith(("http://", "https://")):
        _post(target, json.dumps({"text": text}).encode(), "application/json")
        return
    try:
        subprocess.run(  # noqa: S603 the operator's own command
            shlex.split(target), input=text, text=True, timeout=60, check=True, capture_output=True
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise NotTold(f"alert {target!r}: {error}") from error


def _post(url: str, body: bytes, kind: str) -> None:
    request = Request(url, data=body, headers={"Content-Type": kind})  # noqa: S310 typed by the operator
    try:
        with urlopen(request, timeout=_SECONDS):  # noqa: S310
            pass
    except (URLError, OSError, ValueError) as error:
        raise NotTold(f"{url}: {error}") from error
