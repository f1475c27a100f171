"""Sums over real ranks, and how it is chosen who adds up."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hxn_ptycho.launch import find_mpiexec
from hxn_ptycho.solver.communicator import WAYS, RankOnGpu, choose_way
from hxn_ptycho.solver.job import JobError


def on_ranks(
    ranks: int, program: str, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a Python program on so many real ranks."""
    return subprocess.run(
        [*find_mpiexec("").command(ranks), sys.executable, "-c", program, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, **environment},
    )


_SUMS = """
import numpy as np
from hxn_ptycho.solver.communicator import MpiCommunicator
from hxn_ptycho.solver.device import Sums

class Recorder:
    name = "a recorder"
    seen = []
    def add_up(self, array):
        self.seen.append(array)

communicator = MpiCommunicator()
rank, size = communicator.rank, communicator.size
assert communicator.local_rank == rank, (communicator.local_rank, rank)  # all on this host
factor = size * (size + 1) / 2
part = (rank + 1) * np.arange(6.0).reshape(1, 2, 3)
sums = Sums(part * 1j, part[0].copy())
communicator.sum(sums)
np.testing.assert_array_equal(sums.numerator, factor / (rank + 1) * part * 1j)
np.testing.assert_array_equal(sums.denominator, factor / (rank + 1) * part[0])

whole = (rank + 1) * np.arange(9.0)
together = Sums(whole[:6].view(complex).reshape(1, 1, 3), whole[6:].reshape(1, 3), whole)
communicator.sum(together)
np.testing.assert_array_equal(together.denominator, factor * np.arange(9.0)[None, 6:])
np.testing.assert_array_equal(together.numerator.ravel().imag, factor * np.arange(1.0, 6, 2))

communicator.use(Recorder())
communicator.sum(together)
communicator.sum(sums)
if size > 1:
    assert [id(seen) for seen in Recorder.seen] == [
        id(each) for each in (whole, sums.numerator, sums.denominator)
    ]
    assert communicator.name == "a recorder"
else:
    assert not Recorder.seen
    assert communicator.name == "none (one rank)"
assert communicator.sum_scalars(rank, 1.0) == (size * (size - 1) / 2, size)
assert communicator.gather(rank) == list(range(size))
assert communicator.why_not_cuda_aware()  # the MPI of the tests is not
"""


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_sums_over_real_ranks(ranks):
    done = on_ranks(ranks, _SUMS)
    assert done.returncode == 0, done.stderr


_FAILS = """
import sys, threading
from pathlib import Path
from hxn_ptycho.solver.communicator import MpiCommunicator

def report(rank, error):  # into a file, as jobs do: mpiexec may end before it passes on stderr
    Path(sys.argv[1]).write_text(f"rank {rank}: {error}")

communicator = MpiCommunicator(report)
if communicator.rank == 1:  # as NCCL's failures are found: by a thread, while the rank waits
    threading.Timer(0.1, communicator.fail, [RuntimeError("a link broke")]).start()
communicator.gather(threading.Event().wait(30 if communicator.rank == 1 else 0))
"""


def test_a_thread_ends_all_ranks_with_its_reason(tmp_path):
    begin = time.monotonic()
    done = on_ranks(3, _FAILS, str(tmp_path / "report"))
    assert done.returncode != 0
    assert (tmp_path / "report").read_text() == "rank 1: a link broke"
    assert time.monotonic() - begin < 25  # what the ranks would have waited for is 30


def ranks(*gpus: str, nccl: str = "", aware: str = "") -> list[RankOnGpu]:
    return [RankOnGpu(gpu, nccl, aware) for gpu in gpus]


def test_the_best_way_that_all_can_go_is_chosen_and_why():
    assert choose_way(ranks("a 0", "a 1", "b 0")) == ("nccl", "every rank has a GPU of its own")
    way, why = choose_way(ranks("a 0", "a 1", "a 0"))
    assert way == "mpi-cuda"
    assert why == "no NCCL: ranks 0 and 2 share a GPU (a 0)"
    mixed = [
        *ranks("a 0"),
        *ranks("b 0", nccl="nccl4py is missing", aware="MPI 9 is not CUDA-aware"),
    ]
    way, why = choose_way(mixed)
    assert way == "host"
    assert "no NCCL: on rank 1 nccl4py is missing" in why
    assert "no CUDA-aware MPI: on rank 1 MPI 9 is not CUDA-aware" in why


def test_what_is_asked_for_is_taken_or_refused():
    assert choose_way(ranks("a 0", "a 1"), "host") == ("host", "as asked for")
    with pytest.raises(
        JobError, match=r"sums by NCCL are asked for, and ranks 0 and 1 share a GPU"
    ):
        choose_way(ranks("a 0", "a 0"), "nccl")
    with pytest.raises(JobError, match="CUDA-aware MPI are asked for, and on rank 0 too old"):
        choose_way(ranks("a 0", aware="too old"), "mpi-cuda")
    with pytest.raises(JobError, match=r"no way of adding up 'gossip'"):
        choose_way(ranks("a 0"), "gossip")


@given(
    st.lists(
        st.builds(
            RankOnGpu,
            st.sampled_from(["a 0", "a 1", "a 2", "b 0"]),
            st.sampled_from(["", "", "no NCCL here"]),
            st.sampled_from(["", "not CUDA-aware"]),
        ),
        min_size=2,
        max_size=5,
    )
)
def test_no_rank_is_sent_a_way_that_it_cannot_go(everyone):
    way, why = choose_way(everyone)
    assert way in WAYS
    assert why
    may_nccl = len({r.gpu for r in everyone}) == len(everyone) and not any(
        r.why_not_nccl for r in everyone
    )
    may_mpi = not any(r.why_not_cuda_aware for r in everyone)
    assert way == ("nccl" if may_nccl else "mpi-cuda" if may_mpi else "host")
