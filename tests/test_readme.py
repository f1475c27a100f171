"""What the README promises is there."""

from __future__ import annotations

import ast
import re
import runpy
import tomllib
from pathlib import Path

import pytest

from hxn_ptycho import cli, home
from hxn_ptycho.recipe import Recipe

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_table_of_the_recipe_is_that_of_the_code():
    made = runpy.run_path(str(ROOT / "docs" / "recipe_table.py"))
    assert made["renewed"](README) == README, "make docs writes it"
    for key in Recipe.model_fields.keys() - {"version"}:
        assert f"| `{key}` |" in README


def test_commands_are_those_there_are():
    there = {command.name or command.callback.__name__ for command in cli.app.registered_commands}
    named = set(re.findall(r"^\| `hxn-ptycho ([\w-]+)", README, re.MULTILINE))
    assert named == there
    used = set(re.findall(r"hxn-ptycho ([\w-]+)", README)) - {"COMMAND"}
    assert used == there


@pytest.mark.parametrize("text", blocks("python"))
def test_python_can_be_typed(text):
    ast.parse(text)


def test_toml_is_accepted():
    # One of a recipe; the others together are a config.toml.
    tables = [tomllib.loads(text) for text in blocks("toml")]
    (recipe,) = (table["ptycho"] for table in tables if "ptycho" in table)
    assert Recipe.make(**recipe).probe_modes == 3
    keys = [item for table in tables if "ptycho" not in table for item in table.items()]
    assert len(dict(keys)) == len(keys)
    config = home.Config.model_validate(dict(keys))
    assert config.results_root.startswith("/data/")
    assert config.slurm is not None
    assert config.slurm.gpus == 4
    for key in home.Config.model_fields:
        assert f"`{key}`" in README


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text())
    assert links
    missing = [link for link in links if not link.startswith("http") and not (ROOT / link).exists()]
    assert not missing


def test_make_has_the_two_commands():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
