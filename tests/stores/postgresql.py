"""A PostgreSQL of the tests' own: Debian's binaries, all that it keeps in one folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..waiting import until
from .processes import end, free_port, listens

_DEBIAN = Path("/usr/lib/postgresql")


def binaries() -> Path | None:
    """Return the folder of `initdb` and `postgres`, the newest there is; None: not installed."""
    found = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    program = shutil.which("initdb")
    return Path(program).resolve().parent if program else None


def why_no_postgresql() -> str:
    """Return why no PostgreSQL can be started here; empty if one can."""
    return "" if binaries() else "PostgreSQL is not installed: apt-get install postgresql"


class PostgreSQL:
    """A server on the loopback, for user ``hxn``.

    Parameters
    ----------
    folder : Path
        Where it keeps everything; belongs to the server's user from then on.
    """

    def __init__(self, folder: Path) -> None:
        found = binaries()
        assert found is not None
        self.binaries = found
        self.folder = folder
        self.port = free_port()
        # It refuses to run as root.
        self._user = _other_user() if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> None:
        """Make the data folder."""
        if self._user:
            shutil.chown(self.folder, self._user)
        self._run("initdb", "-D", "data", "-U", "hxn", "-A", "trust", "-E", "UTF8",
                  "--locale=C", "--no-sync", "--no-instructions")  # fmt: skip

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            # What it keeps need not outlive a power cut.
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": 200,
        }
        options = [f"-c{key}={value}" for key, value in settings.items()]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [self.binaries / "postgres", "-D", "data", *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                **self._as_user(),
            )
        until(self._answers, f"PostgreSQL to answer (see {self.folder / 'log'})")

    def stop(self) -> None:
        """End it, whoever is connected."""
        if self._process is not None:
            end(self._process, signal.SIGQUIT)
            self._process = None

    def create(self, *names: str) -> None:
        """Make databases."""
        for name in names:
            self._run("createdb", *self._where(), name)

    def uri(self, database: str) -> str:
        """Return the address of a database."""
        return f"postgresql://hxn@127.0.0.1:{self.port}/{database}"

    def ask(self, database: str, query: str) -> str:
        """Return what psql prints of a query."""
        return self._run("psql", *self._where(), "-At", "-c", query, database)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()
        if not listens(self.port):
            return False
        ready = subprocess.run(
            [self.binaries / "pg_isready", *self._where()], capture_output=True, check=False
        )
        return ready.returncode == 0

    def _where(self) -> list[str]:
        return ["-h", "127.0.0.1", "-p", str(self.port), "-U", "hxn"]

    def _as_user(self) -> dict[str, object]:
        if self._user is None:
            return {}
        return {"user": self._user, "group": pwd.getpwnam(self._user).pw_gid, "extra_groups": []}

    def _run(self, program: str, *words: str) -> str:
        done = subprocess.run(
            [self.binaries / program, *words],
            capture_output=True,
            text=True,
            cwd=self.folder,
            check=False,
            **self._as_user(),  # type: ignore[call-overload]
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"
        return str(done.stdout)


@contextlib.contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    """Start a PostgreSQL, and end it and remove all that it kept."""
    # Not pytest's folder: it is for root only, and a socket's path holds 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    server = PostgreSQL(folder)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _other_user() -> str:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise AssertionError("PostgreSQL does not run as root, and there is no user nobody")
