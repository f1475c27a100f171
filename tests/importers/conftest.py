from __future__ import annotations

import pytest

from hxn_ptycho.catalog import Catalogs, open_catalog
from hxn_ptycho.home import find_home


@pytest.fixture(scope="package")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> Catalogs:
    """One home for all: making a catalog takes seconds, and imports do not meet in it."""
    return open_catalog(find_home(tmp_path_factory.mktemp("home")))
