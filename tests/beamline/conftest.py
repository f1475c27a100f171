"""One home and its catalogs for all tests here: opening them takes seconds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hxn_ptycho.catalog import Catalogs, open_catalog
from hxn_ptycho.home import HOME_VARIABLE, find_home


@pytest.fixture(scope="package")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogs]:
    """Catalogs of a home that is in force for this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(HOME_VARIABLE, str(tmp_path_factory.mktemp("beamline") / "home"))
        yield open_catalog(find_home().make())
