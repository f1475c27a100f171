from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import hxn_ptycho
from hxn_ptycho.home import Home
from hxn_ptycho.launch import LaunchError, end_leftover, launch
from hxn_ptycho.launch.leftover import hold_folder
from hxn_ptycho.launch.ranks import PROGRAM_FILE
from hxn_ptycho.solver.job import ResultData, read_progress

from ..jobs import make_job, make_scan
from ..waiting import until
from .processes import iterating, ranks_of

LONG = 1_000_000


def test_two_ranks_compute_a_result(home: Home) -> None:
    folder = make_job(home, ranks=2)
    program = launch(folder, 2)
    assert program.wait(120) == 0
    assert program.poll() == 0
    assert program.reason == ""
    lines, _ = read_progress(folder)
    assert [line["event"] for line in lines] == ["started", *["iteration"] * 5, "finished"]
    assert ResultData.read(folder / "result.h5").ranks == 2


def test_ranks_have_one_thread_no_terminal_and_a_session_of_their_own(home: Home) -> None:
    folder = make_job(home, iterations=LONG)
    program = launch(folder, 1, environment={"HXN_TEST": "yes"})
    try:
        until(lambda: iterating(folder), "the first iteration")
        (rank,) = ranks_of(folder)
        environment = Path(f"/proc/{rank}/environ").read_bytes().split(b"\0")
        assert b"OMP_NUM_THREADS=1" in environment
        assert b"NUMBA_NUM_THREADS=1" in environment
        assert b"HXN_TEST=yes" in environment
        pid = json.loads((folder / PROGRAM_FILE).read_text())["pid"]
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
        assert os.getsid(pid) == pid != os.getsid(0)
        assert program.reason == ""  # nothing is wrong while it runs
    finally:
        program.terminate()
    until(lambda: not ranks_of(folder), "all ranks to be gone")


def test_a_killed_rank_ends_all_and_is_told(home: Home) -> None:
    folder = make_job(home, ranks=2, iterations=LONG)
    program = launch(folder, 2)
    until(lambda: iterating(folder), "the first iteration")
    os.kill(ranks_of(folder)[0], signal.SIGKILL)
    assert program.wait(60) != 0
    assert "SIGKILL" in program.reason
    assert "out of memory" in program.reason
    until(lambda: not ranks_of(folder), "all ranks to be gone")


def test_what_the_solver_says_is_the_reason(home: Home) -> None:
    scan = make_scan(home.data)
    folder = make_job(home, scan)
    Path(scan.frames[0].file).unlink()
    program = launch(folder, 1)
    assert program.wait(120) != 0
    assert "frames.h5 is missing" in program.reason
    assert "HXN_PTYCHO_ROOTS" in program.reason  # what to do about it


def test_a_solver_that_cannot_start_is_told_with_its_last_words(home: Home) -> None:
    folder = make_job(home)
    program = launch(folder, 1, environment={"PYTHONHOME": "/nowhere"})
    status = program.wait(60)
    assert f"exit status {status}" in program.reason
    assert "encodings" in program.reason  # Python's own complaint
    assert "BAD TERMINATION" not in program.reason


def test_an_earlier_result_is_not_taken_for_this_one(home: Home) -> None:
    folder = make_job(home)
    assert launch(folder, 1).wait(120) == 0
    program = launch(folder, 1, environment={"PYTHONHOME": "/nowhere"})
    program.wait(60)
    assert program.reason
    assert not (folder / "result.h5").exists()


def test_terminate_ends_ranks_that_do_not_listen(home: Home) -> None:
    folder = make_job(home, ranks=2, iterations=LONG)
    program = launch(folder, 2)
    until(lambda: iterating(folder), "the first iteration")
    for rank in ranks_of(folder):
        os.kill(rank, signal.SIGSTOP)  # deaf to SIGTERM
    program.terminate(grace=0.5)
    assert program.poll() is not None
    until(lambda: not ranks_of(folder), "all ranks to be gone")


def test_what_a_killed_worker_left_running_is_ended(home: Home) -> None:
    folder = make_job(home, iterations=LONG)
    launcher = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from hxn_ptycho.launch import launch;"
            "program = launch(sys.argv[1], 1); print('launched', flush=True); program.wait()",
            str(folder),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == "launched\n"
    until(lambda: iterating(folder), "the first iteration")
    launcher.kill()
    launcher.communicate()
    assert ranks_of(folder)  # it outlives who launched it
    assert end_leftover(folder)
    until(lambda: not ranks_of(folder), "the leftover to be gone")
    assert not end_leftover(folder)


def test_a_process_that_only_has_the_same_id_is_left_alone(home: Home) -> None:
    folder = home.jobs
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as stranger:
        identity = {"host": os.uname().nodename, "pid": stranger.pid, "start": "another boot:1"}
        (folder / PROGRAM_FILE).write_text(json.dumps(identity))
        assert not end_leftover(folder)
        assert stranger.poll() is None
        stranger.kill()


def test_the_solver_is_of_this_package_also_uninstalled(home: Home, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    package = Path(hxn_ptycho.__file__).parent
    shutil.copytree(package, tree / "hxn_ptycho", ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "hxn_ptycho" / "_version.py").write_text('__version__ = "bare tree"\n')
    folder = make_job(home)
    subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from hxn_ptycho.launch import launch; launch(sys.argv[1], 1).wait()",
            str(folder),
        ],
        env={**os.environ, "PYTHONPATH": str(tree)},
        cwd="/",
        check=True,
    )
    assert ResultData.read(folder / "result.h5").version == "bare tree"


def test_no_ranks_are_refused(home: Home) -> None:
    with pytest.raises(LaunchError, match="0 ranks"):
        launch(home.jobs, 0)


def test_a_program_that_runs_on_another_host_is_not_met_by_a_second(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker died there; from here its processes cannot be seen, but the lock they hold can."""
    folder = make_job(home, iterations=LONG)
    program = launch(folder, 1)
    try:
        until(lambda: iterating(folder), "the first iteration")
        left = json.loads((folder / PROGRAM_FILE).read_text())
        (folder / PROGRAM_FILE).write_text(json.dumps({**left, "host": "gpu-host-2"}))
        monkeypatch.setattr(hold_folder, "__defaults__", (0.0,))
        with pytest.raises(LaunchError, match=rf"still runs on gpu-host-2; .*-{program.pid}\)"):
            launch(folder, 1)
        assert program.poll() is None
        assert iterating(folder)  # what it has written is there
    finally:
        program.terminate()
    until(lambda: not ranks_of(folder), "all ranks to be gone")
    os.close(hold_folder(folder))  # free for the next
