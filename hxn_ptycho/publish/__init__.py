"""A reconstruction as a run of its own in catalog ``processed``, derived from the raw one.

Its errors can be read while it is computed; a reconstruction that fails is a run too. Publishing
the same `derived_uid` again makes no second run: a success stays, anything else is replaced.
"""

from __future__ import annotations

from .documents import ANALYSIS_STAGE, PLAN_NAME
from .place import move, result_path
from .publisher import Publisher

__all__ = ["ANALYSIS_STAGE", "PLAN_NAME", "Publisher", "move", "result_path"]
