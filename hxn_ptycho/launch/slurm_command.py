"""One command of Slurm's, run and waited for."""

from __future__ import annotations

import subprocess

#: One that takes longer hangs: the controller is not there.
COMMAND_SECONDS = 60.0


def run_command(
    words: list[str], seconds: float = COMMAND_SECONDS, **options: object
) -> tuple[int, str, str]:
    """Run a command of Slurm's; return its status, output and complaints.

    A command that is missing, or takes more than `seconds`, has status -1.
    """
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            **options,  # type: ignore[call-overload]
        )
    except FileNotFoundError:
        return -1, "", f"there is no {words[0]} on this machine"
    except subprocess.TimeoutExpired:
        return -1, "", f"{words[0]} has hung for {seconds:g} s"
    except OSError as error:
        return -1, "", str(error)
    return done.returncode, done.stdout, done.stderr.strip()
