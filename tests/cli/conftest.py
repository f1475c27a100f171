"""The command line as a user runs it: words in; exit status, stdout and stderr out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hxn_ptycho.cli import main
from hxn_ptycho.cli.output import DEBUG_VARIABLE
from hxn_ptycho.home import HOME_VARIABLE, Home, find_home
from hxn_ptycho.simulate import dataset


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Said]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run a command in this process; what its children print is caught too."""

    def command(*words: object) -> Said:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        status = ended.value.code
        out, err = capfd.readouterr()
        return Said(0 if status is None else int(status), out, err)

    yield command
    os.environ.pop(DEBUG_VARIABLE, None)


@pytest.fixture(scope="module")
def used_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home that the tests of a module share: making its catalogs takes seconds."""
    root = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(root))
        yield find_home().make()


@pytest.fixture(scope="module")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated scan as a file of others."""
    data = dataset(n=32, grid=(5, 5), probe_modes=1, seed=3)
    pixel = np.asarray(data.pixel_size)
    path = tmp_path_factory.mktemp("files") / "scan.npz"
    np.savez(
        path,
        data=np.fft.ifftshift(data.frames, axes=(1, 2))[None].astype(np.float32),
        scan=(data.positions_m / pixel)[None],
        probe=data.probe[None, None].astype(np.complex64),
    )
    return path
