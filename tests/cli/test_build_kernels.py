from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hxn_ptycho.cli import checks
from hxn_ptycho.solver import build
from hxn_ptycho.solver.nvcc import find_nvcc

KERNEL = 'extern "C" __global__ void twice(float *x) { x[threadIdx.x] *= 2.0f; }\n'

compiles = pytest.mark.skipif(
    find_nvcc() is None or shutil.which("g++") is None, reason="needs nvcc and g++"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv(build.KERNELS_VARIABLE, str(folder))
    return folder


@pytest.fixture(autouse=True)
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small kernels in place of the real ones, which take minutes."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for name in ("fused", "plain", "common", "frames"):
        (folder / f"{name}.cu").write_text(KERNEL)
    monkeypatch.setattr(build, "find_sources", lambda: folder)
    return folder


def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take an nvcc of CUDA 13 that compiles at once, and fails on a double."""
    script = tmp_path / "nvcc"
    script.write_text(
        """#!/bin/sh
case $1 in
--version) echo "release 13.0, V13.0.88"; exit;;
--list-gpu-code) echo sm_75; echo sm_90; exit;;
esac
for word in "$@"; do
    case $word in
    -DDOUBLE=1) echo "double trouble" >&2; exit 2;;
    esac
    if [ "$last" = -o ]; then touch "$word"; fi
    last=$word
done
echo "ptxas info    : Compiling entry function 'k' for 'sm_90'"
echo "    0 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads"
echo "ptxas info    : Used 40 registers, used 1 barriers, 256 bytes smem"
"""
    )
    script.chmod(0o755)
    monkeypatch.setenv("NVCC", str(script))


@compiles
def test_compiles_into_the_cache_where_solvers_look(run, cache, home):
    words = ("build-kernels", "--arch", "sm_90", "--window", 192)
    said = run(*words, "--json")
    assert said.status == 0, said.err
    assert said.json["failed"] == {}
    built = {row["kernel"]: row for row in said.json["built"]}
    assert set(built) == {
        "fused-192-half", "fused-192-single", "plain-single", "plain-double", "common-single",
        "common-double", "frames",
    }  # fmt: skip
    row = built["fused-192-half"]
    assert row["registers"] > 0
    assert row["spills"] == 0
    assert row["seconds"] > 0
    assert build.ensure(build.fused(192, "half"), "sm_90") == cache / row["file"]
    # A second time there is nothing to do.
    again = run(*words)
    assert again.status == 0, again.err
    assert again.out.count("was there") == 7
    finding = checks.compiler(home)
    assert f"{cache}: 7 for sm_90" in finding.found


def test_another_folder_is_copied_by_hand(run, cache, tmp_path, monkeypatch):
    fake(tmp_path, monkeypatch)
    said = run("build-kernels", "--arch", "sm_90", "--window", 64, "-o", tmp_path / "out")
    assert said.status == 1
    assert "plain-double for sm_90" in said.err
    assert "double trouble" in said.err
    assert str(cache) in said.out
    assert not cache.exists()
    assert len(list((tmp_path / "out").glob("fused-64-*-sm_90-*.cubin"))) == 2


def test_registers_and_spills_are_told(run, tmp_path, monkeypatch):
    fake(tmp_path, monkeypatch)
    said = run("build-kernels", "--arch", "sm_90", "--window", 64)
    line = next(line for line in said.out.splitlines() if line.startswith("frames-sm_90"))
    assert line.split()[1:3] == ["40", "12"]


def test_all_are_built_where_nothing_is_said(run, tmp_path, monkeypatch):
    fake(tmp_path, monkeypatch)
    said = run("build-kernels", "--json")
    assert said.status == 1
    assert {row["arch"] for row in said.json["built"]} == {"sm_75", "sm_90"}
    # This nvcc leaves out sm_80, and fails on the two units in double precision.
    assert len(said.json["built"]) == 2 * (2 * len(build.WINDOWS) + 3)
    assert set(said.json["failed"]) == {
        "sm_80", "plain-double for sm_75", "common-double for sm_75", "plain-double for sm_90",
        "common-double for sm_90",
    }  # fmt: skip


def test_sm_70_is_left_to_older_compilers(run, tmp_path, monkeypatch):
    fake(tmp_path, monkeypatch)
    said = run("build-kernels", "--arch", "sm_70")
    assert said.status == 1
    assert "sm_70 is untested" in said.err
    assert "(CUDA 13.0) does not compile for sm_70, only for sm_75, sm_90" in said.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--arch", "hopper"), "'hopper' is no architecture"),
        (("--window", "188"), "no fused kernel covers a window of 188 pixels"),
    ],
)
def test_wrong_use(run, words, said):
    ended = run("build-kernels", *words)
    assert ended.status == 2
    assert said in " ".join(ended.err.replace("│", " ").split())


def test_without_nvcc_it_says_how_to_get_one(run, monkeypatch):
    monkeypatch.setattr("hxn_ptycho.solver.nvcc.find_nvcc", lambda: None)
    said = run("build-kernels")
    assert said.status == 1
    assert "pip install nvidia-cuda-nvcc nvidia-cuda-cccl" in said.err


def test_doctor_without_nvcc(home, monkeypatch, tmp_path, cache):
    monkeypatch.setattr("hxn_ptycho.solver.nvcc.find_nvcc", lambda: None)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    finding = checks.compiler(home)
    assert finding.state == "optional"
    assert "no nvcc" in finding.found
    assert "build-kernels" in finding.advice
    cache.mkdir()
    (cache / build.cubin(build.frames(), "sm_90")).touch()
    (cache / "frames-sm_90-0123456789abcdef.cubin").touch()
    finding = checks.compiler(home)
    assert finding.state == "good"
    assert "1 for sm_90" in finding.found


def test_doctor_told_a_wrong_nvcc(home, monkeypatch):
    monkeypatch.setenv("NVCC", "/nowhere/nvcc")
    finding = checks.compiler(home)
    assert "/nowhere/nvcc" in finding.found
    assert finding.advice
