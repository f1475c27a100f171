"""One job of the queue, and its row in the database."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any, Literal

from ..home import Stores, without_secrets
from ..recipe import Recipe

State = Literal["queued", "running", "done", "failed", "cancelled"]

TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    job_uid TEXT NOT NULL UNIQUE,
    derived_uid TEXT NOT NULL,
    raw_uid TEXT NOT NULL,
    scan_id INTEGER NOT NULL,
    recipe TEXT NOT NULL,
    stores TEXT NOT NULL DEFAULT '',
    refusal TEXT NOT NULL DEFAULT '',
    state TEXT NOT NULL DEFAULT 'queued',
    reason TEXT NOT NULL DEFAULT '',
    result_file TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    cancel INTEGER NOT NULL DEFAULT 0,
    worker TEXT,
    submitted REAL NOT NULL,
    started REAL,
    finished REAL
);
CREATE INDEX IF NOT EXISTS jobs_state ON jobs (state);
CREATE INDEX IF NOT EXISTS jobs_raw ON jobs (raw_uid);
"""


@dataclass(frozen=True)
class QueuedJob:
    """One job of the queue, as it was when it was read.

    Attributes
    ----------
    job_uid, derived_uid : str
        Fixed at submission: of the job folder, and of the run it will be published as.
    raw_uid, scan_id : str, int
        Of the raw run.
    recipe : Recipe
        What to compute.
    stores : Stores or None
        Where the raw run is and where the result goes; None: as config.toml says.
    refusal : str
        Why this job cannot be computed, known before it starts: it will only be published as
        failed. Empty for most jobs.
    state : {"queued", "running", "done", "failed", "cancelled"}
    reason : str
        Why it failed or was cancelled; before that, what it waits for, if for more than its turn.
    result_file : str
        Where the result of a job that is done was published.
    attempts : int
        How often a worker has claimed it.
    submitted, started, finished : float, float or None, float or None
        Seconds since 1970.
    """

    job_uid: str
    derived_uid: str
    raw_uid: str
    scan_id: int
    recipe: Recipe
    stores: Stores | None
    refusal: str
    state: State
    reason: str
    result_file: str
    attempts: int
    submitted: float
    started: float | None
    finished: float | None

    @property
    def ended(self) -> bool:
        """Whether it is done, failed or cancelled."""
        return self.state in ("done", "failed", "cancelled")

    def __repr__(self) -> str:
        """Say which it is in a line: IPython prints what ``ptycho.wait()`` returns."""
        return f"<job {self.job_uid[:8]} of scan {self.scan_id}: {self.state}>"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, for ``--json``."""
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "recipe": self.recipe.model_dump(mode="json"),
            "stores": without_secrets(self.stores.model_dump(mode="json")) if self.stores else None,
        }


def select(database: sqlite3.Connection, where: str, *values: object) -> list[QueuedJob]:
    """Return the jobs of ``SELECT * FROM jobs`` with this ending."""
    return [_from_row(row) for row in database.execute(f"SELECT * FROM jobs {where}", values)]


def _from_row(row: sqlite3.Row) -> QueuedJob:
    refusal = row["refusal"]
    try:
        recipe = Recipe.model_validate_json(row["recipe"])
    except ValueError as error:  # submitted by a version with other keys
        recipe = Recipe()
        refusal = refusal or f"this version cannot read the job's recipe: {error}"
    stores = None
    try:
        stores = Stores.model_validate_json(row["stores"]) if row["stores"] else None
    except ValueError as error:
        refusal = refusal or f"this version cannot read where the job's run is: {error}"
    names = QueuedJob.__dataclass_fields__.keys() - {"recipe", "stores", "refusal"}
    return QueuedJob(
        recipe=recipe, stores=stores, refusal=refusal, **{name: row[name] for name in names}
    )
