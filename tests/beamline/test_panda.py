"""PandA scans: what their arrays mean."""

from __future__ import annotations

import logging

import h5py
import numpy as np
import pytest

from hxn_ptycho.beamline import expected_frames, is_ptychography, read_scan
from hxn_ptycho.catalog import Catalogs, descriptors
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.scan import ScanError

from ..hxn_documents import FakeScan, make_scan
from .conftest import Store, Tables
from .edits import Edit, all_of, change, rename, set_baseline, set_start


@pytest.fixture(scope="module")
def plain(store: Store) -> FakeScan:
    """A scan without faults, for tests that change only tables and recipe."""
    return store(make_scan)


def test_positions_are_encoder_times_scale_times_direction(
    catalogs: Catalogs, plain: FakeScan, tables: Tables
) -> None:
    with tables("[motors.zpssy]\ndirection = -1\n"):
        scan = read_scan(catalogs.raw, plain.uid)
    x = plain.encoders["inenc2_val"].reshape(12, 10).mean(axis=1) * -0.9542e-10
    y = plain.encoders["inenc3_val"].reshape(12, 10).mean(axis=1) * -1.03297e-10
    np.testing.assert_allclose(scan.positions_m, np.stack([-y, x], axis=1))
    # zpsth was at 0.25 degrees; that is for prepare to apply.
    assert scan.projection == (1.0, pytest.approx(np.cos(np.deg2rad(0.25))))


def test_encoders_averaged_when_they_were_taken_have_a_reading_a_frame(
    catalogs: Catalogs, store: Store
) -> None:
    def mean(old: np.ndarray) -> np.ndarray:
        return old.reshape(-1, 10).mean(axis=1)

    scan = store(make_scan, all_of(*(change("panda", f"inenc{i}_val", mean) for i in (2, 3))))
    got = read_scan(catalogs.raw, scan.uid).positions_m[:, 1]
    np.testing.assert_allclose(got, mean(scan.encoders["inenc2_val"]) * -0.9542e-10)


def test_what_the_detectors_table_says_is_the_scans(
    catalogs: Catalogs, plain: FakeScan, tables: Tables
) -> None:
    scan = read_scan(catalogs.raw, plain.uid)
    assert (scan.distance_m, scan.saturation) == (2.05, 65535)  # 2.05: as the documents say
    with tables(
        "[detectors.merlin1]\ndistance_from_documents = false\nsaturation = 4095\n"
        "orientation = 'rot90'\npixel_um = 110\n"
    ):
        scan = read_scan(catalogs.raw, plain.uid)
    assert (scan.distance_m, scan.saturation, scan.orientation) == (0.5, 4095, "rot90")
    assert scan.detector_pixel_m == pytest.approx((110e-6, 110e-6))


def test_without_an_ion_chamber_frames_are_as_they_are(
    catalogs: Catalogs, plain: FakeScan, caplog: pytest.LogCaptureFixture
) -> None:
    np.testing.assert_array_equal(read_scan(catalogs.raw, plain.uid).normalisation, np.ones(12))
    assert "has no sclr1_ch4 and no sclr3_ch4" in caplog.text


def with_ion_chamber(key: str, readings: np.ndarray) -> Edit:
    """Add an ion chamber to the PandA's file."""

    def edit(scan: FakeScan) -> None:
        with h5py.File(scan.files["panda"], "r+") as file:
            file[key] = readings
        primary = scan.named("descriptor")[1]
        primary["data_keys"][key] = {**primary["data_keys"]["inenc2_val"]}
        event = scan.named("event")[1]
        panda = event["data"]["inenc2_val"].rpartition("/")[0]
        at = next(i for i, (name, _) in enumerate(scan.documents) if name == "datum")
        datum = {"datum_id": f"{panda}/ic", "resource": panda, "datum_kwargs": {"field": key}}
        scan.documents.insert(at, ("datum", datum))
        event["data"][key] = event["timestamps"][key] = datum["datum_id"]
        event["filled"][key] = False

    return edit


def test_frames_are_normalised_to_the_ion_chamber_that_there_is(
    catalogs: Catalogs, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    readings = np.array([100, 110, 0, 120, 1, 100, 100, 100, 100, 100, 100, 50.0])
    scan = store(make_scan, with_ion_chamber("sclr3_ch4", readings))
    believed = [100, 110, 110, 120, 120, *[100] * 6, 50]  # zeros and drop-outs: the one before
    got = read_scan(catalogs.raw, scan.uid).normalisation
    np.testing.assert_allclose(got, 100 / np.array(believed))
    assert "2 of 12 readings of the ion chamber dropped out" in caplog.text


@pytest.mark.parametrize(
    ("readings", "message"),
    [
        (np.full(11, 100.0), r"12 frames but 11 readings of the ion chamber \(sclr1_ch4\)"),
        (np.full(13, 100.0), r"12 frames but 13 readings of the ion chamber \(sclr1_ch4\)"),
        (np.zeros(12), "none of the 12 readings of the ion chamber can be used"),
    ],
)
def test_an_ion_chamber_that_cannot_be_used_is_refused_unless_it_is_not_wanted(
    catalogs: Catalogs, store: Store, readings: np.ndarray, message: str
) -> None:
    scan = store(make_scan, with_ion_chamber("sclr1_ch4", readings))
    with pytest.raises(ScanError, match=message):
        read_scan(catalogs.raw, scan.uid)
    without = read_scan(catalogs.raw, scan.uid, recipe=Recipe(normalise=False))
    np.testing.assert_array_equal(without.normalisation, np.ones(12))


def test_a_recipe_makes_up_for_a_baseline_without_angles(catalogs: Catalogs, store: Store) -> None:
    scan = store(make_scan, set_baseline(dcm_th=None, zpsth=None))
    with pytest.raises(ScanError, match=r"no zpsth in its baseline.*angle_correction = false"):
        read_scan(catalogs.raw, scan.uid, recipe=Recipe(energy_kev=12))
    with pytest.raises(ScanError, match=r"no dcm_th in its baseline.*energy_kev in the recipe"):
        read_scan(catalogs.raw, scan.uid, recipe=Recipe(angle_correction=False))
    recipe = Recipe(energy_kev=12, angle_correction=False)
    got = read_scan(catalogs.raw, scan.uid, recipe=recipe)
    assert got.wavelength_m == pytest.approx(1.0332e-10, rel=1e-4)
    assert got.projection == (1.0, 1.0)


@pytest.mark.parametrize(
    ("motor", "angle", "share", "warns"),
    [
        ("zpssx", -75.0, (np.sqrt(6) - np.sqrt(2)) / 4, True),
        ("zpssz", 60.0, np.sqrt(3) / 2, False),  # above 45 degrees HXN scans z: the sine
    ],
)
def test_a_stage_moves_across_the_beam_by_cosine_or_sine(
    catalogs: Catalogs,
    store: Store,
    caplog: pytest.LogCaptureFixture,
    motor: str,
    angle: float,
    share: float,
    warns: bool,
) -> None:
    key = {"zpssx": "inenc2_val", "zpssz": "inenc4_val"}[motor]

    def follow(scan: FakeScan) -> None:
        if key not in scan.encoders:
            with h5py.File(scan.files["panda"], "r+") as file:
                file.move("inenc2_val", key)
            scan.documents = [
                (name, {**document, "datum_kwargs": {"field": key}})
                if name == "datum" and document["datum_kwargs"] == {"field": "inenc2_val"}
                else (name, document)
                for name, document in scan.documents
            ]
            rename(inenc2_val=key)(scan)

    scan = store(
        make_scan, all_of(set_start(motors=[motor, "zpssy"]), set_baseline(zpsth=angle), follow)
    )
    assert read_scan(catalogs.raw, scan.uid).projection == (1.0, pytest.approx(share))
    said = f"at zpsth = {angle:g} degrees only {share:.3f} of the motion of {motor}"
    assert (said in caplog.text) == warns


def test_coarse_stages_are_where_the_plan_says(
    catalogs: Catalogs, store: Store, tables: Tables, caplog: pytest.LogCaptureFixture
) -> None:
    """They have no encoder: inenc2 and inenc3 are of other stages."""
    axes = {f"{speed}_axis": {"motor_name": "", "units": "mm"} for speed in ("fast", "slow")}
    scan = store(
        make_scan,
        all_of(
            # The slow axis is y at times, and x at others.
            set_start(motors=["ssy", "ssx"], scan={"scan_input": [-1, 1, 4, 3, 2, 3], **axes}),
            set_baseline(ssx=0.5, ssy=0.0),
        ),
    )
    y, x = np.tile(np.linspace(-1, 1, 4), 3), np.repeat([3.5, 3.0, 2.5], 4)
    start = scan.start
    assert is_ptychography(start, descriptors(catalogs.raw, scan.uid))
    got = read_scan(catalogs.raw, scan.uid).positions_m
    np.testing.assert_allclose(got, 1e-3 * np.stack([y, x], axis=1), atol=1e-12)
    assert "ssx has no encoder: its positions are those that the plan announced" in caplog.text
    with tables("[panda]\nscan_input = 'edges'\n[motors.ssx]\ndirection = -1\nunit = 'um'\n"):
        got = read_scan(catalogs.raw, scan.uid).positions_m
    y = np.tile([-0.75, -0.25, 0.25, 0.75], 3)
    x = np.repeat([3.5 - 1 / 6, 3.0, 2.5 + 1 / 6], 4)
    np.testing.assert_allclose(got, np.stack([1e-3 * y, -1e-6 * x], axis=1), atol=1e-12)


def test_of_a_coarse_stage_without_a_plan_nothing_is_made_up(
    catalogs: Catalogs, store: Store
) -> None:
    scan = store(make_scan, set_start(motors=["ssx", "zpssy"], scan={"scan_input": None}))
    with pytest.raises(ScanError, match="ssx has no encoder, and its positions cannot be made"):
        read_scan(catalogs.raw, scan.uid)


def test_frames_may_come_under_another_data_key(
    catalogs: Catalogs, store: Store, tables: Tables
) -> None:
    """Areadetectors of ophyd add ``_image``."""
    scan = store(
        make_scan,
        all_of(rename(merlin1="eiger1_image"), set_start(scan={"detectors": ["eiger1"]})),
    )
    assert is_ptychography(scan.start, scan.named("descriptor"))
    assert expected_frames(scan.start) == 12
    got = read_scan(catalogs.raw, scan.uid)
    assert (got.distance_m, got.detector_pixel_m[0]) == (2.05, pytest.approx(75e-6))
    with (
        tables("[detectors.eiger1]\ndata_keys = ['eiger1']\n"),
        pytest.raises(
            ScanError, match=r"no diffraction detector .*it has eiger1_image, inenc2_val"
        ),
    ):
        read_scan(catalogs.raw, scan.uid)


def test_of_several_detectors_the_one_named_first_is_taken(
    catalogs: Catalogs, store: Store
) -> None:
    def beside(scan: FakeScan) -> None:
        primary, event = scan.named("descriptor")[1], scan.named("event")[1]
        primary["data_keys"]["eiger1"] = {**primary["data_keys"]["merlin1"]}
        for part in ("data", "timestamps", "filled"):
            event[part]["eiger1"] = event[part]["merlin1"]

    scan = store(make_scan, all_of(beside, set_start(scan={"detectors": ["eiger1", "merlin1"]})))
    assert read_scan(catalogs.raw, scan.uid).detector_pixel_m[0] == pytest.approx(75e-6)


def test_a_stream_may_have_another_name(catalogs: Catalogs, store: Store) -> None:
    def renamed(scan: FakeScan) -> None:
        scan.named("descriptor")[1]["name"] = "stream0"
        scan.documents[-1][1]["num_events"] = {"baseline": 1, "stream0": 1}

    scan = store(make_scan, renamed)
    assert read_scan(catalogs.raw, scan.uid).number_of_frames == 12


def test_moved_files_are_found_under_their_new_root(
    catalogs: Catalogs, store: Store, tables: Tables
) -> None:
    scan = store(make_scan)
    old = scan.files["merlin"].parent
    new = old.parent / "moved" / "deep"
    new.parent.mkdir()
    old.rename(new)
    with pytest.raises(ScanError, match=rf"{scan.files['panda'].name}|{scan.files['merlin'].name}"):
        read_scan(catalogs.raw, scan.uid)
    with tables(f"[roots]\n'{old}' = '{new}'\n"):
        got = read_scan(catalogs.raw, scan.uid)
    assert got.frames[0].file == str(new / scan.files["merlin"].name)


def test_a_scale_that_cannot_be_right_is_told(
    catalogs: Catalogs, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Encoders that go as far as was announced, and one ten times as far."""

    def going(um: float) -> Edit:
        line = np.linspace(-um, um, 4) / -0.9542e-4
        return change("panda", "inenc2_val", np.repeat(np.tile(line, 3), 10))

    store_y = change("panda", "inenc3_val", np.repeat(np.linspace(-1, 1, 3) / 1e-4, 40))
    with caplog.at_level(logging.WARNING):
        read_scan(catalogs.raw, store(make_scan, all_of(going(1), store_y)).uid)
        assert "announced" not in caplog.text
        read_scan(catalogs.raw, store(make_scan, all_of(going(10), store_y)).uid)
    assert "by inenc2_val (zpssx) the stage went 20 um, and 2 um were announced" in caplog.text
