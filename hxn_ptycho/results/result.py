"""`Result`: one reconstruction, as catalog ``processed`` has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..catalog import CatalogError, Catalogs, read_table
from ..recipe import Recipe
from ..solver.job import JobError, ResultData, relocate

if TYPE_CHECKING:
    from databroker.v1 import Header
    from matplotlib.figure import Figure


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
        from ..plot import figure, sample_name, show

        drawn = figure(self.data, title=sample_name(self.start))
        show(drawn, self.picture)
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
            "frames_dropped": self._facts.get("frames_dropped"),
            "saturated_pixels": self._facts.get("saturated_pixels"),
            "time": self.time,
        }

    @property
    def _facts(self) -> dict[str, Any]:
        return self.stop.get("result") or {}


def _mode_errors(table: dict[str, list[Any]], name: str, count: int) -> NDArray[np.float64]:
    """Return the errors of each mode: of several, each has a column of its own."""
    columns = [f"{name}_{mode}" for mode in range(count)] if count > 1 else [name]
    return np.array([_floats(table[column]) for column in columns]).T.reshape(-1, count)


def _floats(values: Any) -> list[float]:
    return [np.nan if value is None else float(value) for value in values]
