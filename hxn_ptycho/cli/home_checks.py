"""What ``doctor`` looks at of the home itself: who shares it, and what that allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..host import mount_of
from .finding import Finding

if TYPE_CHECKING:
    from ..home import Home


def sharing(home: Home) -> Finding | None:
    """Whether other hosts can use the home too; None where it is on a disk of this one."""
    mount = mount_of(home.root)
    if not mount.is_network:
        return None
    found = f"on {mount.kind}, {mount.source}"
    if mount.local_locks:
        return Finding(
            "Home", "optional", f"{found}; locks do not reach other hosts ({mount.local_locks})",
            "use it from this host only, or mount it with NFS version 4 and without that option",
        )  # fmt: skip
    if embedded(home):
        return Finding(
            "Home", "optional", f"{found}; its catalogs can be open on one host at a time",
            "for a worker on another host, name a Tiled server or databroker.v0 in [catalogs] of "
            f"{home.config_file}",
        )  # fmt: skip
    return Finding("Home", "good", f"{found}; jobs may be queued and worked off on any host")


def worker(home: Home) -> Finding:
    """Whether a worker serves the queue, where, and what waits."""
    from .._version import __version__
    from ..queue import Queue, QueueError

    queue = Queue(home)
    try:
        waiting = len(queue.jobs("queued"))
        serves = queue.has_worker()
        serving = queue.serving()
    except QueueError as error:
        said, _, advice = str(error).partition("; ")
        return Finding("Queue", "missing", said, advice)
    found = f"{waiting} queued, {'a worker runs' if serves else 'no worker runs'}"
    if serving is not None:
        found += f" ({serving})"
        if serving.version != __version__:
            return Finding(
                "Queue", "optional", found,
                f"this is version {__version__}: end that worker (SIGTERM; systemctl restart "
                "hxn-ptycho, where it is a service), its jobs wait for the next",
            )  # fmt: skip
        if not serving.is_here and embedded(home):
            return Finding(
                "Queue", "missing", f"{found}, and the catalogs are files for one host at a time",
                "name a Tiled server or databroker.v0 in [catalogs] of "
                f"{home.config_file}, or end the worker on {serving.host}",
            )  # fmt: skip
    if waiting and not serves:
        return Finding("Queue", "optional", found, "start one: hxn-ptycho worker")
    return Finding("Queue", "good", found)


def embedded(home: Home) -> bool:
    """Whether a catalog is in the home; False if config.toml cannot be read, as other rows tell."""
    from ..home import ConfigError

    try:
        stores = home.config().catalogs
    except ConfigError:
        return False
    return stores.raw.is_embedded or stores.processed.is_embedded
