"""The command demo: a fly scan in IPython, reconstructed behind it, found again in databroker."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import FAILED, side

if TYPE_CHECKING:
    from ..home import Home

SCAN = "RE(fly2d([merlin1], zpssx, -1, 1, 30, zpssy, -1, 1, 30, 0.01))"
# What is typed into IPython for the user; RE, ptycho and db come from the profile.
SESSION = f'''
print("\\nIn IPython:  {SCAN}\\n")
(raw_uid,) = {SCAN}
ptycho.wait()

from hxn_ptycho import results
scan_id = db[raw_uid].start["scan_id"]
result = results(scan_id=scan_id)[-1]
if result.exit_status != "success":
    raise SystemExit(f"The reconstruction ended with {{result.exit_status}}: {{result.reason}}")
print(f"""
Found again in databroker:  results(scan_id={{scan_id}})[-1]
    uid {{result.uid}}, error_fourier {{result.error_fourier:.4f}}
The picture:  {{result.picture}}

Go on:  make ipython   and there   results(scan_id={{scan_id}})[-1].plot()""")
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
    from ..home import HOME_VARIABLE, find_home

    home = find_home().make()
    profile = profile_folder(home)
    command = [
        sys.executable, "-m", "IPython", f"--profile-dir={profile}", "--no-banner",
        "--no-confirm-exit", *(["-i"] if stay else []), "-c", SESSION,
    ]  # fmt: skip
    package_root = str(Path(__file__).resolve().parents[2])
    paths = [package_root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {
        **os.environ,
        HOME_VARIABLE: str(home.root),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
    }
    side().print(f"Starting IPython with the profile {profile}", soft_wrap=True)
    try:
        status = subprocess.run(command, env=environment, check=False).returncode
    except KeyboardInterrupt:
        status = FAILED  # IPython, in the foreground too, has had the Ctrl-C itself
    if status:
        raise typer.Exit(FAILED)


def profile_folder(home: Home) -> Path:
    """Return the IPython profile: the tree's, else the package's, copied into the home.

    IPython writes into its profile folder, which an installed package is no place for.
    """
    tree = Path(__file__).resolve().parents[2] / "profile_collection"
    if (tree / "startup").is_dir():
        return tree
    import hxn_ptycho.profile_collection as packaged

    target = home.root / "profile"
    shutil.copytree(
        Path(packaged.__path__[0]), target, dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("__pycache__", "__init__.py"),
    )  # fmt: skip
    return target
