"""What many tests share: a home of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from hxn_ptycho.home import HOME_VARIABLE, Home, find_home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A fresh home folder, in force for this process and those it starts."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    return find_home().make()
