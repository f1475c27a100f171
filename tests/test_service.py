"""The worker as a service: its unit, and the process that the unit describes."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hxn_ptycho.catalog import open_catalog
from hxn_ptycho.home import HOME_VARIABLE, Home
from hxn_ptycho.queue import Queue
from hxn_ptycho.recipe import Recipe

from .launch.processes import iterating, ranks_of
from .scans import measure
from .units import Unit
from .waiting import until

Command = Callable[..., subprocess.CompletedProcess[str]]

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="no systemd-analyze (Debian: systemd)"
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="not root")


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home whose path a unit file must quote."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "a home 100%"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("HXN_PTYCHO_ROOTS", "/old place=/new")
    return Home(tmp_path / "a home 100%")


def service(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hxn_ptycho.cli", "service", *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def verify(path: Path, *options: str) -> str:
    """Return what systemd says against a unit; of others that it reads too, nothing."""
    with tempfile.TemporaryDirectory() as runtime:  # sockets' paths must be short
        said = subprocess.run(
            ["systemd-analyze", *options, "verify", str(path)],
            env={**os.environ, "XDG_RUNTIME_DIR": runtime},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    lines = (said.stdout + said.stderr).splitlines()
    return "\n".join(line for line in lines if path.name in line or "Failed to" in line)


@needs_systemd
def test_a_unit_for_oneself(odd: Home, tmp_path: Path) -> None:
    said = service("--install")
    assert said.returncode == 0, said.stderr
    path = tmp_path / "settings" / "systemd" / "user" / "hxn-ptycho.service"
    assert f"Written: {path}" in said.stdout
    for line in ("daemon-reload", "enable --now hxn-ptycho"):
        assert f"    systemctl --user {line}\n" in said.stdout
    assert verify(path, "--user") == ""
    broken = tmp_path / "broken" / path.name
    broken.parent.mkdir()
    broken.write_text(path.read_text().replace("KillMode=mixed", "KillMode=most"))
    assert "kill mode" in verify(broken, "--user")
    unit = Unit.read(path)
    assert unit.command == [sys.executable, "-m", "hxn_ptycho.cli", "worker", "--stay"]
    assert unit.environment[HOME_VARIABLE] == str(odd.root)
    assert unit.environment["HXN_PTYCHO_ROOTS"] == "/old place=/new"
    assert unit.environment["PATH"].split(":")[0] == str(Path(sys.executable).parent)
    assert unit.one("WantedBy") == "default.target"
    assert not unit.all("ProtectSystem")  # which a user's systemd cannot give

    wants = path.parent / "default.target.wants"
    wants.mkdir()
    (wants / path.name).symlink_to(path)  # as systemctl enable does
    said = service("--remove")
    assert said.returncode == 1
    assert "systemctl --user disable --now hxn-ptycho" in said.stderr
    (wants / path.name).unlink()
    said = service("--remove")
    assert (said.returncode, path.exists()) == (0, False)
    assert odd.root.is_dir()
    assert "no unit of hxn_ptycho" in service("--remove").stderr


@needs_systemd
@needs_root
def test_a_unit_for_an_account_of_the_system(odd: Home, tmp_path: Path) -> None:
    account = next(each for each in pwd.getpwall() if each.pw_uid not in (0, 65534))
    whom = ("--system", "--account", account.pw_name, "--folder", str(tmp_path))
    assert "is not there" in service("--print", *whom).stderr
    odd.make()
    assert "may not write into" in service("--print", *whom).stderr
    os.chown(odd.root, 0, account.pw_gid)
    odd.root.chmod(0o2770)
    said = service("--install", *whom)
    assert said.returncode == 0, said.stderr
    assert "sudo systemctl enable --now hxn-ptycho" in said.stdout
    path = tmp_path / "hxn-ptycho.service"
    assert verify(path) == ""
    unit = Unit.read(path)
    assert unit.one("User") == account.pw_name
    assert unit.one("WantedBy") == "multi-user.target"
    assert unit.one("ProtectSystem") == "full"
    # GPUs, their locks in /tmp, and memory that ranks share must be the host's.
    assert not {"PrivateTmp", "PrivateDevices", "PrivateIPC", "ProtectClock"} & {
        name for name, _ in unit.lines
    }
    said = service("--install", "--system", "--account", "nobody-of-that-name")
    assert said.returncode == 1
    assert "useradd" in said.stderr


def test_a_unit_for_a_listener(odd: Home, tmp_path: Path) -> None:
    said = service("--install", "--listen", "127.0.0.1:5578")
    assert said.returncode == 0, said.stderr
    path = tmp_path / "settings" / "systemd" / "user" / "hxn-ptycho-listen.service"
    assert Unit.read(path).command[2:] == ["hxn_ptycho.cli", "listen", "--zmq", "127.0.0.1:5578"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "one of --install, --print and --remove"),
        (("--install", "--remove"), "one of --install"),
        (("--print", "--system"), "needs --account"),
        (("--print", "--account", "root"), "are for --system"),
    ],
)
def test_wrong_use_is_told(odd: Home, words: tuple[str, ...], said: str) -> None:
    done = service(*words)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert not odd.root.exists()


def test_what_the_unit_starts_takes_a_job_and_ends_cleanly(odd: Home, tmp_path: Path) -> None:
    """And a second one waits: systemd would not start a service again that ended well."""
    assert service("--install").returncode == 0
    unit = Unit.read(tmp_path / "settings" / "systemd" / "user" / "hxn-ptycho.service")
    scan = measure(open_catalog(odd))
    queue = Queue(odd)
    with Started(unit, tmp_path / "first") as first:
        assert first.said().startswith("READY=1")
        serving = queue.serving()
        assert serving is not None
        assert (serving.pid, serving.is_here) == (first.process.pid, True)
        with Started(unit, tmp_path / "second") as second:
            waits = second.said()
            assert waits.startswith("READY=1\nSTATUS=waits: another worker serves")
            assert f"process {first.process.pid} of" in waits
            job = queue.submit(*scan, Recipe(iterations=1_000_000, ranks=1))
            folder = odd.jobs / job.job_uid
            until(lambda: iterating(folder), "the first iteration", 120)
            first.process.send_signal(signal.SIGTERM)
            assert first.process.wait(60) == 0
            while "STOPPING=1" not in first.said():
                pass
            assert not ranks_of(folder)
            until(lambda: queue.find(job.job_uid).state == "running", "the second to take it", 60)
            assert queue.find(job.job_uid).attempts == 1  # it counts as never begun
            second.process.send_signal(signal.SIGTERM)
            assert second.process.wait(60) == 0
    after = queue.find(job.job_uid)
    assert (after.state, after.attempts) == ("queued", 0)
    assert queue.serving() is None


class Started:
    """What a unit starts, and what it tells systemd."""

    def __init__(self, unit: Unit, address: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(address))
        self._socket.settimeout(60)
        self.process = subprocess.Popen(
            unit.command,
            env={**unit.environment, "NOTIFY_SOCKET": str(address)},
            cwd=unit.one("WorkingDirectory").replace("%%", "%"),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def said(self) -> str:
        """Return the next thing that systemd is told."""
        return self._socket.recv(4096).decode()

    def __enter__(self) -> Started:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def test_staying_and_ending_when_idle_exclude_each_other(home: Home) -> None:
    words = [sys.executable, "-m", "hxn_ptycho.cli", "worker", "--stay", "--idle-seconds", "1"]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    assert said.returncode == 2
    assert "leave --idle-seconds out" in " ".join(said.stderr.split())
