"""What goes wrong with a file of others."""

from __future__ import annotations


class ImportFileError(ValueError):
    """A file that cannot be imported; the message says what was found and what is expected."""
