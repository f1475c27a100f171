"""The command demo: a fly scan in IPython, reconstructed behind it, found again in databroker."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import FAILED, INTERRUPTED, side

if TYPE_CHECKING:
    from ..home import Home

SCAN = "RE(fly2d([merlin1], zpssx, -1, 1, 30, zpssy, -1, 1, 30, 0.01))"
# What is typed into IPython for the user; RE, ptycho and db come from the profile.
SESSION = '''
print("""\\nIn IPython:  SCAN\\n""")
(raw_uid,) = SCAN
ptycho.wait()

from hxn_ptycho import results
scan_id = db[raw_uid].start["scan_id"]
result = results(scan_id=scan_id)[-1]
if result.exit_status != "success":
    raise SystemExit(f"The reconstruction ended with {result.exit_status}: {result.reason}")
print(f"""
Found again in databroker:  results(scan_id={scan_id})[-1]
    uid {result.uid}, error_fourier {result.error_fourier:.4f}
The picture:  {result.picture}

Go on:  make ipython   and there   results(scan_id={scan_id})[-1].plot()""")
'''


def add_to(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command(epilog="Example: hxn-ptycho demo --stay")(demo)


def demo(
    stay: Annotated[
        bool, typer.Option("--stay", help="Leave IPython open at the end, to go on by hand.")
    ] = False,
) -> None:
    """Scan a simulated sample in IPython, reconstruct it over MPI, find the picture in databroker.

    Data are kept in HXN_PTYCHO_HOME (default: your data folder).
    """
    from ..home import find_home

    home = find_home().make()
    side().print(f"Starting IPython with the profile {profile_folder(home)}", soft_wrap=True)
    if run_session(home, SCAN, stay=stay):
        raise typer.Exit(FAILED)


def run_session(home: Home, scan: str, *, stay: bool = False) -> int:
    """Run a scan in an IPython of its own, wait for its reconstruction, find it again.

    Parameters
    ----------
    home : Home
    scan : str
        What to type, for instance `SCAN`.
    stay : bool
        Leave IPython open at the end.

    Returns
    -------
    int
        IPython's exit status.
    """
    from ..home import HOME_VARIABLE

    command = [
        sys.executable, "-m", "IPython", f"--profile-dir={profile_folder(home)}", "--no-banner",
        "--no-confirm-exit", *(["-i"] if stay else []), "-c", SESSION.replace("SCAN", scan),
    ]  # fmt: skip
    package_root = str(Path(__file__).resolve().parents[2])
    paths = [package_root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {
        **os.environ,
        HOME_VARIABLE: str(home.root),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
    }
    try:
        return subprocess.run(command, env=environment, check=False).returncode
    except KeyboardInterrupt:
        return INTERRUPTED  # IPython, in the foreground too, has had the Ctrl-C itself


def profile_folder(home: Home) -> Path:
    """Return the IPython profile: the tree's, else the package's, copied into the home.

    IPython writes into its profile folder, which an installed package is no place for.
    """
    tree = Path(__file__).resolve().parents[2] / "profile_collection"
    if (tree / "startup").is_dir():
        return tree
    packaged = import_module("hxn_ptycho.profile_collection")
    target = home.root / "profile"
    shutil.copytree(
        Path(packaged.__path__[0]), target, dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("__pycache__", "__init__.py"),
    )  # fmt: skip
    return target
