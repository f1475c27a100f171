from __future__ import annotations

import pytest

from hxn_ptycho.recipe import Recipe, RecipeError


def test_half_storage_is_for_one_object_mode_in_single_precision() -> None:
    assert Recipe.make(storage="half", probe_modes=5).storage == "half"
    assert Recipe.make().storage == "single"
    with pytest.raises(RecipeError, match=r'no more than single precision: use precision="single"'):
        Recipe.make(storage="half", precision="double")
    with pytest.raises(RecipeError, match="for one object mode, and object_modes=2"):
        Recipe.make(storage="half", object_modes=2)
    with pytest.raises(RecipeError, match="storage='quarter'"):
        Recipe.make(storage="quarter")
