"""The job folder: all that passes between the rooms above and the solver.

Any process can run a job folder, again, on another host, or publish it later. This package needs
the standard library, numpy and h5py only.
"""

from .description import SCHEMA, FrameBlock, Inputs, Job, iterate_blocks
from .files import (
    CHECKPOINT_FILE,
    INPUT_FILE,
    JOB_FILE,
    LOG_FILE,
    PROGRESS_FILE,
    RESULT_FILE,
    ROOTS_VARIABLE,
    START_FILE,
    JobError,
    read_array,
    relocate,
    write_arrays,
)
from .progress import ProgressWriter, read_progress
from .result import ResultData

__all__ = [
    "CHECKPOINT_FILE",
    "INPUT_FILE",
    "JOB_FILE",
    "LOG_FILE",
    "PROGRESS_FILE",
    "RESULT_FILE",
    "ROOTS_VARIABLE",
    "SCHEMA",
    "START_FILE",
    "FrameBlock",
    "Inputs",
    "Job",
    "JobError",
    "ProgressWriter",
    "ResultData",
    "iterate_blocks",
    "read_array",
    "read_progress",
    "relocate",
    "write_arrays",
]
