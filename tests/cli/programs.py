"""Programs that stand in for those of a machine that is not there."""

from __future__ import annotations

from pathlib import Path


def program(path: Path, text: str) -> Path:
    """Write a shell script that can be run."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path
