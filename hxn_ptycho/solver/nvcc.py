"""nvcc: where it is, what it can do, one run of it, and what ptxas says of the kernels."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from .job import JobError

__all__ = [
    "Resources",
    "arch_number",
    "find_nvcc",
    "known_archs",
    "nvcc_version",
    "read_resources",
    "run_nvcc",
]

TOOLKIT = Path("/usr/local/cuda/bin")
# As pip installs it: of CUDA 13 or later, the first whose packages hold a whole nvcc.
WHEELS = "nvidia/cu*/bin"
LAST_LINES = 12
COMPILE_SECONDS = 1800


@dataclass(frozen=True)
class Resources:
    """What one kernel takes, as ptxas reports it.

    Attributes
    ----------
    kernel : str
        Its name.
    registers : int
        A thread.
    spill_stores, spill_loads : int
        Bytes a thread puts into memory for want of registers, and gets back.
    shared : int
        Bytes of static shared memory a block.
    """

    kernel: str
    registers: int = 0
    spill_stores: int = 0
    spill_loads: int = 0
    shared: int = 0


def find_nvcc() -> Path | None:
    """Return the CUDA compiler to use; None if this machine has none.

    Looked for in this order: ``NVCC`` (a path), ``CUDA_HOME/bin``, PATH, /usr/local/cuda/bin, and
    what pip installs beside this Python.

    Of PyPI, ``nvidia-cuda-nvcc`` (13.0 or later) brings ``site-packages/nvidia/cu13/bin/nvcc``,
    executable and ready to run: its nvcc.profile finds headers and libdevice by itself, so that
    neither paths nor CUDA_HOME need be set. Its requirements (``nvidia-nvvm``,
    ``nvidia-cuda-runtime``, ``nvidia-cuda-crt``) come with it; ``nvidia-cuda-cccl`` does not, and
    is needed too: ``cuda_fp16.h`` includes its ``nv/target``. Together 130 MB to download, 350 MB
    on disk. (``nvidia-cuda-nvcc-cu12`` has no nvcc.) Any nvcc needs g++ on the machine.

    Raises
    ------
    JobError
        If ``NVCC`` names no program: another is not taken in its place.
    """
    named = os.environ.get("NVCC")
    if named:
        program = shutil.which(os.path.expanduser(named))
        if program is None:
            raise JobError(f"NVCC={named} is not a program", "correct the variable, or unset it")
        return Path(program)
    home = os.environ.get("CUDA_HOME")
    folders = [Path(home) / "bin"] if home else []
    folders += [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    folders.append(TOOLKIT)
    for place in filter(None, sys.path):
        folders += sorted(Path(place).glob(WHEELS), reverse=True)
    for folder in folders:
        program = shutil.which("nvcc", path=str(folder))
        if program:
            return Path(program)
    return None


def nvcc_version(nvcc: Path) -> str:
    """Return the CUDA release of an nvcc, as "13.0"; "?" if it does not say."""
    try:
        found = re.search(r"release (\d+\.\d+)", _say(nvcc, "--version"))
    except (OSError, subprocess.SubprocessError):
        return "?"
    return found.group(1) if found else "?"


def known_archs(nvcc: Path) -> tuple[str, ...]:
    """Return the architectures an nvcc compiles for, as "sm_90"; empty if it does not say."""
    try:
        return tuple(re.findall(r"\bsm_\d+\b", _say(nvcc, "--list-gpu-code")))
    except (OSError, subprocess.SubprocessError):
        return ()


def _say(nvcc: Path, option: str) -> str:
    return subprocess.run(
        [nvcc, option],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    ).stdout  # fmt: skip


def run_nvcc(nvcc: Path, arch: str, options: list[str], name: str) -> str:
    """Run nvcc and return what it said.

    Parameters
    ----------
    nvcc : Path
        The compiler.
    arch : str
        Architecture that the options ask for, as "sm_90".
    options : list of str
        All of its command line.
    name : str
        Of what is compiled, for errors.

    Raises
    ------
    JobError
        If it fails: with its last lines; if it does not know the architecture: with its version.
    """
    try:
        done = subprocess.run(
            [nvcc, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=COMPILE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JobError(f"{nvcc} does not run: {error}", "install the CUDA toolkit anew") from error
    if done.returncode == 0:
        return done.stdout
    # A compiler told to be silent, or ended by a signal, has no words.
    words = done.stdout.strip().splitlines()[-LAST_LINES:] or [f"exit status {done.returncode}"]
    said = "\n".join(words)
    if "Unsupported gpu architecture" in said:
        known = ", ".join(known_archs(nvcc))
        raise JobError(
            f"{nvcc} (CUDA {nvcc_version(nvcc)}) does not compile for {arch}"
            + (f", only for {known}" if known else ""),
            "use an older CUDA (NVCC=PATH names its nvcc): CUDA 13 left out all below sm_75"
            if arch_number(arch) < 75
            else "use a newer CUDA (NVCC=PATH names its nvcc)",
        )
    hint = ""
    if "Failed to preprocess host compiler" in said or "cc1plus" in said:
        hint = "nvcc needs a host compiler, of which NVCC_CCBIN may give the path: install g++"
    raise JobError(f"{name} does not compile for {arch}; {nvcc} said:\n{said}", hint)


def arch_number(arch: str) -> int:
    """Return 90 of "sm_90": ten times the major version of an architecture, and the minor.

    Raises
    ------
    JobError
        If it is not written so.
    """
    if not re.fullmatch(r"sm_\d{2,3}", arch):
        raise JobError(f"{arch!r} is no architecture of GPUs", "write it as sm_90")
    return int(arch.removeprefix("sm_"))


def read_resources(said: str) -> tuple[Resources, ...]:
    """Read what ``nvcc -Xptxas -v`` said: each kernel's resources, sorted by name.

    Spills of a function that a kernel calls are added to the kernel's.
    """
    found: list[Resources] = []
    for line in said.splitlines():
        if entry := re.search(r"Compiling entry function '(.+?)' for", line):
            found.append(Resources(entry.group(1)))
        if not found:
            continue
        last = found[-1]
        if spills := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            stores, loads = map(int, spills.groups())
            last = replace(
                last, spill_stores=last.spill_stores + stores, spill_loads=last.spill_loads + loads
            )
        if registers := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            last = replace(
                last,
                registers=int(registers.group(1)),
                shared=int(shared.group(1)) if shared else 0,
            )
        found[-1] = last
    return tuple(sorted(found, key=lambda each: each.kernel))
