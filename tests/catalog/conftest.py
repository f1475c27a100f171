"""The embedded catalogs of a fresh home."""

from __future__ import annotations

import pytest

from hxn_ptycho.catalog import Catalogs, open_catalog
from hxn_ptycho.home import Home


@pytest.fixture
def catalogs(home: Home) -> Catalogs:
    return open_catalog(home)
