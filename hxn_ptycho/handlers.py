"""Read what Resource and Datum documents refer to, for users of plain databroker.

Entry points of the group ``databroker.handlers`` (setup.cfg) name these classes, for HXN's specs
that neither databroker nor area_detector_handlers brings, and for ours. databroker.v0 does not look
at entry points by itself: there,

>>> from databroker.mongo_normalized import discover_handlers
>>> for spec, handler in discover_handlers().items():
...     db.reg.register_handler(spec, handler, overwrite=True)

or opening the broker with hxn_ptycho. HDF5 is imported when the first file is read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

from .specs import SPECS, Resource, other_datasets

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["HANDLERS", "Hdf5Handler"]


class Hdf5Handler:
    """Reads datasets in HDF5 files, as the spec of the class says which.

    Parameters
    ----------
    path : str
        Of the Resource, its root before it.
    **resource_kwargs
        Of the Resource.
    """

    spec: ClassVar[str]
    specs: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, path: str | os.PathLike[str], **resource_kwargs: Any) -> None:
        self._resource = Resource(
            {
                "spec": self.spec,
                "root": "/",
                "resource_path": os.path.abspath(path),
                "resource_kwargs": resource_kwargs,
            }
        )

    def __call__(self, **datum_kwargs: Any) -> NDArray[np.generic]:
        """Return what a datum stands for: (frames, h, w), (readings,), or as the file has it.

        Raises
        ------
        KeyError
            If the datum lacks the argument that names the dataset.
        hxn_ptycho.solver.h5_files.FrameFileError
            If the file is missing, damaged or has no such dataset.
        """
        from .solver.frame_files import open_dataset
        from .solver.h5_files import find_file, open_h5

        place = self._resource.place(datum_kwargs)
        with open_h5(find_file(place.path, "/")) as file:
            name = next(
                (each for each in (place.dataset, *other_datasets(place.dataset)) if each in file),
                place.dataset,
            )
            dataset = open_dataset(file, name)
            if place.length is None:
                values: NDArray[np.generic] = dataset[()]
            else:
                values = dataset[place.first : place.first + place.length]
            return values

    def get_file_list(self, datum_kwargs_gen: Any) -> list[str]:
        """Return the files that these datums are in, as databroker asks for them."""
        return list(dict.fromkeys(self._resource.place(kwargs).path for kwargs in datum_kwargs_gen))


def _handler(spec: str) -> type[Hdf5Handler]:
    name = "".join(part.capitalize() for part in spec.split("_")) + "Handler"
    members = {"spec": spec, "specs": frozenset({spec}), "__module__": __name__}
    return type(name, (Hdf5Handler,), members)


# Of Eigers, and of single frames in area detectors' files, area_detector_handlers has its own.
_BROUGHT_BY_OTHERS = {"TPX_HDF5", "AD_HDF5", "AD_HDF5_SWMR"} | {
    name for name, spec in SPECS.items() if spec.series
}

#: Handler classes by spec.
HANDLERS: dict[str, type[Hdf5Handler]] = {
    spec: _handler(spec) for spec in SPECS if spec not in _BROUGHT_BY_OTHERS
}
# Entry points find them by name.
globals().update({handler.__name__: handler for handler in HANDLERS.values()})
