from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hxn_ptycho.cli import checks
from hxn_ptycho.home import Home

from .programs import program


def test_doctor_finds_what_there_is(run, used_home, monkeypatch, tmp_path):
    monkeypatch.setenv("TILED_PROFILES", str(tmp_path / "profiles"))
    said = run("doctor", "--json")
    assert said.status == 0, said.out
    findings = {each["name"]: each for each in said.json["findings"]}
    assert {
        "MPI",
        "MPI ranks",
        "Cores",
        "Memory",
        "Disk",
        "Catalog raw",
        "Catalog processed",
        "GPU",
        "CUDA compiler",
    } <= set(findings)
    assert said.json["usable"] is True
    assert said.json["home"] == str(used_home.root)
    assert findings["MPI ranks"]["state"] == "good"
    assert findings["Beamline"]["state"] == "good"
    assert said.json["beamline"]["motors"]["zpssx"]["from"] == "package"
    assert sys.executable in findings["Python"]["found"]
    assert not {"Slurm", "Hosts"} & set(findings)  # neither is configured
    assert all(each["state"] == "good" or each["state"] == "optional" for each in findings.values())


def test_doctor_tells_what_is_missing_and_what_to_do(run, home):
    home.config_file.write_text('mpiexec = "/nowhere/mpiexec"\n')
    said = run("doctor")
    assert said.status == 1
    assert "/nowhere/mpiexec" in said.out
    assert "missing" in said.out
    assert "config.toml" in said.out
    assert "zpssx" in said.out
    said = run("doctor", "--json")
    assert said.status == 1
    assert said.json["usable"] is False


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("echo 1; echo 1", "do not see each other"),
        ("echo broken >&2; exit 7", "exit status 7: broken"),
    ],
)
def test_ranks_that_do_not_work_together_are_noticed(home: Home, tmp_path: Path, text, found):
    mpiexec = program(
        tmp_path / "mpiexec", f'if [ "$1" = --version ]; then echo HYDRA; exit; fi\n{text}'
    )
    home.config_file.write_text(f'mpiexec = "{mpiexec}"\n')
    finding = checks.ranks(home)
    assert finding.state == "missing"
    assert found in finding.found
    assert finding.advice


def test_results_folder_that_cannot_be_made(home, tmp_path):
    (tmp_path / "file").write_text("")
    home.config_file.write_text(f'results_root = "{tmp_path}/file/{{scan_id}}"\n')
    finding = checks.results_folder(home)
    assert finding.state == "missing"


def test_profile_is_installed_where_tiled_looks(used_home, tmp_path):
    import os
    import subprocess

    folder = tmp_path / "profiles"
    environment = {**os.environ, "TILED_PROFILES": str(folder)}
    subprocess.run(
        [sys.executable, "-m", "hxn_ptycho.cli", "doctor", "--install-profile"],
        env=environment, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    code = (
        "from tiled.client import from_profile\n"
        "client = from_profile('hxn_ptycho')\n"
        "assert set(client) == {'raw', 'processed'}, list(client)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment, check=True)
