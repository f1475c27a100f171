"""A host file for mpiexec: one host a line, with its number of slots.

MPICH and Open MPI each refuse the other's form of the number. Both are read here, and each is
handed its own (`Mpiexec.host_lines`).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from .program import LaunchError

_LINE = re.compile(
    r"(?P<host>[A-Za-z0-9][A-Za-z0-9._-]*)(?::(?P<colon>\d+))?"
    r"(?P<words>(?:\s+(?:max[-_])?slots\s*=\s*\d+)*)"
)
_SLOTS = re.compile(r"(?<![-_])\bslots\s*=\s*(\d+)")


def read_hosts(hostfile: str | os.PathLike[str]) -> dict[str, int]:
    """Read a host file: ``host``, ``host:4`` or ``host slots=4`` a line; # begins a comment.

    Returns
    -------
    dict
        Slots of each host, in the file's order. A host without a number has one a line.

    Raises
    ------
    LaunchError
        If the file is missing, names no host, or has a line that is none of these.
    """
    path = Path(hostfile).expanduser()
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LaunchError(
            f"the host file {path} (hosts in config.toml) cannot be read: {error}"
        ) from error
    hosts: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        found = _LINE.fullmatch(text)
        slots = _SLOTS.findall(found["words"]) if found else []
        slots += [found["colon"]] if found and found["colon"] else []
        if found is None or len(slots) > 1 or "0" in slots:
            raise LaunchError(
                f"line {number} of the host file {path} is {line.strip()!r}; "
                'write a host and its slots: "node01:4" or "node01 slots=4"'
            )
        hosts[found["host"]] = hosts.get(found["host"], 0) + int(slots[0] if slots else 1)
    if not hosts:
        raise LaunchError(
            f"the host file {path} names no host; write one a line with its slots: node01:4"
        )
    return hosts


def slots_of(hostfile: str | os.PathLike[str]) -> int:
    """Return how many ranks a host file holds; refused as `read_hosts` does."""
    return sum(read_hosts(hostfile).values())
