"""Groups of PVs whose puts act on simulated devices, and which these write to from any thread."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from caproto import ChannelType
from caproto.server import PVGroup, pvproperty

Action = Callable[[Any], Any]

_LONG = 1024  # characters of a path


class Writer:
    """Writes PVs in the order that it is told to, whatever threads tell it.

    Subscribers then see every change: that a motor has stopped after that it moves, and its place
    before either.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._queue: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue()

    async def run(self) -> None:
        """Write, for ever; before that, what is told becomes a PV's first value at once."""
        self._loop = asyncio.get_running_loop()
        while True:
            await (await self._queue.get())()

    def tell(self, channel: Any, value: Any) -> None:
        """Have a PV written; from any thread."""
        if self._loop is None:
            channel._data["value"] = value  # as caproto's own records do; nobody listens yet
        else:
            self._append(partial(channel.write, value, verify_value=False))

    def complete(self, future: Future[Any], value: Any = None) -> None:
        """Have a put completed when all is written that was told before; again is allowed."""

        async def complete() -> None:
            if not future.done():
                future.set_result(value)

        self._append(complete)

    def _append(self, write: Callable[[], Awaitable[None]]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._queue.put_nowait, write)


class Records(PVGroup):
    """PVs of one device. What is put is read back, and acted on, put after put.

    Parameters
    ----------
    prefix : str
    writer : Writer
    actions : mapping of str to callable
        By the PV's name after the prefix: called with what is put, in a thread of the device; the
        put is read back, and complete, when it returns. What it returns replaces the value, unless
        None; of a Future, what that gives, and the put is complete when it does: what is read back
        meanwhile is the action's business.
    """

    def __init__(
        self, prefix: str, *, writer: Writer, actions: Mapping[str, Action], **kwargs: Any
    ) -> None:
        super().__init__(literal(prefix), **kwargs)
        self.writer = writer
        self._actions = dict(actions)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=prefix)

    def tell(self, name: str, value: Any, *, both: bool = False) -> None:
        """Write a PV; from any thread. `both`: the one that is put to, too (``NAME_RBV``)."""
        for each in (name, f"{name}_RBV") if both else (name,):
            self.writer.tell(self.pvdb[self.prefix + each], value)

    def value(self, name: str) -> Any:
        """Return a PV's value as it is read back: a number, or text (of a choice, too)."""
        full = self.prefix + name
        value = (self.pvdb.get(f"{full}_RBV") or self.pvdb[full]).value
        return value.rstrip("\0") if isinstance(value, str) else value

    async def group_write(self, instance: Any, value: Any) -> Any:
        """Act on a put."""
        name = instance.pvname.removeprefix(self.prefix)
        readback = self.pvdb.get(f"{instance.pvname}_RBV")
        action = self._actions.get(name)
        if action is not None:
            loop = asyncio.get_running_loop()
            changed = await loop.run_in_executor(self._thread, action, value)
            if isinstance(changed, Future):
                return await completed(changed)
            value = value if changed is None else changed
        if readback is not None:
            self.writer.tell(readback, value)  # after all that the action has told
        return value


async def completed(future: Future[Any]) -> Any:
    """Wait for a put's end, which goes on where a client that waits for it goes away."""
    return await asyncio.shield(asyncio.wrap_future(future))


def literal(prefix: str) -> str:
    """Return a prefix as caproto wants it: what is in braces would be a macro."""
    return prefix.replace("{", "{{").replace("}", "}}")


def make_records(name: str, pvs: Mapping[str, pvproperty], prefix: str, **kwargs: Any) -> Records:
    """Return records with these PVs, by their names after the prefix."""
    members = {f"pv{i}": each for i, each in enumerate(pvs.values())}
    return type(name, (Records,), members)(prefix, **kwargs)


def readable(
    name: str, value: Any, *, choices: Sequence[str] = (), long: bool = False
) -> dict[str, pvproperty]:
    """Return a PV that clients can only read. `value` of choices is one of them."""
    return {name: _pv(name, value, choices, long, read_only=True)}


def writable(
    name: str, value: Any, *, choices: Sequence[str] = (), long: bool = False
) -> dict[str, pvproperty]:
    """Return a PV that clients put to."""
    return {name: _pv(name, value, choices, long)}


def pair(
    name: str, value: Any, *, choices: Sequence[str] = (), long: bool = False
) -> dict[str, pvproperty]:
    """Return a PV that clients put to, and ``NAME_RBV``, as areaDetector has them."""
    return writable(name, value, choices=choices, long=long) | readable(
        f"{name}_RBV", value, choices=choices, long=long
    )


def _pv(
    name: str, value: Any, choices: Sequence[str], long: bool, read_only: bool = False
) -> pvproperty:
    kind: dict[str, Any] = {"value": value}
    if choices:
        kind |= {"dtype": ChannelType.ENUM, "enum_strings": list(choices)}
    elif long:
        kind |= {"dtype": ChannelType.CHAR, "max_length": _LONG, "string_encoding": "utf-8"}
    elif isinstance(value, str):
        kind |= {"dtype": ChannelType.STRING}
    return pvproperty(name=name, read_only=read_only, **kind)
