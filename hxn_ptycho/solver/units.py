"""What is compiled: the units, and how the fused kernels are cut for each window.

A line (a row or a column of a window) is transformed by a few threads of a warp, each holding some
of its elements in registers; a warp does several lines at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .job import JobError

__all__ = [
    "ARCHS",
    "WINDOWS",
    "Lines",
    "Unit",
    "common",
    "frames",
    "fused",
    "lines_of",
    "plain",
    "units",
]

WARP = 32
SMALLEST, LARGEST = 64, 512
# A thread holds at most so many elements, and at most so many threads share a line: beyond these
# the compiler runs out of registers, or a warp has one line only.
MOST_ELEMENTS, MOST_THREADS = 32, 16
# Those built ahead of time. Others that lines_of covers are compiled when first used.
WINDOWS = (64, 96, 128, 160, 192, 200, 240, 256, 320, 384, 512)
# Turing, Ampere (whose cubins Ada runs), Hopper.
ARCHS = ("sm_75", "sm_80", "sm_90")
# What a define of 0 or 1 stands for.
STORAGES = ("single", "half")  # HALF: how exit waves are stored
PRECISIONS = ("single", "double")  # DOUBLE


@dataclass(frozen=True)
class Lines:
    """How a warp shares the lines of a window.

    Attributes
    ----------
    threads : int
        That share one line.
    lines : int
        That a warp transforms at once.
    elements : int
        Of a line that one thread holds: ``threads * elements`` is the window.
    """

    threads: int
    lines: int
    elements: int

    @property
    def columns(self) -> int:
        """Columns of a strip, the unit in which planes lie in memory: COLUMNS of layout.cuh."""
        return 4 if self.lines == 2 and self.threads * self.elements % 4 == 0 else self.lines


def lines_of(window: int) -> Lines | None:
    """Return how a warp shares the lines of this window; None where no fused kernel covers it.

    Of the ways there are, the one that leaves the fewest threads and elements idle; of equal ones
    one with four lines a warp or more, which reads memory in larger pieces; then that with the
    fewest elements a thread, then with the most threads.

    Parameters
    ----------
    window : int
        Side of the FFT window, pixels.
    """
    if not SMALLEST <= window <= LARGEST or not _has_small_factors(window):
        return None
    best: tuple[float, int, int, int] | None = None
    chosen = None
    for threads in range(2, MOST_THREADS + 1):
        if window % threads:
            continue
        elements = window // threads
        # The threads' own transforms are of `elements`; what joins them is of `threads`, of which
        # each thread does `joins`.
        joins = -(-elements // threads)
        lines = max(n for n in range(1, WARP // threads + 1) if window % n == 0)
        if lines < 2 or max(elements, joins * threads) > MOST_ELEMENTS:
            continue
        efficiency = round(threads * lines / WARP * elements / (joins * threads), 3)
        rank = (efficiency, min(lines, 4), -max(elements, joins * threads), threads)
        if best is None or rank > best:
            best, chosen = rank, Lines(threads, lines, elements)
    return chosen


def _has_small_factors(number: int) -> bool:
    for factor in (2, 3, 5):
        while number % factor == 0:
            number //= factor
    return number == 1


@dataclass(frozen=True)
class Unit:
    """One compilation unit, of which nvcc makes one cubin.

    Attributes
    ----------
    source : str
        Name of the file in the folder of sources.
    defines : tuple of (str, str)
        Names and values given to the preprocessor.
    """

    source: str
    defines: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """What tells it from other units, as "fused-192-half"."""
        words = [self.source.removesuffix(".cu")]
        for define, value in self.defines:
            if define == "WINDOW":
                words.append(value)
            elif define in ("HALF", "DOUBLE"):
                words.append((STORAGES if define == "HALF" else PRECISIONS)[int(value)])
        return "-".join(words)


def fused(window: int, storage: str) -> Unit:
    """Return the fused kernels of a window, with exit waves stored in "half" or "single".

    Raises
    ------
    JobError
        If no fused kernel covers this window.
    """
    lines = lines_of(window)
    if lines is None:
        raise JobError(
            f"no fused kernel covers a window of {window} pixels",
            "they cover 64 to 512 pixels with factors 2, 3 and 5, but for a few: "
            + ", ".join(map(str, WINDOWS)),
        )
    return Unit(
        "fused.cu",
        (
            ("WINDOW", str(window)),
            ("THREADS", str(lines.threads)),
            ("LINES", str(lines.lines)),
            ("HALF", str(STORAGES.index(storage))),
        ),
    )


def plain(precision: str) -> Unit:
    """Return the kernels for any window, around a library's FFT, in "single" or "double"."""
    return Unit("plain.cu", (("DOUBLE", str(PRECISIONS.index(precision))),))


def common(precision: str) -> Unit:
    """Return the kernels that all ways share, in "single" or "double"."""
    return Unit("common.cu", (("DOUBLE", str(PRECISIONS.index(precision))),))


def frames() -> Unit:
    """Return the kernels that prepare frames."""
    return Unit("frames.cu")


def units(windows: Sequence[int] = WINDOWS) -> list[Unit]:
    """Return all units: the fused ones of these windows, and those of any window."""
    return [
        *(fused(window, storage) for window in windows for storage in STORAGES),
        *(make(precision) for make in (plain, common) for precision in PRECISIONS),
        frames(),
    ]
