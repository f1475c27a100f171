"""A host with a systemd of its own, which has nothing to start but what a test gives it.

It has its own processes, name, cgroup, /etc, /run, /tmp and /var; all else is read-only, and units
of the distribution are covered up: it can change nothing outside.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from .two_hosts import why_no_hosts
from .waiting import until

SYSTEMD = Path("/lib/systemd/systemd")

_JOIN = 'echo $$ > "$1/cgroup.procs"; shift; exec "$@"'
_BOOT = """
set -e
keep="$1"
mount --make-rprivate /
hostname gpu-host
cp -a /etc "$keep/etc"
mount -t tmpfs tmpfs /mnt
mkdir /mnt/keep
mount --bind "$keep" /mnt/keep
for covered in /run /tmp /var /root/.config /lib/systemd/system /lib/systemd/system-generators; do
    test ! -d "$covered" || mount -t tmpfs tmpfs "$covered"
done
mkdir -p /run/lock /var/cache /var/lib /var/log /var/tmp "$keep"
mount --bind /mnt/keep "$keep"
mount --bind /mnt/keep/etc /etc
find /etc/systemd/system -mindepth 1 -delete
umount -R -l /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
for target in sysinit basic multi-user network-online remote-fs shutdown umount final; do
    printf '[Unit]\\nDescription=%s\\nDefaultDependencies=no\\n' $target \\
        > /lib/systemd/system/$target.target
done
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -o remount,bind,ro /
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    "$2" --system --unit=multi-user.target --log-target=console
"""


#: Folders of this machine that it has its own of, empty.
OWN = ("/tmp", "/run", "/var", "/root/.config")


class SystemdHost:
    """A running one.

    Parameters
    ----------
    pid : int
        Of its systemd, as seen from here.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def sh(
        self, script: str, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run lines of a shell on it, to the first that fails."""
        return subprocess.run(
            ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--uts", "--ipc", "--cgroup",
             "sh", "-ec", script],
            env=environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip


@contextmanager
def systemd_host(folder: Path) -> Iterator[SystemdHost]:
    """Start one; what is in `folder` it sees, at the same path."""
    cgroup = _cgroup2() / f"hxn-ptycho-{uuid.uuid4().hex[:8]}"
    cgroup.mkdir()
    words = ["unshare", "--pid", "--mount", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"]
    words += ["--mount-proc", "sh", "-c", _BOOT, "sh", str(folder), str(SYSTEMD)]
    with open(folder / "systemd.log", "wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", _JOIN, "sh", str(cgroup), *words],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:

        def pid() -> int:
            if process.poll() is not None:
                raise AssertionError((folder / "systemd.log").read_text())
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            named = [each for each in children if _name(each) == "systemd"]
            return int(named[0]) if named else 0

        host = SystemdHost(until(pid, "systemd to start"))
        until(lambda: _is_up(host), "systemd to be up")
        yield host
    finally:
        process.kill()
        process.wait()
        until(lambda: _removed(cgroup), "its cgroup to be empty")


def _is_up(host: SystemdHost) -> bool:
    return host.sh("systemctl is-system-running").stdout.strip() in ("running", "degraded")


def _name(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _removed(cgroup: Path) -> bool:
    for folder in sorted([*cgroup.rglob("*/"), cgroup], reverse=True):
        try:
            folder.rmdir()
        except OSError:
            return False
    return True


def _cgroup2() -> Path:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        here, _, there = line.partition(" - ")
        if there.startswith("cgroup2 "):
            return Path(here.split()[4])
    raise FileNotFoundError("no cgroup2")


@cache
def why_no_systemd() -> str:
    """Return why there can be no such host here; empty if there can be."""
    if reason := why_no_hosts():
        return reason
    if not SYSTEMD.exists():
        return "no systemd (Debian: systemd)"
    own = next((each for each in OWN if Path(sys.prefix).is_relative_to(each)), "")
    if own:
        return f"Python's environment lies in {own}, of which the host has its own: {sys.prefix}"
    if shutil.which("nsenter") is None:
        return "no nsenter (Debian: util-linux)"
    try:
        trial = _cgroup2() / f"hxn-ptycho-{os.getpid()}"
        trial.mkdir()
        trial.rmdir()
    except OSError as error:
        return f"no cgroup of one's own can be made: {error}"
    return ""
