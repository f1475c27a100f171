"""Where hxn_ptycho keeps what it keeps: catalogs, jobs, results, data, and ``config.toml``."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError

HOME_VARIABLE = "HXN_PTYCHO_HOME"


class ConfigError(ValueError):
    """``config.toml`` cannot be used; the message names the file and the key."""


class Config(BaseModel):
    """What ``HOME/config.toml`` may say. Every key has a default, so that no file is needed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    results_root: Annotated[
        str,
        Field(
            description="Folder for published results; {cycle}, {proposal}, {scan_id} come from "
            "the start document. Default: HOME/results."
        ),
    ] = ""
    readable_storage: Annotated[
        tuple[str, ...],
        Field(description="Folders, besides HOME/data, whose files the catalog may read."),
    ] = ()
    mpiexec: Annotated[
        str,
        Field(description="The mpiexec to launch with; default: the one beside Python, then PATH."),
    ] = ""
    idle_seconds: Annotated[
        float, Field(ge=0, description="A worker without a job ends after so many seconds.")
    ] = 600.0


@dataclass(frozen=True)
class Home:
    """One folder that holds a user's catalogs, jobs, results and simulated or imported data.

    Parameters
    ----------
    root : Path
        Absolute path of the folder. It is made, private to the user, when first needed.
    """

    root: Path

    @property
    def jobs(self) -> Path:
        """Job folders, one a job uid."""
        return self.root / "jobs"

    @property
    def results(self) -> Path:
        """Published results, unless ``results_root`` of config.toml says otherwise."""
        return self.root / "results"

    @property
    def data(self) -> Path:
        """Frames of simulated and imported scans."""
        return self.root / "data"

    @property
    def catalogs(self) -> Path:
        """The embedded catalogs' database files."""
        return self.root / "catalogs"

    @property
    def config_file(self) -> Path:
        """``config.toml``; need not exist."""
        return self.root / "config.toml"

    def make(self) -> Home:
        """Make the folders (mode 0700 for the root) and return self.

        Raises
        ------
        ConfigError
            If the folder cannot be made or written.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.jobs, self.results, self.data, self.catalogs):
                folder.mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"the folder {self.root} cannot be made or written ({error.strerror}); "
                f"set {HOME_VARIABLE} to a folder that can"
            ) from error
        return self

    def config(self) -> Config:
        """Read ``config.toml``.

        Raises
        ------
        ConfigError
            If the file is not TOML, has an unknown key or a value of the wrong kind.
        """
        if not self.config_file.exists():
            return Config()
        try:
            return Config.model_validate(tomllib.loads(self.config_file.read_text()))
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{self.config_file} is not TOML: {error}") from error
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
            )
            raise ConfigError(f"{self.config_file}: {faults}") from error


def find_home(root: str | os.PathLike[str] | None = None) -> Home:
    """Return the home folder: the argument, else ``HXN_PTYCHO_HOME``, else the user's data folder.

    Parameters
    ----------
    root : path, optional
        Overrides the environment variable.
    """
    chosen = root or os.environ.get(HOME_VARIABLE) or user_data_path("hxn_ptycho")
    return Home(Path(chosen).expanduser().absolute())
