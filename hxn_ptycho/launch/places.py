"""What of this host a job has for itself: GPUs, or cores.

A GPU is taken by a lock on a file of its own, which the job's processes hold until the last of them
has ended, whoever started them: no two jobs of any users or homes share a GPU. Cores are counted
within one process, as a worker is the only one that starts several jobs.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .cores import physical_cores
from .gpu import Gpu
from .program import LaunchError

#: Names another folder for the locks; every user of the host must see the same.
LOCKS_VARIABLE = "HXN_PTYCHO_GPU_LOCKS"
_LOCKS = "/tmp/hxn_ptycho-gpus"

_counting = threading.Lock()
_cores_taken = 0


@dataclass
class Place:
    """What a job has for itself until `release`.

    Attributes
    ----------
    gpus : tuple of Gpu
        Those taken by it; empty on a CPU, and where GPUs are shared.
    files : tuple of int
        Descriptors of the locks, for the job's processes to hold too.
    cores : int
        Of this host, taken by it.
    """

    gpus: tuple[Gpu, ...] = ()
    files: tuple[int, ...] = ()
    cores: int = 0
    _released: bool = field(default=False, repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """What the job's processes are told of it."""
        if not self.gpus:
            return {}
        return {"CUDA_VISIBLE_DEVICES": ",".join(gpu.uuid for gpu in self.gpus)}

    def release(self) -> None:
        """Let others have it; the GPUs when the job's processes have ended too."""
        global _cores_taken
        if self._released:
            return
        self._released = True
        for file in self.files:
            os.close(file)
        with _counting:
            _cores_taken -= self.cores


def take_cores(ranks: int) -> Place | None:
    """Take a core a rank, or all there are if it is more; None if too few are free now."""
    global _cores_taken
    there = physical_cores()
    wanted = min(ranks, there)
    with _counting:
        if _cores_taken + wanted > there:
            return None
        _cores_taken += wanted
    return Place(cores=wanted)


def take_gpus(count: int, gpus: Sequence[Gpu]) -> Place | None:
    """Take `count` of `gpus` (all, if it is more); None if too few are free now.

    Raises
    ------
    LaunchError
        If locks cannot be made.
    """
    wanted = min(count, len(gpus))
    taken: list[Gpu] = []
    files: list[int] = []
    for gpu in gpus:
        if len(taken) == wanted:
            break
        file = _lock(gpu)
        if file is not None:
            taken.append(gpu)
            files.append(file)
    place = Place(tuple(taken), tuple(files))
    if len(taken) < wanted:
        place.release()
        return None
    return place


def free_gpus(gpus: Sequence[Gpu]) -> int:
    """Return how many of `gpus` no job has now."""
    count = 0
    for gpu in gpus:
        file = _lock(gpu)
        if file is not None:
            os.close(file)
            count += 1
    return count


def _lock(gpu: Gpu) -> int | None:
    """Return a descriptor that holds the lock of a GPU, or None if another has it."""
    folder = Path(os.environ.get(LOCKS_VARIABLE) or _LOCKS)
    path = folder / f"{gpu.uuid}.lock"
    try:
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            folder.chmod(0o1777)  # for every user of the host, whatever this one's umask
        file = _open(path)
    except OSError as error:
        raise LaunchError(
            f"GPUs cannot be taken: {path} cannot be opened ({error.strerror}); make its folder "
            f"writable for everybody, or name another in {LOCKS_VARIABLE}"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def _open(path: Path) -> int:
    """Open a lock file that every user may open, made if it is not there."""
    try:  # one of another user's must not be asked to be made: the kernel may refuse that
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with suppress(PermissionError):  # another user's, made in between
            os.fchmod(file, 0o666)
        return file
