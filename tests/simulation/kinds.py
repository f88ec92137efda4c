"""The kinds of faults: how often each is drawn, how long it lasts, and what else is drawn for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.simulation.network import PATHS

How = tuple[str | float, ...]
Draw = Callable[[Random, str], How]


def nothing(_rng: Random, _host: str) -> How:
    """Nothing else is drawn."""
    return ()


def one_of(*words: str | float) -> Draw:
    """One of these."""
    return lambda rng, _host: (rng.choice(words),)


@dataclass(frozen=True, slots=True)
class Kind:
    """`name` is that of the method of Faults that strikes; `lasts_s`: shortest and longest (short ones are more often).

    `daemon`: only a daemon is stopped or killed. `operators`: an operator may be needed to come back.
    """

    name: str
    weight: float
    lasts_s: tuple[float, float] = (0.5, 25.0)
    how: Draw = nothing
    daemon: bool = False
    operators: bool = False


def _cut(rng: Random, host: str) -> How:
    paths = rng.sample(PATHS, rng.choice((1, 1, 2, 3)))
    names = (host,) if rng.random() < 0.5 else ("a", "b")
    return tuple(f"{path}:{name}" for path in paths for name in names)


def _cut_off(rng: Random, host: str) -> How:
    keep = {"fence"} if rng.random() < 0.5 else set()
    return tuple(f"{path}:{host}" for path in PATHS if path not in keep)


def _isolated(rng: Random, host: str) -> How:
    """Nothing comes or goes: no peer, no gateway; now and then clients still come, or the gateway is all that does."""
    both = tuple(f"{path}:{name}" for path in ("link", "db") for name in "ab")
    outside = rng.choice(((f"gateway:{host}", f"client:{host}"), (f"gateway:{host}",), ("gateway:a", "gateway:b")))
    return (*both, *outside, *rng.choice(((), (f"fence:{host}",), ("fence:a", "fence:b"))))


def _apart(rng: Random, host: str) -> How:
    """Neither host hears of the other, while clients may reach both; perhaps one of them can fence no more."""
    blind = rng.choice(((), (), (f"fence:{host}",)))
    return (*(f"{path}:{name}" for path in ("link", "db") for name in "ab"), *blind)


def _gateway(rng: Random, host: str) -> How:
    return tuple(f"gateway:{name}" for name in ((host,) if rng.random() < 0.6 else ("a", "b")))


def _weather(rng: Random, _host: str) -> How:
    """Rates of single steps that fail, as name, value, name, value."""
    drawn: list[str | float] = []
    if rng.random() < 0.5:
        drawn += ["message_lost", rng.choice((0.0, 0.1, 0.5)), "message_twice", rng.choice((0.0, 0.3))]
        drawn += ["message_late", rng.choice((0.0, 0.1, 0.5)), "late_s", rng.choice((1.0, 5.0, 30.0))]
    if rng.random() < 0.5:
        drawn += ["slow", rng.choice((0.02, 0.1, 0.4)), "fence_answer_s", rng.choice((0.3, 8.0))]
    if rng.random() < 0.4:
        drawn += ["write_fails", rng.choice((0.0, 0.2, 0.8)), "start_fails", rng.choice((0.0, 0.3))]
        drawn += ["promote_fails", rng.choice((0.0, 0.3)), "stop_escalates", rng.choice((0.0, 0.3))]
        drawn += ["drop_fails", rng.choice((0.0, 0.3))]
    return tuple(drawn)


PROBES = (
    ("processes", "held"), ("connection", "database"), ("disks",), ("gateway",), ("fence",),
    ("arp_primary", "arp_standby"), ("peer_own", "peer_vip"), ("database",), ("processes",),
)  # fmt: skip


def _probes(rng: Random, _host: str) -> How:
    """Which looks hang; the last word: whether they say so at their time limit, or nothing at all."""
    return (*rng.choice(PROBES), rng.choice(("fails", "hangs")))


def _slow_server(rng: Random, _host: str) -> How:
    """Seconds that PostgreSQL takes longer to start, to stop, to promote, and to heed the synchronous names."""
    return tuple(round(rng.choice((0.0, 0.0, rng.uniform(0.5, 5.0), rng.uniform(5.0, 40.0))), 2) for _ in range(4))


def _power(rng: Random, _host: str) -> How:
    return ("reset",) if rng.random() < 0.4 else ()


def _hung(rng: Random, _host: str) -> How:
    return (rng.choice(("all", "postmaster")), "" if rng.random() < 0.7 else "for ever")


def _disk(rng: Random, _host: str) -> How:
    return ("stuck" if rng.random() < 0.3 else "", "state" if rng.random() < 0.5 else "")


KINDS = (
    Kind("daemon_killed", 2.0, (0.1, 20.0), daemon=True),
    Kind("daemon_stopped", 1.0, (0.2, 15.0), daemon=True),
    Kind("power", 3.0, how=_power),
    Kind("both_off", 1.0, how=lambda rng, host: (round(rng.uniform(0.05, 25.0), 3), *_power(rng, host))),
    Kind("frozen", 1.0, (0.2, 20.0)),
    Kind("paused", 0.7, (0.2, 40.0)),
    Kind("clock_jump", 0.3),
    Kind("postmaster_killed", 3.0, how=one_of("", "", "orphans")),
    Kind("postgres_hung", 1.5, how=_hung),
    Kind("slow_server", 1.5, (2.0, 60.0), how=_slow_server),
    Kind("dba_stop", 1.0),
    Kind("recovery_target", 0.5),
    Kind("replay_paused", 0.5),
    Kind("dba_promotes", 0.5),
    Kind("disk", 1.0, how=_disk),
    Kind("state_hangs", 0.7, (0.2, 20.0)),
    Kind("probes_hang", 1.5, how=_probes),
    Kind("cut", 4.0, how=_cut),
    Kind("cut_off", 1.5, how=_cut_off),
    Kind("apart", 2.0, how=_apart),
    Kind("isolated", 1.0, (2.0, 40.0), how=_isolated),
    Kind("gateway", 1.0, how=_gateway),
    Kind("stream_breaks", 0.7),
    Kind("stall", 1.0),
    Kind("trickle", 0.5),
    Kind("fence_mood", 2.5, how=one_of("fails", "late", "late", "lost", "after boot")),
    Kind("weather", 1.5, how=_weather),
    Kind("address_gone", 0.7),
    Kind("address_sticks", 0.3),
    Kind("leave", 1.0, (0.5, 30.0)),
    Kind("old_message", 2.0),
    Kind("switchover", 2.0, how=one_of("", "", "", "called off")),
    Kind("pause", 0.7),
    Kind("failover", 0.7),
    Kind("fence_off", 0.5, (5.0, 60.0)),
    Kind("seen_dead", 1.0),
    Kind("rejoin", 0.3),
    Kind("mode", 0.5, (0.0, 10.0)),
    Kind("stranger", 0.7, (5.0, 60.0), how=one_of("refuses", "other")),
    Kind("forks_early", 0.7, (5.0, 60.0), how=one_of(1.0, 3.0), operators=True),
    Kind("record_lost", 0.7, operators=True),
    Kind("record_back", 0.5, how=one_of(1.0, 2.0, 4.0), operators=True),
    Kind("force", 0.7, operators=True),
)  # fmt: skip
"""Daemon faults first; every run draws its own weights on top, so that runs differ in kind."""
WITNESS_KINDS = (
    Kind("witness_off", 1.0, (0.5, 40.0)),
    Kind("witness_cut", 2.0, (0.5, 40.0), how=one_of("a", "b", "ab")),
    Kind("witness_mood", 2.0, how=one_of("late", "late", "lost", "refused")),
)
"""What may go wrong with a witness besides; such runs are their own, and those without one stay as they were."""
REMOVE_PEER = Kind("remove_peer", 3.0, (2.0, 60.0))
"""Back to one host, and to a pair again: in some runs besides, so that all others stay as they were."""
BLOWS = tuple(kind for kind in KINDS if kind.name in ("power", "cut_off", "apart", "postmaster_killed", "frozen"))
"""What makes a small fault that is under way a large one."""
