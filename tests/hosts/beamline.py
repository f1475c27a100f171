"""A beamline in a process of its own, whose RunEngine publishes to a 0MQ proxy.

    python -m tests.hosts.beamline FOLDER PORT [store]

Each line on its standard input is something to do; it says what it did, with the scan's uid.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bluesky.callbacks.zmq import Publisher

from hxn_ptycho.catalog import asset_registry, open_catalog, writer

from ..simulate.station import make_station

folder, port, stores = Path(sys.argv[1]), sys.argv[2], "store" in sys.argv[3:]
# The registry is the home's: what a classic scan puts there, another process looks up.
station = make_station(folder, registry=asset_registry())
if stores:
    station.RE.subscribe(writer(open_catalog().raw, registry=station.registry))
publisher = Publisher(f"127.0.0.1:{port}", prefix=b"hxn")
token = station.RE.subscribe(publisher)
other = Publisher(f"127.0.0.1:{port}", prefix=b"other")
print("ready", flush=True)

for line in sys.stdin:
    word, _, rest = line.strip().partition(" ")
    if word == "measure":  # measure FORM MD
        form, _, md = rest.partition(" ")
        station.form = form  # type: ignore[assignment]
        print("measured", station.measure(md=json.loads(md or "{}")), flush=True)
    elif word == "nonsense":  # none of these is a document
        for message in (
            b"hxn start no-pickle",
            b"nonsense",
            b"hxn \xff x",
            b"hxn begin \x80\x04N.",
        ):
            publisher._socket.send(message)
    elif word == "silence":
        station.RE.unsubscribe(token)
        print("silent", flush=True)
    elif word == "stop":  # stop UID: the stop document alone
        publisher("stop", {"run_start": rest, "uid": "again", "exit_status": "success"})
    elif word == "other":  # other UID: as another beamline behind the same proxy
        other("start", {"uid": rest, "time": 0.0, "scan_id": 1})
