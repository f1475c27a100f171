"""This host, seen from a folder that several hosts may share: its name, its boot, its mounts."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

# A folder on one of these is seen by this host only, unless this host is who shares it.
_OWN_DISKS = frozenset(
    {
        *("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "jfs", "overlay"),
        *("ramfs", "reiserfs", "tmpfs", "xfs", "zfs"),
    }
)
# Options of NFS and Lustre with which locks stay on this host.
_LOCAL_LOCKS = frozenset(
    {
        *("nolock", "local_lock=all", "local_lock=flock", "local_lock=posix"),
        *("localflock", "noflock"),
    }
)


@dataclass(frozen=True)
class Mount:
    """The file system that a folder is on, as this host has mounted it.

    Attributes
    ----------
    kind : str
        As ``nfs4``; empty if unknown.
    source : str
        What is mounted, as ``server:/export``.
    options : frozenset of str
        As ``ro`` or ``local_lock=none``.
    """

    kind: str = ""
    source: str = ""
    options: frozenset[str] = frozenset()

    @property
    def is_network(self) -> bool:
        """Whether other hosts see it too, as far as can be told from here."""
        return bool(self.kind) and self.kind not in _OWN_DISKS

    @property
    def local_locks(self) -> str:
        """Why locks taken here do not reach other hosts: an option, or the kind; empty: they do."""
        if self.kind == "fuse.sshfs":
            return self.kind
        return ", ".join(sorted(_LOCAL_LOCKS & self.options)) if self.is_network else ""


def name() -> str:
    """Return this host's name."""
    return os.uname().nodename


def boot() -> str:
    """Return what tells this host, since it was started, from any other.

    Containers on one host have the same: their files are in the same memory. Without ``/proc``, the
    name.
    """
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return name()


def mount_of(folder: Path) -> Mount:
    """Return the file system that a folder, which need not be there yet, is on."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return Mount()
    folder = folder.resolve()
    mounts = {}
    for line in lines:
        here, _, there = line.partition(" - ")
        point, own = here.split()[4:6]
        kind, source, *more = there.split()
        options = frozenset(",".join([own, *more]).split(","))
        mounts[Path(_plain(point))] = Mount(kind, _plain(source), options)  # the last one counts
    return next((mounts[each] for each in (folder, *folder.parents) if each in mounts), Mount())


def _plain(text: str) -> str:
    """Return a path of mountinfo, where blanks and backslashes are written in octal."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
