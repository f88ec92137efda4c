"""Making a witness: what `pgvip witness init` prints, or runs."""

from __future__ import annotations

import os
import re
import secrets
from typing import TYPE_CHECKING, Any

from pgvip.config.libpq_words import StringError, words_of
from pgvip.errors import ConfigError, WitnessError
from pgvip.system import session_settings
from pgvip.system.sql import Session, load_sql
from pgvip.witness.by_postgresql import connection_words

if TYPE_CHECKING:
    from pgvip.config.witness_config import WitnessConfig

INIT_S = 30.0
OLDEST = 12
"""PostgreSQL's version; the script says so itself."""
_ROLE = re.compile(r"[a-z_][a-z0-9_-]{0,62}")
_OF_SERVER = ("host", "hostaddr", "port", "dbname", "sslmode", "sslrootcert")


def new_id() -> str:
    """An id that no other witness has."""
    return secrets.token_hex(16)


def settings(witness: WitnessConfig, witness_id: str, *, again: bool) -> dict[str, str]:
    """What the script reads. ConfigError for a role whose name would need quotes."""
    role = str(connection_words(witness, 1.0)["user"])
    if not _ROLE.fullmatch(role):
        hint = "Use small letters, digits, _ and -."
        raise ConfigError(f"witness.postgresql (user): {role!r} is not a usable name of a role", hint=hint)
    return {
        "pgvip_witness.role": role, "pgvip_witness.id": witness_id, "pgvip_witness.again": "on" if again else "off",
    }  # fmt: skip


def script(witness: WitnessConfig, witness_id: str, *, again: bool = False) -> str:
    """The SQL for psql, as one transaction."""
    lines = [f"SET LOCAL {name} = '{value}';" for name, value in settings(witness, witness_id, again=again).items()]
    pins = [f"SET LOCAL {name} = '{value}';" for name, value in _pinned().items()]
    begin = ["\\set ON_ERROR_STOP on", "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;"]
    return "\n".join([*begin, *pins, *lines, load_sql("witness_init", OLDEST), "COMMIT;"])


def run(witness: WitnessConfig, admin: str, witness_id: str, *, again: bool = False) -> str:
    """Run it as the administrator of `admin`, libpq's keywords that go before those of the configuration.

    Returns the id of the witness, which may be older. ConfigError, ProbeError.
    """
    words = admin_words(witness, admin)
    pinned = {**_pinned(), **settings(witness, witness_id, again=again)}
    name = f"the server at {words['host']}"
    with Session({**words, "options": session_settings.options(pinned)}, name) as session:
        ((found,),) = session.query("witness_init", timeout_s=INIT_S, reopen=False)
    if again and found != witness_id:
        raise WitnessError(f"{name} kept another id", f"It is {found}.")
    return str(found)


def admin_words(witness: WitnessConfig, admin: str) -> dict[str, Any]:
    """How the administrator connects: to the server and the database of the configuration, unless `admin` differs."""
    try:
        said = words_of(admin)
    except StringError as error:
        raise ConfigError(f"--admin is no connection string: {error}", hint='Write --admin "user=postgres".') from error
    ours = {key: value for key, value in connection_words(witness, 1.0).items() if key in _OF_SERVER}
    if "host" in said:  # by another way: what was said of the first does not apply
        ours.pop("hostaddr", None)
    if said.get("host", "").startswith("/"):
        ours = {key: value for key, value in ours.items() if not key.startswith("ssl")}
    words = {**ours, **said}
    if words["dbname"] != ours["dbname"]:
        hint = f"Leave dbname out of --admin, or name {ours['dbname']} there."
        raise ConfigError(f"--admin names database {words['dbname']}", "It is not that of witness.postgresql.", hint)
    password = {"password": os.environ["PGPASSWORD"]} if "PGPASSWORD" in os.environ else {}
    return {**words, **password, "gssencmode": "disable", "client_encoding": "UTF8", "application_name": "pgvip_init"}


def _pinned() -> dict[str, str]:
    """No default of the server's changes what the script does. The role stays: an administrator may have one set."""
    leave = ("role", "idle_session_timeout", "local_preload_libraries", "statement_timeout")
    pins = {key: value for key, value in session_settings.IMMUNE.items() if key not in leave}
    return {**pins, "statement_timeout": "30s", "synchronous_commit": "on"}
