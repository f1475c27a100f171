"""A unit file read as systemd reads it, as far as ours go."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Unit:
    lines: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, path: Path) -> Unit:
        pairs = [line.partition("=") for line in path.read_text().splitlines()]
        return cls(tuple((key, value) for key, sep, value in pairs if sep and key[0] != "#"))

    def all(self, key: str) -> list[str]:
        return [value for name, value in self.lines if name == key]

    def one(self, key: str) -> str:
        (value,) = self.all(key)
        return value

    @property
    def command(self) -> list[str]:
        return [word.replace("$$", "$") for word in words(self.one("ExecStart"))]

    @property
    def environment(self) -> dict[str, str]:
        """What a process of this unit has, and nothing of ours."""
        pairs = [word.partition("=") for each in self.all("Environment") for word in words(each)]
        return {"HOME": os.environ.get("HOME", "/"), **{key: value for key, _, value in pairs}}


def words(text: str) -> list[str]:
    return [word.replace("%%", "%") for word in shlex.split(text)]
