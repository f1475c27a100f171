"""A classic scan of 67,200 frames of 44 x 44: an event a frame, its datum in a registry only.

    python benchmarks/per_frame.py [--lines 240] [--frames 280] [--pixels 44]

A simulated FlyPlan2D scan goes through a RunEngine into the embedded catalog; then a process of its
own resolves it (`read_scan`), makes the job (`prepare`) and loads the frames as one rank does. The
file lies in the page cache. Prints JSON, seconds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hxn_ptycho.home import HOME_VARIABLE, find_home


def measure(lines: int, frames: int, pixels: int) -> dict[str, Any]:
    """Run the scan; return its uid and how long it took."""
    from bluesky import RunEngine
    from bluesky.preprocessors import SupplementalData

    from hxn_ptycho.beamline import load_config
    from hxn_ptycho.catalog import asset_registry, open_catalog, writer
    from hxn_ptycho.fly.plans import fly2d
    from hxn_ptycho.simulate.classic import ClassicFlyer
    from hxn_ptycho.simulate.endstation import Endstation
    from hxn_ptycho.simulate.merlin import Merlin
    from hxn_ptycho.simulate.stages import Monochromator, Stage

    home = find_home().make()
    raw, registry = open_catalog(home).raw, asset_registry(home)
    x, y = (Stage(name=name, limits=(-15, 15)) for name in ("zpssx", "zpssy"))
    theta, dcm = Stage(name="zpsth", egu="deg"), Monochromator(name="dcm")
    light = Endstation(dcm.th, x, y, theta, seed=1, pace=0)
    merlin = Merlin("", name="merlin1", endstation=light, folder=home.data, pixels=pixels)
    scales = {"zpssx": load_config(home).motors["zpssx"].position_scale}
    flyer = ClassicFlyer(
        "", name="classic1", endstation=light, registry=registry, position_scale=scales,
        folder=home.data,
    )  # fmt: skip
    engine = RunEngine({})
    engine.preprocessors.append(SupplementalData(baseline=[x, y, theta, dcm]))
    record = writer(raw, registry=registry)
    stop: dict[str, float] = {}

    def timed(name: str, document: dict[str, Any]) -> None:
        begun = time.perf_counter()
        record(name, document)
        stop[name] = stop.get(name, 0.0) + time.perf_counter() - begun

    engine.subscribe(timed)
    begun = time.perf_counter()
    plan = fly2d([merlin], x, -2, 2, frames, y, -2, 2, lines, 0.001, dead_time=0, flyer=flyer)
    (uid,) = engine(plan)
    return {
        "uid": uid,
        "scan, simulated": time.perf_counter() - begun,
        "of which the recorder": sum(stop.values()),
        "of which at the stop document": stop["stop"],
    }


def load(uid: str) -> dict[str, Any]:
    """Resolve the run, and load its frames."""
    from hxn_ptycho.beamline import read_scan
    from hxn_ptycho.catalog import open_catalog
    from hxn_ptycho.prepare import prepare
    from hxn_ptycho.recipe import Recipe
    from hxn_ptycho.solver.frames import read_share
    from hxn_ptycho.solver.job import Inputs, Job
    from hxn_ptycho.solver.preparation import HostPreparation

    home = find_home()
    raw = open_catalog(home).raw
    clock = [time.perf_counter()]
    scan = read_scan(raw, uid, home=home)
    clock.append(time.perf_counter())
    folder = home.jobs / "loaded"
    recipe = Recipe.make(ranks=1, device="cpu")
    prepare(scan, recipe, folder, job_uid="loaded", derived_uid="loaded", home=home)
    clock.append(time.perf_counter())
    job, inputs = Job.read(folder), Inputs.read(folder)
    read_share(job, inputs, folder, 0, 1, HostPreparation)
    clock.append(time.perf_counter())
    resolved, prepared, loaded = (b - a for a, b in itertools.pairwise(clock))
    return {
        "frames": scan.number_of_frames,
        "blocks": len(scan.frames),
        "resolved": resolved,
        "prepared": prepared,
        "loaded": loaded,
        "resolved and loaded": resolved + prepared + loaded,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=240)
    parser.add_argument("--frames", type=int, default=280)
    parser.add_argument("--pixels", type=int, default=44)
    parser.add_argument("--uid")
    options = parser.parse_args()
    if options.uid:
        print(json.dumps(load(options.uid)))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ[HOME_VARIABLE] = folder
        found = measure(options.lines, options.frames, options.pixels)
        command = [sys.executable, str(Path(__file__)), "--uid", found["uid"]]
        for number in (1, 2, 3):
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[f"loaded, {number}"] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
