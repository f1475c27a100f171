"""Files that a recipe names, found from wherever it is worked on."""

from __future__ import annotations

import os
from pathlib import Path

from ..recipe import Recipe
from .corrections import KEYS, split_dataset
from .starts import WORDS, is_file


def absolute_files(recipe: Recipe, folder: str | os.PathLike[str]) -> Recipe:
    """Return the recipe with all files it names as absolute paths, relative ones from `folder`.

    To be called where the user is: the worker runs in another folder.
    """
    named = {
        key: value
        for key, value in (("probe", recipe.probe), ("object", recipe.object))
        if value not in WORDS[key] and is_file(value)
    }
    named |= {key: value for key in KEYS if (value := getattr(recipe, key)) is not None}
    changes = {key: _absolute(value, Path(folder)) for key, value in named.items()}
    return recipe.merge(changes) if changes else recipe


def _absolute(value: str, folder: Path) -> str:
    file, dataset = split_dataset(value)
    path = (folder / Path(file).expanduser()).absolute()
    return f"{path}:{dataset}" if dataset else str(path)
