"""Making the bundle that brings the other host into the pair: new keys for it, and everything it must know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgvip.errors import RefusedError
from pgvip.link import bundle, tls
from pgvip.setup import access, rotation, server_keys

if TYPE_CHECKING:
    from pathlib import Path

    from pgvip.config.model import Config
    from pgvip.state.record import PairIdentity


def make(config: Config, identity: PairIdentity, path: Path) -> None:
    """Write a bundle for the other host to `path`, with new keys for it, and for this one where it has none.

    Each call makes earlier bundles invalid, and the keys that the other host has now. A daemon that runs here does
    not know of it yet. Raises LinkError.
    """
    from pgvip.link.certificates import make_pair_certificates  # noqa: PLC0415  # slow to import, needed only here

    refuse_change(config)
    pairs = make_pair_certificates([config.me.name, config.peer.name])
    own, peer = pairs[config.me.name], pairs[config.peer.name]
    directory = config.paths.certificates
    rotation.forget(config, keys_follow=False)
    if (directory / "own.key").exists():
        key, certificate = ((directory / name).read_text(encoding="ascii") for name in ("own.key", "own.crt"))
        own = tls.KeyPair(key, certificate)
    tls.install(directory, own, peer.certificate)
    bundle.write_bundle(
        path,
        bundle.Bundle(
            host=config.peer.name,
            first_host=identity.first,
            pair_id=identity.pair_id,
            system_id=identity.system_id,
            config=config.file.read_text(encoding="utf-8"),
            key=peer.key,
            certificate=peer.certificate,
            peer_certificate=own.certificate,
            passwords=access.ensure_passwords(config),
            extra=access.others_lines(config),
            server_keys=server_keys.for_peer(config),
        ),
    )
    bundle.remember(config.paths.state, path)


def refuse_change(config: Config) -> None:
    """RefusedError while `postgresql.tls` changes: a bundle brings what one of them needs."""
    if config.postgres.tls_changes:
        used, wanted = config.postgres.tls, config.postgres.tls_wanted
        raise RefusedError(
            "a change of postgresql.tls has not ended",
            f'The file says "{wanted}", in use is "{used}".',
            f'Wait until it has ended (pgvip status); where the other host is gone, write "{used}" again and reload.',
        )
