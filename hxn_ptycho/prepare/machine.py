"""Where a job computes on this machine: the device and the number of ranks."""

from __future__ import annotations

import logging
from typing import Literal

from ..launch import gpus, physical_cores, why_no_gpu
from ..recipe import Recipe, RecipeError

log = logging.getLogger(__name__)


def choose_device(recipe: Recipe) -> Literal["cpu", "cuda"]:
    """Return what the recipe's job computes on: with "auto", a GPU where one can be used.

    Raises
    ------
    RecipeError
        If the recipe needs a GPU and none can be used; the message says why.
    """
    lacking = why_no_gpu() if recipe.device != "cpu" else 'device = "cpu" is set'
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


def choose_ranks(recipe: Recipe, device: str) -> int:
    """Return how many ranks the recipe asks for, before the number of views is known."""
    if recipe.ranks != "auto":
        return int(recipe.ranks)
    return 1 if device == "cuda" else physical_cores()


def resolve(recipe: Recipe, views: int) -> Recipe:
    """Return the recipe with device and ranks as they will be on this machine.

    Raises
    ------
    RecipeError
        If the device cannot be had here, or there are more ranks than views.
    """
    device = choose_device(recipe)
    ranks = choose_ranks(recipe, device)
    if recipe.ranks == "auto":
        ranks = max(1, min(ranks, views))
    elif ranks > views:
        raise RecipeError(f"ranks = {ranks} is more than the scan's {views} views")
    if device == "cuda":
        _say_gpus(ranks)
    elif recipe.device == "auto":
        log.info("computes on the CPU: %s", why_no_gpu())
    return recipe.merge({"device": device, "ranks": ranks})


def _say_gpus(ranks: int) -> None:
    found = gpus()
    used = min(ranks, len(found))
    log.info("computes on %s", ", ".join(gpu.name for gpu in found[:used]))
    if ranks < len(found):
        log.info(
            "%d of %d GPUs are used: this version takes one by itself. ranks = %d uses all of "
            "them and their memory, but gains little time, as sums go through the host",
            used,
            len(found),
            len(found),
        )
    if ranks > len(found):
        log.warning("%d ranks share %d GPUs: one rank a GPU is faster", ranks, len(found))
