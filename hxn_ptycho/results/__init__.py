"""Find, open and compare results. The module can be called: ``results(scan_id=1)``.

Examples
--------
>>> from hxn_ptycho import results
>>> results(scan_id=1)[-1].plot()
>>> results.compare(*results(scan_id=1)[-2:]).object_error
"""

from __future__ import annotations

import datetime
import logging
import os
import sys
import types
from typing import Any

from ..catalog import Catalogs, find_run, open_catalog, search_metadata
from ..home import Home
from .comparison import Comparison, compare
from .dates import SearchError, as_seconds
from .result import Result

logger = logging.getLogger(__name__)

__all__ = ["Comparison", "Result", "SearchError", "compare", "find_results", "results"]

ANALYSIS_STAGE = "reconstruction"
#: Results that are returned where no `limit` is given: what a catalog of years has fills no memory.
MOST = 1000
# Where beamlines keep a sample's name.
_SAMPLE_KEYS = ("sample_name", "sample", "sample.name")
_OF_THE_ANALYSIS = frozenset(
    ("algorithm", "probe_modes", "object_modes", "iterations", "device", "ranks", "version")
)


def find_results(
    raw_uid: str | None = None,
    scan_id: int | None = None,
    *,
    uid: str | None = None,
    sample: str | None = None,
    since: datetime.date | str | float | None = None,
    until: datetime.date | str | float | None = None,
    limit: int | None = None,
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
    sample : str, optional
        The sample's name, whole: the raw run's ``sample_name``, ``sample``, or name of ``sample``.
    since, until : datetime, date, str or float, optional
        When the reconstruction began: at or after `since`, before `until`. A day as `until` counts
        to its end. As text "2026-11-25" or "2026-11-25 14:30", in this machine's time unless an
        offset says otherwise ("2026-11-25T14:30+01:00"); as number, seconds since 1970.
    limit : int, optional
        So many at most, the newest; 0: all that fit. Default: a thousand, and it is said if there
        are more.
    catalogs : Catalogs, optional
        Default: those of `home`.
    home : Home or path, optional
        Default: ``HXN_PTYCHO_HOME``, else the user's data folder.
    **more
        Further keys of the derived run's start document and their values: ``cycle="2026-3"``,
        or of its ``analysis``: ``algorithm="DM"``, ``probe_modes=3``.

    Raises
    ------
    CatalogError
        If the catalog cannot be opened, or there is no run of this uid.
    SearchError
        A ValueError: if `since` or `until` is no time, or not before the other; if `limit` is none.
    """
    begin = None if since is None else as_seconds(since, "since")
    end = None if until is None else as_seconds(until, "until", end=True)
    if begin is not None and end is not None and begin >= end:
        raise SearchError(f"since={since!r} is not before until={until!r}: nothing is between them")
    if limit is not None and limit < 0:
        raise SearchError(f"limit={limit} is no number of results; 0 is for all")
    most = MOST if limit is None else limit
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
    found: dict[str, Result] = {}
    more_fit = False
    for named in [{}] if sample is None else [{key: sample} for key in _SAMPLE_KEYS]:
        runs = _search(catalogs, {**equal, **named}, begin, end, most + 1 if most else None)
        if most and len(runs) > most:
            more_fit = True
            del runs[0]
        for run, metadata in runs:
            start, stop = metadata["start"], metadata.get("stop") or {}
            found[run] = Result(run, start, stop, catalogs)
    ordered = sorted(found.values(), key=lambda result: result.start["time"])
    if limit is None and (more_fit or len(ordered) > most):
        logger.warning(
            "more than %d results fit, and these are the newest; ask for a sample, for since and "
            "until, or for limit=0 (all of them)",
            most,
        )
    return ordered[-most:]


def _search(
    catalogs: Catalogs,
    equal: dict[str, Any],
    begin: float | None,
    end: float | None,
    limit: int | None,
) -> list[tuple[str, dict[str, Any]]]:
    if len(equal) == 1 and begin is None and end is None and limit is not None:
        # PostgreSQL takes the stage for rare, collects all runs of it and sorts them: seconds. Most
        # often the newest runs are what is wanted, without asking for it.
        newest = search_metadata(catalogs.processed, {}, limit=limit)
        if all(run["start"].get("analysis_stage") == ANALYSIS_STAGE for _, run in newest):
            return newest
    return search_metadata(catalogs.processed, equal, begin, end, limit)


#: As the module is called; a name for those who import it.
results = find_results


class _CallableModule(types.ModuleType):
    """``results(...)`` is `find_results`."""

    def __call__(self, *args: Any, **keywords: Any) -> list[Result]:
        return find_results(*args, **keywords)


sys.modules[__name__].__class__ = _CallableModule
