"""Scans from files of others, as runs in catalog ``raw``."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import event_model
import h5py
import numpy as np
from databroker import Broker

from .._version import __version__
from ..catalog import CatalogError, Catalogs, check_readable, find_run, insert, start_document
from ..optics import wavelength_from_energy
from .archive import read_archive
from .measured import ImportFileError, Measured

__all__ = ["ImportFileError", "import_file"]

Document = dict[str, Any]


def import_file(
    path: str | os.PathLike[str],
    *,
    energy_kev: float,
    distance_m: float,
    detector_pixel_um: float,
    catalogs: Catalogs,
    md: Mapping[str, Any] | None = None,
) -> str:
    """Take a scan from a file into catalog ``raw``, as a run of its own.

    The frames go into an HDF5 file under HOME/data (counts that are whole numbers below 65,536 as
    uint16), positions are turned into metres by the object pixel, wavelength x distance / (size of
    a frame x detector pixel). A probe in the file is kept with the run and is its first guess.

    Parameters
    ----------
    path : path
        A NumPy archive, .npz or .npz.bz2, see `read_archive`.
    energy_kev : float
        Photon energy, keV.
    distance_m : float
        From the sample to the detector, m.
    detector_pixel_um : float
        Side of a detector pixel, um.
    catalogs : Catalogs
    md : mapping, optional
        Into the start document, for instance ``{"sample": {"name": "Siemens star"}}``.

    Returns
    -------
    str
        The run's uid.

    Raises
    ------
    ImportFileError
        If a number is out of range, or the file cannot be read or is not such a scan.
    CatalogError
        If the catalog cannot store the run; the frames' file is removed then.
    """
    source = Path(path).expanduser()
    _check_numbers(energy_kev, distance_m, detector_pixel_um)
    measured = read_archive(source)

    uid = str(uuid.uuid4())
    target = catalogs.home.make().data / "imported" / f"{uid}.h5"
    check_readable(catalogs, target)
    rows, columns = measured.frames.shape[1:]
    unit = wavelength_from_energy(energy_kev) * distance_m / (detector_pixel_um * 1e-6)
    pixel_m = np.array([unit / rows, unit / columns])
    # The beam's centre is the middle of the window, whose corner the file gives.
    positions_m = (measured.corners + np.array([rows // 2, columns // 2])) * pixel_m
    start = {
        **dict(md or {}),
        "scan_id": _next_scan_id(catalogs.raw),
        "plan_name": "ptycho_import",
        "num_points": len(measured.frames),
        "detectors": ["frames"],
        "scan": {
            "type": "PTYCHO_IMPORT",
            "shape": [len(measured.frames)],
            "energy_kev": float(energy_kev),
            "distance_m": float(distance_m),
            "detector_pixel_m": [detector_pixel_um * 1e-6] * 2,
            "dc": "corner",
            "object_pixel_m": pixel_m.tolist(),
            "file": str(source.resolve()),
            "stored": measured.stored,
            **({"probe": {"dataset": "/probe"}} if measured.probe is not None else {}),
        },
        "importer": {"package": "hxn_ptycho", "version": __version__},
    }
    try:
        _write(target, measured, positions_m)
        insert(catalogs.raw, _documents(uid, start, target, measured))
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return uid


def _check_numbers(energy_kev: float, distance_m: float, detector_pixel_um: float) -> None:
    for name, value, unit, low, high, hint in (
        ("energy", energy_kev, "keV", 0.05, 500.0, "8.8 for 8800 eV"),
        ("distance", distance_m, "m", 1e-3, 100.0, "0.5 for 500 mm"),
        ("detector pixel", detector_pixel_um, "um", 0.1, 5000.0, "55 for 55e-6 m"),
    ):
        if not low <= value <= high:  # NaN too
            raise ImportFileError(
                f"{name} {value:g} {unit} is out of range ({low:g} to {high:g} {unit}); "
                f"give it in {unit}: {hint}"
            )


def _next_scan_id(raw: Broker) -> int:
    """Return the number after the newest run's."""
    try:
        newest = find_run(raw, -1)
    except CatalogError:
        return 1
    return int(start_document(raw, newest).get("scan_id", 0)) + 1


def _write(target: Path, measured: Measured, positions_m: np.ndarray) -> None:
    """Write the frames' file, whole or not at all."""
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with h5py.File(partial, "w") as file:
                # One frame a chunk, as detectors write them: each rank reads its own.
                chunks = (1, *measured.frames.shape[1:])
                file.create_dataset("frames", data=measured.frames, chunks=chunks)
                file["frames"].attrs["units"] = "photon"
                file["positions"] = positions_m
                file["positions"].attrs["units"] = "m"
                if measured.probe is not None:
                    file["probe"] = measured.probe
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise ImportFileError(
            f"{target} cannot be written: {error.strerror or error}; "
            f"{measured.frames.nbytes / 1e6:.0f} MB are needed there"
        ) from error


def _documents(
    uid: str, start: Document, file: Path, measured: Measured
) -> Iterator[tuple[str, Document]]:
    """Yield the run's documents: frames and positions are arrays in `file`."""
    run = event_model.compose_run(uid=uid, metadata=start)
    yield "start", dict(run.start_doc)
    number = len(measured.frames)
    frame_shape = list(measured.frames.shape[1:])
    arrays = {
        "frames": (frame_shape, measured.frames.dtype.str, [1, *frame_shape]),
        "positions": ([2], "<f8", [number, 2]),
    }
    descriptor = run.compose_descriptor(
        name="primary",
        data_keys={
            key: {
                "source": f"hxn_ptycho import of {Path(start['scan']['file']).name}",
                "dtype": "array",
                "shape": shape,
                "dtype_numpy": dtype,
                "external": "STREAM:",
                **({"units": "m"} if key == "positions" else {}),
            }
            for key, (shape, dtype, _) in arrays.items()
        },
    ).descriptor_doc
    yield "descriptor", dict(descriptor)
    assert run.compose_stream_resource is not None  # compose_run always makes it
    for key, (_, _, chunk) in arrays.items():
        resource = run.compose_stream_resource(
            mimetype="application/x-hdf5",
            uri=file.as_uri(),
            data_key=key,
            parameters={"dataset": f"/{key}", "chunk_shape": chunk},
        )
        yield "stream_resource", dict(resource.stream_resource_doc)
        datum = resource.compose_stream_datum(
            indices={"start": 0, "stop": number},
            seq_nums={"start": 1, "stop": number + 1},
            descriptor=descriptor,
        )
        yield "stream_datum", dict(datum)
    yield "stop", dict(run.compose_stop())
