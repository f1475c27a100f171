"""The RunEngine, and the catalog that its scans go to."""

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky import RunEngine

from hxn_ptycho.catalog import asset_registry, open_catalog, writer
from hxn_ptycho.home import find_home
from hxn_ptycho.simulate.progress import ScanProgress
from hxn_ptycho.simulate.session import FileMetadata, next_scan_id

home = find_home().make()
catalogs = open_catalog(home)
db = catalogs.raw  # as at any beamline: db[-1] is the last scan, db[7] scan 7

assets = asset_registry(home)  # where the classic flyer's files are known, and nowhere else

# Metadata of every scan, kept between sessions: RE.md["sample"] = {"name": ...}
RE = RunEngine(FileMetadata(home.root / "md.json"), scan_id_source=next_scan_id(db))
RE.md.setdefault("beamline_id", "HXN (simulated)")
RE.md.setdefault("sample", {"name": "Siemens star on polycrystal", "thickness_um": 1.0})
RE.md.setdefault("user", "demo")

RE.waiting_hook = ScanProgress()
RE.subscribe(writer(db, registry=assets))  # before anything that looks a scan up in the catalog

# Read once at the start of every scan: what else one must know about it.
baseline = bpp.SupplementalData()
RE.preprocessors.append(baseline)
