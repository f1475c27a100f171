"""GPUs and cores that a job has for itself: real locks, real processes that hold them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hxn_ptycho.launch import Gpu, LaunchError, physical_cores
from hxn_ptycho.launch.places import LOCKS_VARIABLE, free_gpus, take_cores, take_gpus

from ..waiting import until

FOUR = tuple(Gpu("H200", 141_000_000_000, (9, 0), 232_448, f"GPU-{number}") for number in range(4))


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "locks"
    monkeypatch.setenv(LOCKS_VARIABLE, str(folder))
    return folder


def test_two_small_jobs_have_gpus_of_their_own_and_a_large_one_waits() -> None:
    one, two = take_gpus(1, FOUR), take_gpus(2, FOUR)
    assert one is not None
    assert two is not None
    assert [gpu.uuid for gpu in (*one.gpus, *two.gpus)] == ["GPU-0", "GPU-1", "GPU-2"]
    assert two.environment == {"CUDA_VISIBLE_DEVICES": "GPU-1,GPU-2"}
    assert take_gpus(4, FOUR) is None
    assert free_gpus(FOUR) == 1  # what the large one could not use was left free
    one.release()
    two.release()
    two.release()  # again is no fault
    all_of_them = take_gpus(9, FOUR)  # more ranks than GPUs share them
    assert all_of_them is not None
    assert len(all_of_them.gpus) == 4
    all_of_them.release()
    assert free_gpus(FOUR) == 4


def test_a_gpu_is_taken_as_long_as_the_job_s_process_lives() -> None:
    place = take_gpus(2, FOUR)
    assert place is not None
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=place.files
    )
    try:
        place.release()  # as when the worker that started the job is killed
        assert free_gpus(FOUR) == 2
    finally:
        process.kill()
        process.wait()
    assert free_gpus(FOUR) == 4


def test_another_process_sees_what_is_taken() -> None:
    place = take_gpus(3, FOUR)
    assert place is not None
    program = (
        "from tests.launch.test_places import FOUR, free_gpus, take_gpus\n"
        "print(free_gpus(FOUR), take_gpus(2, FOUR), take_gpus(1, FOUR).gpus[0].uuid)"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert said.stdout.split() == ["1", "None", "GPU-3"]
    place.release()


def test_the_locks_are_for_every_user(locks: Path) -> None:
    before = os.umask(0o077)
    try:
        place = take_gpus(1, FOUR)
    finally:
        os.umask(before)
    assert place is not None
    assert locks.stat().st_mode & 0o7777 == 0o1777
    assert (locks / "GPU-0.lock").stat().st_mode & 0o777 == 0o666
    place.release()


def test_locks_that_cannot_be_made_are_told(locks: Path) -> None:
    locks.write_text("not a folder")
    with pytest.raises(LaunchError, match=rf"{locks}.* cannot be opened .*{LOCKS_VARIABLE}"):
        take_gpus(1, FOUR)


@given(st.lists(st.integers(1, 5), max_size=8))
@settings(deadline=None)
def test_no_gpu_has_two_jobs(wanted: list[int]) -> None:
    places = [place for count in wanted if (place := take_gpus(count, FOUR))]
    taken = [gpu.uuid for place in places for gpu in place.gpus]
    assert len(set(taken)) == len(taken)
    assert free_gpus(FOUR) == 4 - len(taken)
    for place in places:
        place.release()


def test_cores_are_counted() -> None:
    there = physical_cores()
    everything = take_cores(there + 3)
    assert everything is not None
    assert take_cores(1) is None
    everything.release()
    ones = [take_cores(1) for _ in range(there)]
    assert None not in ones
    assert take_cores(1) is None
    for one in ones:
        assert one is not None
        assert one.environment == {}
        one.release()
    until(lambda: take_cores(there), "all cores to be free again", 1).release()
