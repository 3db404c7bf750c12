"""The objects below one address of an object store, and leases made of them.  The only user of obstore.

A store has no locks and no folders that trade places.  What it has is the conditional put: an object is
made only if there is none, or replaced only if it is still the one that was seen.  All rests on that.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Final
from uuid import uuid4

from pipelines.dataset import CannotCreate, Locked, NotInstalled, Overtaken, Unreachable

_AT_ONCE: Final = 16  # requests
_LARGE: Final = 8 << 20  # bytes; above that a file goes up in pieces, which knows no condition
_REQUEST: Final = "30s"
_TRIES: Final = 7  # more, each after twice the pause: some ten seconds
_RETRY: Final = timedelta(seconds=40)  # no request is tried for longer
_LEASE: Final = 120.0  # seconds
_SURE: Final = 75.0  # seconds: longer than a request with all its retries
_RENEWED: Final = 30.0  # seconds between renewals
_A_MOMENT: Final = 1.0  # seconds: what a run of another source takes to tell a story here
_LOOKS: Final = 0.25  # seconds between looks at a lease that another has
_STATUS: Final = re.compile(r"status code: (\d{3}[^:<]*)")
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_NOT_LET_IN: Final = ("401", "403")


class Refused(Exception):
    """The object is not what the condition of a put says."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as a listing shows it; the tag changes with its content."""

    tag: str
    size: int


class Objects:
    """The objects whose names begin with an address, ``s3://bucket/prefix``; names are relative to it.

    Raises ``CannotCreate`` where nobody is let in, and ``Unreachable`` when a request fails after
    several tries.
    """

    def __init__(self, address: str) -> None:
        try:
            from obstore.store import S3Store
        except ImportError:
            reason = f"{address}: obstore is not installed; pip install 'harvester[s3]'"
            raise NotInstalled(reason) from None
        self.address = address
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        self._store = S3Store(
            bucket,
            prefix=prefix or None,
            client_options={"allow_http": server().startswith("http://"), "timeout": _REQUEST},
            retry_config={"max_retries": _TRIES, "retry_timeout": _RETRY},
        )

    def get(self, name: str) -> tuple[bytes, str] | None:
        """What an object holds, and its tag; ``None`` where there is none."""
        import obstore

        try:
            found = obstore.get(self._store, name)
            return bytes(found.bytes()), found.meta["e_tag"] or ""
        except Exception as error:
            if self._missing(error, name):
                return None
            raise

    def fetch(self, name: str, path: Path) -> str | None:
        """Bring an object to this disk, whole or not at all; its tag, ``None`` where there is none."""
        import obstore

        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{uuid4().hex}.draft")
        try:
            found = obstore.get(self._store, name)
            with draft.open("xb") as file:
                for piece in found.stream():
                    file.write(piece)
            draft.replace(path)
            return found.meta["e_tag"] or ""
        except Exception as error:
            if self._missing(error, name):
                return None
            raise
        finally:
            draft.unlink(missing_ok=True)

    def put(self, name: str, content: bytes | Path, was: str | None) -> str:
        """Make an object (``was`` is ``None``), or replace the one with this tag; its new tag.

        What is there already with this very content is taken for ours: the answer to a put may be lost,
        and the put asked again.  Raises ``Refused`` where there is another.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        if isinstance(content, Path) and content.stat().st_size > _LARGE:
            return self._put_large(name, content, was)
        data = content.read_bytes() if isinstance(content, Path) else content
        try:
            done = obstore.put(
                self._store, name, data, mode="create" if was is None else {"e_tag": was}
            )
            return done["e_tag"] or ""
        except (AlreadyExistsError, PreconditionError):
            there = self.get(name)
            if there is not None and there[0] == data:
                return there[1]
            raise Refused(f"{self.address}/{name}") from None
        except Exception as error:
            self._tell(error, name)
            raise

    def _put_large(self, name: str, path: Path, was: str | None) -> str:
        """The same of a large file, which only its own run writes: looked at first, then sent."""
        import obstore

        there = self.look(name)
        if there is not None and there.size == path.stat().st_size:
            return there.tag
        if (there.tag if there else None) != was:
            raise Refused(f"{self.address}/{name}")
        try:
            return obstore.put(self._store, name, path)["e_tag"] or ""
        except Exception as error:
            self._tell(error, name)
            raise

    def look(self, name: str) -> Seen | None:
        """An object's tag and size; ``None`` where there is none."""
        import obstore

        try:
            found = obstore.head(self._store, name)
        except Exception as error:
            if self._missing(error, name):
                return None
            raise
        return Seen(found["e_tag"] or "", found["size"])

    def names(self, folder: str) -> dict[str, Seen]:
        """The objects in a folder, and in those below it; ``""`` for all."""
        import obstore

        try:
            return {
                each["path"]: Seen(each["e_tag"] or "", each["size"])
                for some in obstore.list(self._store, folder or None, chunk_size=1000)
                for each in some
            }
        except Exception as error:
            self._tell(error, folder)
            raise

    def delete(self, name: str) -> None:
        """Take an object away, if it is there."""
        import obstore

        try:
            obstore.delete(self._store, name)
        except Exception as error:
            if not self._missing(error, name):
                raise

    def fetch_all(self, wanted: Mapping[str, Path]) -> dict[str, str | None]:
        """Bring several objects to this disk; the tag of each."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return dict(zip(wanted, pool.map(self.fetch, wanted, wanted.values()), strict=True))

    def put_all(self, content: Mapping[str, Path], was: Mapping[str, str | None]) -> dict[str, str]:
        """Put several files; the tag of each."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            tags = pool.map(self.put, content, content.values(), map(was.get, content))
            return dict(zip(content, tags, strict=True))

    def delete_all(self, names: Iterable[str]) -> None:
        """Take several objects away."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self.delete, names))

    def _missing(self, error: Exception, name: str) -> bool:
        """Whether an error says that the object is not there; any other trouble is raised in our words."""
        if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
            return True
        self._tell(error, name)
        return False

    def _tell(self, error: Exception, name: str) -> None:
        """Raise what went wrong in one line; a local file's trouble, or a bug, is raised as it is."""
        from obstore.exceptions import BaseError

        if not isinstance(error, (BaseError, FileNotFoundError)):
            return
        said = str(error)
        if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in said:
            return
        if "NoSuchBucket" in said:
            raise CannotCreate(f"{self.address}: there is no such bucket") from error
        if (
            "/latest/" in said or "169.254." in said
        ):  # it looked for the credentials of a machine there
            reason = "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            raise CannotCreate(f"{self.address}: {reason}") from error
        status, code = _STATUS.search(said), _CODE.search(said)
        reason = " ".join(f"{status[1] if status else ''} {code[1] if code else ''}".split())
        if reason.startswith(_NOT_LET_IN):
            raise CannotCreate(
                f"{self.address}: the server lets nobody in with these credentials: {reason}"
            ) from error
        plain = said.partition("\n")[0].rpartition(" - ")[2].strip(" :")
        raise Unreachable(errno.EIO, reason or plain, f"{self.address}/{name}") from error


def server() -> str:
    """The server that the environment names in place of Amazon's; empty where it names none."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")


class Lease:
    """A claim to a name, written down in the store and renewed by a thread until it is given back.

    It ends with its process: then nobody renews it.  The clocks of those who ask for it should agree
    within some seconds; where they do not, conditional puts still keep what is stored whole.
    """

    def __init__(self, objects: Objects, name: str, owner: str, tag: str, until: float) -> None:
        self._objects = objects
        self._name = name
        self._owner = owner
        self._tag = tag
        self._until = until
        self._lost = False
        self._alone = Lock()
        self._over = Event()
        Thread(target=self._keep, name=f"lease {name}", daemon=True).start()

    @classmethod
    def taken(cls, objects: Objects, name: str, owner: str, *, wait: bool) -> Lease:
        """Take a name that nobody holds, or that this ``owner`` held when it died.

        Raises ``Locked`` when another still has it after a moment, unless told to ``wait``.
        """
        began = time.monotonic()
        while True:
            there = objects.get(name)
            if there is None or _is_free(there[0], owner):
                until = time.time() + _LEASE
                with suppress(Refused):  # another was quicker
                    tag = objects.put(name, _claim(owner, until), there[1] if there else None)
                    return cls(objects, name, owner, tag, until)
            if not wait and time.monotonic() - began > _A_MOMENT:
                source = name.rpartition("/")[2]
                raise Locked(f"{source}: another process is working on it in {objects.address}")
            time.sleep(_LOOKS)

    def hold(self) -> None:
        """Be sure that it is ours for longer than a request takes.  Raises ``Overtaken``."""
        with self._alone:
            if not self._lost and self._until - time.time() < _SURE:
                self._renew()
            if self._lost:
                raise overtaken(self._objects.address, self._name.rpartition("/")[2])

    def give_back(self) -> None:
        """Let others have it at once."""
        self._over.set()
        with self._alone, suppress(Refused, Unreachable, CannotCreate):
            if not self._lost:
                self._objects.put(self._name, _claim("", 0), self._tag)
                self._lost = True

    def _keep(self) -> None:
        while not self._over.wait(_RENEWED):
            with self._alone, suppress(Unreachable, CannotCreate):  # the next try may succeed
                if self._lost or self._over.is_set():
                    return
                self._renew()

    def _renew(self) -> None:
        until = time.time() + _LEASE
        try:
            self._tag = self._objects.put(self._name, _claim(self._owner, until), self._tag)
            self._until = until
        except Refused:
            self._lost = True


def overtaken(address: str, source: str) -> Overtaken:
    """What is raised when another has taken a source over."""
    return Overtaken(
        f"{source}: another process took it over in {address}; what this one fetched is kept, "
        "and the next run publishes it"
    )


def _claim(owner: str, until: float) -> bytes:
    """What a lease says; no two are the same."""
    return json.dumps({"owner": owner, "until": until, "claim": uuid4().hex}).encode()


def _is_free(claim: bytes, owner: str) -> bool:
    try:
        told: dict[str, Any] = json.loads(claim)
        return told["owner"] in ("", owner) or float(told["until"]) < time.time()
    except (ValueError, KeyError, TypeError):
        return True  # nobody's
