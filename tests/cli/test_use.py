"""Help, wrong use, and errors told to a person."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import pytest

from hxn_ptycho import __version__
from hxn_ptycho.cli.output import print_json, tell
from hxn_ptycho.recipe import RecipeError
from hxn_ptycho.scan import ScanError

COMMANDS = [
    "demo", "import", "reconstruct", "results", "show", "export", "queue", "worker", "doctor",
    "catalog-index", "bench",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_has_an_example(run, command):
    said = run(command, "--help")
    assert said.status == 0
    assert f"hxn-ptycho {command}" in said.out.partition("Example:")[2]


def test_help_names_all_commands_and_imports_no_room(run):
    said = run("--help")
    for command in COMMANDS:
        assert f"\n  {command} " in said.out
    code = (
        "import sys\n"
        "from hxn_ptycho.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit as ended: assert ended.code == 0\n"
        "slow = {'numpy', 'bluesky', 'databroker', 'tiled', 'pydantic', 'matplotlib', 'h5py'}\n"
        "assert not slow & set(sys.modules), slow & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_it_can_be_run_as_a_module():
    said = subprocess.run(
        [sys.executable, "-m", "hxn_ptycho.cli", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split() == ["hxn_ptycho", __version__]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["frobnicate"], "frobnicate"),
        (["reconstruct"], "RUN"),
        (["reconstruct", "--itertions", "3"], "--itertions"),
        (["reconstruct", "-1", "--itertions=3"], "--itertions"),
        (["results", "--since", "lately"], "since='lately' is no time"),
        (["results", "--until", "25.11.2026"], "until='25.11.2026' is no time"),
        (["results", "--since", "2026-11-26", "--until", "2026-11-25"], "is not before"),
        (["results", "--limit", "-1"], "--limit"),
        (["show"], "UID"),
        (["show", "--fast"], "--fast"),
        (["import", "scan.npz", "--energy-kev", "many"], "--energy-kev"),
        (
            ["export", "-1", "here", "--format", "png"],
            "npy, tiff, cxi, hxn (of a result), ptycho_gui",
        ),
        (["bench", "--ranks", "0"], "--ranks"),
        (["reconstruct", "-1", "--set", "probe_mode=3"], "did you mean 'probe_modes'"),
        (["reconstruct", "-1", "--set", "beta=7"], "beta"),
        (["reconstruct", "-1", "--set", "beta"], "KEY=VALUE"),
        (["reconstruct", "-1", "--device", "tpu"], "tpu"),
        (["reconstruct", "-1", "--recipe", "none.toml"], "none.toml"),
    ],
)
def test_wrong_use_is_told_and_ends_with_2(run, home, words, reason):
    said = run(*words)
    assert said.status == 2
    assert reason in said.err
    assert said.out == ""
    assert "Traceback" not in said.err


def test_our_errors_are_one_message(home, capsys):
    assert tell(ScanError("900 frames but 899 positions")) == 1
    assert tell(RecipeError("unknown key 'x'")) == 2
    assert capsys.readouterr().err.splitlines() == [
        "Error: 900 frames but 899 positions",
        "Error: unknown key 'x'",
    ]
    assert not (home.root / "hxn-ptycho.log").exists()


def test_an_unforeseen_error_keeps_its_traceback_in_a_log(home, capsys):
    with pytest.raises(KeyError) as caught:
        {}["[bold]key"]
    assert tell(caught.value) == 1
    err = capsys.readouterr().err
    assert "KeyError: '[bold]key'" in err
    assert "Traceback" not in err
    log = home.root / "hxn-ptycho.log"
    assert str(log) in err.replace("\n", "")
    assert "Traceback" in log.read_text()


def test_debug_shows_the_traceback(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HXN_PTYCHO_HOME", str(tmp_path / "file" / "home"))
    said = run("queue", "--all")
    plain = run("worker")
    assert plain.status == 1
    assert "set HXN_PTYCHO_HOME" in plain.err.replace("\n", " ")
    assert "Traceback" not in plain.err
    assert "Traceback" in run("--debug", "worker").err
    assert said.status in (0, 1)


def test_json_has_no_bare_nan(capsys):
    print_json({"a": math.nan, "b": [math.inf, 1.5], "c": None})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": None}


def test_a_home_in_a_file_is_told(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HXN_PTYCHO_HOME", str(tmp_path / "file"))
    said = run("results", "--json")
    assert said.status == 1
    assert said.out == ""
    assert "HXN_PTYCHO_HOME" in said.err
    assert os.path.isfile(tmp_path / "file")
