"""The run of an imported scan: its start document, and what says where its arrays lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import event_model

from .._version import __version__
from .measured import Measured
from .writer import DARK, FRAMES, MASK, POSITIONS, PROBE, Kept

Document = dict[str, Any]


def start_of(
    measured: Measured, source: Path, target: Path, kept: Kept, scan_id: int, md: Mapping[str, Any]
) -> Document:
    """Return what is to go into the start document.

    Parameters
    ----------
    source, target : Path
        What was imported, and where its frames now are.
    kept : Kept
    md : mapping
        What the person says of the scan; outweighs what the file calls for.
    """
    frames, geometry = measured.frames, measured.geometry
    scan: Document = {
        "type": "PTYCHO_IMPORT",
        "shape": [frames.count],
        "energy_kev": geometry.energy_kev,
        "distance_m": geometry.distance_m,
        "detector_pixel_m": list(geometry.detector_pixel_m),
        "dc": measured.dc,
        "projection": list(measured.projection),
        "object_pixel_m": list(geometry.object_pixel_m(frames.shape)),
        "file": str(source.resolve()),
        "format": measured.format,
        "stored": kept.words,
    }
    if measured.angle_deg is not None:
        scan["angle_deg"] = measured.angle_deg
    for name, array in ((MASK, measured.mask), (PROBE, measured.probe)):
        if array is not None:
            scan[name] = {"dataset": f"/{name}"}
    recipe = dict(measured.recipe)
    if measured.dark is not None:
        recipe["dark"] = f"{target}:/{DARK}"
    start = {
        "scan_id": scan_id,
        "plan_name": "ptycho_import",
        "num_points": frames.count,
        "detectors": [FRAMES],
        "scan": scan,
        "importer": {"package": "hxn_ptycho", "version": __version__},
    }
    recipe |= md.get("ptycho", {})
    return {**md, **start, **({"ptycho": recipe} if recipe else {})}


def documents(
    uid: str, start: Document, file: Path, measured: Measured, kept: Kept
) -> Iterator[tuple[str, Document]]:
    """Yield the run's documents: frames and positions are arrays in `file`."""
    run = event_model.compose_run(uid=uid, metadata=start)
    yield "start", dict(run.start_doc)
    number = measured.frames.count
    frame_shape = list(measured.frames.shape)
    arrays = {
        FRAMES: (frame_shape, kept.dtype.str, [1, *frame_shape]),
        POSITIONS: ([2], "<f8", [number, 2]),
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
                **({"units": "m"} if key == POSITIONS else {}),
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
