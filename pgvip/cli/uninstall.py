"""`pgvip uninstall`: remove pgvip from a host. The primary's database goes on without it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pgvip.actions import mount, postgres, vip
from pgvip.cli.output import put_json
from pgvip.cli.simple import confirm
from pgvip.cli.steps import Step, add_dry_run, refuse, require_root, run_steps, say, silent
from pgvip.config.load import load
from pgvip.errors import RefusedError
from pgvip.setup import enrolment, handing_back, removal, static_addresses
from pgvip.system import netlink, privileges

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgvip.config.model import Config
    from pgvip.core.values import Vip

HELP = "remove pgvip from this host; the primary's database goes on without it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `uninstall`."""
    parser.description = (
        "End what pgvip does on this host, first on the standby (after pgvip leave), then on the primary. "
        "On the primary PostgreSQL runs on without a restart, listens where it did, is started at boot, and keeps "
        "the addresses; pgvip's settings, roles, schema and slots are removed. A standby is stopped, or follows by "
        "--follow. Data, archive, backups and configuration file stay. scripts/uninstall runs this and removes the "
        "program. "
        "Example: pgvip uninstall --dry-run"
    )
    parser.add_argument("--yes", metavar="HOST", help="the name of this host, as confirmation")
    parser.add_argument(
        "--follow", metavar="CONNINFO", default="",
        help="standby: go on following, by this connection string (with a role of yours, and passfile= for a password)",
    )  # fmt: skip
    parser.add_argument("--slot", metavar="NAME", default="", help="standby: the slot of yours that --follow uses")
    parser.add_argument("--not-at-boot", action="store_true", help="do not have PostgreSQL started at boot")
    addresses = parser.add_mutually_exclusive_group()
    addresses.add_argument(
        "--static-addresses", action="store_true",
        help="write the addresses into the network configuration of this host (systemd-networkd, ifupdown)",
    )  # fmt: skip
    addresses.add_argument("--drop-addresses", action="store_true", help="drop the addresses, and end their sessions")
    add_dry_run(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object; needs --yes, or --dry-run")


def run(args: argparse.Namespace) -> int:
    """Take it out. Returns the exit code."""
    require_root()
    document = _run(args)
    if args.json:
        put_json({"ok": True, "dry_run": args.dry_run, **document})
    return 0


def _run(args: argparse.Namespace) -> dict[str, Any]:
    report = silent if args.json else say
    config = load(args.config, args.host)
    privileges.give_up(config)
    if not removal.has_state(config) and handing_back.is_done(config):
        text = f"{config.me.name} is in no pair: nothing is left to do"
        report(text)
        return {"host": config.me.name, "text": text, "steps": [], "warnings": []}
    removing = Removing(config, args, report)
    removing.check()
    report(f"{config.me.name}: {removing.kind}")
    if not args.dry_run:
        confirm(args, f"pgvip will no longer manage {config.me.name}: nobody takes over when it fails.", config.me.name,
                "this host's name")  # fmt: skip
    steps = run_steps(removing.steps(), dry_run=args.dry_run, report=report)
    removing.report_rest()
    return {"host": config.me.name, "text": removing.kind, "steps": steps, "warnings": removing.warnings}


class Removing:
    """One run of `uninstall`. `say`: prints a line; `warnings`: what is left to do, for --json."""

    def __init__(self, config: Config, args: argparse.Namespace, say: Callable[[str], None]) -> None:
        self.config, self.args, self.say = config, args, say
        self.warnings = list[dict[str, str]]()
        self.data = not enrolment.is_empty(config.postgres.data_directory)
        self.standby = removal.is_standby(config)
        self.only_observed = removal.only_observed(config)
        self.running = self.data and enrolment.is_running(config)
        here = netlink.held(config.me.interface)
        self.held: list[Vip] = [name for name, one in config.vips.items() if one.ip in here]
        self.recipe = static_addresses.recipe(config.me.interface, [config.vips[name] for name in self.held])
        following = {"primary_conninfo": args.follow, "primary_slot_name": args.slot}
        self.following = following if args.follow else {}
        self.archived = False

    @property
    def kind(self) -> str:
        """What this host is, and becomes."""
        if self.only_observed:
            return "a host of a pair that pgvip has only observed; PostgreSQL and the addresses stay as they are"
        if not self.data:
            return "a host without a database"
        if not self.standby:
            return "the primary, which goes on alone"
        return "a standby, which follows on without pgvip" if self.following else "a standby, which is stopped"

    def check(self) -> None:
        """Everything that can be known before anything changes."""
        config, args = self.config, self.args
        refuse(removal.observing_problems(config))
        if self.only_observed:
            if args.follow or args.slot or args.static_addresses or args.drop_addresses:
                raise RefusedError("pgvip has only observed this pair: neither PostgreSQL nor an address is its affair")
            return
        if (args.follow or args.slot) and not self.standby:
            raise RefusedError("--follow and --slot are for a standby")
        if args.slot and not args.follow:
            raise RefusedError("--slot goes with --follow")
        found = removal.pair_problems(config, standby=self.standby)
        refuse(found)  # the rest would only repeat it
        found = removal.server_problems(config, standby=self.standby)
        if self.following:
            found += removal.following_problems(config, args.follow, args.slot)
        if args.static_addresses and self.held and self.recipe.file is None:
            what = f"with {self.recipe.manager}, pgvip writes no file for the addresses"
            found.append(RefusedError(what, "", f"Leave the option out, and write them yourself:\n{self.recipe.text}"))
        refuse(found)

    def steps(self) -> list[Step]:
        """In an order in which each can be repeated; the record, which says what this host was, goes last."""
        config = self.config
        daemon = Step("daemon: stopped, and not started at boot", lambda: removal.stop_daemon(config))
        state = Step(f"record, identity and keys: moved aside in {config.paths.state}",
                     lambda: removal.put_state_aside(config), lambda: not removal.has_state(config))  # fmt: skip
        if self.only_observed:
            return [daemon, state]
        check = Step("what the daemon has left is as it was", self._check_again)
        return [daemon, check, *(self._server() if self.data else []), *self._host(), state]

    def _check_again(self) -> None:
        """Between the check and the end of the daemon, the pair may have changed."""
        if removal.is_standby(self.config) is not self.standby or removal.pair_problems(
            self.config, standby=self.standby
        ):
            hint = "Start it again (systemctl enable --now pgvip), and begin anew: pgvip uninstall --dry-run"
            raise RefusedError("the roles have changed meanwhile; nothing was done but to stop the daemon", "", hint)

    def _server(self) -> list[Step]:
        config, settled = self.config, lambda: handing_back.is_done(self.config)
        title = "PostgreSQL settings: those of pgvip.conf that stay, in postgresql.conf"
        settings = Step(title, self._settings, settled)
        access = Step("pg_hba.conf and pg_ident.conf: without pgvip's lines", self._access)
        slots = Step("pgvip's replication slots", lambda: removal.drop_slots(config, standby=self.standby))
        boot = Step("start of PostgreSQL at boot", self._start_at_boot, lambda: removal.starts_at_boot(config))
        at_boot = [] if self.args.not_at_boot else [boot]
        if not self.standby:
            roles = Step("pgvip's roles and schema", lambda: removal.drop_roles(config),
                         lambda: not removal.have_roles(config))  # fmt: skip
            return [settings, slots, roles, access, *at_boot]
        if self.following:
            stream = Step("it streams by the new connection string",
                          lambda: removal.await_following(config, self.args.slot))  # fmt: skip
            return [settings, stream, slots, access, *at_boot]
        stop = Step("PostgreSQL: stopped", lambda: postgres.stop(config, clean=True), lambda: not self.running)
        return [*([slots] if self.running else []), stop, settings, access]

    def _settings(self) -> None:
        config = self.config
        ours = handing_back.settings(config)
        lines = handing_back.kept(ours, removal.others_set(config), self.following)
        self.archived = "archive_mode" in lines
        if "ssl" in lines:
            handing_back.keep_certificate(config)
        handing_back.write(config, lines)
        enrolment.reload(config)

    def _start_at_boot(self) -> None:
        if why := removal.start_at_boot(self.config):
            self._warn("nothing starts PostgreSQL at boot", f"{why.capitalize()}.")

    def _access(self) -> None:
        if handing_back.remove_access(self.config):
            removal.reread_access(self.config)

    def _host(self) -> list[Step]:
        config = self.config
        found = [
            Step("NFS export of the archive: removed", removal.remove_export, lambda: not removal.has_export()),
            Step("mount of the other host's archive: removed", lambda: mount.unmount(config),
                 lambda: not removal.is_mounted(config)),
        ]  # fmt: skip
        found += [self._address(name) for name in self.held]
        if self.args.static_addresses and self.held and not self.standby:
            title = f"addresses in {self.recipe.file}"
            found.append(Step(title, lambda: static_addresses.write(self.recipe)))
        return found

    def _address(self, name: Vip) -> Step:
        config, address = self.config, self.config.vips[name]
        if self.standby or self.args.drop_addresses:
            return Step(f"address {address.ip}: dropped", lambda: vip.drop(config, name))
        title = f"address {address.ip}: stays on {config.me.interface}"  # and for ever, where the daemon renewed it
        return Step(title, lambda: netlink.add_address(config.me.interface, address))

    def _warn(self, text: str, hint: str) -> None:
        self.warnings.append({"text": text, "hint": hint})
        self.say(f"  ! {text}" + (f"\n    {hint}" if hint else ""))

    def report_rest(self) -> None:
        """Say what is left to do."""
        config, args = self.config, self.args
        if args.dry_run:
            self.say("nothing was changed (--dry-run)")
            return
        if self.archived and not (self.standby and not self.following):
            hint = "For point-in-time recovery set an archive_command of yours; archive_mode is off after a restart."
            self._warn(f"WAL is no longer archived; what is in {config.archive.directory} stays", hint)
        if self.standby and not (self.following or self.only_observed) and self.data:
            self._warn("the data here are a standby's, whose server is stopped and is not started at boot",
                       "They are a second copy: keep them, or remove them when you no longer need them. Never start "
                       "them read-write beside the primary for the same clients.")  # fmt: skip
        if self.held and not (self.standby or self.only_observed or args.drop_addresses):
            one = self.recipe
            if args.static_addresses:
                self._warn(f"the addresses are in {one.file}", one.then)
            else:
                self._warn(*static_addresses.by_hand(one))
        self.say(f"Left on this host: {config.paths.state} (archive, backups, saved WAL) and {config.file.parent}; "
                 "remove them when nobody needs them. scripts/uninstall removes the program.")  # fmt: skip
