"""Finding, opening and comparing results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hxn_ptycho
from hxn_ptycho import Recipe, results
from hxn_ptycho.catalog import CatalogError, Catalogs, insert, open_catalog
from hxn_ptycho.home import HOME_VARIABLE
from hxn_ptycho.plot import save
from hxn_ptycho.publish import Publisher
from hxn_ptycho.results import Result, compare
from hxn_ptycho.solver.job import ROOTS_VARIABLE, ResultData

from .example_results import example_result
from .hxn_documents import FakeScan, make_scan
from .result_files import progress_lines, write_result


@pytest.fixture(scope="module")
def catalogs(tmp_path_factory: pytest.TempPathFactory) -> Catalogs:
    return open_catalog(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def scan(catalogs: Catalogs) -> FakeScan:
    scan = make_scan(catalogs.home.data, 12, sample_name="star")
    insert(catalogs.raw, scan.documents)
    return scan


def publish(
    catalogs: Catalogs, scan: FakeScan, fail: str = "", lines: int = 0, **recipe: Any
) -> str:
    uid = str(uuid.uuid4())
    chosen = Recipe.make(**{"probe_modes": 2, "iterations": 12, **recipe})
    one = Publisher(
        catalogs,
        derived_uid=uid,
        job_uid="job",
        raw_start=scan.start,
        recipe=chosen,
        ranks=2,
        device="cpu",
    )
    one.open()
    one.iterations(progress_lines(example_result())[:lines])
    if fail:
        one.fail(fail)
    else:
        folder = catalogs.home.jobs / uid
        one.succeed(write_result(folder, raw_uid=scan.uid, modes=int(chosen.probe_modes)))
    return uid


@pytest.fixture(scope="module")
def three(catalogs: Catalogs, scan: FakeScan) -> list[str]:
    """A success with one mode, a failure, a success with two."""
    return [
        publish(catalogs, scan, probe_modes=1),
        publish(catalogs, scan, fail="rank 1 died: out of memory", lines=3),
        publish(catalogs, scan),
    ]


def test_the_name_in_the_package_can_be_called_and_has_compare() -> None:
    assert hxn_ptycho.results is results
    assert callable(results)
    assert results.compare is compare


def test_all_of_a_scan_oldest_first_the_failed_too(
    catalogs: Catalogs, scan: FakeScan, three: list[str]
) -> None:
    for found in (
        results(scan_id=12, catalogs=catalogs),
        results(raw_uid=scan.uid, catalogs=catalogs),
        results(scan.uid[:8], home=catalogs.home),
        results(catalogs=catalogs),
        results(sample_name="star", catalogs=catalogs),
    ):
        assert [result.uid for result in found] == three
    assert [r.exit_status for r in found] == ["success", "fail", "success"]


def test_by_what_was_computed(catalogs: Catalogs, three: list[str]) -> None:
    found = results(algorithm="DM", probe_modes=2, catalogs=catalogs)
    assert [result.uid for result in found] == three[1:]
    assert results(algorithm="RAAR", catalogs=catalogs) == []
    assert [r.uid for r in results(uid=three[1][:9], catalogs=catalogs)] == [three[1]]
    with pytest.raises(CatalogError, match="begins with 'nothing'"):
        results(uid="nothing", catalogs=catalogs)
    assert results(scan_id=99, catalogs=catalogs) == []


def test_what_a_result_is(catalogs: Catalogs, scan: FakeScan, three: list[str]) -> None:
    result = results(uid=three[2], catalogs=catalogs)[-1]
    assert (result.raw_uid, result.scan_id) == (scan.uid, 12)
    assert (result.algorithm, result.probe_modes, result.iterations) == ("DM", 2, 12)
    assert (result.seconds, result.error_fourier) == (1.5, 0.0612)
    assert result.pixel_size == (5e-9, 5e-9)
    assert result.recipe == Recipe(probe_modes=2, iterations=12)
    assert result.raw.start["uid"] == scan.uid
    assert result.result_file is not None
    data = ResultData.read(result.result_file)
    np.testing.assert_array_equal(result.object, data.object)
    np.testing.assert_array_equal(result.probe, data.probe)
    np.testing.assert_array_equal(result.errors["error_probe"], data.error_probe)
    assert result.picture is None
    picture = save(data, result.result_file.with_suffix(".png"))
    assert result.picture == picture
    assert result.to_dict()["picture"] == str(picture)


def test_what_a_failure_is(catalogs: Catalogs, three: list[str]) -> None:
    failed = results(uid=three[1], catalogs=catalogs)[-1]
    assert (failed.exit_status, failed.reason) == ("fail", "rank 1 died: out of memory")
    assert (failed.result_file, failed.picture, failed.seconds) == (None, None, None)
    assert failed.errors["iteration"].tolist() == [1, 2, 3]
    np.testing.assert_allclose(failed.errors["error_probe"], example_result().error_probe[:3])
    np.testing.assert_allclose(failed.errors["error_object"], example_result().error_object[:3])
    for read in (lambda: failed.object, lambda: failed.plot(), lambda: failed.pixel_size):
        with pytest.raises(CatalogError, match="it ended with fail, rank 1 died"):
            read()


def test_one_that_has_not_ended(catalogs: Catalogs, scan: FakeScan) -> None:
    uid = str(uuid.uuid4())
    one = Publisher(
        catalogs,
        derived_uid=uid,
        job_uid="job",
        raw_start={**scan.start, "scan_id": 77},
        recipe=Recipe(probe_modes=2, iterations=12),
        ranks=2,
        device="cpu",
    )
    one.open()
    (running,) = results(scan_id=77, catalogs=catalogs)
    assert running.exit_status is None
    assert running.errors["error_probe"].shape == (0, 2)
    with pytest.raises(CatalogError, match="it has not ended"):
        _ = running.object
    assert running.to_dict()["exit_status"] is None
    one.fail("enough")
    with pytest.raises(CatalogError, match="it has not ended"):
        _ = running.object  # what was found is as it was then
    assert results(scan_id=77, catalogs=catalogs)[-1].exit_status == "fail"


def test_a_listing_opens_no_file_and_is_strict_json(
    catalogs: Catalogs, scan: FakeScan, three: list[str]
) -> None:
    before = results(scan_id=12, catalogs=catalogs)
    hidden = [r.result_file for r in before if r.result_file]
    for file in hidden:
        file.rename(file.with_suffix(".hidden"))
    try:
        listed = [result.to_dict() for result in results(scan_id=12, catalogs=catalogs)]
    finally:
        for file in hidden:
            file.with_suffix(".hidden").rename(file)
    text = json.dumps(listed, allow_nan=False)
    needed = {
        "uid", "raw_uid", "scan_id", "exit_status", "reason", "result_file", "picture",
        "algorithm", "probe_modes", "iterations", "seconds", "error_fourier", "time",
    }  # fmt: skip
    assert all(needed <= set(one) for one in json.loads(text))
    assert [one["seconds"] for one in listed] == [1.5, None, 1.5]


def test_result_files_that_are_gone_or_moved(
    catalogs: Catalogs, scan: FakeScan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = publish(catalogs, scan)
    result = results(uid=uid, catalogs=catalogs)[-1]
    file = result.result_file
    assert file is not None
    moved = tmp_path / "moved" / file.name
    moved.parent.mkdir()
    file.rename(moved)
    with pytest.raises(CatalogError, match=f"{uid[:8]} of scan 12 cannot be read.*ROOTS"):
        _ = result.data
    monkeypatch.setenv(ROOTS_VARIABLE, f"{file.parent}={moved.parent}")
    assert results(uid=uid, catalogs=catalogs)[-1].result_file == moved
    assert result.object.shape == (1, 40, 48)


def test_the_picture(catalogs: Catalogs, three: list[str]) -> None:
    drawn = results(uid=three[2], catalogs=catalogs)[-1].plot()
    assert drawn.axes
    assert tuple(drawn.get_size_inches()) == pytest.approx((13.33, 7.5), abs=0.05)


def test_plot_in_another_ipython(catalogs: Catalogs, three: list[str]) -> None:
    result = results(uid=three[2], catalogs=catalogs)[-1]
    assert result.result_file is not None
    picture = save(result.data, result.result_file.with_suffix(".png"))
    code = (
        "from hxn_ptycho import results; "
        f"drawn = results(uid='{three[2]}')[-1].plot(); "
        "print(type(drawn).__module__, len(drawn.axes) > 3)"
    )
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "-c", code],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, HOME_VARIABLE: str(catalogs.home.root), "MPLBACKEND": "agg"},
    )
    assert done.returncode == 0, done.stderr
    assert f"picture: {picture}" in done.stdout
    assert "matplotlib.figure True" in done.stdout


# Comparisons.


def shifted(data: ResultData, rows: int, columns: int, **changes: Any) -> ResultData:
    """The same sample on a canvas that begins elsewhere, with a scale and a phase ramp."""
    height, width = data.object.shape[1:]
    canvas = np.ones((1, height + 8, width + 8), np.complex64)
    canvas[:, rows : rows + height, columns : columns + width] = data.object
    ramp = np.exp(1j * 0.02 * np.arange(width + 8))
    pixel = data.pixel_size
    return example_result(
        **{
            "object": (0.6j * ramp * canvas).astype(np.complex64),
            "positions": data.positions + np.array([rows, columns]),
            "origin_m": (
                data.origin_m[0] - rows * pixel[0],
                data.origin_m[1] - columns * pixel[1],
            ),
            **changes,
        }
    )


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (3, 5), (8, 0)])
def test_scale_ramp_and_canvas_do_not_count(rows: int, columns: int) -> None:
    data = example_result()
    compared = compare(data, shifted(data, rows, columns))
    assert compared.object_error < 1e-5
    assert compared.correlation.min() > 0.999
    assert compared.resolution() is None
    assert compared.a.shape == compared.b.shape == compared.mask.shape
    assert compared.pixel_size == data.pixel_size
    other_way = compare(shifted(data, rows, columns), data)
    assert other_way.object_error < 1e-5


def test_a_blurred_picture_correlates_less_at_high_frequency() -> None:
    data = example_result(shape=(96, 96))
    blurred = np.fft.ifft2(
        np.fft.fft2(data.object[0]) * (np.abs(np.fft.fftfreq(96)) < 0.1)[:, None]
    )
    rng = np.random.default_rng(1)
    noise = 0.05 * rng.normal(size=blurred.shape)
    other = example_result(shape=(96, 96), object=(blurred + noise)[None].astype(np.complex64))
    compared = compare(data, other)
    assert compared.object_error > 0.03
    resolution = compared.resolution()
    assert resolution is not None
    assert data.pixel_size[0] < resolution < 96 * data.pixel_size[0]


def test_what_cannot_be_compared() -> None:
    data = example_result()
    with pytest.raises(ValueError, match=r"pixel size \(5, 5\) and \(6, 6\) nm"):
        compare(data, example_result(pixel_size=(6e-9, 6e-9)))
    with pytest.raises(ValueError, match="no lit area in common"):
        compare(data, example_result(origin_m=(1e-3, 1e-3)))


def test_results_are_compared_by_their_files(catalogs: Catalogs, three: list[str]) -> None:
    first = results(uid=three[0], catalogs=catalogs)[-1]
    last = results(uid=three[2], catalogs=catalogs)[-1]
    assert isinstance(first, Result)
    assert results.compare(first, last).object_error < 1e-6
