"""Kernels compiled and kept: with small sources of the tests' own, and the real nvcc."""

from __future__ import annotations

import configparser
import logging
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from hxn_ptycho.solver import build as build_module
from hxn_ptycho.solver.build import (
    KERNELS_VARIABLE,
    WINDOWS,
    Lines,
    Resources,
    Unit,
    cache_folder,
    common,
    compile_unit,
    cubin,
    ensure,
    find_cached,
    find_nvcc,
    find_sources,
    frames,
    fused,
    lines_of,
    list_cached,
    plain,
    units,
)
from hxn_ptycho.solver.job import JobError
from hxn_ptycho.solver.nvcc import arch_number, known_archs, nvcc_version, read_resources

ROOT = Path(__file__).parents[2]
COMPILER = find_nvcc()
compiles = pytest.mark.skipif(
    COMPILER is None or shutil.which("g++") is None, reason="needs nvcc and g++"
)

KERNEL = """
#include "factor.cuh"
extern "C" __global__ void scale(float *x) {
    __shared__ float block[64];
    block[threadIdx.x % 64] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = FACTOR * block[63 - threadIdx.x % 64];
}
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "frames.cu").write_text(KERNEL)
    (folder / "factor.cuh").write_text("#define FACTOR 2.0f\n")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv(KERNELS_VARIABLE, str(folder))
    return folder


@pytest.fixture
def counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The real nvcc behind a script that notes each run in a file, which is returned."""
    runs = tmp_path / "runs"
    script = tmp_path / "nvcc"
    script.write_text(f'#!/bin/sh\necho run >> "{runs}"\nexec "{COMPILER}" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("NVCC", str(script))
    return runs


def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str = "exit 1") -> None:
    script = tmp_path / "failing-nvcc"
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o755)
    monkeypatch.setenv("NVCC", str(script))


def without_nvcc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "find_nvcc", lambda: None)


# Windows


def test_lines_of_windows():
    assert lines_of(192) == Lines(threads=8, lines=4, elements=24)
    assert lines_of(128) == Lines(8, 4, 16)
    assert lines_of(256) == Lines(8, 4, 32)
    assert lines_of(512) == Lines(16, 2, 32)
    assert lines_of(200) == Lines(8, 4, 25)
    assert lines_of(320) == Lines(16, 2, 20)


@pytest.mark.parametrize("window", [0, 32, 60, 63, 65, 188, 324, 448, 500, 513, 540, 1024])
def test_windows_that_no_fused_kernel_covers(window):
    assert lines_of(window) is None
    with pytest.raises(JobError, match=f"window of {window} pixels"):
        fused(window, "half")


def test_lines_fill_a_warp_and_divide_the_window():
    covered = {window: found for window in range(600) if (found := lines_of(window))}
    assert set(WINDOWS) < set(covered)
    for window, found in covered.items():
        assert found.threads * found.elements == window
        assert window % found.lines == 0
        assert found.lines >= 2
        assert found.threads * found.lines <= 32
        assert found.elements <= 32


# Units


def test_units_and_their_names():
    assert fused(192, "half") == Unit(
        "fused.cu", (("WINDOW", "192"), ("THREADS", "8"), ("LINES", "4"), ("HALF", "1"))
    )
    assert dict(fused(192, "single").defines)["HALF"] == "0"
    assert plain("double") == Unit("plain.cu", (("DOUBLE", "1"),))
    assert common("single") == Unit("common.cu", (("DOUBLE", "0"),))
    assert frames() == Unit("frames.cu", ())
    names = [unit.name for unit in units()]
    assert len(set(names)) == len(names) == 2 * len(WINDOWS) + 5
    assert {"fused-192-half", "fused-64-single", "plain-double", "common-single"} < set(names)


def test_name_of_a_cubin_changes_with_all_that_decides_it(sources):
    name = cubin(fused(192, "half"), "sm_90", sources)
    assert name.startswith("fused-192-half-sm_90-")
    assert len(name) == len("fused-192-half-sm_90-.cubin") + 16
    assert cubin(fused(192, "half"), "sm_90", sources) == name
    digits = {
        cubin(unit, arch, sources).rpartition("-")[2]
        for unit in (fused(192, "half"), fused(192, "single"), frames())
        for arch in ("sm_80", "sm_90")
    }
    assert len(digits) == 6
    (sources / ".#factor.cuh").symlink_to("somebody@somewhere.1")
    assert cubin(fused(192, "half"), "sm_90", sources) == name
    (sources / "factor.cuh").write_text("#define FACTOR 3.0f\n")
    changed = cubin(fused(192, "half"), "sm_90", sources)
    (sources / "factor.cuh").rename(sources / "other.cuh")
    renamed = cubin(fused(192, "half"), "sm_90", sources)
    assert len({name, changed, renamed}) == 3


def test_sources_elsewhere_have_the_same_name(sources, tmp_path):
    shutil.copytree(sources, tmp_path / "elsewhere")
    assert cubin(frames(), "sm_90", tmp_path / "elsewhere") == cubin(frames(), "sm_90", sources)


@pytest.mark.parametrize("arch", ["90", "sm90", "compute_90", "sm_90a", "sm_9", ""])
def test_what_is_no_architecture(arch, sources):
    with pytest.raises(JobError, match="no architecture"):
        arch_number(arch)
    with pytest.raises(JobError, match="no architecture"):
        ensure(frames(), arch, sources)


# Where things are


def in_a_tree(tree: Path, code: str) -> str:
    """Run Python in a tree that is not installed, where no .pth file of others counts."""
    places = [str(tree), *{sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=tree, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the part of the tree that is needed."""
    folder = tmp_path / "tree"
    wanted = folder / "hxn_ptycho"
    shutil.copytree(ROOT / "hxn_ptycho" / "solver", wanted / "solver")
    for name in ("__init__.py", "_version.py"):
        shutil.copy(ROOT / "hxn_ptycho" / name, wanted)
    return folder


FIND = "from hxn_ptycho.solver.build import find_sources; print(find_sources())"


def make_kernels(folder: Path) -> Path:
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "frames.cu").touch()
    return folder


def test_sources_of_a_bare_tree(tree):
    kernels = make_kernels(tree / "kernels")
    assert in_a_tree(tree, FIND) == str(kernels)


def test_sources_as_a_wheel_installs_them_come_first(tree):
    make_kernels(tree / "kernels")
    package = make_kernels(tree / "hxn_ptycho" / "kernels")
    assert in_a_tree(tree, FIND) == str(package)


def test_a_wheel_holds_the_sources():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert "hxn_ptycho.kernels = kernels" in config["options"]["package_dir"]
    patterns = config["options.package_data"]["hxn_ptycho.kernels"]
    kinds = {path.suffix for path in (ROOT / "kernels").glob("*.*")} - {".py"}
    assert {"*.cu", "*.cuh"} <= {each.strip() for each in patterns.split(",")}
    assert {f"*{kind}" for kind in kinds} <= {each.strip() for each in patterns.split(",")}


def test_no_sources_says_both_places(tree):
    # kernels/ of something else that is installed in the same folder
    (tree / "kernels").mkdir()
    (tree / "kernels" / "__init__.py").touch()
    said = in_a_tree(
        tree,
        "from hxn_ptycho.solver.build import find_sources, JobError\n"
        "try: find_sources()\n"
        "except JobError as error: print(error)",
    )
    assert "package hxn_ptycho.kernels" in said
    assert str(tree / "kernels") in said


def test_cache_folder(monkeypatch, tmp_path):
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv(KERNELS_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/hxn_ptycho/kernels"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    assert cache_folder() == tmp_path / "user/.cache/hxn_ptycho/kernels"


def make_program(path: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_nvcc_is_found_in_this_order(tmp_path, monkeypatch):
    named = make_program(tmp_path / "named" / "nvcc")
    home = make_program(tmp_path / "home" / "bin" / "nvcc")
    path = make_program(tmp_path / "path" / "nvcc")
    toolkit = make_program(tmp_path / "toolkit" / "nvcc")
    wheel = make_program(tmp_path / "site" / "nvidia" / "cu13" / "bin" / "nvcc")
    monkeypatch.setenv("NVCC", str(named))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(path.parent))
    monkeypatch.setattr("hxn_ptycho.solver.nvcc.TOOLKIT", toolkit.parent)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site")])
    for expected in (named, home, path, toolkit, wheel):
        assert find_nvcc() == expected
        if expected is named:
            monkeypatch.delenv("NVCC")
        else:
            # What cannot be run is none.
            expected.chmod(0o644)
    assert find_nvcc() is None


def test_an_nvcc_named_wrongly_is_refused(monkeypatch):
    monkeypatch.setenv("NVCC", "/nowhere/nvcc")
    with pytest.raises(JobError, match="NVCC=/nowhere/nvcc is not a program"):
        find_nvcc()


# Compiling


@compiles
def test_compiled_once_then_found(sources, cache, counting, tmp_path, monkeypatch, caplog):
    with caplog.at_level(logging.INFO, "hxn_ptycho.solver"):
        made = ensure(frames(), "sm_80", sources)
    assert made == cache / cubin(frames(), "sm_80", sources)
    assert made.read_bytes().startswith(b"\x7fELF")
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert [path for path in cache.iterdir() if not path.name.endswith(".lock")] == [made]
    (line,) = caplog.messages
    assert line.startswith("compiled kernel frames for sm_80 in ")
    assert line.endswith(" s")
    failing(tmp_path, monkeypatch)
    assert ensure(frames(), "sm_80", sources) == made
    assert list_cached(sources) == {"sm_80": 1}
    assert counting.read_text().count("run") == 1


@compiles
def test_an_edited_source_is_compiled_anew(sources, counting):
    first = ensure(frames(), "sm_80", sources)
    (sources / "factor.cuh").write_text("#define FACTOR 3.0f\n")
    second = ensure(frames(), "sm_80", sources)
    assert first != second
    assert first.read_bytes() != second.read_bytes()
    assert list_cached(sources) == {"sm_80": 1}
    assert counting.read_text().count("run") == 2


@compiles
def test_processes_that_start_together_compile_once(sources, counting, tmp_path):
    code = (
        "import sys; from pathlib import Path; from hxn_ptycho.solver.build import *\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(ensure(frames(), 'sm_80', Path(sys.argv[1])))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(sources)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(3)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = {process.communicate(timeout=120)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert said == {str(cache_folder() / cubin(frames(), "sm_80", sources))}
    assert counting.read_text().count("run") == 1


def test_a_lower_minor_serves(sources, cache, tmp_path, monkeypatch):
    cache.mkdir()
    failing(tmp_path, monkeypatch)
    for arch in ("sm_75", "sm_80", "sm_86", "sm_90"):
        (cache / cubin(frames(), arch, sources)).touch()
    expected = {"sm_80": "sm_80", "sm_86": "sm_86", "sm_89": "sm_86", "sm_75": "sm_75"}
    for arch, served in expected.items():
        assert ensure(frames(), arch, sources) == cache / cubin(frames(), served, sources)
    for arch in ("sm_72", "sm_100", "sm_120"):
        assert find_cached(frames(), arch, sources) is None
    assert list_cached(sources) == {"sm_75": 1, "sm_80": 1, "sm_86": 1, "sm_90": 1}


def test_no_nvcc_says_what_is_missing_and_what_to_do(sources, cache, monkeypatch):
    without_nvcc(monkeypatch)
    with pytest.raises(JobError) as refused:
        ensure(fused(192, "half"), "sm_90", sources)
    assert f"no kernel fused-192-half for sm_90 in {cache}, and no nvcc" in str(refused.value)
    for words in ("CUDA toolkit", "pip install nvidia-cuda-nvcc", "--arch sm_90 -o DIR"):
        assert words in refused.value.hint
    assert str(cache) in refused.value.hint


@compiles
def test_a_broken_source_is_told_in_nvccs_words(sources, cache):
    (sources / "frames.cu").write_text("this is no CUDA\n")
    with pytest.raises(JobError, match="frames does not compile for sm_80") as refused:
        ensure(frames(), "sm_80", sources)
    assert "frames.cu(1): error" in str(refused.value)
    assert [path.suffix for path in cache.iterdir()] == [".lock"]
    # It can be mended, and nothing of the failure stays in the way.
    (sources / "frames.cu").write_text(KERNEL)
    assert ensure(frames(), "sm_80", sources).is_file()


def test_a_source_that_is_missing(sources, tmp_path, monkeypatch):
    failing(tmp_path, monkeypatch)
    with pytest.raises(JobError, match=r"no plain\.cu in"):
        ensure(plain("single"), "sm_80", sources)


def test_an_nvcc_ended_without_words(sources, tmp_path, monkeypatch):
    failing(tmp_path, monkeypatch, "exit 7")
    with pytest.raises(JobError, match="exit status 7"):
        ensure(frames(), "sm_80", sources)


def test_an_architecture_that_nvcc_left_out(sources, tmp_path, monkeypatch):
    failing(
        tmp_path,
        monkeypatch,
        "case $1 in\n--version) echo 'Cuda compilation tools, release 13.0, V13.0.88';;\n"
        "--list-gpu-code) echo sm_75; echo sm_80;;\n"
        "*) echo \"nvcc fatal   : Unsupported gpu architecture 'sm_70'\"; exit 1;;\nesac",
    )
    with pytest.raises(JobError) as refused:
        ensure(frames(), "sm_70", sources)
    assert "(CUDA 13.0) does not compile for sm_70, only for sm_75, sm_80" in str(refused.value)
    assert "older CUDA" in refused.value.hint


@compiles
def test_what_this_nvcc_compiles_for():
    assert COMPILER is not None
    assert {"sm_75", "sm_80", "sm_90"} <= set(known_archs(COMPILER))
    assert float(nvcc_version(COMPILER)) >= 12
    with pytest.raises(JobError, match=r"does not compile for sm_30, only for .*sm_90"):
        compile_unit(Unit("frames.cu"), "sm_30", COMPILER, cache_made(), sources=any_sources())


def cache_made() -> Path:
    cache_folder().mkdir()
    return cache_folder()


def any_sources() -> Path:
    folder = cache_folder().parent / "any"
    folder.mkdir()
    (folder / "frames.cu").write_text("__global__ void nothing() {}\n")
    return folder


def test_no_host_compiler_is_told(sources, tmp_path, monkeypatch):
    failing(
        tmp_path,
        monkeypatch,
        "echo 'gcc: No such file or directory'\n"
        "echo 'nvcc fatal   : Failed to preprocess host compiler properties.'; exit 1",
    )
    with pytest.raises(JobError) as refused:
        ensure(frames(), "sm_80", sources)
    assert "g++" in refused.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_written(sources, cache, tmp_path, monkeypatch):
    failing(tmp_path, monkeypatch)
    cache.mkdir(mode=0o500)
    with pytest.raises(JobError, match="cannot be kept in") as refused:
        ensure(frames(), "sm_80", sources)
    assert KERNELS_VARIABLE in refused.value.hint


def test_a_cache_that_is_a_file(sources, cache, tmp_path, monkeypatch):
    failing(tmp_path, monkeypatch)
    cache.touch()
    with pytest.raises(JobError, match="cannot be kept in") as refused:
        ensure(frames(), "sm_80", sources)
    assert KERNELS_VARIABLE in refused.value.hint


# Resources


@compiles
def test_resources_of_a_kernel(sources):
    assert COMPILER is not None
    built = compile_unit(frames(), "sm_80", COMPILER, cache_made(), True, sources)
    (found,) = built.resources
    assert (found.kernel, found.shared) == ("scale", 256)
    assert 4 < found.registers < 40
    assert found.spill_stores == found.spill_loads == 0
    assert built.seconds > 0
    assert compile_unit(frames(), "sm_80", COMPILER, cache_folder(), False, sources).resources == ()


@compiles
def test_spills_are_seen(sources):
    assert COMPILER is not None
    (sources / "frames.cu").write_text(
        """
extern "C" __global__ void __launch_bounds__(1024, 2) hungry(float *x) {
    float v[96];
    for (int i = 0; i < 96; i++) v[i] = x[threadIdx.x + 1024 * i];
    __syncthreads();
    float sum = 0;
    for (int i = 0; i < 96; i++) sum += v[i] * v[95 - i];
    __syncthreads();
    for (int i = 0; i < 96; i++) x[threadIdx.x + 1024 * i] = v[i] * sum;
}
"""
    )
    built = compile_unit(frames(), "sm_80", COMPILER, cache_made(), True, sources)
    (found,) = built.resources
    assert found.registers <= 32
    assert found.spill_stores > 0
    assert found.spill_loads > 0


def test_what_ptxas_says_is_read():
    said = """ptxas info    : 0 bytes gmem, 72 bytes cmem[3]
ptxas info    : Compiling entry function 'turn' for 'sm_75'
ptxas info    : Function properties for turn
    40 bytes stack frame, 36 bytes spill stores, 40 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers, 40 bytes cumulative stack size, 372 bytes cmem[0]
ptxas info    : Function properties for helper
    8 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Compiling entry function 'fill' for 'sm_75'
ptxas info    : Function properties for fill
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 1024 bytes smem, 372 bytes cmem[0]
ptxas info    : Compile time = 3.778 ms
"""  # noqa: E501
    assert read_resources(said) == (
        Resources("fill", registers=255, shared=1024),
        Resources("turn", registers=64, spill_stores=40, spill_loads=48),
    )
    assert read_resources("") == ()


def test_the_kernels_sources_are_found():
    assert find_sources() == ROOT / "kernels"
