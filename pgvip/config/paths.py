"""Where pgvip keeps what: every file and directory of its own, by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    """`state`: durable record, certificates, saved WAL. `run`: socket and boot facts (a tmpfs)."""

    state: Path = Path("/var/lib/pgvip")
    run: Path = Path("/run/pgvip")
    passwords: Path = Path("/etc/pgvip/pgpass")

    @property
    def own_passwords(self) -> Path:
        """The same passwords, for root, which may not read what belongs to PostgreSQL's user."""
        return self.passwords.with_name(f"{self.passwords.name}.root")

    @property
    def record(self) -> Path:
        return self.state / "record.json"

    @property
    def identity(self) -> Path:
        """Which host is "first" (parity), fixed at `init`."""
        return self.state / "identity.json"

    @property
    def scheduled(self) -> Path:
        """A switchover for later, on the host where it was ordered."""
        return self.state / "scheduled.json"

    @property
    def raised(self) -> Path:
        """The addresses that pgvip raised on this host since its boot, which none of them outlives."""
        return self.run / "raised.json"

    @property
    def vips(self) -> Path:
        """Which addresses the VIPs have and had since this host's boot (config.former_vips)."""
        return self.run / "vips.json"

    @property
    def certificates(self) -> Path:
        return self.state / "tls"

    @property
    def tls_in_use(self) -> Path:
        """Which `postgresql.tls` is in use, whatever the file says by now."""
        return self.certificates / "in-use.json"

    @property
    def postgres_keys(self) -> Path:
        """Root's own key and certificates for connections to PostgreSQL (setup.server_keys)."""
        return self.certificates / "postgresql"

    @property
    def server_keys(self) -> Path:
        """Those of PostgreSQL's user: of the server, of the WAL receiver, of pg_basebackup and pg_rewind."""
        return self.work / "tls"

    @property
    def events(self) -> Path:
        """The event history of both hosts."""
        return self.state / "events"

    @property
    def work(self) -> Path:
        """What PostgreSQL's user keeps for pgvip: everything beside it in there is root's."""
        return self.state / "work"

    @property
    def made_passwords(self) -> Path:
        """The passwords for PostgreSQL's user, where a change of `postgresql.tls` made them."""
        return self.work / "pgpass"

    @property
    def saved(self) -> Path:
        """Where diverged WAL and replaced data directories are kept."""
        return self.state / "saved"

    @property
    def samples(self) -> Path:
        """Replication monitoring history of this host."""
        return self.state / "history"

    @property
    def drill(self) -> Path:
        """What the last drill on this host found."""
        return self.state / "drill.json"

    @property
    def archive_socket(self) -> Path:
        """Where PostgreSQL's user asks the daemon for the peer's archive."""
        return self.run / "archive.sock"

    @property
    def boot_facts(self) -> Path:
        return self.run / "boot.json"

    @property
    def watchdog_armed(self) -> Path:
        """There while the daemon has armed the watchdog: one that died has left it so."""
        return self.run / "watchdog-armed"

    @property
    def socket(self) -> Path:
        return self.run / "pgvip.sock"

    @property
    def no_restore(self) -> Path:
        """While this file is there, `restore-wal` returns at once (a promotion must not wait for it)."""
        return self.run / "no-restore"

    @property
    def flushed(self) -> Path:
        """How far the server had flushed before a promotion, until it was seen where that forks."""
        return self.run / "flushed"
