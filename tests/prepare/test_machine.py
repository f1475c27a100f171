from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from hxn_ptycho.home import Config, Home, Slurm
from hxn_ptycho.launch import Gpu, LaunchError, LocalEngine, engine_of, physical_cores
from hxn_ptycho.prepare import choose_device, choose_ranks, choose_window, resolve
from hxn_ptycho.prepare.resources import check_gpu_memory, needed_memory
from hxn_ptycho.recipe import Recipe, RecipeError
from hxn_ptycho.scan import ScanError
from hxn_ptycho.solver.memory import Case

from ..jobs import make_job, make_scan

NO_GPU = "no NVIDIA driver on this machine"
See = Callable[..., LocalEngine]


@pytest.fixture
def see(monkeypatch: pytest.MonkeyPatch) -> See:
    """Make this machine have so many GPUs of so many bytes; with none, it says NO_GPU."""

    def make(count: int, memory: int = 80_000_000_000) -> LocalEngine:
        cards = (Gpu("H100", memory, (9, 0), 232_448),) * count
        monkeypatch.setattr("hxn_ptycho.launch.gpu.gpus", lambda: cards)
        monkeypatch.setattr("hxn_ptycho.launch.gpu.why_no_gpu", lambda: "" if cards else NO_GPU)
        return LocalEngine(Config())

    return make


def test_auto_takes_the_gpus_that_are_there(see: See, caplog: pytest.LogCaptureFixture) -> None:
    engine = see(1)
    with caplog.at_level(logging.INFO):
        resolved = resolve(Recipe(), 25, engine)
    assert (resolved.device, resolved.ranks) == ("cuda", 1)
    assert caplog.messages == ["computes on 1 of H100, one rank each"]
    assert resolve(Recipe(device="cpu"), 25, engine).device == "cpu"
    caplog.clear()
    engine = see(4)
    with caplog.at_level(logging.INFO):
        assert resolve(Recipe(), 25, engine).ranks == 4
    assert caplog.messages == ["computes on 4 of H100, one rank each"]
    assert resolve(Recipe(), 3, engine).ranks == 3  # a rank without a view would be of no use
    assert resolve(Recipe(ranks=2), 25, engine).ranks == 2
    caplog.clear()
    assert resolve(Recipe(ranks=5), 25, engine).ranks == 5
    assert "5 ranks share 4 GPUs" in caplog.text


def test_auto_without_a_gpu_says_why(see: See, caplog: pytest.LogCaptureFixture) -> None:
    engine = see(0)
    with caplog.at_level(logging.INFO):
        resolved = resolve(Recipe(), 1000, engine)
    assert (resolved.device, resolved.ranks) == ("cpu", min(physical_cores(), 1000))
    assert caplog.messages == [f"computes on the CPU: {NO_GPU}"]


def test_a_gpu_that_is_not_there_is_refused(see: See) -> None:
    with pytest.raises(RecipeError, match=f'device = "cuda": {NO_GPU}; .* device = "cpu"'):
        resolve(Recipe(device="cuda"), 25, see(0))


def test_a_host_file_s_slots_are_the_ranks(see: See, tmp_path: Path) -> None:
    see(2)
    (tmp_path / "hosts").write_text("node01:4\nnode02 slots=4\n")
    engine = LocalEngine(Config(hosts=str(tmp_path / "hosts")))
    assert choose_ranks(Recipe(), "cuda", engine) == 8
    assert choose_ranks(Recipe(), "cpu", engine) == 8
    assert choose_ranks(Recipe(ranks=3), "cuda", engine) == 3
    (tmp_path / "hosts").unlink()
    with pytest.raises(LaunchError, match="host file"):
        choose_ranks(Recipe(), "cuda", engine)


def test_slurm_has_what_is_asked_of_it() -> None:
    engine = engine_of(Config(slurm=Slurm(gpus=6)))
    resolved = resolve(Recipe(), 100, engine)
    assert (resolved.device, resolved.ranks) == ("cuda", 6)
    engine = engine_of(Config(slurm=Slurm(tasks=12)))
    resolved = resolve(Recipe(), 100, engine)
    assert (resolved.device, resolved.ranks) == ("cpu", 12)
    with pytest.raises(RecipeError, match=r"\[slurm\] in config.toml asks for no GPU"):
        resolve(Recipe(device="cuda"), 100, engine)


def test_half_storage_needs_a_gpu(see: See) -> None:
    engine = see(0)
    with pytest.raises(RecipeError, match=f'storage = "half" needs a GPU, and {NO_GPU}'):
        choose_device(Recipe(storage="half"), engine)
    engine = see(1)
    assert resolve(Recipe(storage="half"), 25, engine).storage == "half"
    with pytest.raises(RecipeError, match='needs a GPU, and device = "cpu" is set'):
        choose_device(Recipe(storage="half", device="cpu"), engine)


def test_ranks_before_the_views_are_known(see: See) -> None:
    engine = see(3)
    assert choose_ranks(Recipe(), "cpu", engine) == physical_cores()
    assert choose_ranks(Recipe(), "cuda", engine) == 3
    assert choose_ranks(Recipe(ranks=7), "cuda", engine) == 7


def test_the_host_holds_pictures_and_buffers_only(tmp_path: Path) -> None:
    scan = make_scan(tmp_path)
    recipe = Recipe(device="cuda", probe_modes=5)
    window = choose_window(scan, recipe)
    many = needed_memory(scan, recipe.merge({"probe_modes": 6}), window, 1)
    assert many - needed_memory(scan, recipe, window, 1) < 25 * 32 * 32 * 8


def test_what_does_not_fit_on_the_gpus_is_refused(home: Home, see: See) -> None:
    scan = make_scan(home.data)
    see(1, memory=100_000_000)  # less than what is to be kept free
    with pytest.raises(
        ScanError,
        match=r"each of 1 ranks needs 0\.\d+ GB \(exit waves .* of GPU memory and H100 has 100 MB: "
        r"no number of such GPUs would do: use fewer modes \(probe_modes = 6",
    ):
        make_job(home, scan, probe_modes=6, device="cuda")
    see(2)
    make_job(home, scan, probe_modes=6, device="cuda", ranks=2)


@pytest.mark.parametrize(
    ("memory_gb", "there", "said"),
    [
        (80, 4, "2 GPUs would do: ranks = 2"),
        (80, 1, "2 such GPUs would do, and there are 1"),
        (20, 4, "7 such GPUs would do, and there are 4"),
    ],
)
def test_the_refusal_says_how_many_gpus_would_do(memory_gb: int, there: int, said: str) -> None:
    """70,000 views of 192 x 192 with 5 modes: 108 GB, most of which the GPUs share."""
    case = Case(70_000, 192, 5, 1, (2000, 2000), "uint16")
    cards = (Gpu("H100", memory_gb * 10**9, (9, 0), 232_448),) * there
    with pytest.raises(ScanError, match=said) as caught:
        check_gpu_memory(case, Recipe(ranks=1, probe_modes=5), cards)
    assert "each of 1 ranks needs 10" in str(caught.value)
    number = int(said.split()[0])
    check_gpu_memory(case, Recipe(ranks=number, probe_modes=5), cards * 2)
    with pytest.raises(ScanError, match=f"{number} .*GPUs would do"):
        check_gpu_memory(case, Recipe(ranks=number - 1, probe_modes=5), cards)


def test_ranks_that_share_a_gpu_share_its_memory() -> None:
    case = Case(22_000, 192, 5, 1, (2000, 2000), "uint16")
    cards = (Gpu("H100", 20 * 10**9, (9, 0), 232_448),) * 2
    check_gpu_memory(case, Recipe(ranks=2), cards)
    with pytest.raises(ScanError, match="H100 has 20 GB, which 2 ranks share"):
        check_gpu_memory(case, Recipe(ranks=4), cards)
    check_gpu_memory(case, Recipe(ranks=4), (Gpu("somewhere", 0, (0, 0)),) * 2)  # not known
