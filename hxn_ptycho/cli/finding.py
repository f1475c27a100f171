"""What ``doctor`` says of one thing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["good", "missing", "optional"]


@dataclass(frozen=True)
class Finding:
    """What was found of one thing.

    Attributes
    ----------
    name : str
        Of the thing.
    state : {"good", "missing", "optional"}
        "missing": nothing works without it; "optional": something would be better or faster.
    found : str
        What is there.
    advice : str
        What to do; empty where nothing needs to be done.
    """

    name: str
    state: State
    found: str
    advice: str = ""
