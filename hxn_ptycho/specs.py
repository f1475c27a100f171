"""What HXN's Resource and Datum documents stand for: a file, a dataset in it, and which frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

Document = dict[str, Any]

FRAMES = "/entry/instrument/detector/data"
AREA_DETECTOR_FRAMES = "/entry/data/data"


@dataclass(frozen=True)
class Spec:
    """A kind of Resource.

    Attributes
    ----------
    dataset : callable
        The dataset's name in the file, from the datum's arguments; KeyError if they lack it.
    by_point : bool
        Whether a datum with a ``point_number`` stands for ``frame_per_point`` frames of the
        dataset, from ``point_number * frame_per_point``; otherwise it stands for all of it.
    series : bool
        Whether the path is the beginning of an Eiger's master files, ``PATH_<seq_id>_master.h5``;
        a datum with a ``frame_num`` stands for that frame.
    by_range : bool
        Whether a datum with ``first`` and ``count`` stands for so many frames from that one on.
    """

    dataset: Callable[[Mapping[str, Any]], str]
    by_point: bool = False
    series: bool = False
    by_range: bool = False


_FRAMES = Spec(lambda kwargs: FRAMES)
_FRAMES_BY_POINT = Spec(lambda kwargs: FRAMES, by_point=True)
_AREA_DETECTOR = Spec(lambda kwargs: AREA_DETECTOR_FRAMES, by_point=True)
_COLUMN = Spec(lambda kwargs: str(kwargs["column"]))
_COLUMN_BY_POINT = Spec(lambda kwargs: str(kwargs["column"]), by_point=True)
# The group in which a master's frames are, in numbered parts.
_EIGER = Spec(lambda kwargs: "/entry/data", series=True)
_REGION = Spec(lambda kwargs: str(kwargs["det_elem"]))

#: Ours: a dataset that the Resource names, all of it or a range of frames.
OWN_SPEC = "HXN_PTYCHO_HDF5"

SPECS: dict[str, Spec] = {
    OWN_SPEC: Spec(lambda kwargs: str(kwargs["dataset"]), by_range=True),
    "MERLIN_HDF5_BULK": _FRAMES,
    "XSP3_BULK": _FRAMES,
    "PANDA": Spec(lambda kwargs: str(kwargs["field"])),
    "ROI_HDF5_FLY": _REGION,
    "ROI_HDF51_FLY": _REGION,
    "TPX_HDF5": _FRAMES_BY_POINT,
    "MERLIN_FLY_STREAM_V2": _FRAMES_BY_POINT,
    "EIGER2_STREAM": _FRAMES_BY_POINT,
    "AD_HDF5": _AREA_DETECTOR,
    "AD_HDF5_SWMR": _AREA_DETECTOR,
    "AD_HDF5_SWMR_STREAM": _AREA_DETECTOR,
    "AD_EIGER": _EIGER,
    "AD_EIGER2": _EIGER,
    "AD_EIGER_SLICE": _EIGER,
    "SIS_HDF51": _COLUMN,
    "ZEBRA_HDF51": _COLUMN,
    "SIS_HDF51_FLY_STREAM_V1": _COLUMN_BY_POINT,
    "ZEBRA_HDF51_FLY_STREAM_V1": _COLUMN_BY_POINT,
}


class Place(NamedTuple):
    """Which frames of which dataset a datum stands for; `length` None: all of them."""

    path: str
    dataset: str
    first: int
    length: int | None


@dataclass
class Resource:
    """A Resource document, read.

    Attributes
    ----------
    document : dict
    name : str
        Of its spec, in capitals.
    spec : Spec or None
        None: not one of HXN's that stand for datasets in HDF5 files.
    path : str
    frame_per_point : int or None
        As the document says.
    """

    document: Document
    name: str = field(init=False)
    spec: Spec | None = field(init=False)
    path: str = field(init=False)
    frame_per_point: int | None = field(init=False)

    def __post_init__(self) -> None:
        kwargs = self.document.get("resource_kwargs", {})
        self.name = str(self.document.get("spec", "")).upper()
        self.spec = SPECS.get(self.name)
        self.path = str(_path(self.document))
        self.frame_per_point = int(kwargs.get("frame_per_point") or 0) or None
        self._given = kwargs.get("dataset") or kwargs.get("path")

    def place(self, datum_kwargs: Mapping[str, Any]) -> Place:
        """Return what a datum of this resource stands for.

        Raises
        ------
        KeyError
            If the datum lacks the argument that names the dataset, or the series.
        """
        assert self.spec is not None
        dataset = str(self._given) if self._given else self.spec.dataset(datum_kwargs)
        if self.spec.series:
            path, frame = (
                f"{self.path}_{datum_kwargs['seq_id']}_master.h5",
                datum_kwargs.get("frame_num"),
            )
            return Place(path, dataset, int(frame or 0), None if frame is None else 1)
        if self.spec.by_range and "first" in datum_kwargs:
            return Place(self.path, dataset, int(datum_kwargs["first"]), int(datum_kwargs["count"]))
        point = datum_kwargs.get("point_number") if self.spec.by_point else None
        if point is None:
            return Place(self.path, dataset, 0, None)
        count = self.frame_per_point or 1
        return Place(self.path, dataset, int(point) * count, count)


def other_datasets(dataset: str) -> tuple[str, ...]:
    """Return where frames may be besides: detectors' files have them at one place, or at both."""
    return tuple({FRAMES, AREA_DETECTOR_FRAMES} - {dataset}) if dataset in _BOTH else ()


_BOTH = (FRAMES, AREA_DETECTOR_FRAMES)


def _path(resource: Document) -> Path:
    root, path = Path(resource.get("root") or "/"), str(resource["resource_path"])
    if path.startswith("/") and root != Path("/") and Path(path).is_relative_to(root):
        return Path(path)  # some devices give the root twice
    return root / path.lstrip("/")
