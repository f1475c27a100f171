from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hxn_ptycho.optics import energy_from_wavelength
from hxn_ptycho.simulate import Sample
from hxn_ptycho.simulate.diffraction import intensities
from hxn_ptycho.simulate.endstation import Endstation, Geometry
from hxn_ptycho.simulate.stages import Monochromator, Stage

GEOMETRY = Geometry(n=32, pixel_m=55e-6, distance_m=0.5)


class HalfPlane(Sample):
    """Opaque where y > 0 or x > 0, whichever `axis` says."""

    axis = "x"

    def transmission(self, y_m, x_m):  # type: ignore[no-untyped-def]
        y, x = np.broadcast_arrays(np.asarray(y_m, float), np.asarray(x_m, float))
        return ((x if self.axis == "x" else y) <= 0).astype(complex)


def station(sample: Sample | None = None, **more: object) -> Endstation:
    devices = Monochromator(name="dcm").th, Stage(name="zpssx"), Stage(name="zpssy")
    return Endstation(*devices, sample=sample, seed=1, **more)  # type: ignore[arg-type]


def at_rest(*places_um: tuple[float, float]) -> np.ndarray:
    return np.array(places_um, float)[:, None, :]


def test_the_bragg_angle_of_the_profile_is_12_kev() -> None:
    assert energy_from_wavelength(station().wavelength_m) == pytest.approx(12, abs=1e-3)


def test_another_bragg_angle_is_another_pixel() -> None:
    beamline = station()
    before = beamline.pixel_m(GEOMETRY)[0]
    beamline.bragg.set(11.4).wait(timeout=10)
    ratio = np.sin(np.deg2rad(11.4)) / np.sin(np.deg2rad(9.4831))
    assert beamline.pixel_m(GEOMETRY)[0] / before == pytest.approx(ratio)


def test_without_a_sample_all_photons_arrive() -> None:
    clear = station(Sample(phase_depth=0, absorption=0))
    frames = clear.expose(GEOMETRY, at_rest((0, 0), (0.3, -0.2)), np.array([1e5, 2e5]))
    np.testing.assert_allclose(frames.sum(axis=(1, 2)), [1e5, 2e5], rtol=1e-4)


def test_a_frame_is_the_far_field_of_the_probe_on_the_sample() -> None:
    beamline = station()
    pixel = np.array(beamline.pixel_m(GEOMETRY))
    corner = np.array([3, -5])
    place = (corner + 16) * pixel * 1e6
    got = beamline.expose(GEOMETRY, at_rest(tuple(place)), np.array([1e6]))[0]
    origin = tuple((corner * pixel).tolist())
    picture = beamline.sample.render((32, 32), tuple(pixel.tolist()), origin)
    probe = beamline.probe(GEOMETRY)[None] * 1e3
    expected = intensities(probe, picture, np.array([[0, 0]]))[0]
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3 * expected.max())


@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_stage_at_plus_brings_the_beam_to_higher_rows_and_columns(axis: str) -> None:
    sample = HalfPlane()
    object.__setattr__(sample, "axis", axis)
    beamline = station(sample)
    step = (0.3, 0.0) if axis == "y" else (0.0, 0.3)
    path = at_rest(step, (0.0, 0.0), tuple(-v for v in step))  # type: ignore[arg-type]
    light = beamline.expose(GEOMETRY, path, np.ones(3)).sum(axis=(1, 2))
    assert light[0] < 0.1
    assert 0.3 < light[1] < 0.7
    assert light[2] > 0.9


def test_rotation_shortens_the_motion_across_the_beam() -> None:
    devices = Monochromator(name="dcm").th, Stage(name="zpssx"), Stage(name="zpssy")
    beamline = Endstation(*devices, Stage(name="zpsth", init_pos=60))
    np.testing.assert_allclose(beamline.places_m(np.array([2.0, 2.0])), [2e-6, 1e-6])


def test_motion_within_a_frame_adds_up_places_incoherently() -> None:
    beamline = station()
    places = [(0.0, 0.0), (0.0, 0.06)]
    moving = beamline.expose(GEOMETRY, np.array([places]), np.ones(1))[0]
    resting = beamline.expose(GEOMETRY, at_rest(*places), np.ones(2)).mean(axis=0)
    np.testing.assert_allclose(moving, resting, rtol=1e-5)


def test_the_sample_is_the_same_wherever_and_whenever_one_looks() -> None:
    beamline = station()
    here = at_rest((0.1, 0.2))
    first = beamline.expose(GEOMETRY, here, np.ones(1))
    beamline.expose(GEOMETRY, at_rest((6.0, -5.0)), np.ones(1))
    np.testing.assert_array_equal(beamline.expose(GEOMETRY, here, np.ones(1)), first)


def test_the_beam_fluctuates_about_its_mean() -> None:
    brightness = np.concatenate([station().brightness(300), station().brightness(300)])
    assert brightness.mean() == pytest.approx(1, abs=0.05)
    assert 0.003 < brightness.std() < 0.06


def test_stage_moves_to_where_it_is_told_and_refuses_its_limits() -> None:
    stage = Stage(name="zpssx", limits=(-15, 15), speed=100)
    stage.set(4.0).wait(timeout=10)
    assert stage.position == 4.0
    assert stage.read()["zpssx"]["value"] == 4.0
    assert stage.describe()["zpssx"]["units"] == "um"
    with pytest.raises(ValueError, match="limits"):
        stage.set(20.0)


def test_stage_can_be_stopped_on_its_way() -> None:
    stage = Stage(name="zpssx", speed=1.0)
    status = stage.set(50.0)
    stage.stop()
    with pytest.raises(Exception, match=r"UnknownStatusFailure|failed"):
        status.wait(timeout=10)
    assert stage.position < 50
    assert not stage.moving


def test_a_detector_that_is_not_armed_says_so(tmp_path: Path) -> None:
    from .station import make_station

    merlin = make_station(tmp_path).merlin1
    with pytest.raises(RuntimeError, match="merlin1 is not armed"):
        merlin.expose(at_rest((0, 0)), np.ones(1))
