"""The sample's rotation, as a run says it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hxn_ptycho.beamline import rotation_deg
from hxn_ptycho.catalog import Catalogs, insert
from hxn_ptycho.importers import import_file

from ..hxn_documents import make_scan
from ..hxn_files import write_scan_h5


def test_it_is_in_the_baseline(catalogs: Catalogs) -> None:
    scan = make_scan(catalogs.home.data / "turned", 900)
    insert(catalogs.raw, scan.documents)
    assert rotation_deg(catalogs.raw, scan.uid) == 0.25


def test_a_scan_without_it_does_not_say(catalogs: Catalogs) -> None:
    scan = make_scan(catalogs.home.data / "unturned", 901)
    scan.documents = [
        (name, {**document, "data": {**document["data"]}}) if name == "event" else (name, document)
        for name, document in scan.documents
        if not (name == "descriptor" and document["name"] == "baseline")
    ]
    baseline = {document["descriptor"] for name, document in scan.documents if name == "event"} - {
        document["uid"] for name, document in scan.documents if name == "descriptor"
    }
    scan.documents = [
        (name, document)
        for name, document in scan.documents
        if not (name == "event" and document["descriptor"] in baseline)
    ]
    insert(catalogs.raw, scan.documents)
    assert rotation_deg(catalogs.raw, scan.uid) is None


def test_an_imported_scan_says_what_its_file_did(catalogs: Catalogs, tmp_path: Path) -> None:
    amplitudes = np.ones((4, 8, 8))
    for angle in (-61.5, 0.0):
        file = write_scan_h5(tmp_path / "scan_1.h5", amplitudes, np.eye(2, 4), angle=angle)
        assert rotation_deg(catalogs.raw, import_file(file, catalogs=catalogs)) == angle
    file = write_scan_h5(tmp_path / "scan_1.h5", amplitudes, np.eye(2, 4), angle=None)
    assert rotation_deg(catalogs.raw, import_file(file, catalogs=catalogs)) is None
