"""The command service: units for systemd, written, shown, removed."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import stop, terminal

if TYPE_CHECKING:
    from ..home import Home
    from .units import Account

SYSTEM_FOLDER = Path("/etc/systemd/system")


def add_to(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command(
        epilog="Example: hxn-ptycho service --install; "
        "sudo HXN_PTYCHO_HOME=/data/ptycho hxn-ptycho service --install --system --account ptycho"
    )(service)


def service(
    install: Annotated[
        bool, typer.Option("--install", help="Write the unit, and say what to type.")
    ] = False,
    show: Annotated[bool, typer.Option("--print", help="Print the unit only.")] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove what --install wrote. Data stay.")
    ] = False,
    system: Annotated[
        bool,
        typer.Option("--system", help="For the system, as root; else for your own systemd."),
    ] = False,
    account: Annotated[
        str, typer.Option(metavar="NAME", help="With --system: the account it runs as.")
    ] = "",
    group: Annotated[
        str, typer.Option(metavar="NAME", help="With --system: its group; unset: the account's.")
    ] = "",
    listen: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", help="Instead of a worker: listen to the documents of a proxy."
        ),
    ] = "",
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="In place of systemd's folder of units.")
    ] = None,
) -> None:
    """Have systemd keep a worker running: from the start of the machine, again after a failure.

    Nothing is started: the lines that do are printed.
    """
    if install + show + remove != 1:
        raise typer.BadParameter("say one of --install, --print and --remove")
    if system and not account and not remove:
        raise typer.BadParameter("--system needs --account: whom the worker runs as")
    if (account or group) and not system:
        raise typer.BadParameter("--account and --group are for --system")
    where = folder or (SYSTEM_FOLDER if system else _user_folder())
    if remove:
        _remove(where, system)
        return
    from ..home import find_home
    from .units import Account, Service, write_unit

    home = find_home()
    whom = Account(account, group) if system else None
    if whom is not None:
        _check_account(whom, home)
    chosen = Service.listener(listen) if listen else Service.worker()
    text = write_unit(chosen, home, whom, shlex.join(["hxn-ptycho", *sys.argv[1:]]))
    if show:
        sys.stdout.write(text)
        return
    if whom is None:
        home.make()
    path = where / chosen.name
    try:
        where.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        advice = (
            "as root: sudo" if system else "make the folder writable, or name another: --folder"
        )
        stop(f"{path} cannot be written ({error.strerror}); {advice}")
    _tell(path, chosen.name.removesuffix(".service"), system)


def _tell(path: Path, name: str, system: bool) -> None:
    """Say what was written, and what to type now."""
    terminal().print(f"Written: {path}\nNow type:", soft_wrap=True, markup=False)
    for line in _lines(system, "daemon-reload", f"enable --now {name}"):
        terminal().print(f"    {line}", soft_wrap=True, markup=False)
    if not system:
        terminal().print(
            "    loginctl enable-linger           # runs on when you log out; may need root\n"
            f"and see: systemctl --user status {name}; journalctl --user -u {name}",
            soft_wrap=True,
        )
    else:
        terminal().print(f"and see: systemctl status {name}; journalctl -u {name}", soft_wrap=True)
    if os.environ.get("TILED_API_KEY"):
        terminal().print(
            "TILED_API_KEY is not in the unit, which everybody can read: name a file with the key "
            "as api_key_file in [catalogs] of config.toml.",
            soft_wrap=True,
            markup=False,
        )


def _remove(where: Path, system: bool) -> None:
    """Remove our units from a folder; refuse while systemd would start them."""
    from .units import LISTENER, WORKER

    there = [where / name for name in (WORKER, LISTENER) if (where / name).exists()]
    if not there:
        stop(f"there is no unit of hxn_ptycho in {where}")
    enabled = [path.stem for path in there if any(where.glob(f"*.wants/{path.name}"))]
    if enabled:
        (line,) = _lines(system, f"disable --now {' '.join(enabled)}")
        stop(f"{' and '.join(enabled)} would still be started; type first: {line}")
    for path in there:
        try:
            path.unlink()
        except OSError as error:
            stop(f"{path} cannot be removed ({error.strerror}); as root: sudo")
        terminal().print(f"Removed: {path}", soft_wrap=True, markup=False)
    (line,) = _lines(system, "daemon-reload")
    terminal().print(f"Now type:\n    {line}")


def _lines(system: bool, *words: str) -> list[str]:
    program = "sudo systemctl" if system else "systemctl --user"
    return [f"{program} {word}" for word in words]


def _user_folder() -> Path:
    settings = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(settings) / "systemd" / "user"


def _check_account(account: Account, home: Home) -> None:
    """Refuse an account that there is not, or that cannot write into the home."""
    import grp
    import pwd

    try:
        user = pwd.getpwnam(account.user)
        group = grp.getgrnam(account.group).gr_gid if account.group else user.pw_gid
    except KeyError as error:
        stop(f"{str(error.args[0]).capitalize()}; make it first, as with useradd --system")
    group_name = account.group or grp.getgrgid(group).gr_name
    if not home.root.is_dir():
        stop(
            f"{home.root} is not there: make it for the account, as with  sudo install -d "
            f"-o {account.user} -g {group_name} -m 2770 {shlex.quote(str(home.root))}"
        )
    there = home.root.stat()
    groups = {group, *os.getgrouplist(account.user, user.pw_gid)}
    writable = (
        user.pw_uid in (0, there.st_uid)
        or (there.st_gid in groups and there.st_mode & 0o020)
        or there.st_mode & 0o002
    )
    if not writable:
        stop(
            f"{account.user} may not write into {home.root}: sudo chown "
            f"{account.user}:{group_name} {shlex.quote(str(home.root))}"
        )
