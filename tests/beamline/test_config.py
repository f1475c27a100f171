from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hxn_ptycho.beamline import load_config, load_in_force, panda, step, zebra
from hxn_ptycho.beamline.flavours import FLAVOURS
from hxn_ptycho.beamline.provenance import changes, origin
from hxn_ptycho.beamline.toml_lines import line_of
from hxn_ptycho.home import ConfigError, Home


def test_the_tables_of_hxn_are_there(home: Home) -> None:
    config = load_config(home)
    assert config.motors["zpssx"].encoder == "inenc2_val"
    assert config.motors["zpssx"].scale_um == pytest.approx(-1e-4 * 0.9542)
    assert config.motors["zpssx"].position_scale == 0.9542
    assert config.motors["zpssy"].scale_um == -1.03297e-4
    assert config.motors["dssz"].scale_um == pytest.approx(1.047e-4)
    assert [config.motors[name].encoder for name in ("ssx", "ssy", "ssz")] == [None] * 3
    assert config.motors["zpssz"].projection == "sin"
    assert config.detectors["eiger1"].pixel_um == 75
    assert config.detectors["merlin2"].distance_m == 0.5
    assert config.data_keys("merlin1") == ("merlin1", "merlin1_image")
    settings = config.settings(panda.Settings)
    assert settings is not None
    assert settings.samples_per_frame == 10


def test_a_beamline_changes_one_key_and_keeps_the_rest(home: Home) -> None:
    (home.root / "hxn.toml").write_text(
        "[motors.zpssx]\ndirection = -1\n"
        "[detectors.eiger2]\n"
        "pixel_um = 75\ndistance_m = 3\ndistance_from_documents = true\nsaturation = 1000\n"
    )
    config = load_config(home)
    assert config.motors["zpssx"].direction == -1
    assert config.motors["zpssx"].encoder == "inenc2_val"
    assert config.motors["zpssy"].direction == 1
    assert set(config.detectors) == {"merlin1", "merlin2", "eiger1", "eiger2"}
    assert config.data_keys("eiger2") == ("eiger2",)
    assert config.detectors["eiger2"].orientation == "identity"


def test_an_edited_file_is_read_again(home: Home) -> None:
    file = home.root / "hxn.toml"

    def samples() -> int:
        settings = load_config(home).settings(panda.Settings)
        assert settings is not None
        return settings.samples_per_frame

    file.write_text("[panda]\nsamples_per_frame = 5\n")
    assert samples() == 5
    file.write_text("[panda]\nsamples_per_frame = 20\n")
    assert samples() == 20
    file.unlink()
    assert samples() == 10


def test_roots_are_folders_the_longest_first(home: Home) -> None:
    (home.root / "hxn.toml").write_text(
        '[roots]\n"/data" = "/new/place/"\n"/data/2017/" = "/archive"\n'
    )
    assert load_config(home).roots == (("/data/2017", "/archive"), ("/data", "/new/place"))


FULL = "axis = 'x'\ndirection = 1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[motors.zpssx\n", r"hxn\.toml is not TOML.*line 1"),
        (
            "# mine\n\n[motors.zpssx]\ndirection = 2\n",
            r"hxn\.toml: line 4, motors\.zpssx\.direction: should be 1 or -1, not 2$",
        ),
        ("[motors.zpssx]\ndirection = true\n", r"line 2, .*direction: should be 1 or -1"),
        (
            "[motors.zpssx]\nscale = 1\n",
            r"line 2, motors\.zpssx\.scale: unknown key; did you mean scale_um\?",
        ),
        (
            "[motors.zpssx]\nangel_key = 'dsth'\n",
            r"line 2, .*\.angel_key: unknown key; did you mean angle_key\?",
        ),
        ("[motors.zpssx]\nqqq = 1\n", r"qqq: unknown key; known are axis, direction, encoder, "),
        ("[motors.zpssx]\nscale_um = 0.0\n", r"line 1, motors\.zpssx: scale_um must not be 0"),
        ("[motors.zpssx]\nscale_um = nan\n", r"line 2, motors\.zpssx\.scale_um: .*finite"),
        ("[motors.zpssx]\nscale_um = '1e-4'\n", r"line 2, .*scale_um: .*number, not '1e-4'"),
        ("[motors.new]\naxis = 'x'\n", r"line 1, motors\.new\.direction: is missing$"),
        (f"[motors.new]\n{FULL}encoder = 'a'\n", r"line 1, motors\.new: encoder and scale_um go"),
        (f"[motors.new]\n{FULL}angle_key = 'a'\n", r"motors\.new: angle_key and projection go"),
        (
            "[motors.zpsx]\ndirection = -1\n",
            r"line 1, motors\.zpsx\.axis: is missing; if \[motors\.zpssx\] was to be changed",
        ),
        ("[motors.new]\naxis = 'z'\ndirection = 1\n", r"motors\.new\.axis: .*'x' or 'y', not 'z'"),
        ("[detectors.merlin1]\npixel_um = -55\n", r"line 2, detectors\.merlin1\.pixel_um: .* -55"),
        (
            "[detectors.merlin1]\norientation = 'flip'\n",
            r"line 2, detectors\.merlin1\.orientation: should be 'identity', .* not 'flip'",
        ),
        (
            "[detectors.eiger2]\npixel_um = 75\ndistance_m = 2\ndata_keys = [\n 'x',\n 'eiger1']\n",
            r"line 4, detectors\.eiger2\.data_keys: 'eiger1' is a data key of the detector eiger1",
        ),
        ("[detectors.m]\npixel_um = 1\ndistance_m = 1\ndata_keys = []\n", r"line 4, .*data_keys: "),
        ("[energies]\n", r"line 1, energies: unknown table; did you mean energy\?"),
        ("[motor.zpssx]\ndirection = 1\n", r"line 1, motor: unknown table; did you mean motors\?"),
        ("[energy]\nenergy_key = 'e'\n", r"line 1, energy: give bragg_key, or energy_key, and not"),
        ("motors = 3\n", r"line 1, motors: .* not 3"),
        ("[roots]\ndata = '/new'\n", r"line 2, roots\.data: 'data' must begin with /"),
        ("[roots]\n'/data' = 'new'\n", r'line 2, roots\."/data": \'new\' must begin with /'),
        ('[roots]\n"/a" = "/a/"\n', r'line 2, roots\."/a": is moved to itself'),
        (
            "[step]\nscan_types = ['2D_FLY_PANDA']\n",
            r"line 2, step\.scan_types: '2D_FLY_PANDA' is a scan type of \[panda\] too",
        ),
        ("[zebra.scan_types]\nXRF_FLY = 'start'\n", r"line 2, zebra\.scan_types\.XRF_FLY: should"),
        ("[panda]\nsamples_per_frame = 0\n", r"line 2, panda\.samples_per_frame: .*, not 0"),
        ("[panda]\nion_chamber = 'i0'\n", r"line 2, panda\.ion_chamber: .* not 'i0'"),
        ("extends = 'no'\n", r"line 1, extends: should be a valid boolean, not 'no'"),
        ("extend = false\n", r"line 1, extend: unknown key; did you mean extends\?"),
        ("extends = false\n", r"energy: is missing; detectors: is missing; motors: is missing"),
    ],
)
def test_mistakes_are_named_with_file_line_and_key(home: Home, text: str, message: str) -> None:
    (home.root / "hxn.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(home)


def test_a_file_that_cannot_be_read_is_named(home: Home) -> None:
    (home.root / "hxn.toml").write_bytes(b"# \xff\n")
    with pytest.raises(ConfigError, match=r"hxn\.toml is not TOML"):
        load_config(home)


OTHER_BEAMLINE = """
extends = false
[energy]
energy_key = "mono_energy"
unit_kev = 0.001
[detectors.pilatus]
pixel_um = 172
distance_m = 4.2
[motors.sx]
axis = "x"
direction = -1
[motors.sy]
axis = "y"
direction = 1
[step]
columns = ["{motor}_rbv"]
"""


def test_another_beamline_does_without_entries_of_hxn(home: Home) -> None:
    (home.root / "hxn.toml").write_text(OTHER_BEAMLINE)
    config = load_config(home)
    assert set(config.detectors) == {"pilatus"}
    assert set(config.motors) == {"sx", "sy"}
    assert set(config.flavours) == {"step"}
    assert config.settings(zebra.Settings) is None
    settings = config.settings(step.Settings)
    assert settings is not None
    assert settings.columns == ("{motor}_rbv",)
    assert origin(load_in_force(home), "motors", "sx") == "home"


def test_what_differs_from_the_package_is_known(home: Home) -> None:
    (home.root / "hxn.toml").write_text(
        "[motors.zpssx]\ndirection = -1\naxis = 'x'\n[roots]\n'/a' = '/b'\n"
    )
    found = load_in_force(home)
    assert [(change.name, change.value, change.packaged) for change in changes(found)] == [
        ("roots./a", "/b", None),
        ("motors.zpssx.direction", -1, 1),
    ]
    assert origin(found, "motors", "zpssx") == "changed"
    assert origin(found, "motors", "zpssy") == "package"
    assert origin(found, "roots", "/a") == "home"


def test_each_flavour_has_its_own_name_and_table() -> None:
    names = [flavour.NAME for flavour in FLAVOURS]
    assert len(set(names)) == len(names)
    assert {"panda", "zebra", "classic", "step", "imported"} <= set(names)


# Lines of keys: against the file as written here, statement by statement.

keys = st.text("abz_-", min_size=1, max_size=3) | st.sampled_from(["a b", "ü.x", '"', "[x]", "#"])
scalars = st.integers(-9, 9) | st.booleans() | st.text("ab=#[]'", max_size=4)
values = scalars | st.lists(scalars, max_size=3)
tables = st.dictionaries(keys, values, max_size=3)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[a-z_-]+", key) else json.dumps(key, ensure_ascii=False)


def _written(value: Any, spread: bool) -> str:
    if isinstance(value, list):
        between = ",\n # so = [\n" if spread else ", "
        return "[" + between.join(_written(each, False) for each in value) + "]"
    if isinstance(value, str) and spread:
        return f'"""\n{value}\n[no.table]\n"""'
    return json.dumps(value)


@given(st.dictionaries(keys, tables, max_size=4), st.booleans(), st.booleans())
def test_lines_of_keys_are_found(
    content: dict[str, dict[str, Any]], spread: bool, dotted: bool
) -> None:
    lines: list[str] = ["# a = 1", ""]
    where: dict[tuple[str, ...], int] = {}
    for name, table in content.items():
        if not dotted:
            where[(name,)] = len(lines) + 1
            lines += [f"[{_key(name)}] # here", ""]
        for key, value in table.items():
            where[(name, key)] = len(lines) + 1
            where.setdefault((name,), len(lines) + 1)
            place = f"{_key(name)} . {_key(key)}" if dotted else _key(key)
            lines += [*f"{place} = {_written(value, spread)}".split("\n"), "# b = 2"]
    text = "\n".join(lines)
    tomllib.loads(text)
    for path, line in where.items():
        assert line_of(text, path) == line
        assert line_of(text, (*path, "not there")) == line
    assert line_of(text, ("nowhere",)) is None


def test_lines_are_found_in_arrays_of_tables_and_crlf() -> None:
    text = "a = [\r\n 1,\r\n 2]\r\n[[t]]\r\nk = 1\r\n[[t]]\r\nk = {x = 1, y = 2}\r\n"
    assert line_of(text, ("a", 1)) == 1
    assert line_of(text, ("t", 0, "k")) == 5
    assert line_of(text, ("t", 1)) == 6
    assert line_of(text, ("t", 1, "k", "y")) == 7
