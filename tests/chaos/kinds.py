"""Every kind of fault that a chaos run may draw, as plain data; `faults` knows how to do them."""

from __future__ import annotations

from dataclasses import dataclass

PRIMARY, STANDBY, ANY, PAIR = "primary", "standby", "any", "pair"
"""Whom a fault hits: the host with that role at the time, a host drawn by the seed, or no host in particular."""


@dataclass(frozen=True)
class Kind:
    """One kind. `seconds`: the range of its own parameter (how long, how late); `lasts`: it stays until it is healed.

    `preparing`: does nothing by itself, so that it always comes together with a fault that it makes worse.
    `alone`: never in overlap with another. `weight`: how often it is drawn. `patience_s`: how long it may be left when
    the pair's reaction is waited for.
    """

    name: str
    title: str
    targets: tuple[str, ...] = (PRIMARY, STANDBY)
    seconds: tuple[float, float] = (0.0, 0.0)
    lasts: bool = True
    preparing: bool = False
    alone: bool = False
    weight: int = 2
    patience_s: float = 20.0


def _once(name: str, title: str, *targets: str, weight: int = 2) -> Kind:
    """A blow that is over at once."""
    return Kind(name, title, targets or (PRIMARY, STANDBY), lasts=False, weight=weight)


DATABASE = (
    _once("postmaster-killed", "SIGKILL to the postmaster", PRIMARY, PRIMARY, STANDBY, weight=4),
    _once("backend-killed", "SIGKILL to one server process that is not the postmaster"),
    _once("stopped-fast", "pg_ctl stop -m fast, by a DBA"),
    _once("stopped-immediate", "pg_ctl stop -m immediate, by a DBA"),
    _once("restarted", "pg_ctl restart -m fast, by a DBA"),
    Kind("postmaster-stopped", "SIGSTOP to the postmaster alone"),
    Kind("postgres-stopped", "SIGSTOP to every process of PostgreSQL", weight=3),
    Kind("backend-stopped", "SIGSTOP to one server process that is not the postmaster"),
    Kind("crowd", "clients take every connection that PostgreSQL allows", (PRIMARY,), weight=1),
    Kind("replay-paused", "replay is paused on the standby", (STANDBY,), weight=1),
    Kind("receiver-stopped", "SIGSTOP to the WAL receiver", (STANDBY,), weight=1),
    Kind("startup-stopped", "SIGSTOP to the process that replays", (STANDBY,), weight=1),
    Kind("sender-stopped", "SIGSTOP to the WAL sender", (PRIMARY,), weight=1),
    Kind("checkpointer-stopped", "SIGSTOP to the checkpointer", weight=1),
    Kind("walwriter-stopped", "SIGSTOP to the WAL writer", (PRIMARY,), weight=1),
    Kind("archiver-stopped", "SIGSTOP to the archiver", (PRIMARY,), weight=1),
    Kind("autovacuum-stopped", "SIGSTOP to an autovacuum worker, or to the launcher", (PRIMARY,), weight=1),
    _once("receiver-killed", "SIGKILL to the WAL receiver", STANDBY, weight=1),
    _once("receiver-ended", "the WAL receiver is terminated", STANDBY, weight=1),
    _once("sender-ended", "the WAL sender is terminated", PRIMARY, weight=1),
    _once("slot-dropped", "the standby's replication slot is dropped", PRIMARY, weight=1),
    Kind("disk-full", "the disk of the data directory is full"),
    Kind("disk-stalled", "writes to the disk of the data directory hang", patience_s=50),
)
POWER = (
    _once("power-reset", "the host loses power and gets it back at once", weight=3),
    Kind("power-off", "the host loses power; its peer may switch it on", weight=4),
    Kind("power-off-stays", "the host loses power, and nobody can switch it on", weight=2),
    Kind("both-off", "both hosts lose power", (PAIR,), weight=1),
    _once("both-reset", "both hosts lose power and get it back at once", PAIR, weight=1),
    Kind("host-frozen", "every process of the host is stopped; its kernel still answers", weight=3),
)
DAEMON = (
    _once("daemon-killed", "SIGKILL to the daemon", weight=2),
    _once("daemons-killed", "SIGKILL to both daemons", PAIR, weight=1),
    _once("daemon-restarted", "SIGTERM to the daemon, which is started again", weight=1),
    _once("daemon-reloaded", "SIGHUP to the daemon", weight=1),
    Kind("daemon-stopped", "the daemon is stopped in an orderly way, and stays so", weight=1),
    Kind("daemon-frozen", "SIGSTOP to the daemon", weight=2),
    Kind("daemon-descriptors", "the daemon may open so many more files only", seconds=(0, 4), weight=1),
    Kind("daemon-tasks", "the daemon may start no further thread or process", weight=1),
    Kind("state-read-only", "the state directory is mounted read-only", weight=1),
    Kind("state-full", "the file system of the state directory is full", weight=1),
    Kind("cpu-starved", "the host gets so many per cent of one processor", seconds=(8, 40), weight=1),
)
NETWORK = (
    Kind("cut-off", "the host is cut off from everything", weight=4),
    Kind("cut-peer", "nothing passes between the two hosts", (PAIR,), weight=3),
    Kind("cut-link", "the daemons' link alone is cut", (PAIR,)),
    Kind("cut-replication", "PostgreSQL's port between the hosts is cut", (PAIR,)),
    Kind("cut-one-way", "frames from this host to its peer are lost", weight=3),
    Kind("cut-gateway", "the host cannot reach its gateway"),
    Kind("gateway-dead", "the gateway is gone for both", (PAIR,), weight=1),
    Kind("packet-loss", "some per cent of the host's frames are lost, both ways", seconds=(5, 40)),
    Kind("path-loss", "some per cent are lost between the host and its peer or its gateway", seconds=(5, 40), weight=1),
    Kind("path-mtu", "packets of more bytes are lost between the host and one other", seconds=(400, 1400), weight=1),
    Kind("path-delay", "frames between the host and one other are late", seconds=(0.02, 0.4), weight=1),
)
FENCE = (
    Kind("fence-fails", "orders to the fence device fail", (ANY,), (1, 3), preparing=True),
    Kind("fence-late", "the device reports a failure and does it later", (ANY,), (0.3, 6), preparing=True),
    Kind("fence-unconfirmed", "the device does it and its confirmation is lost", (ANY,), preparing=True, weight=1),
    Kind("fence-slow", "the device takes its time", (ANY,), (0.5, 8), preparing=True),
    Kind("fence-hangs", "the device does not answer", (ANY,), preparing=True, weight=1),
    Kind("fence-cut", "the host cannot reach the fence device", (ANY,), preparing=True, weight=1),
)
ADDRESSES = (
    _once("vip-removed", "the host's virtual address is removed by hand", weight=1),
    _once("addresses-flushed", "a network restart drops every address of the host", weight=1),
    Kind("vip-stranger", "a stranger answers for the primary VIP", (PAIR,), weight=1),
)
OTHERS = (
    Kind("archive-hangs", "the peer's archive hangs on this host", weight=1),
    _once("archive-unmounted", "the peer's archive is unmounted on this host", weight=1),
    _once("switchover", "an operator orders a switchover", PRIMARY, STANDBY, weight=4),
    Kind("paused", "an operator pauses automatic changes", (ANY,), weight=1),
    Kind("record-rolled-back", "the standby loses power and comes back with an old record", (STANDBY,), alone=True,
         weight=1),
    Kind("record-lost", "the standby loses power and its record with it", (STANDBY,), alone=True, weight=1),
)
DEEDS = (
    Kind("setting-bad", "ALTER SYSTEM of a setting that bites", weight=2),
    Kind("names-cleared", "synchronous_standby_names is cleared by ALTER SYSTEM", (PRIMARY,), weight=1),
    Kind("heartbeat-dropped", "the schema of the heartbeat is dropped", (PRIMARY,), weight=1),
    Kind("config-broken", "a wrong line in postgresql.conf", weight=1),
    _once("promoted-by-hand", "pg_ctl promote of the standby", STANDBY, weight=1),
    _once("sessions-terminated", "every session of clients is terminated", weight=1),
    Kind("reader-blocks", "a reader on the standby holds a lock that the replay waits for", (STANDBY,), weight=1),
    Kind("wal-client-lazy", "pg_receivewal of somebody that confirms nothing, or is stopped", (PRIMARY,), weight=1),
)
WITNESS = (
    _once("witness-restarted", "the witness is stopped at once and started again", PAIR),
    Kind("witness-stopped", "the witness is stopped", (PAIR,), preparing=True, weight=3),
    Kind("witness-hangs", "every process of the witness is stopped", (PAIR,), preparing=True),
    Kind("witness-cut", "the host cannot reach the witness", weight=4),
    Kind("witness-mute", "what the witness answers to the host is lost", (ANY,), preparing=True, weight=3),
    Kind("witness-late", "frames between the host and the witness are late", (ANY,), (0.05, 0.6), preparing=True,
         weight=3),
    Kind("witness-loss", "some per cent of the frames between the host and the witness are lost", (ANY,), (10, 60),
         preparing=True),
)
"""Drawn for a pair that has one."""
SILENCING = frozenset({"power-reset", "power-off", "power-off-stays", "host-frozen", "cut-off", "cut-peer"})
"""Faults after which one host fences the other."""
STIRRING = SILENCING | {
    "postmaster-killed", "backend-killed", "stopped-fast", "stopped-immediate", "postmaster-stopped",
    "postgres-stopped", "disk-full", "disk-stalled", "switchover",
}
"""Faults that the pair does something about: what may follow in the middle of that."""
KINDS = {
    kind.name: kind
    for kind in (*DATABASE, *POWER, *DAEMON, *NETWORK, *FENCE, *ADDRESSES, *OTHERS, *DEEDS, *WITNESS)
}
OF_WITNESS = frozenset(kind.name for kind in WITNESS)
