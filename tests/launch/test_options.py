from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hxn_ptycho.home import Home
from hxn_ptycho.launch import launch
from hxn_ptycho.launch.ranks import PROGRAM_FILE
from hxn_ptycho.solver.job import JOB_FILE

from ..jobs import make_job

# The solver's command line with nothing behind it: says what it was told, and what it loaded.
STANDING_IN = """
import os, sys, types
from hxn_ptycho.solver import __main__ as program
cuda = types.ModuleType("hxn_ptycho.solver.cuda.backend")
cuda.warm_up = lambda communicator: print("loaded cuda for rank", communicator.rank)
sys.modules[cuda.__name__] = cuda
names = ("HXN_PTYCHO_PROFILE", "HXN_PTYCHO_MEASURE_COPY", "HXN_PTYCHO_SUMS")
program.reconstruct = lambda *arguments: print(*map(os.environ.get, names))
sys.exit(program.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "None None auto"),
        (["--profile"], "1 None auto"),
        (["--measure-copy"], "None 1 auto"),
        (["--sums", "host"], "None None host"),
        (["--device", "cuda"], "None None auto"),  # nothing is waited for
        (["--await-job", "--device", "cuda"], "loaded cuda for rank 0\nNone None auto"),
    ],
)
def test_the_solver_does_as_its_options_say(tmp_path: Path, options: list[str], said: str) -> None:
    (tmp_path / JOB_FILE).write_text("{}")
    ended = subprocess.run(
        [sys.executable, "-c", STANDING_IN, str(tmp_path), *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == said


def test_launch_passes_options_on(home: Home) -> None:
    folder = make_job(home, device="cpu")
    program = launch(folder, 1, options=("--device", "cpu", "--profile"))
    assert program.wait(120) == 0, (folder / "solver.log").read_text()
    command = json.loads((folder / PROGRAM_FILE).read_text())["command"]
    assert command[-4:] == [str(folder), "--device", "cpu", "--profile"]
