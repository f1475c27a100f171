"""What docs/hosting.md tells people to type, to be run as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "hosting.md"


def command(beginning: str, containing: str = "", **instead: object) -> list[str]:
    """Return the words of the page's only command that begins and goes on so.

    Parameters
    ----------
    beginning, containing : str
    **instead
        ``port_5577=...``: a port of the page, and what to put in its place.
    """
    lines = [line[4:] for line in PAGE.read_text().splitlines() if line.startswith("    ")]
    (line,) = (line for line in lines if line.startswith(beginning) and containing in line)
    return shlex.split(_replaced(line, instead))


def code(containing: str, **instead: object) -> str:
    """Return the page's only block of Python that contains this."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (block,) = (block for block in blocks if containing in block)
    return _replaced(block, instead)


def _replaced(text: str, instead: dict[str, object]) -> str:
    for name, port in instead.items():
        old = f":{name.removeprefix('port_')}"
        assert old in text, f"{text!r} has no {old}"
        text = text.replace(old, f":{port}")
    return text
