"""The page on installing, typed as it stands: other paths, a real pip, IPython and systemd."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

from hxn_ptycho import cli
from hxn_ptycho.catalog import CatalogError, open_catalog
from hxn_ptycho.home import HOME_VARIABLE, Config, Home, Store
from hxn_ptycho.queue import Queue
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.results import results

from .launch.processes import iterating, ranks_of
from .systemd_host import systemd_host, why_no_systemd
from .waiting import until

pytestmark = pytest.mark.timeout(900)  # a minute, on a machine that does nothing else

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "install.md").read_text()
#: A version whose homes must go on: the commit before a queued job knew of stores.
EARLIER = "5a41647"


def blocks(section: str, language: str) -> list[str]:
    """Return the blocks of a language below a heading."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


# -- what can be read ----------------------------------------------------------------------


@pytest.mark.parametrize("text", re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S))
def test_python_can_be_typed(text: str) -> None:
    ast.parse(text)


def test_catalogs_are_accepted(home: Home, tmp_path: Path) -> None:
    texts = blocks("With an existing catalog", "toml")
    stores: list[Store] = []
    for text in texts:
        home.config_file.write_text(text)
        catalogs = home.config().catalogs
        stores += [catalogs.raw, catalogs.processed]
    assert not any(store.is_embedded for store in stores)
    assert {name for store in stores for name in Store.model_fields if getattr(store, name)} == set(
        Store.model_fields
    )


def test_commands_and_keys_are_there() -> None:
    commands = {each.name or each.callback.__name__ for each in cli.app.registered_commands}
    assert set(re.findall(r"hxn-ptycho ([a-z]\w*)", PAGE)) <= commands
    for key in re.findall(r"`(\w+)` of config\.toml", PAGE):
        assert key in Config.model_fields


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", PAGE)
    assert links
    assert not [link for link in links if not (ROOT / "docs" / link).exists()]


# -- what can be run -----------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where the page's folders are here."""

    environment: Path
    home: Home
    tree: Path

    def here(self, text: str) -> str:
        text = text.replace("/opt/hxn_ptycho", str(self.environment))
        return text.replace("/data/ptycho", str(self.home.root))

    @property
    def variables(self) -> dict[str, str]:
        """What a person there has in a terminal."""
        keep = ("HOME", "LANG", "TMPDIR", *(name for name in os.environ if "CERT" in name))
        found = {name: os.environ[name] for name in keep if name in os.environ}
        programs = [self.environment / "bin", Path(sys.executable).parent]
        found["PATH"] = ":".join([*map(str, programs), "/usr/sbin", "/usr/bin", "/sbin", "/bin"])
        found |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
        # Of what it needs, all is there: `installed` puts it there.
        return {**found, "PIP_NO_DEPS": "1", HOME_VARIABLE: str(self.home.root)}

    def sh(self, text: str) -> str:
        """Type lines into a shell, to the first that fails; return what it says."""
        said = subprocess.run(
            ["sh", "-ec", self.here(text)], cwd=self.tree, env=self.variables,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert said.returncode == 0, said.stdout + said.stderr
        return said.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("install")
    tree = folder / "clone"
    tree.mkdir()
    for name in ("hxn_ptycho", "kernels", "profile_collection"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    return Place(folder / "env", Home(folder / "ptycho"), tree)


OLD = """
from hxn_ptycho.catalog import CatalogError, open_catalog
from hxn_ptycho.queue import Queue
from hxn_ptycho.recipe import Recipe
from hxn_ptycho.worker import Worker
from tests.scans import measure
catalogs = open_catalog()
scan = measure(catalogs)
with Queue(catalogs.home) as queue:
    done = queue.submit(*scan, Recipe(iterations=3, ranks=1))
    Worker(catalogs.home).run(until_idle_seconds=0)
    waits = queue.submit(*scan, Recipe(iterations=4, ranks=1))
print(done.job_uid, waits.job_uid)
"""


@dataclass(frozen=True)
class OldHome:
    """What is in the home from before: by an earlier version, if this clone knows it."""

    done: str
    waits: str
    version: Path | None


@pytest.fixture(scope="module")
def old_home(place: Place) -> OldHome:
    version = place.tree.with_name("earlier")
    version.mkdir()
    packed = subprocess.run(
        ["git", "archive", EARLIER, "hxn_ptycho", "kernels", "tests"],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    there = packed.returncode == 0
    if there:
        subprocess.run(["tar", "-x"], cwd=version, input=packed.stdout, check=True)
    program = [sys.executable, "-c", OLD]
    variables = {
        **os.environ,
        HOME_VARIABLE: str(place.home.root),
        "PYTHONPATH": str(version if there else ROOT),
    }
    said = subprocess.run(
        program, env=variables, cwd=version, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    done, waits = said.stdout.split()
    return OldHome(done, waits, version if there else None)


@pytest.fixture(scope="module")
def installed(place: Place, old_home: OldHome) -> Place:
    """After the page's first section; `pip` gets what hxn_ptycho needs from these tests'."""
    (text,) = blocks("The environment", "sh")
    make, install, look = text.splitlines()
    place.sh(make)
    python = place.environment / "bin" / "python"
    words = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = Path(subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip())
    (own / "from_the_tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    for pattern in ("bin/*mpi*", "bin/hydra*", "lib/*mpi*"):  # what the package mpich brings
        for file in Path(sys.prefix).glob(pattern):
            (place.environment / file.relative_to(sys.prefix)).symlink_to(file)
    place.sh(install)
    said = place.sh(look)
    assert "Python" in said
    assert str(python) in said
    return place


def test_the_environment_has_it_of_its_own(installed: Place) -> None:
    said = installed.sh("cd /; python -c 'import hxn_ptycho; print(hxn_ptycho.__file__)'")
    assert Path(said.strip()).is_relative_to(installed.environment)


def test_a_home_of_an_earlier_version_goes_on(installed: Place, old_home: OldHome) -> None:
    if old_home.version is None:
        pytest.skip(f"this clone does not have the commit {EARLIER}")
    listed = json.loads(installed.sh("hxn-ptycho queue --json"))["jobs"]
    assert [(job["job_uid"], job["state"]) for job in listed] == [
        (old_home.done, "done"),
        (old_home.waits, "queued"),
    ]
    (found,) = results(home=installed.home)
    assert found.exit_status == "success"
    assert not (installed.home.root / "queue.db-wal").exists()
    # And back again.
    said = subprocess.run(
        [sys.executable, "-m", "hxn_ptycho.cli", "queue", "--json"],
        env={**installed.variables, "PYTHONPATH": str(old_home.version)}, cwd=old_home.version,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [job["job_uid"] for job in json.loads(said.stdout)["jobs"]] == [
        old_home.done,
        old_home.waits,
    ]


# The profile of a beamline as it was: bluesky, a databroker.v0, a detector and stages.
PROFILE = """
import threading, types
import databroker.assets.sqlite

# It gives any query up after a tenth of a second, which a busy test machine may take. Beamlines
# have MongoDB.
class Patient(threading.Event):
    def wait(self, timeout=None):
        return super().wait(60)

databroker.assets.sqlite.threading = types.SimpleNamespace(**{**vars(threading), "Event": Patient})

from bluesky import RunEngine
from bluesky.preprocessors import SupplementalData
from databroker.v0 import Broker
from event_model import unpack_event_page
from hxn_ptycho.beamline import load_config
from hxn_ptycho.home import find_home
from hxn_ptycho.simulate.endstation import Endstation
from hxn_ptycho.simulate.merlin import Merlin
from hxn_ptycho.simulate.panda import PandA
from hxn_ptycho.fly.plans import fly2d, set_default_flyer
from hxn_ptycho.simulate.stages import Monochromator, Stage

db = Broker.from_config(
    {name: {"module": f"databroker.{module}", "class": kind, "config": config}
     for name, module, kind, config in (
        ("metadatastore", "headersource.sqlite", "MDS",
         {"directory": STORE, "timezone": "US/Eastern"}),
        ("assets", "assets.sqlite", "Registry", {"dbpath": STORE + "/assets.sqlite"}))}
)

def insert(name, document):
    if name == "event_page":
        for event in unpack_event_page(document):
            db.insert("event", event)
    else:
        db.insert(name, document)

RE = RunEngine({})
RE.subscribe(insert)
dcm = Monochromator(name="dcm")
zpssx, zpssy, zpssz = (Stage(name=f"zpss{axis}", egu="um", limits=(-15, 15)) for axis in "xyz")
zpsth = Stage(name="zpsth", egu="deg", limits=(-95, 95), speed=10)
RE.preprocessors.append(SupplementalData(baseline=[zpssx, zpssy, zpssz, zpsth, dcm]))
endstation = Endstation(bragg=dcm.th, x=zpssx, y=zpssy, rotation=zpsth)
data = find_home().data
merlin1 = Merlin("XF:Merlin", name="merlin1", endstation=endstation, folder=data, pixels=64,
                 distance_m=0.5)
motors = load_config(find_home()).motors
encoders = {s: (motors[s.name].encoder, motors[s.name].scale_um) for s in (zpssx, zpssy, zpssz)}
panda1 = PandA("XF:PANDA", name="panda1", endstation=endstation, encoders=encoders, folder=data)
set_default_flyer(panda1)
"""
SESSION = """
RE(fly2d([merlin1], zpssx, -0.2, 0.2, 6, zpssy, -0.2, 0.2, 6, 0.005,
         md={"ptycho": {"iterations": 3, "ranks": 1}}))
(job,) = ptycho.wait(300)
print("\\nsaid", job.job_uid, job.state, db[-1].start["uid"] == job.raw_uid, job.reason)
"""


def opens_v0() -> bool:
    """Whether this version opens a databroker.v0 at all."""
    from hxn_ptycho.catalog.v0_store import open_v0

    try:
        open_v0(Store(v0="no-such-configuration"))
    except NotImplementedError:
        return False
    except CatalogError:  # there is no such configuration
        return True
    return True


@pytest.mark.parametrize("text", blocks("Into an existing profile", "python"))
def test_three_lines_in_an_existing_profile(installed: Place, tmp_path: Path, text: str) -> None:
    if "AutoReconstruct(db)" in text and not opens_v0():
        pytest.skip("this version opens no databroker.v0 yet")
    home = Home(tmp_path / "home").make()
    home.config_file.write_text("idle_seconds = 0\n")
    startup = tmp_path / "profile" / "startup"
    startup.mkdir(parents=True)
    (tmp_path / "store").mkdir()
    profile = PROFILE.replace("STORE", repr(str(tmp_path / "store")))
    (startup / "00-beamline.py").write_text(profile)
    (startup / "99-ptycho.py").write_text(text)
    assert len(text.strip().splitlines()) <= 3
    words = [
        *(str(installed.environment / "bin" / "python"), "-m", "IPython"),
        *(f"--profile-dir={startup.parent}", "--simple-prompt", "-c", SESSION),
    ]
    variables = {**installed.variables, HOME_VARIABLE: str(home.root)}
    said = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    (line,) = [line for line in said.stdout.splitlines() if line.startswith("said ")]
    uid, state, in_db = line.split()[1:4]
    assert (state, in_db) == ("done", "True"), said.stdout
    assert Path(Queue(home).find(uid).result_file).exists()
    until(lambda: not Queue(home).has_worker(), "its worker to end")


@pytest.mark.skipif(bool(why_no_systemd()), reason=why_no_systemd())
def test_a_service_of_the_system_is_installed_upgraded_and_removed(
    installed: Place, old_home: OldHome
) -> None:
    home, queue = installed.home, Queue(installed.home)
    (_, install) = blocks("As a service", "sh")
    (upgrade,) = blocks("Upgrade", "sh")
    (remove,) = blocks("Remove", "sh")
    # Root is who this is typed by; the interpreter of the tests may be for root alone.
    sudo = 'sudo() { env "$@"; }; '
    as_root = install.replace("--account ptycho --group beamline", "--account root --group root")
    folder = installed.tree.parent
    with systemd_host(folder) as host:

        def typed(text: str) -> str:
            said = host.sh(
                sudo + f"cd {installed.tree}\n" + installed.here(text), installed.variables
            )
            assert said.returncode == 0, said.stdout + said.stderr
            return said.stdout

        typed("groupadd beamline")
        typed(as_root)
        try:
            serving = until(queue.serving, "the service to serve", 120)
            assert serving.pid
            shown = typed("systemctl show hxn-ptycho -p Type,Nice,ActiveState,KillMode")
            assert set(shown.split()) == {
                "Type=notify", "Nice=5", "ActiveState=active", "KillMode=mixed"
            }  # fmt: skip
            # The job that the earlier version queued.
            until(lambda: queue.find(old_home.waits).ended, "the job to end", 120)
            after = queue.find(old_home.waits)
            assert after.state == "done", after.reason

            raw_uid, scan_id = after.raw_uid, after.scan_id
            long = queue.submit(raw_uid, scan_id, Recipe(iterations=1_000_000, ranks=1))
            jobs = home.jobs / long.job_uid
            until(lambda: iterating(jobs), "the first iteration", 120)
            stop, *further, start = upgrade.replace("--user ", "").splitlines()
            typed(stop)
            assert (queue.find(long.job_uid).state, queue.find(long.job_uid).attempts) == (
                "queued", 0,
            )  # fmt: skip
            assert not ranks_of(jobs)
            assert "Result=success" in typed("systemctl show hxn-ptycho -p Result")
            installed.sh("\n".join(further))  # where there is a network
            typed(start)
            until(lambda: iterating(jobs), "the job to run again", 120)
        finally:
            print(host.sh("systemctl status hxn-ptycho").stdout)

        remove = remove.replace("--user ", "").replace("--remove", "--remove --system")
        disable, *rest = remove.splitlines()
        refused = host.sh("hxn-ptycho service --remove --system", installed.variables)
        assert "would still be started" in refused.stderr
        typed(disable)
        assert not queue.has_worker()
        typed("\n".join(rest))
        assert not list(Path(folder, "etc/systemd/system").rglob("hxn-ptycho*"))
    assert not installed.environment.exists()
    assert queue.find(long.job_uid).state == "queued"
    kept = results(home=home)
    # The last is of the job that was put back: begun, and to be begun again.
    assert [result.exit_status for result in kept] == ["success", "success", None]
    assert all(Path(str(result.result_file)).exists() for result in kept[:2])
    assert open_catalog(home).raw[-1].start["uid"] == raw_uid
