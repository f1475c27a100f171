"""What the commands share: where they print, how errors are told, JSON that is only JSON."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 240
DEBUG_VARIABLE = "HXN_PTYCHO_DEBUG"
LOG_FILE = "hxn-ptycho.log"
DONE, FAILED, WRONG_USE, INTERRUPTED = 0, 1, 2, 130

Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
# -1 looks like an option to the parser; these settings let it through as an argument.
NEGATIVE_RUNS = {"ignore_unknown_options": True}


def run_argument(text: str | None) -> str | None:
    """Refuse what is an unknown option, let through only because -1 must be."""
    if text and text.startswith("-") and not text[1:].isdigit():
        raise typer.BadParameter(
            f"{text!r} is no option of this command, nor a run: give a uid (its first characters "
            "suffice), a scan id, or -1 for the last"
        )
    return text


def assigned(recipe: Path | None, texts: list[str]) -> dict[str, Any]:
    """Return the keys and values of ``--set KEY=VALUE`` texts, checked against a recipe file.

    To be called before a catalog is opened, so that a wrong key is told at once.
    """
    from ..recipe import Recipe

    chosen = (Recipe.from_toml(recipe) if recipe else Recipe()).assign(texts)
    keys = {text.partition("=")[0].strip() for text in texts}
    return {key: getattr(chosen, key) for key in keys}


@cache
def terminal() -> Console:
    """Return the console for results, on stdout."""
    from rich.console import Console

    # A pipe has no width: tables are not folded to one there.
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


@cache
def side() -> Console:
    """Return the console for progress and errors, on stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


@contextlib.contextmanager
def only_json(wanted: bool) -> Iterator[None]:
    """Send what anything prints to stderr meanwhile, so that stdout holds the JSON alone."""
    with contextlib.redirect_stdout(sys.stderr) if wanted else contextlib.nullcontext():
        yield


def print_json(value: Any) -> None:
    """Print strict JSON on stdout: non-finite numbers as null."""
    sys.stdout.write(json.dumps(_finite(value), indent=1, allow_nan=False, default=str) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def stop(message: str, status: int = FAILED) -> NoReturn:
    """Say why on stderr and end with `status`."""
    side().print(f"[bold red]Error:[/] {_escape(message)}", soft_wrap=True)
    raise typer.Exit(status)


def tell(error: Exception) -> int:
    """Say on stderr what went wrong, in one message; return the exit status.

    Errors of this package are written for the person who reads them. The traceback of any other
    goes into a log, whose place is told.
    """
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    ours = type(error).__module__.partition(".")[0] == "hxn_ptycho"
    hint = getattr(error, "hint", "")
    message = f"{error}; {hint}" if hint else str(error)
    if not ours:
        message = f"{type(error).__name__}: {message or 'no message'}"
        message += f"\n{_log(error)}"
    side().print(f"[bold red]Error:[/] {_escape(message)}", soft_wrap=True)
    return WRONG_USE if type(error).__name__ == "RecipeError" else FAILED


def _log(error: Exception) -> str:
    """Append the traceback to the log of the home, and say where it is."""
    from ..home import ConfigError, find_home

    try:
        path = find_home().make().root / LOG_FILE
        with path.open("a") as file:
            file.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(sys.argv)}\n")
            file.writelines(traceback.format_exception(error))
    except (OSError, ConfigError) as trouble:
        return f"(no log could be written: {trouble}; see the traceback with hxn-ptycho --debug)"
    return f"This was not foreseen. The traceback is in {path}; please report it."


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def when(seconds: float | None) -> str:
    """Write a time of day, with the date if it was not today."""
    if seconds is None:
        return ""
    local = time.localtime(seconds)
    today = local[:3] == time.localtime()[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M", local)


def short(path: str | Path) -> str:
    """Write a path with ~ for the user's home."""
    text, home = str(path), str(Path.home())
    return "~" + text[len(home) :] if home != "/" and text.startswith(home + "/") else text
