"""Where jobs run: what an engine has, hands out, and tells the programs it starts."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hxn_ptycho.home import Config, Home, Slurm
from hxn_ptycho.launch import (
    Engine,
    Gpu,
    LaunchError,
    LocalEngine,
    Place,
    SlurmEngine,
    engine_of,
    free_gpus,
    physical_cores,
)
from hxn_ptycho.launch.places import LOCKS_VARIABLE
from hxn_ptycho.launch.ranks import PROGRAM_FILE

from ..jobs import make_job
from ..waiting import until
from .processes import environment_of, iterating, ranks_of
from .slurm import Cluster

FOUR = tuple(Gpu("H200", 141_000_000_000, (9, 0), 232_448, f"GPU-{number}") for number in range(4))
LONG = 1_000_000

MakeEngine = Callable[..., Engine]


@pytest.fixture
def four(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeEngine:
    """Make the engine of a config.toml with these keys, on a host with four GPUs."""
    monkeypatch.setenv(LOCKS_VARIABLE, str(tmp_path / "locks"))
    monkeypatch.setattr("hxn_ptycho.launch.gpu.gpus", lambda: FOUR)
    monkeypatch.setattr("hxn_ptycho.launch.gpu.why_no_gpu", lambda: "")
    return lambda **keys: engine_of(Config(**keys))


def taken(engine: Engine, device: str, ranks: int) -> Place:
    place = engine.take(device, ranks)
    assert place is not None
    return place


def command_of(folder: Path) -> list[str]:
    words: list[str] = json.loads((folder / PROGRAM_FILE).read_text())["command"]
    return words


def test_config_says_which_engine_it_is() -> None:
    assert isinstance(engine_of(Config()), LocalEngine)
    assert isinstance(engine_of(Config(hosts="file")), LocalEngine)
    assert isinstance(engine_of(Config(slurm=Slurm())), SlurmEngine)


def test_jobs_have_gpus_of_their_own(four: MakeEngine) -> None:
    engine = four()
    assert (engine.ranks("cuda"), engine.ranks("cpu")) == (4, physical_cores())
    small = taken(engine, "cuda", 1)
    pair = taken(engine, "cuda", 2)
    assert [gpu.uuid for gpu in small.gpus + pair.gpus] == ["GPU-0", "GPU-1", "GPU-2"]
    assert engine.take("cuda", engine.ranks("cuda")) is None
    assert engine.busy("cuda", 4) == "waits for 4 GPUs: 1 of 4 are free"
    assert engine.busy("cuda", 9) == "waits for 4 GPUs: 1 of 4 are free"  # ranks that share them
    small.release()
    assert engine.busy("cuda", 4) == "waits for 4 GPUs: 2 of 4 are free"
    pair.release()
    assert len(taken(engine, "cuda", 9).gpus) == 4


def test_cores_and_gpus_are_handed_out_apart(four: MakeEngine) -> None:
    engine = four()
    cores = taken(engine, "cpu", physical_cores())
    try:
        assert cores.gpus == ()
        assert engine.take("cpu", 1) is None
        assert engine.busy("cpu", 1) == "waits for 1 cores"
        gpus = taken(engine, "cuda", 4)
        gpus.release()
    finally:
        cores.release()
    taken(engine, "cpu", 1).release()


def test_shared_gpus_are_not_locked(four: MakeEngine) -> None:
    engine = four(share_gpus=True)
    places = [taken(engine, "cuda", 4) for _ in range(3)]
    assert all(place.environment == {} for place in places)  # each job sees all of them
    assert free_gpus(FOUR) == 4
    assert engine.ranks("cuda") == 4


def test_a_job_on_several_hosts_has_all_of_this_one(four: MakeEngine, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("node01:8\nnode02:8\n")
    engine = four(hosts=str(tmp_path / "hosts"))
    assert four().on_this_host()
    assert not engine.on_this_host()
    assert engine.ranks("cuda") == engine.ranks("cpu") == 16
    place = taken(engine, "cuda", 1)  # which of the hosts that rank is on is mpiexec's choice
    assert len(place.gpus) == 4
    assert engine.take("cuda", 1) is None
    assert engine.busy("cuda", 1) == "waits for 4 GPUs: 0 of 4 are free"
    place.release()
    cores = taken(engine, "cpu", 1)
    assert cores.cores == physical_cores()
    cores.release()
    (tmp_path / "hosts").unlink()
    with pytest.raises(LaunchError, match="host file"):
        engine.ranks("cuda")


def test_locks_that_cannot_be_made_are_refused(four: MakeEngine, tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("not a folder")
    with pytest.raises(LaunchError, match="GPUs cannot be taken"):
        four().take("cuda", 1)


def run_with(engine: Engine, home: Home, name: str) -> tuple[dict[str, str], list[str]]:
    """Let two fake GPUs have a long CPU job; return its rank's environment and its command.

    The place is released as soon as the job runs, as by a worker that dies.
    """
    folder = make_job(home, name=name, device="cpu", iterations=LONG, algorithm="ER")
    place = taken(engine, "cuda", 2)
    program = engine.launch(folder, 1, place, options=["--profile"])
    try:
        place.release()
        until(lambda: iterating(folder), "the first iteration")
        (rank,) = ranks_of(folder)
        if place.gpus:
            assert free_gpus(FOUR) == 4 - len(place.gpus)  # the job's processes hold the locks
        return environment_of(rank), command_of(folder)
    finally:
        program.terminate()
        until(lambda: free_gpus(FOUR) == 4, "the locks to be free")


def test_ranks_are_told_which_gpus_are_theirs_and_hold_them(
    four: MakeEngine, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,2,1,0")
    environment, command = run_with(four(), home, "own")
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-0,GPU-1"
    assert command[-1] == "--profile"
    assert "--sums" not in command
    environment, command = run_with(four(share_gpus=True, sums="host"), home, "shared")
    assert environment["CUDA_VISIBLE_DEVICES"] == "3,2,1,0"  # as it was
    assert command[-3:] == ["--sums", "host", "--profile"]


def test_ranks_on_hosts_take_the_gpus_of_theirs(
    four: MakeEngine, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "hosts").write_text("localhost:2\n")
    environment, command = run_with(four(hosts=str(tmp_path / "hosts")), home, "hosts")
    assert "CUDA_VISIBLE_DEVICES" not in environment  # this host's are not there by that name
    assert command[command.index("-f") + 1] == str(home.jobs / "hosts" / "hosts")


def test_ranks_may_wait_for_their_job_on_this_host(four: MakeEngine, home: Home) -> None:
    engine = four()
    assert engine.starts_early
    folder = make_job(home, device="cpu")
    job = (folder / "job.json").read_bytes()
    place = taken(engine, "cpu", 1)
    program = engine.launch(folder, 1, place, await_job=True, options=["--device", "cpu"])
    try:
        assert not (folder / "job.json").exists()  # an earlier one is not taken for the new
        (folder / "new").write_bytes(job)
        (folder / "new").rename(folder / "job.json")
        assert program.wait(120) == 0, (folder / "solver.log").read_text()
    finally:
        program.terminate()
        place.release()


@pytest.mark.parametrize(
    ("settings", "ranks", "memory", "lacking"),
    [
        ({"gpus": 4, "gpu_memory_gb": 80}, {"cuda": 4}, [80_000_000_000] * 4, ""),
        ({"gpus": 2}, {"cuda": 2}, [0, 0], ""),
        ({"tasks": 16}, {"cpu": 16}, [], "asks for no GPU: set gpus there"),
    ],
)
def test_slurm_has_what_its_table_asks_for(
    settings: dict[str, Any], ranks: dict[str, int], memory: list[int], lacking: str
) -> None:
    engine = engine_of(Config(slurm=Slurm(partition="beam", **settings)))
    assert [gpu.memory_bytes for gpu in engine.gpus()] == memory
    assert all("partition beam" in gpu.name for gpu in engine.gpus())
    assert {device: engine.ranks(device) for device in ranks} == ranks
    assert engine.why_no_gpu().endswith(lacking)
    assert bool(engine.why_no_gpu()) == bool(lacking)
    assert not engine.on_this_host()
    assert not engine.starts_early  # ranks would queue first


def test_slurm_s_queue_is_where_its_jobs_wait(four: MakeEngine) -> None:
    everything = taken(four(), "cuda", 4)
    engine = four(slurm={"gpus": 4})
    places = [taken(engine, "cuda", 4) for _ in range(3)]
    assert all((place.gpus, place.files, place.cores) == ((), (), 0) for place in places)
    assert engine.busy("cuda", 4) == ""
    everything.release()


def test_slurm_s_jobs_are_told_how_to_add_up(
    cluster: Cluster, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")  # of this host: says nothing there
    engine = engine_of(Config(slurm=Slurm(tasks=1, time_limit="5"), sums="host"))
    folder = make_job(home, iterations=LONG, algorithm="ER")
    program = engine.launch(folder, 1, taken(engine, "cpu", 1))
    try:
        until(lambda: iterating(folder), "the first iteration", 60)
        (rank,) = ranks_of(folder)
        words = Path(f"/proc/{rank}/cmdline").read_text().split("\0")
        assert words[:3] == [sys.executable, "-m", "hxn_ptycho.solver"]
        assert words[words.index("--sums") + 1] == "host"
        assert "CUDA_VISIBLE_DEVICES" not in environment_of(rank)
    finally:
        program.terminate()


def test_slurm_is_asked_for_no_gpu_by_a_job_that_computes_on_cpus(
    cluster: Cluster, home: Home
) -> None:
    engine = engine_of(Config(slurm=Slurm(gpus=2, tasks=1, time_limit="5")))
    folder = make_job(home, device="cpu")
    program = engine.launch(folder, engine.ranks("cpu"), taken(engine, "cpu", 1))
    try:
        assert program.wait(120) == 0, program.reason
    finally:
        program.terminate()
    command = json.loads((folder / PROGRAM_FILE).read_text())["command"]
    assert "--ntasks=1" in command
    assert not [word for word in command if word.startswith("--gpu")]
