from __future__ import annotations

import pytest

from hxn_ptycho.beamline import load_config
from hxn_ptycho.home import ConfigError, Home


def test_the_tables_of_hxn_are_there(home: Home) -> None:
    config = load_config(home)
    assert config.motors["zpssx"].encoder == "inenc2_val"
    assert config.motors["zpssx"].scale_um == pytest.approx(-1e-4 * 0.9542)
    assert config.motors["dssz"].scale_um == pytest.approx(1.047e-4)
    assert config.detectors["eiger1"].pixel_um == 75
    assert config.detectors["merlin2"].distance_m == 0.5
    assert config.settings(panda.Settings).samples_per_frame == 10


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


def test_an_edited_file_is_read_again(home: Home) -> None:
    file = home.root / "hxn.toml"
    file.write_text("[panda]\nsamples_per_frame = 5\n")
    assert load_config(home).panda.samples_per_frame == 5
    file.unlink()
    assert load_config(home).panda.samples_per_frame == 10


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[motors.zpssx\n", r"hxn\.toml is not TOML.*line 1"),
        ("[motors.zpssx]\ndirection = 2\n", r"hxn\.toml: motors\.zpssx\.direction: .* not 2"),
        ("[motors.zpssx]\nscale = 1\n", r"motors\.zpssx\.scale: unknown key"),
        ("[motors.zpssx]\nscale_um = 0.0\n", r"motors\.zpssx: scale_um must not be 0"),
        ("[motors.new]\naxis = 'x'\n", r"motors\.new\.encoder: is missing"),
        ("[detectors.merlin1]\npixel_um = -55\n", r"detectors\.merlin1\.pixel_um: .* not -55"),
        ("[energies]\n", r"energies: unknown key"),
        ("motors = 3\n", r"motors: "),
    ],
)
def test_mistakes_are_named_with_file_and_key(home: Home, text: str, message: str) -> None:
    (home.root / "hxn.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(home)
