from __future__ import annotations

import pytest

from hxn_ptycho import bench
from hxn_ptycho.launch import Gpu, LaunchError, LocalEngine, physical_cores
from hxn_ptycho.launch.places import take_cores
from hxn_ptycho.recipe import Recipe, RecipeError


@pytest.mark.parametrize(
    ("keys", "wave"), [({}, 16), ({"storage": "half"}, 8), ({"precision": "double"}, 32)]
)
def test_the_floor_is_waves_in_and_out_and_counts_in(keys: dict, wave: int) -> None:
    assert bench.copy_floor_bytes(Recipe(probe_modes=5, **keys), 1000) == 1000 * (5 * wave + 2)


def test_the_floor_is_of_all_gpus_that_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "gpus", lambda: (Gpu("H100", 1, (9, 0)),) * 2)
    lines = {
        "finished": [{"peak_device_bytes": 7}],
        "device": [{"copy_bytes_per_second": 18_000.0, "estimated_bytes": 8}],
    }
    recipe = Recipe(device="cuda", ranks=1)
    one = bench._of_the_gpu(recipe, 1000, 4.0, lines)
    assert one["fraction_of_copy_floor"] == pytest.approx(0.25)
    assert (one["device_memory_bytes"], one["estimated_memory_bytes"]) == (7, 8)
    for ranks in (2, 3):  # the third shares a GPU
        several = bench._of_the_gpu(recipe.merge({"ranks": ranks}), 1000, 4.0, lines)
        assert several["fraction_of_copy_floor"] == pytest.approx(0.125)
        assert "sum_bytes" not in several
    lines["device"][0] |= {"sum_bytes": 9, "sum_seconds": 0.1, "link_bytes_per_second": 1e3}
    assert bench._of_the_gpu(recipe, 1000, 4.0, lines)["sum_bytes"] == 9


@pytest.mark.parametrize(("fft_window", "side"), [("exact", 38), ("fast", 40)])
def test_the_crop_is_embedded_as_in_a_recipe(fft_window: str, side: int) -> None:
    measured = bench.run(
        views=4, window=38, fft_window=fft_window, probe_modes=2, object_modes=1, iterations=2
    )
    assert (measured["window"], measured["fft_window"]) == (38, side)
    # The speed is that of the measured pixels: a rim costs time and earns nothing.
    assert measured["gpx_mode_iterations_per_second"] * measured["seconds_per_iteration"] == (
        pytest.approx(4 * 38**2 * 2 / 1e9)
    )


def test_how_gpus_add_up_is_no_question_on_a_cpu() -> None:
    with pytest.raises(RecipeError, match="sums = 'host' is for several GPUs"):
        bench.run(views=4, window=32, sums="host")


def test_a_run_that_fails_leaves_the_cores_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **keys: object) -> None:
        raise LaunchError("no")

    cores = physical_cores()
    with monkeypatch.context() as patch:
        patch.setattr(LocalEngine, "launch", refuse)
        with pytest.raises(LaunchError, match="no"):
            bench.run(views=4, window=32, ranks=cores, iterations=2)
    place = take_cores(cores)
    assert place is not None
    with pytest.raises(LaunchError, match=f"the benchmark waits for {cores} cores; run it when"):
        bench.run(views=4, window=32, ranks=cores, iterations=2)
    place.release()
