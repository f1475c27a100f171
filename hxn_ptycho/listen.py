"""Documents from a 0MQ proxy, in a process of its own: what ``hxn-ptycho listen`` does."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any

import zmq
from bluesky.callbacks.zmq import Bluesky0MQDecodeError, RemoteDispatcher
from zmq.utils.monitor import recv_monitor_message

from .beamline import load_config
from .catalog import (
    Catalogs,
    asset_registry,
    open_catalog,
    run_metadata,
    search,
    writer,
)
from .home import Home, find_home
from .queue import Queue
from .recipe import Recipe
from .trigger import AutoReconstruct, end_of_run

log = logging.getLogger(__name__)

_HOUR = 3600.0
_CONNECTED, _END = "connected", "end"  # among documents' names, for the thread that works on them


class AddressError(ValueError):
    """Where to listen is no address of a 0MQ proxy; the message says why."""


def proxy_address(text: str) -> str:
    """Return the address of a proxy as 0MQ wants it.

    Parameters
    ----------
    text : str
        ``HOST:PORT``, ``tcp://HOST:PORT`` or ``ipc:///PATH``.

    Raises
    ------
    AddressError
        If it is none of these, or if there is no such host.
    """
    if re.fullmatch(r"ipc:///.+", text):
        return text
    match = re.fullmatch(r"(?:tcp://)?([^:/\s]+):(\d{1,5})", text)
    if match is None or not 1 <= int(match[2]) <= 65535:
        raise AddressError(
            f"{text!r} is not the address of a 0MQ proxy: write HOST:PORT, as 127.0.0.1:5578, the "
            "port (1 to 65535) being the one that the proxy publishes on (--out-address)"
        )
    try:
        socket.getaddrinfo(match[1], int(match[2]), socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise AddressError(f"the host {match[1]!r} of {text!r} is not known: {error}") from error
    return f"tcp://{match[1]}:{match[2]}"


class Listener:
    """Queues the scans whose documents a 0MQ proxy passes on.

    It takes documents at once and works on them in a thread: none is lost while a scan is stored.
    What is published while it does not run, or while the proxy is away, no one keeps.

    Parameters
    ----------
    address : str
        Of the proxy's publishing side, as `proxy_address` takes it.
    home : Home or path, optional
        Whose queue and catalogs; default: ``HXN_PTYCHO_HOME``, else the user's data folder.
    prefix : str
        Take documents with this prefix only, which a `bluesky.callbacks.zmq.Publisher` puts before
        its own; empty: all.
    recipe : Recipe, mapping or path, optional
        As of `AutoReconstruct`.
    store : bool
        Write the documents into catalog ``raw``, which otherwise another process does.
    start_worker : bool
        Start a worker process if none serves the home.
    catch_up_hours : float, optional
        At each connection to the proxy, queue the scans of the last hours that are in catalog
        ``raw``, and were neither queued nor reconstructed. Default: none.
    say : callable
        Gets what a person may want to know, a line at a time.

    Raises
    ------
    AddressError, RecipeError, ConfigError, CatalogError
        If something cannot be used. Only here: not once it runs.
    """

    def __init__(
        self,
        address: str,
        home: Home | str | os.PathLike[str] | None = None,
        *,
        prefix: str = "",
        recipe: Recipe | Mapping[str, Any] | str | os.PathLike[str] | None = None,
        store: bool = False,
        start_worker: bool = True,
        catch_up_hours: float | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.address = proxy_address(address)
        if re.search(r"\s", prefix):
            raise AddressError(f"the prefix {prefix!r} has a space in it, which none may have")
        self.home = (home if isinstance(home, Home) else find_home(home)).make()
        self.prefix = prefix
        self.store = store
        self.catch_up_hours = catch_up_hours
        self.say = say
        self.catalogs: Catalogs = open_catalog(self.home)
        self.callback = AutoReconstruct(self.catalogs, recipe, start_worker=start_worker)
        self._callbacks: list[Callable[[str, dict[str, Any]], None]] = [self.callback]
        if store:  # before the callback: what it looks up is then there
            roots = load_config(self.home).roots
            record = writer(self.catalogs.raw, registry=asset_registry(self.home), roots=roots)
            self._callbacks.insert(0, record)
        self._documents: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._open: set[str] = set()
        self._told: set[str] = set()

    def run(self) -> None:
        """Listen until SIGTERM or SIGINT; work on what has come by then, and return.

        To be called in the main thread, which alone gets signals.
        """
        results = self.home.config().results_root or self.home.results
        self.say(
            f"listening to {self.address}"
            + (f", documents with the prefix {self.prefix}" if self.prefix else "")
            + ("; scans are written into" if self.store else "; scans are looked for in")
            + f" catalog raw of {self.home.root}; results go to {results}"
        )
        dispatcher = _Dispatcher(self.address, self.prefix.encode(), self.say, self._connected)
        dispatcher.subscribe(lambda name, document: self._documents.put((name, document)))
        thread = threading.Thread(target=self._work, name="documents")
        thread.start()
        try:
            dispatcher.start()
        except asyncio.CancelledError:
            self.say("asked to end")
        finally:
            self._documents.put((_END, None))
            thread.join()

    def _connected(self) -> None:
        if self.catch_up_hours:
            self._documents.put((_CONNECTED, None))

    def _work(self) -> None:
        """Work on documents in the order in which they came, until the end."""
        while True:
            name, document = self._documents.get()
            if name == _END:
                return
            try:
                if name == _CONNECTED:
                    self._catch_up()
                else:
                    self._take(name, document)
            except Exception as error:
                log.debug("%s", name, exc_info=True)
                uid = document.get("run_start", "") if isinstance(document, Mapping) else ""
                self.say(f"{name} document {uid}: {type(error).__name__}: {error}")

    def _take(self, name: str, document: dict[str, Any]) -> None:
        for callback in self._callbacks:
            callback(name, document)
        if name == "start":
            self._open.add(document["uid"])
        elif name == "stop":
            if document["run_start"] in self._open:
                self._open.discard(document["run_start"])
            else:
                self._late(document)
            self._tell()

    def _late(self, stop: dict[str, Any]) -> None:
        """Take a run that began before this listened, if another process stores it."""
        uid = stop["run_start"]
        if not self.store and run_metadata(self.catalogs.raw, uid):
            self._queue(uid)
        else:
            self.say(
                f"run {uid} began before this listened: not looked at; once the catalog has it, "
                f"hxn-ptycho reconstruct {uid}   does it by hand"
            )

    def _catch_up(self) -> None:
        """Queue what has ended while this did not listen."""
        assert self.catch_up_hours is not None
        raw, queue = self.catalogs.raw, Queue(self.home)
        for uid in search(raw, since=time.time() - _HOUR * self.catch_up_hours):
            stop = (run_metadata(raw, uid) or {}).get("stop") or {}
            if (
                stop.get("exit_status") == "success"
                and not queue.of_run(uid)
                and not search(self.catalogs.processed, raw_uid=uid)
            ):
                self._queue(uid)
        self._tell()

    def _queue(self, uid: str) -> None:
        job = end_of_run(
            {"run_start": uid},
            self.catalogs,
            self.callback.recipe,
            start_worker=self.callback.start_worker,
        )
        if job is not None and job.job_uid not in self.callback.jobs:
            self.callback.jobs.append(job.job_uid)

    def _tell(self) -> None:
        """Say what was queued since the last time."""
        for job_uid in self.callback.jobs:
            if job_uid not in self._told:
                self._told.add(job_uid)
                job = Queue(self.home).find(job_uid)
                self.say(f"scan {job.scan_id}, run {job.raw_uid}: job {job_uid[:8]} {job.state}")


class _Dispatcher(RemoteDispatcher):
    """Bluesky's, told of the connection; it leaves out what is no document, and heeds signals."""

    def __init__(
        self,
        address: str,
        prefix: bytes,
        say: Callable[[str], None],
        connected: Callable[[], None],
    ) -> None:
        super().__init__(address, prefix=prefix, strict=True)
        self._say = say
        self._connected = connected

    async def _poll(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, task.cancel)
        proxy: Any = self._socket
        monitor = proxy.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        # Connected once more, now that it is watched: with room for any number of documents, and so
        # that a host that has gone without a word is noticed.
        proxy.disconnect(self.address)
        proxy.set(zmq.RCVHWM, 0)
        proxy.set(zmq.TCP_KEEPALIVE, 1)
        proxy.set(zmq.TCP_KEEPALIVE_IDLE, 60)
        proxy.connect(self.address)
        watching = self.loop.create_task(self._watch(monitor))
        try:
            while True:
                try:
                    await super()._poll()
                except (Bluesky0MQDecodeError, KeyError) as error:  # KeyError: of the kind's name
                    self._say(f"left out a message that is no document: {_cause(error)}")
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            proxy.disable_monitor()

    async def _watch(self, monitor: Any) -> None:
        """Say when the proxy comes and goes; 0MQ connects again by itself."""
        connected = False
        while True:
            event = (await recv_monitor_message(monitor))["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                connected = True
                self._say(f"connected to the proxy at {self.address}")
                self._connected()
            elif connected:
                connected = False
                self._say(f"the proxy at {self.address} is gone; waiting until it is back")


def _cause(error: Exception) -> str:
    """Name what was wrong with a message, in a few words."""
    cause = error.__cause__ or error
    return f"{type(cause).__name__}: {str(cause)[:200]}"
