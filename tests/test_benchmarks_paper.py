"""benchmarks/paper.py: the paper's figures, tried here on the CPU at a thousandth of their size."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("paper_figures")


def measured(*runs: tuple[int, str, dict[str, Any]], **keys: Any) -> dict[str, Any]:
    """What the script writes of its figure with the paper's numbers; by GPUs, sums, figures."""
    return {
        "figure": "multi-mode", "commit": "abc", "device": "cuda", "gpus": ["H100"] * 4,
        "iterations": 50, "scale": 1.0, "precision": "single", "failed": [],
        "runs": [
            {"case": 0, "gpus": gpus, "sums": sums,
             "measured": {"communicator": "NCCL", "seconds_total": 9.0, **said}}
            for gpus, sums, said in runs
        ],
    } | keys  # fmt: skip


def seconds(value: float) -> dict[str, float]:
    return {"seconds_per_iteration": value}


def test_a_figure_is_measured_with_one_command(tmp_path: Path) -> None:
    command = [
        sys.executable, BENCHMARKS / "paper.py", "weak-scaling", "--device", "cpu",
        "--gpus", "1,2", "--scale", "0.001", "--iterations", "3", "--out", tmp_path,
    ]  # fmt: skip
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    runs = json.loads((tmp_path / "weak-scaling.json").read_text())["runs"]
    assert [(run["measured"]["ranks"], run["measured"]["views"]) for run in runs] == [
        (1, 5),
        (2, 10),
    ] * 2
    table = (tmp_path / "weak-scaling.md").read_text()
    assert table in said.stdout
    lines = [line for line in table.splitlines() if line.startswith("| 5 views of 200² a GPU")]
    for line, run in zip(lines, runs, strict=True):
        assert f"| {1e3 * run['measured']['seconds_per_iteration']:.2f} |" in line
        assert line.endswith(f"| {run['measured']['seconds_total']:.2f} |")
    assert (tmp_path / "weak-scaling.png").read_bytes()[1:4] == b"PNG"


def test_without_matplotlib_the_table_is_written(tmp_path: Path) -> None:
    file = tmp_path / "multi-mode.json"
    file.write_text(json.dumps(measured((1, "auto", seconds(0.028)))))
    program = (
        "import sys, runpy; sys.modules['matplotlib'] = None; "
        f"sys.argv = ['paper.py', 'multi-mode', '--from', {str(file)!r}]; "
        f"sys.path.insert(0, {str(BENCHMARKS)!r}); "
        f"runpy.run_path({str(BENCHMARKS / 'paper.py')!r}, run_name='__main__')"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert "1.40" in file.with_suffix(".md").read_text()
    assert f"multi-mode --from {file}" in said.stderr
    assert not file.with_suffix(".png").exists()


def test_rows_are_medians_beside_the_paper(figures: ModuleType) -> None:
    sums = {"sum_seconds": 1e-3, "sum_bytes": 20e6, "link_bytes_per_second": 200e9}
    one, four, host = figures.rows(
        measured(
            (1, "auto", seconds(0.030)), (1, "auto", seconds(0.028)), (1, "auto", seconds(0.029)),
            (4, "auto", seconds(0.008) | sums), (4, "host", seconds(0.020)),
        )
    )  # fmt: skip
    assert (one.iteration, one.runs, one.paper, one.communicator) == (0.029, 3, None, "–")
    assert (four.paper, four.sum_seconds, four.floor) == (25.69, 1e-3, pytest.approx(1e-4))
    assert four.speedup == pytest.approx(0.029 / 0.008)
    assert four.efficiency == pytest.approx(0.029 / 0.008 / 4)
    # Compared with one GPU, which sums nothing, however the others sum.
    assert (host.speedup, host.sum_seconds) == (pytest.approx(0.029 / 0.020), None)


def test_weak_scaling_counts_views(figures: ModuleType) -> None:
    _, two = figures.rows(
        measured((1, "auto", seconds(0.004)), (2, "auto", seconds(0.005)), figure="weak-scaling")
    )
    assert (two.speedup, two.efficiency) == (pytest.approx(1.6), pytest.approx(0.8))


@pytest.mark.parametrize("other", [{"scale": 0.01}, {"iterations": 20}])
def test_the_paper_stands_beside_its_own_case_only(figures: ModuleType, other: dict) -> None:
    (row,) = figures.rows(measured((4, "auto", seconds(0.008)), **other))
    assert row.paper is None


def test_a_run_that_failed_is_told(figures: ModuleType) -> None:
    failed = [{"case": 1, "gpus": 4, "sums": "host", "reason": "out of memory"}]
    table = figures.table(measured((4, "auto", seconds(0.008)), failed=failed))
    assert "10,000 views of 188², 5 modes, 4 GPUs, sums host: failed, out of memory" in table
