"""Scans as HXN's devices emit them, of every form, with real files and the truth; for tests only.

`make_scan`: PandA (flavour B), one event a run. `make_fly2d`: classic FlyPlan2D (A), an event a
frame. `make_zebra_scan`: Zebra, SRX style (C), an event a row. `make_step_scan`: an event a point,
with an area detector. `make_stream_scan`: stream documents, of a fly or a step scan.
"""

from .fly2d import make_fly2d
from .forms import FORMS
from .panda import OVERSAMPLING, make_scan
from .parts import AREA_DETECTOR_FRAMES, FRAMES, FakeScan
from .step import make_step_scan
from .stream import make_stream_scan
from .zebra import make_zebra_scan

__all__ = [
    "AREA_DETECTOR_FRAMES",
    "FORMS",
    "FRAMES",
    "OVERSAMPLING",
    "FakeScan",
    "make_fly2d",
    "make_scan",
    "make_step_scan",
    "make_stream_scan",
    "make_zebra_scan",
]
