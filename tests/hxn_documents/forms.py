"""Every form of scan, by name: what its documents are made by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .fly2d import make_fly2d
from .panda import make_scan
from .parts import FakeScan
from .step import make_step_scan
from .stream import make_stream_scan
from .zebra import make_zebra_scan

Maker = Callable[[Path, int], FakeScan]

FORMS: dict[str, Maker] = {
    "fly2d": lambda folder, n: make_fly2d(folder, n),
    "fly2d, sub-scans": lambda folder, n: make_fly2d(
        folder, n, sub_scans=2, second_descriptor=True, extra_frames=3, events="event_page"
    ),
    "fly2d, repeats": lambda folder, n: make_fly2d(
        folder, n, numbers=[3, 3, 4, 0, 9, 8], sub_scans=2, assets="late"
    ),
    "panda": lambda folder, n: make_scan(folder, n),
    "zebra": lambda folder, n: make_zebra_scan(folder, n),
    "zebra, stopped": lambda folder, n: make_zebra_scan(folder, n, rows_done=3, last_row=2),
    "zebra, one file": lambda folder, n: make_zebra_scan(
        folder, n, one_file=True, assets="registry"
    ),
    "step": lambda folder, n: make_step_scan(folder, n),
    "step, three frames a point": lambda folder, n: make_step_scan(folder, n, frame_per_point=3),
    "stream": lambda folder, n: make_stream_scan(folder, n),
    "stream, frames beyond": lambda folder, n: make_stream_scan(folder, n, extra_frames=2),
    "stream, two frames a point": lambda folder, n: make_stream_scan(
        folder, n, step=True, frames_per_event=2
    ),
    "stream, step": lambda folder, n: make_stream_scan(folder, n, step=True),
}
