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
from typing import Any

from ..catalog import Catalogs, find_run, open_catalog, search_metadata
from ..home import Home
from .comparison import Comparison, compare
from .result import Result

__all__ = ["Comparison", "Result", "compare", "find_results", "results"]

ANALYSIS_STAGE = "reconstruction"
_OF_THE_ANALYSIS = frozenset(
    ("algorithm", "probe_modes", "object_modes", "iterations", "device", "ranks", "version")
)


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
        equal["uid"] = find_run(catalogs.processed, uid, derived=True)
    if raw_uid is not None:
        equal["raw_uid"] = find_run(catalogs.raw, raw_uid, derived=False)
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


class _CallableModule(types.ModuleType):
    """``results(...)`` is `find_results`."""

    def __call__(self, *args: Any, **keywords: Any) -> list[Result]:
        return find_results(*args, **keywords)


sys.modules[__name__].__class__ = _CallableModule
