"""Find, open and compare results. The module can be called: ``results(scan_id=1)``.

Examples
--------
>>> from hxn_ptycho import results
>>> results(scan_id=1)[-1].plot()
>>> results.compare(*results(scan_id=1)[-2:]).object_error
"""

from __future__ import annotations

import os
import sys
import types
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .catalog import (
    CatalogError,
    Catalogs,
    find_run,
    open_catalog,
    read_table,
    search_metadata,
)
from .home import Home
from .recipe import Recipe
from .solver.job import JobError, ResultData, relocate
from .solver.metrics import align, fourier_ring_correlation, illumination, object_error

if TYPE_CHECKING:
    from databroker.v1 import Header
    from matplotlib.figure import Figure

__all__ = ["Comparison", "Result", "compare", "find_results", "results"]

ANALYSIS_STAGE = "reconstruction"
_OF_THE_ANALYSIS = frozenset(
    ("algorithm", "probe_modes", "object_modes", "iterations", "device", "ranks", "version")
)
#: Where a result can be trusted: a share of the brightest illumination.
LIT = 0.05


@dataclass(frozen=True)
class Result:
    """One reconstruction, as catalog ``processed`` has it; nothing is read before it is asked for.

    Attributes
    ----------
    uid : str
        Of the derived run.
    start : dict
        Its start document.
    stop : dict
        Its stop document; empty while it is computed, and for ever if its worker was killed.
    catalogs : Catalogs
    """

    uid: str
    start: dict[str, Any] = field(repr=False)
    stop: dict[str, Any] = field(repr=False)
    catalogs: Catalogs = field(repr=False)

    @property
    def raw_uid(self) -> str:
        """Uid of the raw run."""
        return str(self.start["raw_uid"])

    @property
    def scan_id(self) -> int:
        """Scan id of the raw run."""
        return int(self.start["raw_scan_id"])

    @property
    def exit_status(self) -> str | None:
        """ "success", "fail" or "abort"; None: it has not ended."""
        return self.stop.get("exit_status")

    @property
    def reason(self) -> str:
        """Why there is no result."""
        return str(self.stop.get("reason", ""))

    @property
    def result_file(self) -> Path | None:
        """``result.h5`` where it was published, as it is found on this host."""
        file = self._facts.get("file")
        return relocate(file, "/") if file else None

    @property
    def picture(self) -> Path | None:
        """The PNG beside the result file, if there is one."""
        file = self.result_file
        picture = file.with_suffix(".png") if file else None
        return picture if picture is not None and picture.exists() else None

    @cached_property
    def data(self) -> ResultData:
        """The whole result file.

        Raises
        ------
        CatalogError
            If the reconstruction has no result, or its file is not readable.
        """
        file = self.result_file
        if file is None:
            raise CatalogError(
                f"reconstruction {self.uid[:8]} of scan {self.scan_id} has no result: "
                + (
                    f"it ended with {self.exit_status}, {self.reason}"
                    if self.exit_status
                    else "it has not ended"
                )
            )
        try:
            return ResultData.read(file)
        except JobError as error:
            raise CatalogError(
                f"the result of reconstruction {self.uid[:8]} of scan {self.scan_id} cannot be "
                f"read: {error}; if the files were moved, set HXN_PTYCHO_ROOTS=OLD=NEW"
            ) from error

    @property
    def object(self) -> NDArray[np.complexfloating]:
        """The sample's transmission, (modes, H, W), complex. Raises as `data`."""
        return self.data.object

    @property
    def probe(self) -> NDArray[np.complexfloating]:
        """Orthogonal probe modes by falling power, (modes, n, n), complex. Raises as `data`."""
        return self.data.probe

    @property
    def errors(self) -> dict[str, NDArray[Any]]:
        """What each iteration reported, also of a reconstruction that runs or failed.

        Returns
        -------
        dict
            ``iteration`` (K,), ``error_probe`` (K, M_P) and ``error_object`` (K, M_O) by eq. (7),
            ``error_fourier`` (K,) (NaN where it was not computed).

        Raises
        ------
        CatalogError
            If they cannot be read.
        """
        if self.result_file is not None:
            data = self.data
            return {
                "iteration": data.iteration,
                "error_probe": data.error_probe,
                "error_object": data.error_object,
                "error_fourier": data.error_fourier_curve,
            }
        table = read_table(self.catalogs.processed, self.uid, "iterations")
        modes = {
            "error_probe": int(self.start["analysis"]["probe_modes"]),
            "error_object": int(self.start["analysis"]["object_modes"]),
        }
        return {
            "iteration": np.array(table["iteration"], dtype=np.int64),
            **{key: _mode_errors(table, key, count) for key, count in modes.items()},
            "error_fourier": np.array(_floats(table["error_fourier"])),
        }

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Of the object, (y, x), m. Raises as `data`."""
        size = self._facts.get("pixel_size_m") or self.data.pixel_size
        return float(size[0]), float(size[1])

    @property
    def algorithm(self) -> str:
        """As in the recipe: "DM", "RAAR" or "ER"."""
        return str(self.start["analysis"]["algorithm"])

    @property
    def probe_modes(self) -> int:
        """Number of probe modes."""
        return int(self.start["analysis"]["probe_modes"])

    @property
    def iterations(self) -> int:
        """How many iterations were made; those asked for, if it has not succeeded."""
        return int(self._facts.get("iterations") or self.start["analysis"]["iterations"])

    @property
    def seconds(self) -> float | None:
        """From the first iteration's start to the last one's end; None without a result."""
        return self._facts.get("seconds")

    @property
    def error_fourier(self) -> float | None:
        """Of the published probe and object; None without a result."""
        return self._facts.get("error_fourier")

    @property
    def time(self) -> float:
        """When it ended (while it has not, when it began), seconds since 1970."""
        return float(self.stop.get("time", self.start["time"]))

    @cached_property
    def recipe(self) -> Recipe:
        """What it was made with."""
        return Recipe.make(**self.start["analysis"]["recipe"])

    @property
    def raw(self) -> Header:
        """The raw run, as databroker gives it."""
        return self.catalogs.raw[self.raw_uid]

    def plot(self) -> Figure:
        """Return the picture: object, probe modes, error curves.

        A notebook shows it, IPython with ``%matplotlib`` opens a window, IPython in a terminal
        says where its file lies.

        Raises
        ------
        CatalogError
            As `data`.
        """
        from .plot import figure

        sample = self.start.get("sample_name") or self.start.get("sample")
        drawn = figure(self.data, title=sample if isinstance(sample, str) else "")
        _show(drawn, self.picture)
        return drawn

    def to_dict(self) -> dict[str, Any]:
        """Return what can be said in JSON."""
        return {
            "uid": self.uid,
            "raw_uid": self.raw_uid,
            "scan_id": self.scan_id,
            "exit_status": self.exit_status,
            "reason": self.reason,
            "result_file": str(self.result_file) if self.result_file else None,
            "picture": str(self.picture) if self.picture else None,
            "algorithm": self.algorithm,
            "probe_modes": self.probe_modes,
            "iterations": self.iterations,
            "seconds": self.seconds,
            "error_fourier": self.error_fourier,
            "pixel_size_m": self._facts.get("pixel_size_m"),
            "probe_power": self._facts.get("probe_power"),
            "device": self._facts.get("device") or self.start["analysis"]["device"],
            "ranks": self._facts.get("ranks") or self.start["analysis"]["ranks"],
            "time": self.time,
        }

    @property
    def _facts(self) -> dict[str, Any]:
        return self.stop.get("result") or {}


def find_results(
    raw_uid: str | None = None,
    scan_id: int | None = None,
    *,
    uid: str | None = None,
    catalogs: Catalogs | None = None,
    home: Home | str | os.PathLike[str] | None = None,
    **more: Any,
) -> list[Result]:
    """Return the reconstructions that fit, oldest first, the failed ones too. No file is opened.

    Parameters
    ----------
    raw_uid : str, optional
        Of the raw run; its first characters suffice.
    scan_id : int, optional
        Of the raw run.
    uid : str, optional
        Of the derived run; its first characters suffice.
    catalogs : Catalogs, optional
        Default: those of `home`.
    home : Home or path, optional
        Default: ``HXN_PTYCHO_HOME``, else the user's data folder.
    **more
        Further keys of the derived run's start document and their values: ``sample_name="..."``,
        or of its ``analysis``: ``algorithm="DM"``, ``probe_modes=3``.

    Raises
    ------
    CatalogError
        If the catalog cannot be opened, or there is no run of this uid.
    """
    catalogs = catalogs or open_catalog(home)
    equal: dict[str, Any] = {"analysis_stage": ANALYSIS_STAGE}
    if uid is not None:
        equal["uid"] = find_run(catalogs.processed, uid)
    if raw_uid is not None:
        equal["raw_uid"] = find_run(catalogs.raw, raw_uid)
    if scan_id is not None:
        equal["raw_scan_id"] = int(scan_id)
    for key, value in more.items():
        equal[f"analysis.{key}" if key in _OF_THE_ANALYSIS else key] = value
    found = [
        Result(run, metadata["start"], metadata.get("stop") or {}, catalogs)
        for run, metadata in search_metadata(catalogs.processed, equal)
    ]
    return sorted(found, key=lambda result: result.start["time"])


#: As the module is called; a name for those who import it.
results = find_results


@dataclass(frozen=True)
class Comparison:
    """Two objects side by side, scale and phase ramp of the second removed.

    Attributes
    ----------
    object_error : float
        ``||b - a|| / ||a||`` where both are lit.
    frequency : ndarray (K,)
        Of the rings, as a share of Nyquist.
    correlation : ndarray (K,)
        Fourier ring correlation, in the largest common square.
    a, b : ndarray (H, W), complex
        The common area; b aligned to a.
    mask : ndarray (H, W), bool
        Where both are lit.
    pixel_size : (float, float), m
    """

    object_error: float
    frequency: NDArray[np.float64]
    correlation: NDArray[np.float64]
    a: NDArray[np.complexfloating] = field(repr=False)
    b: NDArray[np.complexfloating] = field(repr=False)
    mask: NDArray[np.bool_] = field(repr=False)
    pixel_size: tuple[float, float]

    def resolution(self, threshold: float = 0.5) -> float | None:
        """Return the half-period (m) where the correlation first falls below `threshold`.

        None if it never does.
        """
        below = np.flatnonzero(self.correlation[1:] < threshold)
        if not len(below):
            return None
        return max(self.pixel_size) / float(self.frequency[1 + below[0]])


def compare(
    a: Result | ResultData, b: Result | ResultData, *, shift: bool = False, mode: int = 0
) -> Comparison:
    """Compare the objects of two results where both are lit.

    Global phase, scale and phase ramp are removed: they are arbitrary in ptychography.

    Parameters
    ----------
    a, b : Result or ResultData
        With the same pixel size.
    shift : bool
        Also remove a translation between the two.
    mode : int
        Which object mode.

    Raises
    ------
    CatalogError
        As `Result.data`.
    ValueError
        If the pixel sizes differ or the two have no lit area in common.
    """
    first, second = _data_of(a), _data_of(b)
    if not np.allclose(first.pixel_size, second.pixel_size, rtol=1e-3):
        raise ValueError(
            f"objects of pixel size {_nm(first.pixel_size)} and {_nm(second.pixel_size)} nm (y, x) "
            "cannot be compared: reconstruct both with the same window"
        )
    offset = [
        round((second.origin_m[axis] - first.origin_m[axis]) / first.pixel_size[axis])
        for axis in (0, 1)
    ]
    here, there = _overlap(first.object.shape[1:], second.object.shape[1:], offset)
    mask = _lit(first)[here] & _lit(second)[there]
    if not mask.any():
        raise ValueError(
            f"the two results have no lit area in common: the second begins {offset} pixels "
            f"(y, x) from the first, of {first.object.shape[1:]} pixels"
        )
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    mask = mask[box]
    reference, other = first.object[mode][here][box], second.object[mode][there][box]
    aligned, _ = align(reference, other, mask, shift=shift)
    dark = np.where(mask, 1, 0)
    frequency, correlation = fourier_ring_correlation(reference * dark, aligned * dark)
    return Comparison(
        object_error=object_error(reference, other, mask, shift=shift),
        frequency=frequency,
        correlation=correlation,
        a=reference,
        b=aligned,
        mask=mask,
        pixel_size=first.pixel_size,
    )


def _data_of(result: Result | ResultData) -> ResultData:
    return result.data if isinstance(result, Result) else result


def _lit(data: ResultData) -> NDArray[np.bool_]:
    shape = data.object.shape[1:]
    light = illumination(data.probe, data.positions, (shape[0], shape[1]))
    return light > LIT * light.max()


def _overlap(
    first: tuple[int, ...], second: tuple[int, ...], offset: list[int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return the common area's slices in each, `offset` being where the second begins."""
    here, there = [], []
    for size, other, begin in zip(first, second, offset, strict=True):
        low, high = max(0, begin), min(size, begin + other)
        high = max(low, high)
        here.append(slice(low, high))
        there.append(slice(low - begin, high - begin))
    return (here[0], here[1]), (there[0], there[1])


def _nm(pixel: tuple[float, float]) -> str:
    return f"({1e9 * pixel[0]:.4g}, {1e9 * pixel[1]:.4g})"


def _mode_errors(table: dict[str, list[Any]], name: str, count: int) -> NDArray[np.float64]:
    """Return the errors of each mode: of several, each has a column of its own."""
    columns = [f"{name}_{mode}" for mode in range(count)] if count > 1 else [name]
    return np.array([_floats(table[column]) for column in columns]).T.reshape(-1, count)


def _floats(values: Any) -> list[float]:
    return [np.nan if value is None else float(value) for value in values]


def _show(drawn: Figure, picture: Path | None) -> None:
    """Show a figure where a person is looking: a notebook, a matplotlib window, or its file."""
    if "IPython" not in sys.modules:
        return
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        return
    if hasattr(shell, "kernel"):
        from IPython.core.pylabtools import select_figure_formats

        # So that the figure that `plot` returns appears, without %matplotlib inline.
        select_figure_formats(shell, {"png"})
        return
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and pyplot.isinteractive() and pyplot.get_backend().lower() != "agg":
        window = pyplot.figure()
        canvas = type(window.canvas)
        pyplot.close(window)
        canvas.new_manager(drawn, f"ptycho {id(drawn)}").show()
    elif picture is not None:
        print(f"picture: {picture}")


class _CallableModule(types.ModuleType):
    """``results(...)`` is `find_results`."""

    def __call__(self, *args: Any, **keywords: Any) -> list[Result]:
        return find_results(*args, **keywords)


sys.modules[__name__].__class__ = _CallableModule
