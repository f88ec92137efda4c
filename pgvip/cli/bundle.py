"""`pgvip bundle`: a new bundle for the other host of a pair, which has lost its state or its keys."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.cli.output import put
from pgvip.cli.simple import confirm
from pgvip.cli.steps import Step, add_dry_run, require_root, run_steps, warn
from pgvip.config.load import load
from pgvip.errors import LinkError, RecordError, RefusedError
from pgvip.link.operator_socket import call, raise_failure
from pgvip.setup import access, bundles, server_keys
from pgvip.state.record import RecordStore, load_identity
from pgvip.system import privileges
from pgvip.system.server_tls import password_file
from pgvip.system.sql import DATABASE_ROLE, REPLICATION_ROLE

if TYPE_CHECKING:
    from pgvip.config.model import Config

HELP = "write a new bundle for the other host, which has lost its state or its keys"
ANSWER_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bundle`."""
    parser.description = (
        "Make new keys for the other host of this pair and write its bundle, on either host. The keys that it has now "
        "become invalid: the hosts cannot connect until pgvip clone or pgvip join has installed the bundle there. To "
        "renew keys while both hosts work, use pgvip rotate. A standby refuses while the primary uses its keys. "
        "Example: pgvip bundle /root/pair.bundle"
    )
    parser.add_argument("path", type=Path, nargs="?", metavar="PATH", help="where to write it [STATE/bundle]")
    parser.add_argument("--yes", metavar="HOST", help="the other host's name, instead of typing it")
    add_dry_run(parser)


def run(args: argparse.Namespace) -> int:
    """Write the bundle. Returns the exit code."""
    require_root()
    config = load(args.config, args.host)
    privileges.give_up(config)
    peer, path = config.peer.name, args.path or config.paths.state / "bundle"
    identity = load_identity(config.paths.identity)
    if identity is None:
        hint = "Make a pair with pgvip init, or take the bundle of the other host: pgvip bundle there."
        raise RecordError("this host belongs to no pair", f"{config.paths.identity} does not exist.", hint)
    bundles.refuse_change(config)
    _refuse_keys_in_use(config)
    _refuse_without_passwords(config)
    if not args.dry_run:
        warning = f"The keys of {peer} are not valid any more: the hosts cannot connect until it has installed {path}."
        confirm(args, warning, peer, f"the name of the host that needs new keys ({peer})")
    run_steps([Step(f"new keys and bundle for {peer} in {path}", lambda: bundles.make(config, identity, path)),
               Step("the daemon here takes the new keys", lambda: tell_daemon(config))],
              dry_run=args.dry_run)  # fmt: skip
    if args.dry_run:
        put("nothing was changed (--dry-run)", flush=True)
        return 0
    put(
        f"Copy {path} as root to {peer} (it holds secrets: delete it here then), and there, while pgvip does not run:\n"
        f"pgvip clone --replace BUNDLE   (or, if it streams from here already: pgvip join BUNDLE)",
        flush=True,
    )
    return 0


def tell_daemon(config: Config) -> None:
    """Let the local daemon use the new keys; one that does not run reads them when it starts."""
    if not config.paths.socket.exists():
        return
    try:
        raise_failure(call(config.paths.socket, {"command": "renew-keys"}, ANSWER_S))
    except LinkError as failure:
        warn(f"the daemon here did not take the new keys: {failure.message}", "Restart it: systemctl restart pgvip")


def _refuse_keys_in_use(config: Config) -> None:
    """On a standby: the primary, which serves, would be cut off, and takes no bundle while it is primary."""
    durable, peer = RecordStore(config.paths.record).load(), config.peer.name
    if durable is None or durable.record is None or durable.record.primary != peer:
        return
    try:
        answer = call(config.paths.socket, {"command": "status"}, ANSWER_S)
        connected = bool(answer.get("ok") and answer["status"]["link"]["connected"])
    except LinkError as failure:
        hint = "Start pgvip here, which sees whether they are in use: systemctl start pgvip"
        raise RefusedError(f"the keys of {peer}, which is primary, may be in use", failure.message, hint) from failure
    if connected:
        raise RefusedError(
            f"{peer} is primary, and uses the keys that a bundle would make invalid",
            "The daemons are connected.",
            f"To renew the keys of both hosts: pgvip rotate. If {peer} has to have a bundle, stop pgvip there first.",
        )


def _refuse_without_passwords(config: Config) -> None:
    """New passwords would not be those that the pair's databases know."""
    if server_keys.used(config):
        return
    try:
        text = password_file(config).read_text(encoding="ascii")
    except FileNotFoundError:
        text = ""
    if not all(access.password_of(text, role) for role in (DATABASE_ROLE, REPLICATION_ROLE)):
        raise RefusedError(
            f"the passwords of the pair are not in {config.paths.passwords}",
            hint="Copy that file from the other host, with its owner and mode.",
        )
