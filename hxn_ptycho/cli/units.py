"""The systemd units of a worker, and of a listener, as text."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..home import HOME_VARIABLE, Home

WORKER, LISTENER = "hxn-ptycho.service", "hxn-ptycho-listen.service"

# What a service is told as the one who installs it is. No key is among them: a unit can be read by
# every user (api_key_file in config.toml is for keys).
_HANDED_ON = (
    *("HXN_PTYCHO_ROOTS", "HXN_PTYCHO_GPU_LOCKS", "TILED_PROFILES", "LD_LIBRARY_PATH"),
    *("CUDA_HOME", "CUDA_PATH", "HDF5_PLUGIN_PATH"),
)

_UNIT = """\
# Written by: {command}
[Unit]
Description={description}
RequiresMountsFor={mounts}
{when}# However long a file system or a catalog's server is away: tried again until it is back.
StartLimitIntervalSec=0

[Service]
{kind}
ExecStart={exec_start}
WorkingDirectory={folder}
{environment}
{account}# The RunEngine of the same machine goes first.
Nice=5
# SIGTERM to it alone: it ends its MPI programs and puts their jobs back. What is left is killed.
KillMode=mixed
TimeoutStopSec=90
Restart=on-failure
RestartSec=15
# GPU drivers and MPI pin memory.
LimitMEMLOCK=infinity
NoNewPrivileges=yes
{protection}
[Install]
WantedBy={wanted_by}
"""
_NETWORK = """\
Wants=network-online.target
After=network-online.target remote-fs.target
"""
# Not among them: PrivateTmp (the locks on GPUs are in /tmp, for all users), PrivateDevices and
# ProtectClock (/dev/nvidia*), PrivateIPC (/dev/shm, by which ranks talk).
_PROTECTION = """\
# /usr, /boot and /etc are read-only for it. /tmp and /dev stay the host's: GPUs and their locks.
ProtectSystem=full
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictRealtime=yes
LockPersonality=yes
# Compiled kernels, fonts: the account may have no home folder.
CacheDirectory=hxn_ptycho
Environment="XDG_CACHE_HOME=%C/hxn_ptycho"
"""


@dataclass(frozen=True)
class Service:
    """What is to run as a service.

    Attributes
    ----------
    name : str
        Of the unit.
    description : str
    words : tuple of str
        Of ``hxn-ptycho``.
    kind : str
        Lines on how systemd sees that it is up.
    """

    name: str
    description: str
    words: tuple[str, ...]
    kind: str

    @classmethod
    def worker(cls) -> Service:
        """Return the worker that never ends for want of jobs; it says itself when it is ready."""
        return cls(
            WORKER,
            "hxn_ptycho: reconstructs the scans in the queue",
            ("worker", "--stay"),
            # A first start may compile and make the catalogs.
            "Type=notify\nTimeoutStartSec=300",
        )

    @classmethod
    def listener(cls, address: str) -> Service:
        """Return the listener to documents that a proxy at this address hands on."""
        return cls(
            LISTENER,
            "hxn_ptycho: queues the scans whose documents it hears",
            ("listen", "--zmq", address),
            "Type=exec",
        )


@dataclass(frozen=True)
class Account:
    """As whom a unit of the system runs.

    Attributes
    ----------
    user, group : str
        Names; an empty group is the user's own.
    """

    user: str
    group: str = ""


def write_unit(service: Service, home: Home, account: Account | None, command: str) -> str:
    """Return the text of a unit.

    Parameters
    ----------
    service : Service
    home : Home
    account : Account or None
        None: a unit of the user's own systemd.
    command : str
        By which it was asked for, for the reader.
    """
    lines = [_environment(name, value) for name, value in variables(home).items()]
    account_lines = ""
    if account is not None:
        account_lines = f"User={account.user}\n"
        account_lines += f"Group={account.group}\n" if account.group else ""
    return _UNIT.format(
        command=command,
        description=service.description,
        mounts=_quoted(str(home.root)),
        when=_NETWORK if account is not None else "",
        kind=service.kind,
        exec_start=_command([sys.executable, "-m", "hxn_ptycho.cli", *service.words]),
        folder=str(home.root).replace("%", "%%"),
        environment="\n".join(lines),
        account=account_lines,
        protection=_PROTECTION if account is not None else "",
        wanted_by="multi-user.target" if account is not None else "default.target",
    )


def variables(home: Home) -> dict[str, str]:
    """Return the environment of a service of this Python, by name."""
    folders = [str(Path(sys.executable).parent), *os.environ.get("PATH", os.defpath).split(":")]
    path = ":".join(dict.fromkeys(folder for folder in folders if folder.startswith("/")))
    given: Mapping[str, str] = os.environ
    found = {HOME_VARIABLE: str(home.root), "PATH": path}
    found |= {name: given[name] for name in _HANDED_ON if given.get(name)}
    if not _is_installed():
        found["PYTHONPATH"] = str(Path(__file__).resolve().parents[2])
    return found


def _is_installed() -> bool:
    """Whether this Python finds this very package by itself, from any folder."""
    said = subprocess.run(
        [sys.executable, "-c", "import hxn_ptycho; print(hxn_ptycho.__file__)"],
        cwd="/",
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip() == str(Path(__file__).resolve().parents[1] / "__init__.py")


def _environment(name: str, value: str) -> str:
    return f"Environment={_quoted(f'{name}={value}')}"


def _command(words: Sequence[str]) -> str:
    """Return a command line; a $ would be a variable's, but not in the program's path."""
    program, *rest = words
    return " ".join([_quoted(program), *(_quoted(word.replace("$", "$$")) for word in rest)])


def _quoted(text: str) -> str:
    """Return one word of a unit file: % is a specifier's there, and quotes are C's."""
    if re.fullmatch(r"[\w@+=:,./-]+", text):
        return text
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"'
