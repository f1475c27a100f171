"""How many physical cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CPUS = Path("/sys/devices/system/cpu")
_CGROUPS = Path("/sys/fs/cgroup")


def physical_cores() -> int:
    """Return the number of physical cores this process may use, at least 1.

    Counts the cores of the processors in the process's affinity (hyper-threads of one core count
    once), and no more than the container's share of processor time.
    """
    allowed = os.sched_getaffinity(0)
    cores = {_core_of(cpu) for cpu in allowed}
    return max(1, min(len(cores), _quota()))


def _core_of(cpu: int) -> str:
    """Return a text that all hyper-threads of one core share."""
    try:
        return (_CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text().strip()
    except OSError:  # not every container shows it: then each processor counts
        return f"cpu{cpu}"


def _quota() -> int:
    """Return how many processors' time the container grants, or a large number."""
    try:  # control groups, version 2
        quota, period = (_CGROUPS / "cpu.max").read_text().split()[:2]
    except (OSError, ValueError):
        try:  # version 1
            quota = (_CGROUPS / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (_CGROUPS / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return 1 << 16
    if quota.strip() in ("max", "-1"):
        return 1 << 16
    return max(1, math.floor(int(quota) / int(period)))
