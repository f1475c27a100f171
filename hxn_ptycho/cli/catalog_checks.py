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
    """Store scans that the catalog could not take when they were measured."""
    from ..catalog import CatalogError, open_catalog, recover
    from ..home import ConfigError

    try:
        recovered = recover(open_catalog(home))
    except ConfigError:
        return None  # told above
    except CatalogError as error:
        said, _, advice = str(error).partition("; ")
        return Finding("Kept scans", "missing", said, advice)
    if not recovered:
        return None
    return Finding("Kept scans", "good", f"stored {len(recovered)} that had been kept on disk")


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
    holds = f"{found.runs} runs, last of scan {found.last_scan}" if found.runs else "empty"
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
