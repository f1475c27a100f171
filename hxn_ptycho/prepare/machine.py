"""On what a job computes: the device and the number of ranks, by what its engine has."""

from __future__ import annotations

import logging
from typing import Literal

from ..launch import Engine
from ..recipe import Recipe, RecipeError

log = logging.getLogger(__name__)


def choose_device(recipe: Recipe, engine: Engine) -> Literal["cpu", "cuda"]:
    """Return what the recipe's job computes on: with "auto", a GPU where one can be used.

    Raises
    ------
    RecipeError
        If the recipe needs a GPU and none can be used; the message says why.
    """
    lacking = engine.why_no_gpu() if recipe.device != "cpu" else 'device = "cpu" is set'
    if not lacking:
        return "cuda"
    if recipe.device == "cuda":
        raise RecipeError(
            f'device = "cuda": {lacking}; or compute on the CPU, with device = "cpu" or "auto"'
        )
    if recipe.storage == "half":
        raise RecipeError(
            f'storage = "half" needs a GPU, and {lacking}; use storage = "single" on a CPU'
        )
    return "cpu"


def choose_ranks(recipe: Recipe, device: str, engine: Engine) -> int:
    """Return how many ranks the recipe asks for, before the number of views is known.

    Raises
    ------
    LaunchError
        If the engine cannot tell, as with a bad host file.
    """
    return engine.ranks(device) if recipe.ranks == "auto" else int(recipe.ranks)


def resolve(recipe: Recipe, views: int, engine: Engine) -> Recipe:
    """Return the recipe with device and ranks as they will be.

    Raises
    ------
    RecipeError
        If the device cannot be had, or there are more ranks than views.
    LaunchError
        As `choose_ranks`.
    """
    device = choose_device(recipe, engine)
    ranks = choose_ranks(recipe, device, engine)
    if recipe.ranks == "auto":
        ranks = max(1, min(ranks, views))
    elif ranks > views:
        raise RecipeError(f"ranks = {ranks} is more than the scan's {views} views")
    if device == "cuda":
        _say_gpus(ranks, engine)
    elif recipe.device == "auto":
        log.info("computes on the CPU: %s", engine.why_no_gpu())
    return recipe.merge({"device": device, "ranks": ranks})


def _say_gpus(ranks: int, engine: Engine) -> None:
    found = engine.gpus()
    names = sorted({gpu.name for gpu in found})
    log.info("computes on %d of %s, one rank each", min(ranks, len(found)), " and ".join(names))
    if ranks > len(found) and engine.on_this_host():
        log.warning("%d ranks share %d GPUs: one rank a GPU is faster", ranks, len(found))
