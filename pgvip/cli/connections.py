"""Connection strings for the drivers that applications use. Pure: addresses in, text out.

Every driver has its own names for the same time-outs, and some lack one; `NOTES` says which. A session to a host that
lost power ends soon only with them: the new owner of the address answers what is sent with a reset, but a session that
waits for an answer, or is idle, hears nothing (RFC 1122, 4.2.3.6; RFC 5482).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import quote

CONNECT_S = 3
"""libpq makes 2 of 1; a host that is off is found in time to try the other (PostgreSQL manual, 34.1.2)."""
IDLE_S, INTERVAL_S, COUNT = 5, 2, 3
"""Keepalive: a dead idle session ends after 5 + 3 * 2 s instead of Linux's two hours (tcp(7))."""
USER_TIMEOUT_MS = 10_000
"""Sent and not acknowledged for so long: the session ends. It does not limit a query."""
RECHECK_S = 2
"""pgjdbc remembers for 10 s that a host was not the primary; a switchover takes less than one."""

TO = ("read-write", "read-only")
BY = ("vip", "hosts")
FORMATS = ("libpq", "uri", "service", "jdbc", "sqlalchemy", "pgx", "node")

NOTES = {
    "libpq": "psql, psycopg, and everything else on libpq; prefer-standby needs libpq 14, --balance libpq 16",
    "uri": "the same as a URI; not for asyncpg, which sends parameters that it does not know to the server",
    "service": "for pg_service.conf; then: psql service=NAME",
    "jdbc": "pgjdbc has no TCP user timeout and uses the kernel's keepalive times: set net.ipv4.tcp_keepalive_time=5, "
            "tcp_keepalive_intvl=2, tcp_keepalive_probes=3 on the client; socketTimeout would also end long queries",
    "sqlalchemy": "for create_engine(); with psycopg 3 write postgresql+psycopg; use pool_pre_ping=True",
    "pgx": "pgx passes what it does not know to the server, so keepalive is set in Go: config.DialFunc with net.Dialer",
    "node": "for new Pool(...); pg tries one address only, so there is none by hosts",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a string shall connect to. `hosts`: addresses in the order in which they are tried."""

    hosts: tuple[str, ...]
    port: int
    to: str
    by: str
    dbname: str
    user: str = ""
    balance: bool = False
    name: str = ""

    @property
    def attrs(self) -> str:
        """What of several hosts will do (libpq's target_session_attrs); "" where the address says it."""
        if self.by == "vip":
            return ""
        return "read-write" if self.to == "read-write" else "prefer-standby"

    @property
    def spread(self) -> bool:
        """Reads may go to either host at random."""
        return self.balance and self.by == "hosts" and self.to == "read-only"


def connection(form: str, wanted: Wanted) -> str | None:
    """One string; None where the driver cannot do it."""
    makers = {
        "libpq": _libpq,
        "uri": _uri,
        "service": _service,
        "jdbc": _jdbc,
        "sqlalchemy": _sqlalchemy,
        "pgx": _pgx,
        "node": _node,
    }
    return makers[form](wanted)


def _parameters(wanted: Wanted) -> dict[str, str]:
    """libpq's, beside host, port, user and database (manual, 34.1.2)."""
    found = {
        "connect_timeout": CONNECT_S,
        "keepalives_idle": IDLE_S,
        "keepalives_interval": INTERVAL_S,
        "keepalives_count": COUNT,
        "tcp_user_timeout": USER_TIMEOUT_MS,
    }
    if wanted.spread:
        return {key: str(value) for key, value in found.items()} | {"load_balance_hosts": "random"}
    attrs = {"target_session_attrs": wanted.attrs} if wanted.attrs else {}
    return {key: str(value) for key, value in found.items()} | attrs


def _pairs(wanted: Wanted) -> dict[str, str]:
    who = {"user": wanted.user} if wanted.user else {}
    return {"host": ",".join(wanted.hosts), "port": str(wanted.port), "dbname": wanted.dbname, **who,
            **_parameters(wanted)}  # fmt: skip


def _libpq(wanted: Wanted) -> str:
    return " ".join(f"{key}={keyword_value(value)}" for key, value in _pairs(wanted).items())


def _service(wanted: Wanted) -> str:
    lines = [f"{key}={value}" for key, value in _pairs(wanted).items()]
    return "\n".join([f"[{wanted.name}-{wanted.to}{'-hosts' if wanted.by == 'hosts' else ''}]", *lines])


def _uri(wanted: Wanted) -> str:
    return f"postgresql://{_authority(wanted)}{_query(_parameters(wanted))}"


def _pgx(wanted: Wanted) -> str:
    attrs = {"target_session_attrs": wanted.attrs} if wanted.attrs else {}
    return f"postgres://{_authority(wanted)}{_query({'connect_timeout': str(CONNECT_S), **attrs})}"


def _jdbc(wanted: Wanted) -> str:
    found = {"user": wanted.user} if wanted.user else {}
    found |= {"connectTimeout": str(CONNECT_S), "tcpKeepAlive": "true"}
    if wanted.by == "hosts":
        kind = "any" if wanted.spread else "primary" if wanted.to == "read-write" else "preferSecondary"
        found |= {"targetServerType": kind, "hostRecheckSeconds": str(RECHECK_S)}
    if wanted.spread:
        found["loadBalanceHosts"] = "true"
    return f"jdbc:postgresql://{_places(wanted)}/{quote(wanted.dbname, safe='')}{_query(found)}"


def _sqlalchemy(wanted: Wanted) -> str:
    who = f"{quote(wanted.user, safe='')}@" if wanted.user else ""
    database = quote(wanted.dbname, safe="")
    if wanted.by == "vip":
        return f"postgresql+psycopg2://{who}{_places(wanted)}/{database}{_query(_parameters(wanted))}"
    ports = ",".join([str(wanted.port)] * len(wanted.hosts))
    places = {"host": ",".join(wanted.hosts), "port": ports}
    return f"postgresql+psycopg2://{who}/{database}{_query({**places, **_parameters(wanted)})}"


def _node(wanted: Wanted) -> str | None:
    if wanted.by == "hosts":
        return None
    # Not as connectionString: pg leaves some encoded characters of the database's name as they are (8.x).
    options = {
        "host": wanted.hosts[0],
        "port": wanted.port,
        "database": wanted.dbname,
        **({"user": wanted.user} if wanted.user else {}),
        "connectionTimeoutMillis": CONNECT_S * 1000,
        "keepAlive": True,
        "keepAliveInitialDelayMillis": IDLE_S * 1000,
    }
    return json.dumps(options, ensure_ascii=False)


def _authority(wanted: Wanted) -> str:
    who = f"{quote(wanted.user, safe='')}@" if wanted.user else ""
    return f"{who}{_places(wanted)}/{quote(wanted.dbname, safe='')}"


def _places(wanted: Wanted) -> str:
    return ",".join(f"{bracketed(host)}:{wanted.port}" for host in wanted.hosts)


def bracketed(host: str) -> str:
    """An address as URIs want it (RFC 3986, 3.2.2).

    >>> bracketed("2001:db8::1"), bracketed("192.0.2.1")
    ('[2001:db8::1]', '192.0.2.1')
    """
    return f"[{host}]" if ip_address(host).version == 6 else host


def keyword_value(value: str) -> str:
    r"""Quote a value for libpq where it needs that (manual, 34.1.1.1).

    >>> print(keyword_value("shop"), keyword_value("a b"), keyword_value("it's"), keyword_value(""))
    shop 'a b' 'it\'s' ''
    """
    if value and not any(sign in value for sign in " '\\\t\n="):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _query(parameters: dict[str, str]) -> str:
    return "?" + "&".join(f"{key}={quote(value, safe=',:')}" for key, value in parameters.items())
