from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from hxn_ptycho.home import Home
from hxn_ptycho.launch import Gpu, physical_cores
from hxn_ptycho.prepare import choose_device, choose_ranks, choose_window, resolve
from hxn_ptycho.prepare.resources import check_gpu_memory, gpu_memory, needed_memory
from hxn_ptycho.recipe import Recipe, RecipeError
from hxn_ptycho.scan import ScanError

from ..jobs import make_job, make_scan

NO_GPU = "no NVIDIA driver on this machine"
See = Callable[..., None]


@pytest.fixture
def see(monkeypatch: pytest.MonkeyPatch) -> See:
    """Make this machine have so many GPUs of so many bytes; with none, it says NO_GPU."""

    def make(count: int, memory: int = 80_000_000_000) -> None:
        cards = (Gpu("H100", memory, (9, 0)),) * count
        monkeypatch.setattr("hxn_ptycho.prepare.machine.gpus", lambda: cards)
        monkeypatch.setattr("hxn_ptycho.prepare.resources.gpus", lambda: cards)
        monkeypatch.setattr(
            "hxn_ptycho.prepare.machine.why_no_gpu", lambda: "" if cards else NO_GPU
        )

    return make


def test_auto_takes_the_gpu_that_is_there(see: See, caplog: pytest.LogCaptureFixture) -> None:
    see(1)
    with caplog.at_level(logging.INFO):
        resolved = resolve(Recipe(), 25)
    assert (resolved.device, resolved.ranks) == ("cuda", 1)
    assert caplog.messages == ["computes on H100"]
    assert resolve(Recipe(device="cpu"), 25).device == "cpu"


def test_auto_without_a_gpu_says_why(see: See, caplog: pytest.LogCaptureFixture) -> None:
    see(0)
    with caplog.at_level(logging.INFO):
        resolved = resolve(Recipe(), 1000)
    assert (resolved.device, resolved.ranks) == ("cpu", min(physical_cores(), 1000))
    assert caplog.messages == [f"computes on the CPU: {NO_GPU}"]


def test_a_gpu_that_is_not_there_is_refused(see: See) -> None:
    see(0)
    with pytest.raises(RecipeError, match=f'device = "cuda": {NO_GPU}; .* device = "cpu"'):
        resolve(Recipe(device="cuda"), 25)


def test_half_storage_needs_a_gpu(see: See) -> None:
    see(0)
    with pytest.raises(RecipeError, match=f'storage = "half" needs a GPU, and {NO_GPU}'):
        choose_device(Recipe(storage="half"))
    see(1)
    assert resolve(Recipe(storage="half"), 25).storage == "half"
    with pytest.raises(RecipeError, match='needs a GPU, and device = "cpu" is set'):
        choose_device(Recipe(storage="half", device="cpu"))


def test_several_gpus_are_used_when_asked_for(see: See, caplog: pytest.LogCaptureFixture) -> None:
    see(2)
    with caplog.at_level(logging.INFO):
        assert resolve(Recipe(), 25).ranks == 1
    assert "1 of 2 GPUs are used" in caplog.text
    assert "ranks = 2 uses all" in caplog.text
    caplog.clear()
    assert resolve(Recipe(ranks=2), 25).ranks == 2
    assert "of 2 GPUs" not in caplog.text
    assert resolve(Recipe(ranks=3), 25).ranks == 3
    assert "3 ranks share 2 GPUs" in caplog.text


def test_ranks_before_the_views_are_known() -> None:
    assert choose_ranks(Recipe(), "cpu") == physical_cores()
    assert choose_ranks(Recipe(), "cuda") == 1
    assert choose_ranks(Recipe(ranks=7), "cuda") == 7


@pytest.mark.parametrize(
    ("keys", "wave_bytes"), [({}, 8), ({"storage": "half"}, 4), ({"precision": "double"}, 16)]
)
def test_memory_of_a_gpu(tmp_path: Path, keys: dict, wave_bytes: int) -> None:
    scan = make_scan(tmp_path)
    recipe = Recipe(device="cuda", probe_modes=5, **keys)
    window = choose_window(scan, recipe)
    pixels = 25 * 32 * 32
    counts = 2 if scan.frame_dtype == "uint16" else 4
    assert gpu_memory(scan, recipe, window) == pixels * (5 * wave_bytes + counts)
    # The host holds pictures and buffers only, whatever the number of views.
    many = needed_memory(scan, recipe.merge({"probe_modes": 6}), window, 1)
    assert many - needed_memory(scan, recipe, window, 1) < 25 * 32 * 32 * 8


def test_what_does_not_fit_on_the_gpu_is_refused(home: Home, see: See) -> None:
    scan = make_scan(home.data)
    see(1, memory=1_250_000)
    with pytest.raises(ScanError, match=r"needs 1\.\d+ MB of GPU memory and there are 1\.25 MB"):
        make_job(home, scan, probe_modes=6, device="cuda")
    make_job(home, scan, probe_modes=6, device="cuda", storage="half")
    see(2, memory=1_250_000)
    make_job(home, scan, probe_modes=6, device="cuda", ranks=2)
    with pytest.raises(ScanError, match=r'storage = "half", more GPUs, or device = "cpu"'):
        check_gpu_memory(40e9, 30e9, Recipe())
    with pytest.raises(ScanError, match="a smaller window, more GPUs"):
        check_gpu_memory(40e9, 30e9, Recipe(storage="half"))
