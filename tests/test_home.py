from __future__ import annotations

import pytest

from hxn_ptycho.home import Config, ConfigError, Home, Slurm, Stores


def configure(home: Home, text: str) -> Config:
    home.config_file.write_text(text)
    return home.config()


def test_without_a_file_everything_has_a_default(home: Home) -> None:
    assert home.config() == Config()
    assert home.config().slurm is None
    assert home.config().hosts == ""


def test_a_table_sends_jobs_to_slurm(home: Home) -> None:
    config = configure(
        home,
        """
        hosts = "/etc/hosts.mpi"
        [slurm]
        partition = "gpu"
        account = "nano"
        gpus = 4
        gpu_memory_gb = 80
        nodes = 2
        time_limit = "30"
        options = ["--qos=beam", "-C h100"]
        python = "/shared/python"
        """,
    )
    assert config.hosts == "/etc/hosts.mpi"
    assert config.slurm is not None
    assert config.slurm.ranks == 4
    assert config.slurm.gpu_memory_gb == 80.0
    assert config.slurm.mpi == "pmi2"
    assert configure(home, "[slurm]").slurm == Slurm()
    assert Slurm().ranks == 1
    assert Slurm(tasks=8).ranks == 8


@pytest.mark.parametrize(
    "limit", ["90", "90:00", "1:30:00", "2-12", "2-12:00", "2-12:00:00", "UNLIMITED"]
)
def test_slurms_time_limits(limit: str) -> None:
    assert Slurm(time_limit=limit).time_limit == limit


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gpu = 4", r"slurm\.gpu: Extra inputs"),
        ("gpus = -1", r"slurm\.gpus: .*greater than or equal to 0"),
        ('time_limit = "1h"', r'slurm\.time_limit: .*write "1:30:00" \(hours'),
        ('time_limit = "0:00"', "no time at all"),
        ("time_limit = 60", r"slurm\.time_limit: .*valid string"),
        ('partition = "a b"', r"slurm\.partition: .*is not a name"),
        ('options = ["--qos", "beam"]', "'beam' is no option: write each as one word"),
        ('options = ["--output=x"]', "--output is not for options"),
        ('options = ["-n8"]', "-n8 is not for options"),
        ("gpus = 2\nnodes = 3", r"nodes = 3 is more than the 2 GPUs"),
        ("gpu_memory_gb = 0", r"slurm\.gpu_memory_gb: .*greater than 0"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(home: Home, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"config\.toml: .*{said}"):
        configure(home, f"[slurm]\n{text}\n")


def test_catalogs_may_be_kept_elsewhere(home: Home) -> None:
    stores = configure(
        home,
        """
        [catalogs]
        raw = {v0 = "hxn"}
        processed = {tiled = "https://tiled.example.org/api/v1/metadata/hxn", api_key_file = "~/k"}
        """,
    ).catalogs
    assert (stores.raw.v0, stores.raw.is_embedded) == ("hxn", False)
    assert (stores.processed.api_key_file, stores.processed.is_embedded) == ("~/k", False)
    assert configure(home, "").catalogs == Stores()
    assert Stores().raw.is_embedded


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('raw = {v0 = "hxn", profile = "hxn"}', "profile and v0 are both given"),
        ('raw = {tiled = "tiled.example.org"}', r"catalogs\.raw: .*no address: it begins with"),
        ('processed = {api_key_file = "k"}', r"catalogs\.processed: .*tiled or profile must say"),
        ("raw = {v0 = {metadatastore = {}}}", "v0 as a table needs metadatastore and assets"),
        ('scans = {v0 = "hxn"}', r"catalogs\.scans: Extra inputs"),
        ('raw = {mongo = "hxn"}', r"catalogs\.raw\.mongo: Extra inputs"),
    ],
)
def test_what_is_no_store_is_refused_with_its_key(home: Home, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"config\.toml: .*{said}"):
        configure(home, f"[catalogs]\n{text}\n")
