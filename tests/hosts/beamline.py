"""A beamline in a process of its own, whose RunEngine publishes as docs/hosting.md says.

    python -m tests.hosts.beamline FOLDER 0mq|kafka|callback|nobody PORT [store]

Each line on its standard input is something to do; it says what it did, with the scan's uid.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

from bluesky.callbacks.zmq import Publisher

from hxn_ptycho import AutoReconstruct
from hxn_ptycho.catalog import asset_registry, open_catalog, writer

from ..simulate.station import make_station
from . import page

folder, host, port, *options = sys.argv[1:]
# The registry is the home's: what a classic scan puts there, another process looks up.
station = make_station(Path(folder), registry=asset_registry())
if "store" in options:
    station.RE.subscribe(writer(open_catalog().raw, registry=station.registry))
tokens: list[int] = []
profile = SimpleNamespace(subscribe=lambda call: tokens.append(station.RE.subscribe(call)))
if host == "kafka":
    exec(page.code("bluesky_kafka import Publisher", port_9092=port), {"RE": profile})
elif host == "callback":
    station.RE.subscribe(AutoReconstruct())
elif host == "0mq":
    exec(page.code("zmq import Publisher", port_5577=port), {"RE": profile})
    by_hand = Publisher(f"127.0.0.1:{port}", prefix=b"hxn")
    other = Publisher(f"127.0.0.1:{port}", prefix=b"other")
print("ready", flush=True)

for line in sys.stdin:
    word, _, rest = line.strip().partition(" ")
    if word == "measure":  # measure FORM MD
        form, _, md = rest.partition(" ")
        station.form = form  # type: ignore[assignment]
        print("measured", station.measure(md=json.loads(md or "{}")), flush=True)
    elif word == "nonsense":  # none of these is a document
        for message in (b"start no-pickle", b"nonsense", b"\xff x", b"begin \x80\x04N."):
            by_hand._socket.send(b"hxn " + message)
    elif word == "silence":
        station.RE.unsubscribe(tokens[0])
        print("silent", flush=True)
    elif word == "stop":  # stop UID: the stop document alone
        by_hand("stop", {"run_start": rest, "uid": "again", "exit_status": "success"})
    elif word == "other":  # other UID: as another beamline behind the same proxy
        other("start", {"uid": rest, "time": 0.0, "scan_id": 1})
