"""Where results are published, and how they get there."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..catalog import CatalogError
from ..home import ConfigError, Home


def result_path(home: Home, raw_start: Mapping[str, Any], derived_uid: str) -> Path:
    """Return where a result is published: ``results_root`` of config.toml, a folder a scan.

    Parameters
    ----------
    home : Home
    raw_start : mapping
        Start document of the raw run; fills the fields of the template.
    derived_uid : str

    Raises
    ------
    ConfigError
        If the template has a field that the start document lacks, or is no template.
    """
    template = home.config().results_root or str(home.results)
    values: dict[str, str] = {}
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
        for name in fields:
            values[name] = _field(home, template, name, raw_start)
        folder = Path(template.format(**values)).expanduser()
    except ValueError as error:
        raise ConfigError(
            f"{home.config_file}: results_root = {template!r} is no template: {error}"
        ) from error
    scan_id = raw_start.get("scan_id", 0)
    if "scan_id" not in fields:
        folder /= f"S{scan_id}"
    return folder / f"S{scan_id}_{derived_uid[:8]}.h5"


def move(source: Path, target: Path) -> None:
    """Move a file: whole at `target` or not there, also between file systems.

    Raises
    ------
    CatalogError
        If the folder cannot be made or written, or the disk is full; `source` is untouched then.
    """
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(source, target)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        with open(source, "rb") as reader, open(partial, "wb") as writer:
            shutil.copyfileobj(reader, writer, 16 * 2**20)
            writer.flush()
            os.fsync(writer.fileno())
        shutil.copymode(source, partial)
        os.replace(partial, target)
        source.unlink()
    except OSError as error:
        raise CatalogError(
            f"the result {source} cannot be moved to {target}: {error.strerror}; make room or "
            "make the folder writable (results_root in config.toml), and publish the job again"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _field(home: Home, template: str, name: str, raw_start: Mapping[str, Any]) -> str:
    value = raw_start.get(name)
    if isinstance(value, Mapping):  # as proposal = {"proposal_id": "312345", "title": ...}
        value = value.get(f"{name}_id")
    if not isinstance(value, str | int) or not str(value).strip():
        known = sorted(
            key for key, other in raw_start.items() if isinstance(other, str | int) and key != "uid"
        )
        raise ConfigError(
            f"{home.config_file}: results_root = {template!r} asks for {{{name}}}, which the start "
            f"document of scan {raw_start.get('scan_id')} lacks (it has {', '.join(known)}); set "
            f"RE.md[{name!r}] before the scan, or change results_root"
        )
    text = str(value).strip()
    if "/" in text or text in (".", ".."):
        raise ConfigError(
            f"{home.config_file}: results_root = {template!r} asks for {{{name}}}, which is "
            f"{text!r} in scan {raw_start.get('scan_id')}: no name of a folder"
        )
    return text
