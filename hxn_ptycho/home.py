"""Where hxn_ptycho keeps what it keeps: catalogs, jobs, results, data, and ``config.toml``."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

HOME_VARIABLE = "HXN_PTYCHO_HOME"


class ConfigError(ValueError):
    """``config.toml`` cannot be used; the message names the file and the key."""


# Minutes[:seconds], hours:minutes:seconds, days-hours[:minutes[:seconds]].
_TIME_LIMIT = re.compile(r"\d+(:\d{1,2}){0,2}|\d+-\d{1,2}(:\d{1,2}){0,2}|UNLIMITED|INFINITE")
# What a job is started and followed by is not for options to change.
_NOT_OPTIONS = (
    *("--array", "--chdir", "--error", "--export", "--export-file", "--help", "--input"),
    *("--job-name", "--ntasks", "--open-mode", "--output", "--parsable", "--requeue"),
    *("--test-only", "--usage", "--version", "--wait", "--wrap"),
    *("-a", "-D", "-e", "-h", "-i", "-J", "-n", "-o", "-W"),
)


# Keys of a databroker.v0 configuration whose values are not to be shown.
_SECRETS = frozenset(("mongo_pwd", "password", "pwd", "token", "secret"))


def without_secrets(value: Any) -> Any:
    """Return texts, lists and mappings without passwords: for messages, tables and JSON.

    Addresses lose their users (``mongodb://...@host``), keys of passwords their values.
    """
    if isinstance(value, str):
        return re.sub(r"(\w+://)[^@/\s'\"]*@", r"\1...@", value)
    if isinstance(value, dict):
        return {
            key: "..." if key in _SECRETS else without_secrets(each) for key, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(each) for each in value]
    return value


class Slurm(BaseModel):
    """``[slurm]`` of ``config.toml``: jobs go to a cluster's queue instead of to this host.

    The job folders (``HOME/jobs``), the frames and the results must be on a file system that the
    compute nodes share.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: Annotated[str, Field(description="Partition; default: the cluster's.")] = ""
    account: Annotated[str, Field(description="Account to charge; default: the user's.")] = ""
    gpus: Annotated[
        int, Field(ge=0, description="GPUs of one job, one rank each; 0: compute on CPUs.")
    ] = 0
    gpu_memory_gb: Annotated[
        float | None,
        Field(gt=0, description="Memory of one GPU there, GB; a job is then checked beforehand."),
    ] = None
    tasks: Annotated[
        int, Field(ge=1, description="CPU ranks of one job, one core each; where gpus is 0.")
    ] = 1
    nodes: Annotated[
        int | None, Field(ge=1, description="Nodes to spread a job over; default: as they come.")
    ] = None
    time_limit: Annotated[
        str,
        Field(
            description="After which Slurm ends a job: hours:minutes:seconds, minutes, or "
            'days-hours:minutes:seconds. "1:00" is one minute.'
        ),
    ] = "1:00:00"
    options: Annotated[
        tuple[str, ...], Field(description='Further words for sbatch, as ["--qos=beam"].')
    ] = ()
    mpi: Annotated[
        str,
        Field(
            description="How ranks find each other: what srun --mpi= is given. pmi2 for MPICH, "
            "pmix for Open MPI; srun --mpi=list shows what there is; empty: the cluster's default."
        ),
    ] = "pmi2"
    python: Annotated[
        str, Field(description="Python on the compute nodes; default: the path of this one.")
    ] = ""

    @property
    def ranks(self) -> int:
        """Ranks of one job: one a GPU, else `tasks`."""
        return self.gpus or self.tasks

    @field_validator("partition", "account", "mpi")
    @classmethod
    def _one_word(cls, value: str) -> str:
        if value.startswith("-") or re.search(r"\s", value):
            raise ValueError(f"{value!r} is not a name; write further words into options")
        return value

    @field_validator("time_limit")
    @classmethod
    def _slurms_format(cls, value: str) -> str:
        if not _TIME_LIMIT.fullmatch(value):
            raise ValueError(
                f'{value!r} is no time limit of Slurm\'s: write "1:30:00" (hours:minutes:seconds), '
                '"90" (minutes) or "2-12:00:00" (days-hours:minutes:seconds)'
            )
        if not re.search(r"[1-9UI]", value):  # to Slurm that is no limit at all
            raise ValueError('no time at all; "UNLIMITED" is for no limit')
        return value

    @field_validator("options")
    @classmethod
    def _words_of_sbatch(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            name = word.partition("=")[0]
            if not re.fullmatch(r"--[a-z][a-z-]+(=.*)?|-[A-Za-z].*", word):
                raise ValueError(f"{word!r} is no option: write each as one word, as --qos=beam")
            if name in _NOT_OPTIONS or (name[1] != "-" and name[:2] in _NOT_OPTIONS):
                raise ValueError(
                    f"{name} is not for options: hxn_ptycho sets it, or needs it unset"
                )
        return value

    @model_validator(mode="after")
    def _ranks_on_nodes(self) -> Slurm:
        if self.nodes and self.nodes > self.ranks:
            what = f"{self.gpus} GPUs (gpus)" if self.gpus else f"{self.tasks} ranks (tasks)"
            raise ValueError(f"nodes = {self.nodes} is more than the {what} of a job")
        return self


class Store(BaseModel):
    """Where a catalog's runs are kept: one of ``tiled``, ``profile``, ``v0``; none: in the home."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tiled: Annotated[
        str,
        Field(
            description="Address of the catalog on a Tiled server, as "
            '"https://tiled.example.org/api/v1/metadata/hxn/raw".'
        ),
    ] = ""
    profile: Annotated[
        str,
        Field(description='Name of a Tiled profile, and where the catalog is in it: "hxn/raw".'),
    ] = ""
    api_key_file: Annotated[
        str,
        Field(
            description="File with the Tiled server's API key, for you alone (mode 0600). Default: "
            "TILED_API_KEY, else what you logged in with (tiled login)."
        ),
    ] = ""
    v0: Annotated[
        str | dict[str, Any],
        Field(
            description="databroker.v0: the name of its configuration file, or the configuration "
            "itself (metadatastore, assets, ...) as databroker.v0.Broker.from_config takes it."
        ),
    ] = ""

    @property
    def is_embedded(self) -> bool:
        """Whether it is in the home."""
        return not (self.tiled or self.profile or self.v0)

    @model_validator(mode="after")
    def _one_place(self) -> Store:
        given = [name for name in ("tiled", "profile", "v0") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both given: a catalog is in one place")
        if self.api_key_file and not (self.tiled or self.profile):
            raise ValueError("api_key_file is for a Tiled server: tiled or profile must say which")
        if self.tiled and not re.match(r"https?://[^/]+", self.tiled):
            raise ValueError(f"tiled = {self.tiled!r} is no address: it begins with https://")
        if (
            isinstance(self.v0, dict)
            and self.v0
            and not {"metadatastore", "assets"} <= set(self.v0)
        ):
            raise ValueError("v0 as a table needs metadatastore and assets, as databroker has them")
        return self


class Stores(BaseModel):
    """``[catalogs]`` of ``config.toml``: where scans are found, and where results go."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    raw: Annotated[Store, Field(description="Scans.")] = Store()
    processed: Annotated[Store, Field(description="Reconstructions.")] = Store()


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
    catalogs: Annotated[
        Stores, Field(description="A table: other stores for scans and results than the home.")
    ] = Stores()
    mpiexec: Annotated[
        str,
        Field(description="The mpiexec to launch with; default: the one beside Python, then PATH."),
    ] = ""
    hosts: Annotated[
        str,
        Field(
            description="A host file for mpiexec: one host a line with its number of slots, as "
            "node01:4; default: this host."
        ),
    ] = ""
    share_gpus: Annotated[
        bool,
        Field(description="Several jobs at once on the same GPUs of this host; else each waits."),
    ] = False
    sums: Annotated[
        Literal["auto", "nccl", "mpi-cuda", "host"],
        Field(
            description="How several GPUs add up: auto (the first that can be used of the next), "
            "nccl, mpi-cuda (MPI that takes GPU memory), host (MPI through host memory)."
        ),
    ] = "auto"
    slurm: Annotated[
        Slurm | None, Field(description="A table: jobs go to Slurm instead of to mpiexec.")
    ] = None
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
        """Make the folders (mode 0700 for the root, if it is not there) and return self.

        Raises
        ------
        ConfigError
            If the folder cannot be made or written.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (self.jobs, self.results, self.data, self.catalogs):
                folder.mkdir(exist_ok=True)
                self.share(folder)
        except OSError as error:
            raise ConfigError(
                f"the folder {self.root} cannot be made or written ({error.strerror}); "
                f"set {HOME_VARIABLE} to a folder that can"
            ) from error
        return self

    @property
    def is_group_shared(self) -> bool:
        """Whether several accounts use it: its folder is writable for its group (2770)."""
        return self.root.exists() and bool(self.root.stat().st_mode & stat.S_IWGRP)

    def share(self, path: Path) -> None:
        """Let the group of a shared home do what the owner may with something made in it.

        Whatever the umask of the account that makes it. In a home of one account, nothing changes.
        """
        if self.is_group_shared:
            mode = path.stat().st_mode
            with suppress(PermissionError):  # another account's, which has seen to it
                path.chmod(stat.S_IMODE(mode) | (mode & stat.S_IRWXU) >> 3)

    @property
    def lock_mode(self) -> int:
        """Mode of a lock file that every account of this home may take."""
        return 0o664 if self.is_group_shared else 0o644

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
