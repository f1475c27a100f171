"""What ``doctor`` says of the two catalogs: where each is, whether it answers, what it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .finding import Finding

if TYPE_CHECKING:
    from ..home import Home


def raw_catalog(home: Home) -> Finding:
    """Where scans are found."""
    return _catalog(home, "raw")


def processed_catalog(home: Home) -> Finding:
    """Where results go."""
    return _catalog(home, "processed")


def kept_scans(home: Home) -> Finding | None:
    """Store the scans that were kept on disk; say which are still, for which catalog, and why."""
    from ..catalog import CatalogError, open_catalog, pending, recover
    from ..home import ConfigError

    if not pending(home):
        return None
    stored, words = 0, []
    try:
        stored = len(recover(open_catalog(home)))
    except (CatalogError, ConfigError) as error:
        words.append(f"nothing could be stored: {error}")
    if stored:
        words.append(f"stored {stored} that had been kept on disk")
    left = pending(home)
    for run in left:
        name = f"run {run.uid[:8]}" if run.scan_id is None else f"scan {run.scan_id}"
        why = run.reason or run.fault or "nobody has tried yet"
        words.append(f"{name} is kept for {run.destination}: {why}")
    if not left:
        return Finding("Kept scans", "good", "; ".join(words))
    advice = f"they are safe in {home.root / 'spool'}: mend the cause, then doctor again"
    return Finding("Kept scans", "missing", "; ".join(words), advice)


def _catalog(home: Home, name: str) -> Finding:
    from ..catalog import CatalogAway, CatalogError, place_in_words, survey
    from ..home import ConfigError

    title = f"Catalog {name}"
    try:
        place = getattr(home.config().catalogs, name)
        told = "" if place.is_embedded else f" ([catalogs.{name}] of {home.config_file})"
        where = place_in_words(home, name, place) + told
    except ConfigError as error:
        return Finding(title, "missing", str(error), f"correct {home.config_file}")
    try:
        found = survey(home, name)
    except (CatalogError, ConfigError) as error:
        said, _, advice = str(error).partition("; ")
        state = "does not answer now" if isinstance(error, CatalogAway) else "does not open"
        return Finding(title, "missing", f"{where} {state}: {said}", advice)
    runs = "1 run" if found.runs == 1 else f"{found.runs} runs"
    holds = f"{runs}, last of scan {found.last_scan}" if found.runs else "empty"
    said = f"{found.place}{told}; {holds}"
    if found.lacks:
        return Finding(
            title,
            # Scans may well be stored by others.
            "optional" if name == "raw" else "missing",
            f"{said}; for reading only",
            f"use an API key with the scopes {', '.join(found.lacks)} too, to store runs here",
        )
    return Finding(title, "good", said)
