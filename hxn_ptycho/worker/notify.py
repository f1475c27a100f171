"""Tell systemd how a service is, by the datagram that it waits for; nothing without systemd."""

from __future__ import annotations

import logging
import os
import socket

log = logging.getLogger(__name__)


def notify(**state: str | int) -> None:
    """Send assignments as ``READY=1`` and ``STATUS=...`` to whoever started this service.

    Parameters
    ----------
    **state
        As of sd_notify(3), one line each.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # in the abstract namespace
        address = "\0" + address[1:]
    text = "\n".join(f"{key}={value}" for key, value in state.items())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as said:
            said.sendto(text.encode(), address)
    except OSError as error:  # the work is what counts
        log.warning("systemd cannot be told %s: %s", text, error)
