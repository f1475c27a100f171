"""What ``doctor`` says of ``hxn.toml``: what is in force, whence, and what cannot be meant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .finding import Finding

if TYPE_CHECKING:
    from rich.table import Table

    from ..beamline import InForce
    from ..home import Home

# A scale that differs from the package's by more is hardly a better measured one.
_FACTOR = 1.5


def beamline(home: Home) -> Finding:
    """Whether ``hxn.toml`` can be used, and how much of it is the beamline's own."""
    from ..beamline import load_in_force
    from ..beamline.provenance import changes
    from ..home import ConfigError

    try:
        found = load_in_force(home)
    except ConfigError as error:
        return Finding("Beamline", "missing", str(error), "correct this file; then doctor again")
    config = found.config
    said = f"{len(config.detectors)} detectors, {len(config.motors)} motors; "
    if found.own is None:
        return Finding("Beamline", "good", f"{said}the package's hxn.toml")
    if not found.extends:
        return Finding("Beamline", "good", f"{said}{found.own} alone")
    number = len(changes(found))
    if number == 0:
        return Finding(
            "Beamline", "optional", f"{found.own} says nothing that the package's does not",
            "remove it, or what it repeats",
        )  # fmt: skip
    return Finding("Beamline", "good", f"{said}{number} keys of {found.own}, else the package's")


def roots(home: Home) -> Finding | None:
    """Whether the folders are there that files have moved to."""
    found = _in_force(home)
    if found is None or not found.config.roots:
        return None
    gone = [new for _, new in found.config.roots if not Path(new).is_dir()]
    if gone:
        return Finding(
            "Data roots", "missing", f"{', '.join(gone)}: no such folder on this host",
            "mount it, or correct [roots] in hxn.toml: scans that moved there cannot be read",
        )  # fmt: skip
    return Finding("Data roots", "good", f"{len(found.config.roots)}, all there")


def scales(home: Home) -> Finding | None:
    """Whether a scale or a detector's pixel was changed by more than can be meant."""
    found = _in_force(home)
    if found is None:
        return None
    from ..beamline.provenance import changes

    odd = [
        f"{change.name} = {change.value:g}, the package has {change.packaged:g}"
        for change in changes(found)
        if change.path[-1] in ("scale_um", "position_scale", "pixel_um")
        and change.packaged
        and not 1 / _FACTOR < abs(change.value / change.packaged) < _FACTOR
    ]
    if not odd:
        return None
    return Finding("Scales", "optional", "; ".join(odd), "are these in the right units?")


def as_json(home: Home) -> dict[str, Any] | None:
    """Return all that is in force, for --json; None where hxn.toml cannot be used."""
    from ..beamline import PACKAGED
    from ..beamline.provenance import changes, origin

    found = _in_force(home)
    if found is None:
        return None
    config = found.config

    def entries(table: str, those: Any) -> dict[str, Any]:
        return {
            name: {**entry.model_dump(mode="json"), "from": origin(found, table, name)}
            for name, entry in those.items()
        }

    return {
        "files": {"package": PACKAGED, "home": found.own, "extends": found.extends},
        "changes": [
            {"key": change.name, "value": change.value, "package": change.packaged}
            for change in changes(found)
        ],
        "detectors": entries("detectors", config.detectors),
        "motors": entries("motors", config.motors),
        "roots": [
            {
                "old": old,
                "new": new,
                "exists": Path(new).is_dir(),
                "from": origin(found, "roots", old),
            }
            for old, new in config.roots
        ],
        "energy": config.energy.model_dump(mode="json"),
        "flavours": {
            name: {**table.model_dump(mode="json"), "from": origin(found, name)}
            for name, table in config.flavours.items()
        },
    }


def tables(home: Home) -> list[Table | str]:
    """Return what is in force, to be printed: 80 columns wide."""
    from ..beamline import PACKAGED
    from ..beamline.provenance import changes
    from .output import short

    found = _in_force(home)
    if found is None:
        return []
    parts: list[Table | str] = ["", _detectors(found), "", _motors(found)]
    if found.config.roots:
        parts += ["", _roots(found)]
    parts += ["", f"package: {short(PACKAGED)}"]
    if found.own is not None:
        parts.append(f"home:    {short(found.own)}" + ("" if found.extends else " (alone)"))
    changed = changes(found) if found.extends else []
    if changed:
        table = _table("* changed by home", "is", "package")
        for change in changed:
            package = "-" if change.packaged is None else _value(change.packaged)
            table.add_row(change.name, _value(change.value), package)
        parts += ["", table]
    return parts


def _detectors(found: InForce) -> Table:
    table = _table("detector", "pixel", "distance", "saturated", "orientation", "data keys", "from")
    for name, detector in found.config.detectors.items():
        told = " or told" if detector.distance_from_documents else ""
        table.add_row(
            name,
            f"{detector.pixel_um:g} um",
            f"{detector.distance_m:g} m{told}",
            "-" if detector.saturation is None else str(detector.saturation),
            detector.orientation,
            " ".join(found.config.data_keys(name)),
            _from(found, "detectors", name),
        )
    return table


def _motors(found: InForce) -> Table:
    table = _table("motor", "axis", "encoder", "um a count", "recorded", "sign", "rotation", "from")
    for name, motor in found.config.motors.items():
        table.add_row(
            name,
            motor.axis,
            motor.encoder or "none",
            "as planned" if motor.scale_um is None else _power(motor.scale_um),
            "-" if motor.position_scale == 1 else f"x {motor.position_scale:g}",
            f"{motor.direction:+d}",
            f"{motor.projection} {motor.angle_key}" if motor.angle_key else "-",
            _from(found, "motors", name),
        )
    return table


def _roots(found: InForce) -> Table:
    table = _table("data moved from", "to", "", "from")
    for old, new in found.config.roots:
        there = "" if Path(new).is_dir() else "[red]not on this host[/]"
        table.add_row(old, new, there, _from(found, "roots", old))
    return table


def _from(found: InForce, *path: str) -> str:
    from ..beamline.provenance import origin

    where = origin(found, *path)
    return (
        f"[yellow]{'home *' if where == 'changed' else where}[/]" if where != "package" else where
    )


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _power(value: float) -> str:
    """Write a small number as people do: -1.03297e-4."""
    mantissa, exponent = f"{value:.6e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _value(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _in_force(home: Home) -> InForce | None:
    """Return what is in force; None where it cannot be used, which is a finding of its own."""
    from ..beamline import load_in_force
    from ..home import ConfigError

    try:
        return load_in_force(home)
    except ConfigError:
        return None
