"""The CUDA kernels, compiled and kept: ahead of time, or when a solver first needs them.

One compilation unit makes one cubin, a file for one architecture. Its name holds a hash of all that
decides its content, so that a file with the right name is the right file. nvcc's version is no part
of it: a host without nvcc must find what another host compiled.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import logging
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .job import JobError
from .nvcc import Resources, arch_number, find_nvcc, read_resources, run_nvcc
from .units import LARGEST, WINDOWS, Lines, Unit, common, frames, fused, lines_of, plain, units

__all__ = [
    "KERNELS_VARIABLE", "WINDOWS", "Built", "Lines", "Resources", "Unit", "build", "cache_folder",
    "common", "compile_unit", "cubin", "ensure", "find_cached", "find_nvcc", "find_sources",
    "frames", "fused", "lines_of", "list_cached", "plain", "units",
]  # fmt: skip

KERNELS_VARIABLE = "HXN_PTYCHO_KERNELS"
SOURCES = (".cu", ".cuh", ".h")
FLAGS = ("-cubin", "-O3", "-std=c++17")
PACKAGE = "hxn_ptycho.kernels"

log = logging.getLogger("hxn_ptycho.solver")


def find_sources() -> Path:
    """Return the folder of the kernels' sources.

    Package ``hxn_ptycho.kernels``, as installed; in a bare tree, where that does not exist,
    ``kernels/`` beside ``hxn_ptycho/``.

    Raises
    ------
    JobError
        If neither holds CUDA sources.
    """
    spec = importlib.util.find_spec(PACKAGE)
    folders = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    beside = Path(__file__).resolve().parents[2] / "kernels"
    for folder in (*folders, beside):
        # A folder of that name beside an installed package may be another's.
        if any(folder.glob("*.cu")):
            return folder
    installed = f"{folders[0]} of package {PACKAGE}" if folders else f"package {PACKAGE}"
    raise JobError(
        f"the CUDA kernels' sources are neither in {installed} nor in {beside}",
        "install hxn_ptycho again, or run it from a whole tree",
    )


def cache_folder() -> Path:
    """Return the folder of compiled kernels, which may not exist yet.

    ``HXN_PTYCHO_KERNELS``, else ``hxn_ptycho/kernels`` in the user's cache.
    """
    named = os.environ.get(KERNELS_VARIABLE)
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "hxn_ptycho/kernels"


def cubin(unit: Unit, arch: str, sources: Path | None = None) -> str:
    """Return the file name of a unit's cubin, as "fused-192-half-sm_90-<16 hex digits>.cubin".

    The digits are of a SHA-256 over all sources in the folder, the flags, the defines and the
    architecture.

    Raises
    ------
    JobError
        If there are no sources, or `arch` is none.
    """
    arch_number(arch)
    return _name(unit, arch, _digest(sources or find_sources()))


def _name(unit: Unit, arch: str, digest: str) -> str:
    key = "\n".join([digest, unit.source, *_options(unit, arch)])
    return f"{unit.name}-{arch}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.cubin"


def _digest(sources: Path) -> str:
    hasher = hashlib.sha256()
    for path in sorted(sources.iterdir()):
        # Editors leave hidden files beside what is edited.
        if path.suffix not in SOURCES or path.name.startswith("."):
            continue
        content = path.read_bytes()
        hasher.update(f"{path.name}\n{len(content)}\n".encode() + content)
    return hasher.hexdigest()


def _options(unit: Unit, arch: str) -> list[str]:
    return [*FLAGS, f"-arch={arch}", *(f"-D{name}={value}" for name, value in unit.defines)]


def find_cached(unit: Unit, arch: str, sources: Path | None = None) -> Path | None:
    """Return the cubin in the cache that `arch` can run; None if there is none.

    That of the architecture itself, else of the highest lower minor of the same major: sm_86 runs
    what was compiled for sm_80.
    """
    digest = _digest(sources or find_sources())
    number = arch_number(arch)
    for lower in range(number, number - number % 10 - 1, -1):
        path = cache_folder() / _name(unit, f"sm_{lower}", digest)
        if path.is_file():
            return path
    return None


def list_cached(sources: Path | None = None) -> dict[str, int]:
    """Return how many kernels in the cache are of these sources, by architecture.

    Units that are not built ahead of time are counted too.
    """
    digest = _digest(sources or find_sources())
    there = {path.name for path in cache_folder().glob("*.cubin")}
    archs = {found.group() for name in there if (found := re.search(r"\bsm_\d{2,3}\b", name))}
    covered = [window for window in range(LARGEST + 1) if lines_of(window)]
    known = units(covered)
    counts = {
        arch: sum(_name(unit, arch, digest) in there for unit in known)
        for arch in sorted(archs, key=arch_number)
    }
    return {arch: count for arch, count in counts.items() if count}


def ensure(unit: Unit, arch: str, sources: Path | None = None) -> Path:
    """Return a cubin of this unit that `arch` runs: from the cache, else compiled into it.

    Parameters
    ----------
    unit : Unit
        What to compile.
    arch : str
        Architecture of the GPU, as "sm_90".
    sources : Path, optional
        Folder of the sources, in place of the kernels' own.

    Raises
    ------
    JobError
        If it is not in the cache and cannot be compiled: no nvcc, an architecture that nvcc does
        not know, an error in a source.
    """
    sources = sources or find_sources()
    cached = find_cached(unit, arch, sources)
    if cached is not None:
        return cached
    nvcc = find_nvcc()
    folder = cache_folder()
    if nvcc is None:
        raise JobError(
            f"no kernel {unit.name} for {arch} in {folder}, and no nvcc to compile it",
            "install the CUDA toolkit, or pip install nvidia-cuda-nvcc nvidia-cuda-cccl; or run "
            f"hxn-ptycho build-kernels --arch {arch} -o DIR on a machine that has nvcc, and copy "
            f"the files of DIR to {folder}",
        )
    return build(unit, arch, nvcc, folder, sources).path


@dataclass(frozen=True)
class Built:
    """A cubin: where it is, and what its making told.

    Attributes
    ----------
    path : Path
        The file.
    seconds : float
        That nvcc took; 0 if the file was there already.
    resources : tuple of Resources
        Of each kernel; empty if not asked for, or if the file was there already.
    """

    path: Path
    seconds: float = 0.0
    resources: tuple[Resources, ...] = ()


def build(
    unit: Unit,
    arch: str,
    nvcc: Path,
    folder: Path,
    sources: Path | None = None,
    resources: bool = False,
) -> Built:
    """Compile a unit into `folder`, unless it is there: once, however many processes ask.

    Raises
    ------
    JobError
        If the folder cannot be written, or nvcc fails.
    """
    sources = sources or find_sources()
    path = folder / cubin(unit, arch, sources)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder / f".{path.name}.lock"):
            if path.is_file():
                return Built(path)
            return compile_unit(unit, arch, nvcc, folder, resources, sources)
    except OSError as error:
        raise JobError(
            f"compiled kernels cannot be kept in {folder}: {error}",
            f"name a folder that can be written with {KERNELS_VARIABLE}",
        ) from error


def compile_unit(
    unit: Unit,
    arch: str,
    nvcc: Path,
    folder: Path,
    resources: bool = False,
    sources: Path | None = None,
) -> Built:
    """Compile a unit into `folder`, whether or not it is there.

    Parameters
    ----------
    unit : Unit
        What to compile.
    arch : str
        Architecture, as "sm_90".
    nvcc : Path
        The compiler.
    folder : Path
        Where the cubin goes; it exists.
    resources : bool
        Whether to report what each kernel takes.
    sources : Path, optional
        Folder of the sources, in place of the kernels' own.

    Raises
    ------
    JobError
        If the source is missing, or nvcc fails.
    """
    sources = sources or find_sources()
    if not (sources / unit.source).is_file():
        raise JobError(f"there is no {unit.source} in {sources}", "install hxn_ptycho again")
    path = folder / cubin(unit, arch, sources)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    options = [*_options(unit, arch), f"-I{sources}", "-o", str(partial)]
    verbose = ["-Xptxas", "-v"] if resources else []
    begun = time.perf_counter()
    try:
        said = run_nvcc(nvcc, arch, [*options, *verbose, str(sources / unit.source)], unit.name)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    seconds = time.perf_counter() - begun
    log.info("compiled kernel %s for %s in %.1f s", unit.name, arch, seconds)
    return Built(path, seconds, read_resources(said) if resources else ())


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    # The file stays: removing it would let a third process lock another of the same name.
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
