"""What doctor says of where jobs run: GPUs, NCCL, Slurm, other hosts."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hxn_ptycho.cli import launch_checks as checks
from hxn_ptycho.home import Home
from hxn_ptycho.host import Mount
from hxn_ptycho.launch import Gpu
from hxn_ptycho.launch.places import LOCKS_VARIABLE, take_gpus

from ..launch.slurm import Cluster, running_slurm, why_no_slurm
from .programs import program

TWO = tuple(Gpu("NVIDIA H200", 150_000_000_000, (9, 0), 232_448, f"GPU-{n}") for n in range(2))
CARD = "NVIDIA H200, 143771 MiB"


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an nvidia-smi that finds two cards, all that there is on PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    program(folder / "nvidia-smi", f"echo '{CARD}'; echo '{CARD}'")
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def two_gpus(cards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver shows them, and the packages are there; no other job of this host takes them."""
    monkeypatch.setenv(LOCKS_VARIABLE, str(tmp_path / "locks"))
    monkeypatch.setattr("hxn_ptycho.launch.gpus", lambda: TWO)
    monkeypatch.setattr("hxn_ptycho.launch.why_no_gpu", lambda: "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)


def test_gpus_without_their_packages_are_told_how_to_get_them(
    home: Home, cards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    finding = checks.gpu(home)
    assert finding.found == f"2 x {CARD}"
    assert "[gpu]" in finding.advice
    assert "nccl" in finding.advice


def test_a_broken_driver_is_told(home: Home, cards: Path) -> None:
    program(cards / "nvidia-smi", "echo 'NVIDIA-SMI has failed'; exit 9")
    finding = checks.gpu(home)
    assert "has failed" in finding.found
    assert finding.advice


def test_gpus_that_cannot_be_used_are_told(
    home: Home, two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "the NVIDIA driver answers CUDA_ERROR_X (35); update it"
    monkeypatch.setattr("hxn_ptycho.launch.why_no_gpu", lambda: said)
    finding = checks.gpu(home)
    assert finding.state == "optional"
    assert finding.found.endswith("none can be used: the NVIDIA driver answers CUDA_ERROR_X (35)")
    assert finding.advice == "update it"


def test_free_gpus_are_counted(home: Home, two_gpus: None) -> None:
    assert checks.gpu(home).found == f"2 x {CARD}; 2 of 2 are free now"
    place = take_gpus(1, TWO)
    assert place is not None
    finding = checks.gpu(home)
    assert (finding.state, finding.found) == ("good", f"2 x {CARD}; 1 of 2 are free now")
    home.config_file.write_text("share_gpus = true\n")
    assert checks.gpu(home).found == f"2 x {CARD}; jobs share 2 (share_gpus)"
    place.release()


def test_locks_that_cannot_be_made_are_told(home: Home, two_gpus: None, tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("not a folder")
    finding = checks.gpu(home)
    assert finding.state == "missing"  # no job would begin
    assert "GPUs cannot be taken" in finding.found
    assert LOCKS_VARIABLE in finding.advice


@pytest.fixture
def nccl_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make a package that stands where NCCL's would, and does this."""

    def make(text: str) -> None:
        package = tmp_path / "packages" / "nccl" / "bindings"
        package.mkdir(parents=True)
        (package / "nccl.py").write_text(text)

    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    return make


def test_nccl_is_loaded(
    home: Home, two_gpus: None, nccl_says: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    nccl_says("def get_version():\n    return 22809\n")
    finding = checks.nccl(home)
    assert finding is not None
    assert (finding.state, finding.found) == ("good", "version 2.28.9 can be loaded")
    monkeypatch.setattr("hxn_ptycho.launch.gpus", lambda: TWO[:1])
    assert checks.nccl(home) is None  # one GPU has nothing to add up with


@pytest.mark.parametrize(
    ("sums", "state", "found"),
    [
        ("auto", "optional", "cannot be loaded, MPI adds up instead, slower: .*no libnccl.so.2"),
        ("nccl", "missing", "cannot be loaded, no other way is allowed .*no libnccl.so.2"),
        ("host", "good", 'not used: sums = "host"'),
    ],
)
def test_nccl_that_cannot_be_loaded_is_told(
    home: Home, two_gpus: None, nccl_says: Callable[[str], None], sums: str, state: str, found: str
) -> None:
    nccl_says("raise ImportError('no libnccl.so.2')\n")
    home.config_file.write_text(f'sums = "{sums}"\n')
    finding = checks.nccl(home)
    assert finding is not None
    assert finding.state == state
    assert re.match(found, finding.found), finding.found
    assert ("pip install nvidia-nccl" in finding.advice) == (state != "good")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if reason := why_no_slurm():
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as patch, running_slurm() as running:
        patch.setenv("SLURM_CONF", str(running.conf))
        yield running


def configure_slurm(home: Home, text: str) -> None:
    home.config_file.write_text(f"[slurm]\n{text}\n")


def test_slurm_that_would_take_a_job(
    home: Home, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_slurm(home, 'gpus = 2\npartition = "beam"\ntime_limit = "5"')
    monkeypatch.setattr(checks, "mount_of", lambda folder: Mount("nfs4"))
    finding = checks.slurm(home)
    assert finding is not None
    assert finding.state == "good"
    assert finding.found.startswith("2 GPUs in partition beam for 5: Job ")
    assert f"on nodes {cluster.node}" in finding.found
    assert not finding.advice
    assert not cluster.ask("squeue", "--noheader").strip()  # nothing was submitted
    monkeypatch.setattr(checks, "mount_of", lambda folder: Mount("ext4"))
    finding = checks.slurm(home)
    assert finding is not None
    assert finding.state == "optional"  # a cluster of this very machine sees it
    assert f"{home.jobs} is on a disk of this machine (ext4)" in finding.advice


@pytest.mark.parametrize(
    ("text", "found", "advice"),
    [
        ('partition = "none"', "invalid partition", "mend partition in config.toml"),
        ("gpus = 3", "no job of 3 GPUs .*not available", "mend gpus, tasks, nodes or partition"),
        ('options = ["--bogus=1"]', "unrecognized option", "mend options in config.toml"),
    ],
)
def test_slurm_that_would_take_no_job(
    home: Home, cluster: Cluster, text: str, found: str, advice: str
) -> None:
    configure_slurm(home, text)
    finding = checks.slurm(home)
    assert finding is not None
    assert finding.state == "missing"
    assert re.search(found, finding.found), finding.found
    assert advice in finding.advice


def test_slurm_s_controller_that_is_away(home: Home, cluster: Cluster) -> None:
    configure_slurm(home, "tasks = 2")
    cluster.stop_controller()
    try:
        finding = checks.slurm(home)
    finally:
        cluster.start_controller()
    assert finding is not None
    assert (finding.state, "contact" in finding.found) == ("missing", True)
    assert "does sinfo?" in finding.advice


def test_slurm_s_commands_that_are_missing_or_hang(
    home: Home, cards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_slurm(home, 'partition = "beam"')
    finding = checks.slurm(home)
    assert finding is not None
    assert (finding.state, "there is no sbatch" in finding.found) == ("missing", True)
    assert "or remove [slurm]" in finding.advice
    program(cards / "sbatch", "exec /bin/sleep 600")
    monkeypatch.setattr("hxn_ptycho.launch.slurm_request._TRIAL_SECONDS", 0.2)
    finding = checks.slurm(home)
    assert finding is not None
    assert (finding.state, "sbatch has hung for 0.2 s" in finding.found) == ("missing", True)
    assert "does sinfo?" in finding.advice


def test_a_host_file(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "hosts"
    home.config_file.write_text(f'hosts = "{path}"\n')
    finding = checks.hosts(home)
    assert finding is not None
    assert (finding.state, "cannot be read" in finding.found) == ("missing", True)
    assert "config.toml" in finding.advice
    path.write_text("node01:4\nnode02 4\n")
    finding = checks.hosts(home)
    assert finding is not None
    assert (finding.state, "line 2" in finding.found) == ("missing", True)
    assert "node01 slots=4" in finding.advice
    path.write_text("node01:4\nnode02:2\n")
    monkeypatch.setattr(checks, "mount_of", lambda folder: Mount("lustre"))
    finding = checks.hosts(home)
    assert finding is not None
    assert (finding.state, finding.advice) == ("good", "")
    assert finding.found == "6 slots: node01 (4), node02 (2)"
    home.config_file.write_text(f'hosts = "{path}"\n[slurm]\n')
    finding = checks.hosts(home)
    assert finding is not None
    assert (finding.state, "jobs go to Slurm" in finding.found) == ("optional", True)
