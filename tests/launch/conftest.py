"""One Slurm for all tests of a run that want one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .slurm import Cluster, running_slurm, why_no_slurm


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Cluster]:
    """A cluster of one node, started once."""
    if reason := why_no_slurm():
        pytest.skip(reason)
    with running_slurm() as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The cluster, in force for this process and those it starts."""
    monkeypatch.setenv("SLURM_CONF", str(shared_cluster.conf))
    return shared_cluster
