"""New keys for a pair in service: what one host does. In which order both do it is `rotation_order`.

A host has its keys of the link and of PostgreSQL, and trusts those of the other. To renew them it passes through three
states, each kept in one file before anything follows from it:

    prepared   it has its next keys and the next certificates of the other host; it trusts the old and the next ones
    using      it uses its next keys; it trusts the old and the next ones
    finished   it trusts the next ones alone

So whatever the other host uses is trusted until both use their next keys, and an interruption between two steps cuts
nothing. Each step can be repeated. Keys and certificates are separate files: `resume` ends an exchange of them that was
cut short, before anything reads them.
"""

from __future__ import annotations

import ssl
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.errors import FormatError, LinkError, RefusedError
from pgvip.link import tls
from pgvip.setup import server_keys
from pgvip.state import codec, files
from pgvip.system.server_tls import certificate_file, key_file
from pgvip.system.sql import DATABASE_ROLE, REPLICATION_ROLE

if TYPE_CHECKING:

    from pgvip.config.model import Config

FILE = "rotation.json"
"""In the directory of the link's certificates, which is root's."""
BYTES_MAX = 1 << 16
HINT = "Run pgvip rotate; or make the other host's keys anew: pgvip bundle here, pgvip join there."


@dataclass(frozen=True, slots=True)
class Public:
    """What the other host must know of a host's next keys: PEM of its certificate on the link, and of its authority."""

    certificate: str
    authority: str


@dataclass(frozen=True, slots=True)
class Next:
    """What a host is going to use and to trust. `number`: of this rotation; `files`: see `server_keys.make`."""

    number: str
    key: str = field(repr=False)
    certificate: str
    files: dict[str, str] = field(repr=False)
    peer: Public
    using: bool = False


@dataclass(frozen=True, slots=True)
class Rotation:
    """`done`: the number of the last one that this host has finished."""

    done: str = ""
    next: Next | None = None

    @property
    def using(self) -> str:
        """The number of the one whose keys this host uses and has not finished, or ""."""
        return self.next.number if self.next is not None and self.next.using else ""


@dataclass(frozen=True, slots=True)
class Made:
    """New keys of a host, not in use anywhere."""

    link: tls.KeyPair
    files: dict[str, str] = field(repr=False)

    @property
    def public(self) -> Public:
        return Public(self.link.certificate, self.files[server_keys.OWN])


def make(config: Config) -> tuple[Made, Made]:
    """New keys for this host and for the other one."""
    from pgvip.link.certificates import make_pair_certificates  # noqa: PLC0415  # slow to import, needed only here

    pairs = make_pair_certificates([config.me.name, config.peer.name])
    own, peer = (Made(pairs[host.name], server_keys.make(config, host)) for host in (config.me, config.peer))
    return own, peer


def next_of(number: str, own: Made, peer: Public) -> Next:
    """What one host has to know."""
    return Next(number, own.link.key, own.link.certificate, own.files, peer)


# --- what is kept ------------------------------------------------------------------------------------------------


def load(config: Config) -> Rotation:
    """Where this host is. LinkError when that cannot be read."""
    path = config.paths.certificates / FILE
    try:
        return codec.from_json(Rotation, files.read(path, BYTES_MAX), max_bytes=BYTES_MAX)
    except FileNotFoundError:
        return Rotation()
    except (OSError, FormatError) as failure:
        raise LinkError(f"cannot read {path}", f"{failure}.", HINT) from failure


def unfinished(config: Config) -> tuple[str, float]:
    """What there is to say of a rotation that has not ended here, "" for none; and its age in seconds."""
    path = config.paths.certificates / FILE
    try:
        age_s = max(0.0, time.time() - path.stat().st_mtime)
        coming = load(config).next
    except OSError:
        return "", 0.0
    except LinkError as failure:
        return failure.message, age_s
    if coming is None:
        return "", 0.0
    return (
        "it uses its new keys, and the old ones are still valid"
        if coming.using
        else "it has next keys, and does not use them"
    ), age_s


def _keep(config: Config, rotation: Rotation) -> None:
    tls.write(config.paths.certificates, {FILE: codec.to_json(rotation, max_bytes=BYTES_MAX)})


def _sure(config: Config, number: str) -> Next:
    found = load(config).next
    if found is None or found.number != number:
        raise RefusedError(f"{config.me.name} knows nothing of rotation {number}", hint="Run pgvip rotate again.")
    return found


# --- the steps ---------------------------------------------------------------------------------------------------


def prepare(config: Config, coming: Next) -> None:
    """Keep the next keys, and trust the next certificates as well. The server needs a reload then, as after each step.

    Those of an earlier attempt that nobody uses are forgotten. RefusedError for keys that do not fit, or while this
    host uses others that are not finished.
    """
    rotation = load(config)
    if rotation.using:
        raise RefusedError(f"{config.me.name} has not finished rotation {rotation.using}", hint=HINT)
    _check(coming)
    _keep(config, replace(rotation, next=replace(coming, using=False)))
    tls.write(config.paths.certificates, {tls.NEXT: coming.peer.certificate})
    own, peer = server_keys.authorities(config)
    server_keys.trust(config, own + peer + coming.files[server_keys.OWN] + coming.peer.authority)


def use(config: Config, number: str) -> None:
    """Use the next keys from now on."""
    coming = _sure(config, number)
    _keep(config, replace(load(config), next=replace(coming, using=True)))
    _exchange(config, coming)


def finish(config: Config, number: str) -> None:
    """Trust the next certificates alone. Only when both hosts use their next keys."""
    rotation = load(config)
    if rotation.next is None and rotation.done == number:
        return
    coming = _sure(config, number)
    if not coming.using:
        raise RefusedError(f"{config.me.name} does not use the keys of rotation {number} yet", hint=HINT)
    tls.trust(config.paths.certificates, coming.peer.certificate)
    server_keys.settle(config, coming.files[server_keys.OWN], coming.peer.authority)
    _keep(config, Rotation(done=number))


def _exchange(config: Config, coming: Next) -> None:
    server_keys.use(config, coming.files)
    tls.write(config.paths.certificates, {"own.key": coming.key, "own.crt": coming.certificate})


# --- after an interruption, and for those who make all keys anew ---------------------------------------------------


def resume(config: Config) -> bool:
    """End an exchange of keys that was cut short; True when there was something to look after. LinkError."""
    coming = load(config).next
    if coming is None or not coming.using:
        return False
    _exchange(config, coming)
    return True


def forget(config: Config, *, keys_follow: bool) -> None:
    """Drop what is not finished: the other host gets new keys by a bundle, and this host trusts nothing else then.

    `keys_follow`: this host gets new ones as well; else it goes on with those it uses.
    """
    try:
        rotation = load(config)
    except LinkError:
        rotation = Rotation()  # nothing of it can be known, and nothing of it is needed
    coming = rotation.next
    if coming is not None and coming.using and not keys_follow:
        _exchange(config, coming)
        server_keys.settle(config, coming.files[server_keys.OWN], server_keys.authorities(config)[1])
    try:
        (config.paths.certificates / FILE).unlink(missing_ok=True)
    except OSError as failure:
        raise LinkError(f"cannot remove {config.paths.certificates / FILE}", f"{failure}.") from failure


def _check(coming: Next) -> None:
    """Keys that do not belong to their certificates, or files that are none of these, are put in no place."""
    if set(coming.files) != server_keys.names():
        raise RefusedError("the new keys are not those of a host", hint="Run the same version on both hosts.")
    pairs = {"link": (coming.key, coming.certificate)}
    for name in (server_keys.SERVER, DATABASE_ROLE, REPLICATION_ROLE):
        pairs[name] = (coming.files[key_file(name)], coming.files[certificate_file(name)])
    authorities = (coming.peer.certificate, coming.peer.authority, coming.files[server_keys.OWN])
    with tempfile.TemporaryDirectory(prefix="pgvip-") as place:
        for name, (key, certificate) in pairs.items():
            _check_pair(Path(place), name, key, certificate)
    try:
        for text in authorities:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as failure:
        raise RefusedError("a new certificate cannot be read", f"{failure}.") from failure


def _check_pair(place: Path, name: str, key: str, certificate: str) -> None:
    path = place / "pair.pem"
    files.write(path, f"{key}\n{certificate}", durable=False)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
    except (ssl.SSLError, OSError) as failure:
        raise RefusedError(f"the new key of {name} does not fit its certificate", f"{failure}.") from failure
