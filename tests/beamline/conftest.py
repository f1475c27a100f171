"""One home and its catalogs for all tests here: opening them takes seconds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import pytest

from hxn_ptycho.catalog import AssetRegistry, Catalogs, asset_registry, insert, open_catalog
from hxn_ptycho.home import HOME_VARIABLE, find_home

from ..hxn_documents import FakeScan

scan_ids = itertools.count(100)
Edit = Callable[[FakeScan], None]
Tables = Callable[[str], AbstractContextManager[None]]


class Store(Protocol):
    """Make a scan, let `edit` change its documents and files, and store it in the catalog."""

    def __call__(
        self, make: Callable[..., FakeScan], edit: Edit = ..., **more: Any
    ) -> FakeScan: ...


@pytest.fixture(scope="package")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogs]:
    """Catalogs of a home that is in force for this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(tmp_path_factory.mktemp("beamline") / "home"))
        yield open_catalog(find_home().make())


@pytest.fixture(scope="package")
def registry(catalogs: Catalogs) -> AssetRegistry:
    return asset_registry(catalogs.home)


@pytest.fixture(scope="package")
def store(catalogs: Catalogs, registry: AssetRegistry) -> Store:
    def make_and_store(
        make: Callable[..., FakeScan], edit: Edit = lambda scan: None, **more: Any
    ) -> FakeScan:
        number = next(scan_ids)
        scan = make(catalogs.home.data / f"made-{number}", number, **more)
        edit(scan)
        scan.register(registry)
        insert(catalogs.raw, scan.documents, registry=registry)
        return scan

    return make_and_store


@pytest.fixture
def tables(catalogs: Catalogs) -> Tables:
    """A block in which HOME/hxn.toml says this."""

    @contextmanager
    def in_force(text: str) -> Iterator[None]:
        file = catalogs.home.root / "hxn.toml"
        file.write_text(text)
        try:
            yield
        finally:
            file.unlink()

    return in_force
