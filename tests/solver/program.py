"""The MPI program as it is launched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hxn_ptycho.launch import find_mpiexec


def run_solver(folder: Path, ranks: int) -> subprocess.CompletedProcess[str]:
    """Run a prepared job folder on so many ranks and return the finished process."""
    return subprocess.run(
        [*find_mpiexec("").command(ranks), sys.executable, "-m", "hxn_ptycho.solver", str(folder)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
