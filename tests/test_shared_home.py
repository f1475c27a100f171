"""A home of a group: IPython's account and a service's, each with a umask that lets nobody in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hxn_ptycho.home import HOME_VARIABLE, Home
from hxn_ptycho.queue import Queue
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.solver.job import read_progress
from hxn_ptycho.solver.job.progress import ProgressWriter

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="accounts apart need root")

BEAMLINE, SERVICE, GROUP = 23_001, 23_002, 23_000


@pytest.fixture
def shared() -> Iterator[Home]:
    folder = Path(tempfile.mkdtemp())  # pytest's own is for one account
    folder.chmod(0o755)
    root = folder / "home"
    root.mkdir()
    os.chown(root, SERVICE, GROUP)
    root.chmod(0o2770)
    yield Home(root)
    shutil.rmtree(folder)


def as_account(number: int, action: Callable[[], object]) -> None:
    """Do something as an account of the group, in a process of its own."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([GROUP])
            os.setgid(number)
            os.setuid(number)
            os.umask(0o077)
            action()
            status = 0
        except BaseException:  # noqa: BLE001, the process ends with it
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_one_queues_and_the_other_works(shared: Home) -> None:
    def queue_it() -> None:
        Queue(shared.make()).submit("raw", 1, Recipe())

    def work() -> None:
        with Queue(shared) as queue, queue.worker_lock():
            queue.serve()
            job = queue.claim()
            assert job is not None
            folder = shared.jobs / job.job_uid
            folder.mkdir(mode=0o700)
            shared.share(folder)
            queue.note(job, "waits")

    def look_and_cancel() -> None:
        queue = Queue(shared)
        (job,) = queue.jobs("running")
        assert job.reason == "waits"
        with queue.worker_lock():  # a worker by hand
            assert queue.serving() is not None
        with queue:
            again = queue.claim()  # its worker is gone
            assert again is not None
            assert again.attempts == 2
            ProgressWriter(shared.jobs / job.job_uid)("started")
        assert queue.cancel(queue.submit("raw", 2, Recipe()).job_uid).state == "cancelled"

    as_account(BEAMLINE, queue_it)
    as_account(SERVICE, work)
    as_account(BEAMLINE, look_and_cancel)
    (job, _) = Queue(shared).jobs()
    assert (shared.jobs / job.job_uid).stat().st_mode & 0o7777 == 0o2770
    assert shared.jobs.stat().st_mode & 0o070 == 0o070


# A failed reconstruction: a run in `processed`.
FAIL = """
import os
from hxn_ptycho.catalog import open_catalog, search
from hxn_ptycho.home import find_home
from hxn_ptycho.queue import Queue
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.worker import ReconstructionError, run_job
catalogs = open_catalog()
job = Queue(find_home()).submit("0" * 36, os.getuid(), Recipe())
try:
    run_job(job, catalogs, stop_seconds=0)
except ReconstructionError as error:
    assert "could not be published" not in str(error), error
print(len(search(catalogs.processed)))
"""


def _is_for_all(folder: Path) -> bool:
    """Whether any account may look into a folder, and into those that it is in."""
    return all(each.stat().st_mode & 0o005 == 0o005 for each in (folder, *folder.parents))


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv (Debian: util-linux)")
@pytest.mark.skipif(
    not _is_for_all(Path(sys.prefix)), reason=f"other accounts may not look into {sys.prefix}"
)
def test_both_write_into_the_catalogs(shared: Home) -> None:
    for count, account in enumerate((SERVICE, BEAMLINE), 1):
        # It may read everything: the tests' Python may be for root alone. Not write.
        words = ["setpriv", f"--reuid={account}", f"--regid={GROUP}", "--clear-groups"]
        words += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        said = subprocess.run(
            [*words, sys.executable, "-c", FAIL],
            env={**os.environ, HOME_VARIABLE: str(shared.root), "HOME": str(shared.root)},
            umask=0o077, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert said.returncode == 0, said.stderr
        assert int(said.stdout) == count


def test_a_home_of_one_account_is_left_to_it(home: Home) -> None:
    Queue(home).submit("raw", 1, Recipe())
    assert home.root.stat().st_mode & 0o077 == 0
    mode = home.jobs.stat().st_mode
    home.share(home.jobs)
    assert home.jobs.stat().st_mode == mode
    assert read_progress(home.jobs / "none") == ([], 0)
