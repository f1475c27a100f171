"""What is done to every broker once: handlers for HXN's specs and ours, and SQLite made safe."""

from __future__ import annotations

import weakref
from typing import Any

from ...handlers import HANDLERS
from .sqlite_kind import make_safe

#: Modules whose handlers every broker gets here.
HANDED_ON = ("hxn_ptycho.handlers",)

_prepared: weakref.WeakSet[Any] = weakref.WeakSet()


def prepare(broker: Any) -> None:
    """Register the handlers that a broker lacks; make one on SQLite fit for several processes."""
    if broker in _prepared:
        return
    for spec, handler in HANDLERS.items():
        if spec not in broker.reg.handler_reg:  # a user's own stay
            broker.reg.register_handler(spec, handler)
    make_safe(broker.mds, broker.reg)
    _prepared.add(broker)
