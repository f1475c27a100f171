from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hxn_ptycho.launch import LaunchError, find_mpiexec, launch, physical_cores


def make_program(path: Path, says: str, status: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python and a PATH without any mpiexec."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "path").mkdir()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    return tmp_path


def test_the_one_beside_python_comes_first(nowhere: Path) -> None:
    on_path = make_program(nowhere / "path" / "mpiexec", "mpiexec (OpenRTE) 4.1.4")
    assert find_mpiexec().path == on_path
    beside = make_program(nowhere / "bin" / "mpiexec", "HYDRA build details:")
    assert find_mpiexec().path == beside
    assert find_mpiexec(str(on_path)).path == on_path  # config.toml goes before both


def test_without_any_the_message_says_what_to_install(nowhere: Path) -> None:
    with pytest.raises(LaunchError, match="pip install mpich"):
        find_mpiexec()
    with pytest.raises(LaunchError, match="pip install mpich"):
        launch(nowhere, 1)


def test_a_wrong_one_in_the_configuration_is_named(nowhere: Path) -> None:
    with pytest.raises(LaunchError, match=r"/opt/none/mpiexec' of config\.toml"):
        find_mpiexec("/opt/none/mpiexec")
    broken = make_program(nowhere / "broken", "libmpi.so: cannot open", status=127)
    with pytest.raises(LaunchError, match=r"status 127: libmpi\.so"):
        find_mpiexec(str(broken))


@pytest.mark.parametrize("says", ["mpiexec (OpenRTE) 4.1.4", "prterun (PRRTE) 3.0", "Open MPI 5"])
def test_open_mpi_is_told_what_it_would_refuse(nowhere: Path, says: str) -> None:
    program = make_program(nowhere / "path" / "mpiexec", says)
    found = find_mpiexec()
    words = found.command(3)
    assert found.flavour == "Open MPI"
    assert words[:3] == [str(program), "-n", "3"]
    assert "--oversubscribe" in words
    assert words[words.index("--bind-to") + 1] == "none"
    assert ("--allow-run-as-root" in words) == (os.geteuid() == 0)


def test_mpich_is_asked_for_ranks_and_nothing_else(nowhere: Path) -> None:
    program = make_program(nowhere / "path" / "mpiexec", "HYDRA build details:")
    found = find_mpiexec()
    assert found.flavour == "MPICH"
    assert found.command(2) == [str(program), "-n", "2"]


def test_cores_respect_the_affinity() -> None:
    assert 1 <= physical_cores() <= len(os.sched_getaffinity(0))
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
            "from hxn_ptycho.launch import physical_cores; print(physical_cores())",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "1\n"
