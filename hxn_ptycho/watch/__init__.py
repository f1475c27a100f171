"""Follow jobs from outside: bars for those who wait, a toolbar for those who go on working."""

from .bar import ProgressBar, wait
from .job import Watched
from .summary import print_summary, summary
from .toolbar import Toolbar

__all__ = ["ProgressBar", "Toolbar", "Watched", "print_summary", "summary", "wait"]
