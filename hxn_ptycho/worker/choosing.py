"""The recipe of a run that is worked on by hand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..prepare import absolute_files, override
from ..recipe import Recipe


def choose_recipe(
    recipe: Recipe | str | os.PathLike[str] | None,
    start: Mapping[str, Any],
    keys: Mapping[str, Any],
) -> Recipe:
    """Return the recipe, changed by `keys`; files it names are relative to where the user is.

    Parameters
    ----------
    recipe : Recipe, path or None
        None: the defaults, with what the plan said for its run.
    start : mapping
        The raw run's start document.
    keys : mapping
        Keys of the recipe, in place of its own.

    Raises
    ------
    RecipeError
        If the recipe cannot be used.
    """
    if recipe is None:
        recipe = override(Recipe(), start)
    elif not isinstance(recipe, Recipe):
        recipe = Recipe.from_toml(recipe)
    return absolute_files(recipe.merge(keys), Path.cwd())
