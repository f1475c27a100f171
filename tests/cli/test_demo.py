from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hxn_ptycho.cli import demo
from hxn_ptycho.results import results

SMALL = (
    "RE(fly2d([merlin1], zpssx, -0.2, 0.2, 6, zpssy, -0.2, 0.2, 6, 0.01, "
    "md={'ptycho': {'iterations': 5, 'ranks': 1}}))"
)


@pytest.fixture(autouse=True)
def workers_end_soon(used_home):
    used_home.config_file.write_text("idle_seconds = 3\n")


def test_a_session_scans_reconstructs_and_finds_again(used_home, capfd):
    status = demo.run_session(used_home, SMALL)
    out, err = capfd.readouterr()
    assert status == 0, out + err
    (result,) = results(scan_id=1, home=used_home)
    assert result.exit_status == "success"
    for said in (SMALL, result.uid, result.raw_uid, str(result.picture), "results(scan_id=1)[-1]"):
        assert said in out
    assert result.picture is not None
    assert result.picture.exists()


def test_a_plan_that_fails_is_told(used_home, capfd):
    assert demo.run_session(used_home, "RE(fly2d([merlin1], zpssx, -99, 99, 3))") != 0
    out, err = capfd.readouterr()
    assert "Error" in out + err


def test_the_demo_scans_as_the_readme_says():
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert demo.SCAN in readme


def test_without_a_tree_the_packaged_profile_is_copied(home, tmp_path, monkeypatch):
    tree = Path(__file__).parents[2] / "profile_collection"
    assert demo.profile_folder(home) == tree
    pytest.importorskip("hxn_ptycho.profile_collection")
    installed = tmp_path / "site" / "hxn_ptycho" / "cli"
    shutil.copytree(Path(demo.__file__).parent, installed)
    monkeypatch.setattr(demo, "__file__", str(installed / "demo.py"))
    profile = demo.profile_folder(home)
    assert profile == home.root / "profile"
    names = {path.name for path in (tree / "startup").glob("*.py")}
    assert {path.name for path in (profile / "startup").glob("*.py")} == names
    assert (profile / "ipython_config.py").exists()
