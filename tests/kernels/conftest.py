"""Kernels are compiled beside all other tests, at the lowest priority, and looked at last."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

import pytest

from hxn_ptycho.solver.build import Built, compile_unit

from .cases import CASES, COMPILER

HERE = Path(__file__).parent
_COMPILED: dict[str, Future[Built]] = {}


def _is_ours(item: pytest.Item) -> bool:
    return HERE in Path(item.fspath).parents


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_is_ours)


def pytest_collection_finish(session: pytest.Session) -> None:
    asked = [item.callspec.id for item in session.items if _is_ours(item)]
    if not asked or COMPILER is None or session.config.option.collectonly:
        return
    folder = tempfile.TemporaryDirectory(prefix="hxn-ptycho-kernels-")
    pool = ProcessPoolExecutor(
        os.cpu_count() or 1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=os.nice,
        initargs=(19,),
    )

    def end() -> None:
        pool.shutdown(cancel_futures=True)
        folder.cleanup()

    session.config.add_cleanup(end)
    for name in asked:
        unit, arch = CASES[name]
        _COMPILED[name] = pool.submit(compile_unit, unit, arch, COMPILER, Path(folder.name), True)


@pytest.fixture
def compiled() -> dict[str, Future[Built]]:
    """Each case that is asked for, as it is compiled in the background."""
    return _COMPILED
