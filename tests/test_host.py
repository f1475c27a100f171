from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hxn_ptycho import host
from hxn_ptycho.host import Mount, mount_of

from .two_hosts import Host, why_no_hosts

# Mounts a file system with an odd name over another, and asks.
ASK = """
import subprocess, sys
from pathlib import Path
from hxn_ptycho.host import mount_of
folder = Path(sys.argv[1])
subprocess.run(["mount", "-t", "ramfs", "-o", "noexec", "a source", folder], check=True)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "server:/x y", folder], check=True)
found = mount_of(folder / "not" / "yet")
print(found.kind, found.source, "size=4k" in found.options, "noexec" in found.options, sep="|")
"""


def test_the_file_system_of_a_folder_is_found(tmp_path: Path) -> None:
    assert mount_of(Path("/proc/self")).kind == "proc"
    assert mount_of(tmp_path / "not" / "yet") == mount_of(tmp_path) != Mount()


@pytest.mark.skipif(bool(why_no_hosts()), reason=why_no_hosts())
def test_the_last_of_those_mounted_on_a_folder_counts(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    apart = Host("gpu-host", tmp_path)
    said = apart.run([sys.executable, "-c", ASK, str(folder)], env=variables)
    assert said == "tmpfs|server:/x y|True|False\n"


@pytest.mark.skipif(bool(why_no_hosts()), reason=why_no_hosts())
def test_hosts_are_told_apart(tmp_path: Path) -> None:
    program = "from hxn_ptycho import host; print(host.name(), host.boot())"
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    words = [sys.executable, "-c", program]
    there = Host("gpu-host", tmp_path).run(words, env=variables).split()
    here = subprocess.run(words, env=variables, capture_output=True, text=True, check=True)
    assert here.stdout.split() == [host.name(), host.boot()]
    assert there[0] == "gpu-host"
    assert there[1] != host.boot()


@pytest.mark.parametrize(
    ("mount", "network", "local_locks"),
    [
        (Mount("ext4", "/dev/sda1", frozenset({"rw"})), False, ""),
        (Mount("nfs4", "server:/x", frozenset({"rw", "local_lock=none"})), True, ""),
        (Mount("nfs", "server:/x", frozenset({"rw", "local_lock=all"})), True, "local_lock=all"),
        (Mount("nfs", "server:/x", frozenset({"nolock"})), True, "nolock"),
        (Mount("lustre", "mgs:/x", frozenset({"localflock"})), True, "localflock"),
        (Mount("fuse.sshfs", "host:/x"), True, "fuse.sshfs"),
        (Mount("gpfs", "x"), True, ""),
        (Mount(), False, ""),
    ],
)
def test_what_a_mount_is_good_for(mount: Mount, network: bool, local_locks: str) -> None:
    assert (mount.is_network, mount.local_locks) == (network, local_locks)
