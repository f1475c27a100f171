"""What ``hxn-ptycho listen`` refuses before it listens; the rest is in tests/hosts."""

from __future__ import annotations

import pytest

from hxn_ptycho.listen import proxy_address


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--zmq", "beamline"), "'beamline' is not the address of a 0MQ proxy: write HOST:PORT"),
        (("--zmq", "127.0.0.1:99999"), "is not the address of a 0MQ proxy"),
        (("--zmq", "nowhere.invalid:5578"), "the host 'nowhere.invalid' of"),
        (("--zmq", "127.0.0.1:5578", "--prefix", "a b"), "the prefix 'a b' has a space in it"),
        (("--zmq", "127.0.0.1:5578", "--recipe", "/none.toml"), "/none.toml cannot be read"),
        (("--zmq", "127.0.0.1:5578", "--catch-up", "-1"), "'--catch-up'"),
        ((), "Missing option '--zmq'"),
    ],
)
def test_wrong_use_is_refused(run, used_home, words, message):
    said = run("listen", *words)
    assert said.status == 2
    assert message in " ".join(said.err.split())
    assert said.out == ""


def test_help_warns_of_pickles(run):
    said = run("listen", "--help")
    assert said.status == 0
    assert "Documents are Python pickles" in " ".join(said.out.split())


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:5578", "tcp://127.0.0.1:5578"),
        ("tcp://localhost:5578", "tcp://localhost:5578"),
        ("ipc:///run/documents", "ipc:///run/documents"),
    ],
)
def test_an_address_may_be_written_in_three_ways(text, address):
    assert proxy_address(text) == address
