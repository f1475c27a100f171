"""A result in the file formats of other programs: npy, TIFF, CXI, and the layout of HXN's tools."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
from numpy.typing import NDArray

from ._version import __version__
from .solver.job import ResultData

PLANCK_TIMES_LIGHT = 6.62607015e-34 * 299792458.0  # J m; both exact in the SI


class ExportError(ValueError):
    """A result that cannot be exported as asked; the message says why and what to do."""


def export(
    result: ResultData,
    format: str,
    folder: str | os.PathLike[str],
    *,
    label: str = "t1",
    angle_deg: float = 0.0,
    detector_pixel_m: float = 55e-6,
    overwrite: bool = False,
) -> list[Path]:
    """Write a result for another program.

    ``npy``
        ``scan_<id>_object.npy`` (M_O, H, W), ``scan_<id>_probe.npy`` (M_P, n, n),
        ``scan_<id>_positions.npy`` (N, 2; pixels) and ``scan_<id>.json`` with pixel size,
        wavelength, errors and recipe.
    ``tiff``
        Phase (rad) and amplitude (transmission) of the object and of the probe modes, float32,
        one page a mode, with the pixel size in the resolution tags.
    ``cxi``
        ``scan_<id>.cxi``: the object as ``/entry_1/image_1/data`` and the probe as
        ``/entry_1/image_1/process_1/final_illumination``, where readers of CXI files of
        ptychography look for them.
    ``hxn``
        ``recon_result/S<id>/<label>/recon_data/``, as the tools of the HXN beamline and the
        tomography program tomviz read it. There, arrays are turned by
        ``numpy.rot90(axes=(1, 0))``, so that axis 0 is x.

    Parameters
    ----------
    result : ResultData
    format : {"npy", "tiff", "cxi", "hxn"}
    folder : path
        Made if it is not there.
    label : str
        For ``hxn``: the label ("sign") of the reconstruction.
    angle_deg : float
        For ``hxn``: the sample's rotation, which tomography needs.
    detector_pixel_m : float
        For ``hxn``: the detector's pixel. The distance written beside it is the one that gives
        the result's object pixel, ``z = pixel n detector_pixel / wavelength``.
    overwrite : bool
        Replace files that are there already.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    ExportError
        For an unknown format, a file that is there already, a folder that cannot be written.
    """
    if format not in FORMATS:
        raise ExportError(f"unknown format {format!r}; choose one of {', '.join(FORMATS)}")
    options = {"label": label, "angle_deg": angle_deg, "detector_pixel_m": detector_pixel_m}
    files = FORMATS[format](result, **options)
    there = [name for name in files if (Path(folder) / name).exists()]
    if there and not overwrite:
        raise ExportError(
            f"{Path(folder) / there[0]} is there already ({len(there)} of {len(files)} files are); "
            "choose another folder or label, or ask to overwrite"
        )
    written = []
    for name, write in files.items():
        target = Path(folder) / name
        partial = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                write(partial)
                os.replace(partial, target)
            finally:
                partial.unlink(missing_ok=True)
        except OSError as error:
            raise ExportError(f"{target} cannot be written: {error.strerror or error}") from error
        written.append(target)
    return written


Writers = dict[str, Callable[[Path], Any]]
"""File name within the folder, and what writes it to a path."""


def _npy(result: ResultData, **_: Any) -> Writers:
    stem = f"scan_{result.scan_id}"
    text = json.dumps(_description(result), indent=1)
    return {
        f"{stem}_object.npy": _array(result.object),
        f"{stem}_probe.npy": _array(result.probe),
        f"{stem}_positions.npy": _array(result.positions),
        f"{stem}.json": lambda path: path.write_text(text + "\n"),
    }


def _tiff(result: ResultData, **_: Any) -> Writers:
    # Tags count pixels per centimetre, along x and then y.
    per_cm = (0.01 / result.pixel_size[1], 0.01 / result.pixel_size[0])
    description = json.dumps(_description(result))

    def image(values: NDArray) -> Callable[[Path], Any]:
        return lambda path: tifffile.imwrite(
            path,
            np.ascontiguousarray(values, np.float32),
            photometric="minisblack",
            resolution=per_cm,
            resolutionunit="CENTIMETER",
            description=description,
            software=f"hxn_ptycho {__version__}",
            metadata=None,
        )

    return {
        f"scan_{result.scan_id}_{name}_{part}.tiff": image(function(modes))
        for name, modes in (("object", result.object), ("probe", result.probe))
        for part, function in (("phase", np.angle), ("amplitude", np.abs))
    }


def _cxi(result: ResultData, **_: Any) -> Writers:
    def write(path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["cxi_version"] = 160
            entry = file.create_group("entry_1")
            entry["title"] = f"scan {result.scan_id}"
            entry["program_name"] = f"hxn_ptycho {__version__}"
            source = entry.create_group("instrument_1/source_1")
            source["energy"] = PLANCK_TIMES_LIGHT / result.wavelength  # J
            source["wavelength"] = result.wavelength  # m
            height, width = result.object.shape[1:]
            # CXI counts coordinates as (x, y, z).
            y, x = (result.positions + np.array(result.probe.shape[1:]) // 2).T
            pixel_y, pixel_x = result.pixel_size
            centre = np.stack(
                [
                    result.origin_m[1] + x * pixel_x,
                    result.origin_m[0] + y * pixel_y,
                    np.zeros(len(x)),
                ],
                axis=1,
            )
            entry["sample_1/geometry_1/translation"] = centre

            image = entry.create_group("image_1")
            image["data"] = _single(result.object)
            image["data_space"] = "real"
            image["is_fft_shifted"] = 0
            image["image_size"] = np.array([width * pixel_x, height * pixel_y, 0.0])
            image["pixel_size"] = np.array([pixel_x, pixel_y])
            image["translation"] = centre
            image["source_1"] = h5py.SoftLink("/entry_1/instrument_1/source_1")
            process = image.create_group("process_1")
            process["final_illumination"] = _single(result.probe)
            process["command"] = json.dumps(result.recipe)
            process["error_fourier"] = result.error_fourier
            entry["data_1/data"] = h5py.SoftLink("/entry_1/image_1/data")

    return {f"scan_{result.scan_id}.cxi": write}


def _hxn(result: ResultData, *, label: str, angle_deg: float, detector_pixel_m: float) -> Writers:
    if not label or "/" in label or label.startswith("."):
        raise ExportError(f"{label!r} cannot be a label: it names a folder, as t1 does")
    stem = f"{result.scan_id}_{label}"
    folder = f"recon_result/S{result.scan_id}/{label}/recon_data"
    turned = {
        "object": np.rot90(result.object, axes=(2, 1)),
        "probe": np.rot90(result.probe, axes=(2, 1)),
    }
    files: Writers = {}
    for name, modes in turned.items():
        # The published modes are averages without ramp, so that both names hold the same.
        for ending in ("ave", "ave_rp"):
            files[f"{folder}/recon_{stem}_{name}_{ending}.npy"] = _array(modes[0])
        if len(modes) > 1:
            for i, mode in enumerate(modes):
                key = f"{folder}/recon_{stem}_{name}_mode_orth_ave_rp_mode_{i}.npy"
                files[key] = _array(mode)
    text = _hxn_config(result, label, angle_deg, detector_pixel_m)
    # tomviz looks for the configuration beside the arrays, named by scan and label.
    files[f"{folder}/{stem}_config.txt"] = lambda path: path.write_text(text)
    return files


def _hxn_config(result: ResultData, label: str, angle_deg: float, detector_pixel_m: float) -> str:
    n = result.probe.shape[-1]
    recipe = result.recipe
    pixel_y, pixel_x = result.pixel_size
    distance = pixel_x * n * detector_pixel_m / result.wavelength
    values = {
        "scan_num": result.scan_id,
        "sign": label,
        "angle": angle_deg,
        "lambda_nm": result.wavelength * 1e9,
        "z_m": distance,
        "ccd_pixel_um": detector_pixel_m * 1e6,
        "nx": n,
        "ny": n,
        "x_arr_size": n,
        "y_arr_size": n,
        "x_pixel_size_nm": pixel_x * 1e9,
        "y_pixel_size_nm": pixel_y * 1e9,
        "alg_flag": recipe.get("algorithm", ""),
        "n_iterations": recipe.get("iterations", len(result.iteration)),
        "prb_mode_num": len(result.probe),
        "obj_mode_num": len(result.object),
        "beta": recipe.get("beta", ""),
        "start_ave": recipe.get("average_start", ""),
        "nz": len(result.positions),
    }
    lines = [
        f"{key} = {f'{value:.10g}' if isinstance(value, float) else value}\n"
        for key, value in values.items()
    ]
    return "[GUI]\n" + "".join(lines)


FORMATS: dict[str, Callable[..., Writers]] = {
    "npy": _npy,
    "tiff": _tiff,
    "cxi": _cxi,
    "hxn": _hxn,
}


def _array(values: NDArray) -> Callable[[Path], Any]:
    return lambda path: np.save(path, np.ascontiguousarray(values))


def _single(modes: NDArray) -> NDArray:
    """Leave out the axis of the modes where there is but one: readers expect an image."""
    return modes[0] if len(modes) == 1 else modes


def _description(result: ResultData) -> dict[str, Any]:
    return {
        "scan_id": result.scan_id,
        "raw_uid": result.raw_uid,
        "pixel_size_m": list(result.pixel_size),
        "origin_m": list(result.origin_m),
        "wavelength_m": result.wavelength,
        "probe_power": [float(share) for share in result.probe_power],
        "error_fourier": result.error_fourier,
        "recipe": result.recipe,
        "version": result.version,
    }
