from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from hxn_ptycho.home import Home
from hxn_ptycho.launch import LaunchError, Mpiexec, find_mpiexec, launch, slots_of
from hxn_ptycho.launch.hosts import read_hosts
from hxn_ptycho.launch.ranks import PROGRAM_FILE
from hxn_ptycho.solver.job import read_progress

from ..jobs import make_job


def host_file(folder: Path, text: str) -> Path:
    path = folder / "my-hosts"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("node01", {"node01": 1}),
        ("node01\nnode02\nnode01", {"node01": 2, "node02": 1}),
        ("# two\n\nnode01:4  # fast\n node-2.site.org : 2".replace(" : ", ":"), None),
        ("node01 slots=4\n192.168.0.2 slots = 3 max_slots=8", {"node01": 4, "192.168.0.2": 3}),
        ("node01 max-slots=8", {"node01": 1}),
    ],
)
def test_all_forms_are_read(tmp_path: Path, text: str, hosts: dict[str, int] | None) -> None:
    hosts = hosts or {"node01": 4, "node-2.site.org": 2}
    path = host_file(tmp_path, text)
    assert read_hosts(path) == hosts
    assert slots_of(path) == sum(hosts.values())


@pytest.mark.parametrize(
    "line", ["node01:x", "node01:0", "node01 slots=0", "node01:2 slots=2", "node01 4", "a,b", "-x"]
)
def test_a_bad_line_is_quoted(tmp_path: Path, line: str) -> None:
    path = host_file(tmp_path, f"node01:4\n{line}\n")
    with pytest.raises(LaunchError) as refusal:
        slots_of(path)
    assert f"line 2 of the host file {path} is {line!r}" in str(refusal.value)


def test_a_missing_or_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match=r"none \(hosts in config\.toml\) cannot be read"):
        slots_of(tmp_path / "none")
    with pytest.raises(LaunchError, match="names no host"):
        slots_of(host_file(tmp_path, "# node01\n"))


def test_each_mpi_gets_its_own_words(tmp_path: Path) -> None:
    mpich = Mpiexec(Path("mpiexec"), "MPICH", "")
    assert mpich.command(3, "hosts", ["A"])[:5] == ["mpiexec", "-n", "3", "-f", "hosts"]
    assert mpich.host_lines({"a": 2, "b": 1}) == "a:2\nb:1\n"
    open_mpi = Mpiexec(Path("mpiexec"), "Open MPI", "")
    words = open_mpi.command(3, "hosts", ["A", "B"])
    assert " ".join(words).startswith("mpiexec -n 3 --hostfile hosts -x A -x B ")
    assert "-x" not in open_mpi.command(3, hand_on=["A"])  # on this host it hands on everything
    assert open_mpi.host_lines({"a": 2}) == "a slots=2\n"
    with pytest.raises(LaunchError, match="neither of MPICH nor of Open MPI"):
        Mpiexec(Path("mpiexec"), "other", "Any MPI 1").command(2, "hosts")


def test_more_ranks_than_slots_are_refused(home: Home) -> None:
    with pytest.raises(LaunchError, match="3 ranks do not fit into the 2 slots"):
        launch(home.jobs, 3, hosts=str(host_file(home.root, "localhost:2")))


def run_on_hosts(home: Home, text: str, mpiexec: str = "") -> list[str]:
    """Run a job of two ranks on these hosts; return the command that did."""
    folder = make_job(home, ranks=2)
    program = launch(folder, 2, hosts=str(host_file(home.root, text)), mpiexec=mpiexec)
    assert program.wait(120) == 0, (folder / "solver.log").read_text()
    assert program.reason == ""
    lines, _ = read_progress(folder)
    assert lines[0]["ranks"] == 2
    assert lines[-1]["event"] == "finished"
    command: list[str] = json.loads((folder / PROGRAM_FILE).read_text())["command"]
    return command


def test_two_ranks_on_a_host_named_twice(home: Home) -> None:
    # In Open MPI's form: what MPICH is handed is its own.
    command = run_on_hosts(home, f"localhost slots=1\n{os.uname().nodename}\n")
    assert "-f" in command


def test_two_ranks_of_open_mpi(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    found = shutil.which("mpiexec.openmpi") or os.environ.get("HXN_TEST_OPEN_MPI", "")
    if not found or find_mpiexec(found).flavour != "Open MPI":
        pytest.skip("no Open MPI: HXN_TEST_OPEN_MPI names no mpiexec of its")
    library = Path(found).resolve().parents[1] / "lib" / "libmpi.so.40"
    if library.exists():  # else mpi4py finds the system's
        monkeypatch.setenv("MPI4PY_LIBMPI", str(library))
    monkeypatch.setenv("MPI4PY_MPIABI", "openmpi")
    command = run_on_hosts(home, "localhost:2\n", found)
    assert "--hostfile" in command
    handed_on = {command[place + 1] for place, word in enumerate(command) if word == "-x"}
    assert {"PYTHONPATH", "OMP_NUM_THREADS", "HXN_PTYCHO_HOME", "MPI4PY_MPIABI"} <= handed_on
