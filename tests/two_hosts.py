"""Hosts that share a file system, as far as one machine can have them.

Each is a set of namespaces of the kernel: a name of its own, processes of its own, another boot.
What they share is the file system, with locks that reach across, as on NFS version 4. What NFS adds
(what a client remembers, a lease that ends) is not here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any

from .waiting import until

# The first process of a host is a shell: when it ends, the kernel ends all others, as a power cut.
_BOOT = """
mount --make-rprivate /
hostname "$1"
mount --bind "$2" /proc/sys/kernel/random/boot_id
shift 2
exec 3<&0
"$@" <&3 &
wait $!
"""


class Host:
    """A host of a name.

    Parameters
    ----------
    name : str
    folder : Path
        For its boot id.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._boot = folder / f"boot-of-{name}"
        self._boot.write_text(f"{uuid.uuid4()}\n")

    def command(self, words: Sequence[str]) -> list[str]:
        namespaces = ["--uts", "--pid", "--mount", "--mount-proc", "--fork", "--kill-child"]
        return ["unshare", *namespaces, "sh", "-c", _BOOT, "sh", self.name, str(self._boot), *words]

    @contextmanager
    def running(self, words: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
        """Start the host with one program; switch it off at the end."""
        process: subprocess.Popen[str] = subprocess.Popen(
            self.command(words), text=True, start_new_session=True, **options
        )
        try:
            yield process
        finally:
            switch_off(process)

    def run(self, words: Sequence[str], **options: Any) -> str:
        """Run a program on the host, and return what it printed."""
        said = subprocess.run(
            self.command(words), capture_output=True, text=True, check=False, **options
        )
        assert said.returncode == 0, said.stdout + said.stderr
        return said.stdout


def switch_off(process: subprocess.Popen[str]) -> None:
    """End everything on a host at once."""
    if process.poll() is None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        process.kill()
        process.wait()
        # The first process of a host is gone when all others are.
        until(lambda: not any(_lives(each) for each in children), "a host to be off")


def _lives(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def say(process: subprocess.Popen[str], line: str) -> str:
    """Type a line to a program and return the line that it answers."""
    to: IO[str] | None = process.stdin
    answers: IO[str] | None = process.stdout
    assert to is not None
    assert answers is not None
    to.write(line + "\n")
    to.flush()
    return answers.readline().rstrip("\n")


@cache
def why_no_hosts() -> str:
    """Return why there can be no second host here; empty if there can be."""
    if os.geteuid() != 0:
        return "hosts apart need root: namespaces of the kernel"
    if shutil.which("unshare") is None:
        return "no unshare (Debian: util-linux)"
    words = ["unshare", "--uts", "--pid", "--mount", "--mount-proc", "--fork", "sh", "-c", _BOOT]
    tried = subprocess.run(
        [*words, "sh", "elsewhere", "/proc/sys/kernel/random/uuid", "uname", "-n"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if tried.stdout != "elsewhere\n":
        return f"no namespaces here: {tried.stderr.strip()}"
    return ""
