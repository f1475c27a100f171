"""What is told of a job that has ended."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from ..queue import QueuedJob
from ..solver.job import JobError, ResultData


def summary(job: QueuedJob) -> Text:
    """Return scan id, uids, errors, time and picture of an ended job, to be printed."""
    colour = {"done": "green", "failed": "red"}.get(job.state, "yellow")
    text = Text(f"scan {job.scan_id}: reconstruction {job.state}", style=f"bold {colour}")
    rows = [("raw uid", job.raw_uid), ("result uid", job.derived_uid), *_outcome(job)]
    for name, value in rows:
        text.append(f"\n  {name:<12}", style="not bold default")
        text.append(value, style="not bold default")
    return text


def print_summary(job: QueuedJob, console: Console | None = None) -> None:
    """Print the summary of an ended job; by default to ``sys.stdout`` as it is now.

    While IPython shows its prompt, that is a stand-in which prints above the prompt.
    """
    # Lines are not folded: uids and paths are there to be copied.
    (console or Console()).print(summary(job), soft_wrap=True, highlight=False)


def _outcome(job: QueuedJob) -> list[tuple[str, str]]:
    if job.state != "done":
        return [("reason", job.reason)]
    rows: list[tuple[str, str]] = []
    try:
        result = ResultData.read(job.result_file)
    except JobError as error:
        rows.append(("result", str(error)))
    else:
        modes = " ".join(f"{100 * power:.1f} %" for power in result.probe_power)
        size = " x ".join(f"{1e9 * side:.4g}" for side in result.pixel_size)
        rows += [
            ("errors", _errors(result)),
            ("probe modes", modes),
            ("object", f"{result.object.shape[1]} x {result.object.shape[2]} of {size} nm (y, x)"),
            *_left_out(result),
            ("time", _times(job, result)),
            ("result", job.result_file),
        ]
    picture = Path(job.result_file).with_suffix(".png")
    rows.append(("picture", str(picture) if picture.exists() else "none; see worker.log"))
    return rows


def _errors(result: ResultData) -> str:
    probe, obj = result.error_probe[-1].max(), result.error_object[-1].max()
    return (
        f"Fourier {result.error_fourier:.4f}, change of the probe {probe:.2g}, of the object "
        f"{obj:.2g}"
    )


def _left_out(result: ResultData) -> list[tuple[str, str]]:
    """Return what was left out of the data, if anything was."""
    parts = []
    if result.frames_dropped:
        total = len(result.positions) + result.frames_dropped
        parts.append(f"{result.frames_dropped} of {total} frames dropped")
    if result.saturated_pixels:
        parts.append(f"{result.saturated_pixels:,} saturated pixels of single frames not used")
    return [("left out", "; ".join(parts) + " (see solver.log)")] if parts else []


def _times(job: QueuedJob, result: ResultData) -> str:
    text = (
        f"{len(result.iteration)} iterations in {result.seconds:.1f} s on {result.ranks} "
        f"{'rank' if result.ranks == 1 else 'ranks'} ({result.device})"
    )
    if job.finished is not None:
        text += f"; {job.finished - job.submitted:.1f} s from the end of the scan to the picture"
    return text
