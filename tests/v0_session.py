"""An IPython session as at HXN: a broker of classes of its own, scans, reconstructions.

Run as a program, so that the classes are of ``__main__``, with three configurations of
databroker.v0 as JSON (the broker, its second database, one for results) and a folder for data.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import event_model
from databroker._core import load_cls
from databroker.v0 import Broker

from hxn_ptycho import AutoReconstruct
from tests.simulate.station import make_station

config, second, other = (json.loads(text) for text in sys.argv[1:4])


class CompositeMDS(load_cls(config["metadatastore"])):  # type: ignore[misc]
    """As the classes of profiles are: derived, and of this process only."""


class CompositeRegistry(load_cls(config["assets"])):  # type: ignore[misc]
    """As HXN's, which sees to the inserting itself."""

    def bulk_insert_datum(self, resource: Any, datum_ids: Any, datum_kwarg_list: Any) -> Any:
        return super().bulk_insert_datum(resource, datum_ids, datum_kwarg_list)


class CompositeBroker(Broker):
    """Looks into a second database, and takes what databroker.v0 does not."""

    second: Broker

    def __getitem__(self, key: Any) -> Any:
        try:
            return super().__getitem__(key)
        except (KeyError, IndexError):
            return self.second[key]

    def insert(self, name: str, doc: Any) -> Any:
        if name == "event_page":
            events = list(event_model.unpack_event_page(doc))
            return super().insert("bulk_events", {doc["descriptor"]: events})
        return super().insert(name, doc)


db = CompositeBroker(
    CompositeMDS(config["metadatastore"]["config"]),
    CompositeRegistry(config["assets"]["config"]),
)
db.second = Broker.from_config(second)

if __name__ == "__main__":
    station = make_station(Path(sys.argv[4]), form="panda", registry=db.reg)
    station.RE.subscribe(db.insert)
    recipe = {"iterations": 3, "ranks": 1, "probe_modes": 1}
    callbacks = [AutoReconstruct(db, recipe)]
    if "several" in sys.argv:  # one worker serves them all
        places = Broker.from_config(other), db
        callbacks += [
            AutoReconstruct(db, recipe, processed=place, start_worker=False) for place in places
        ]
    jobs = []
    for callback in callbacks:  # a scan each: one is queued once for a home
        token = station.RE.subscribe(callback)
        print("measured", station.measure())
        station.RE.unsubscribe(token)
        jobs += callback.wait(timeout=200)
    for job in jobs:
        print("told", job.state, job.derived_uid)
    print("told", db[-1].start["uid"])
