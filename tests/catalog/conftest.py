"""The embedded catalogs of a fresh home."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from hxn_ptycho.catalog import Catalogs, open_catalog
from hxn_ptycho.home import Home


@pytest.fixture
def catalogs(home: Home) -> Catalogs:
    """Of a home of the test's own, which processes it starts find too."""
    return open_catalog(home)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Catalogs:
    """Of a home that the tests of a module share: quicker."""
    return open_catalog(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def scan_ids() -> Iterator[int]:
    """Numbers that no other test uses."""
    return itertools.count(101)
