"""What takes long, and differs little from what is tested always: HXN_TEST_EVERY=1 tests it too."""

from __future__ import annotations

import os

import pytest

EVERY = bool(os.environ.get("HXN_TEST_EVERY"))

if_every = pytest.mark.skipif(not EVERY, reason="takes long; HXN_TEST_EVERY=1 runs it")
