"""The steps to a new major version, as docs/procedures/upgrade-major.md has them, with the names of one pair. Pure."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.system.new_programs import renamed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pgvip.config.model import Config

PLAIN = re.compile(r"[A-Za-z0-9_./+@:-]+")
"""Paths that need no quotes, in a shell and in sed."""


@dataclass(frozen=True, slots=True)
class Step:
    """Commands for one host: "primary" and "standby" are the roles before the upgrade. `both`: one after the other."""

    section: str
    where: str
    commands: str


BEFORE, OUTAGE = "Before: on the primary, while it serves", "The outage begins"
UPGRADE, BACK, OTHER = "The upgrade: on the primary", "The way back", "The other host"
NOTES = {
    BEFORE: "The new cluster, with the settings of the old one. Copy what else it needs (certificates) beside them.",
    OUTAGE: "On the primary, then on the standby. The last line must be the same on both hosts: if it is not, the "
            "standby lacks WAL, and cannot be used for the way back.",
    UPGRADE: "The old cluster of this host must not be started after this.",
    BACK: "Only if you give the upgrade up. Everything that was written after the upgrade is lost. Copy back.bundle "
          "to the other host before its last commands.",
    OTHER: "When the applications work with the new version. From here on there is no way back. Copy next.bundle to "
           "this host before. At the end see the page: archive export, old data, a new base backup.",
}  # fmt: skip
STOP = """\
systemctl stop pgvip
runuser -u postgres -- $OLD/pg_ctl stop -m fast -w -D $DATA
for vip in $VIPS; do ip address flush to $vip; done
"""
ASIDE = """\
umount -l /var/lib/pgvip/peer-archive || true
mkdir /var/lib/pgvip/old
find /var/lib/pgvip -mindepth 1 -maxdepth 1 ! -name old ! -name peer-archive -exec mv -t /var/lib/pgvip/old {} +
cp /etc/pgvip/pgvip.toml /etc/pgvip/pgvip.toml.old
sed -i -e "s|\\"$DATA\\"|\\"$NEXT\\"|" -e "s|\\"$OLD\\"|\\"$NEW\\"|" /etc/pgvip/pgvip.toml
"""
INITDB = "runuser -u postgres -- $NEW/initdb -D $NEXT --data-checksums\n"
SETTINGS = "echo \"unix_socket_directories = '/run/postgresql'\" >>$NEXT/postgresql.conf\n"
PG_UPGRADE = "-b $OLD -B $NEW -d $DATA -D $NEXT\n"
STEPS = (
    Step(BEFORE, "primary",
         f"{INITDB}{SETTINGS}runuser -u postgres -- $NEW/pg_upgrade --check --link {PG_UPGRADE}"),
    Step(OUTAGE, "primary", f'pgvip pause --reason "major upgrade"\n{STOP}'),
    Step(OUTAGE, "standby", STOP),
    Step(OUTAGE, "both", '$OLD/pg_controldata $DATA | grep "Latest checkpoint location"\n'),
    Step(UPGRADE, "primary", f"""\
runuser -u postgres -- $NEW/pg_upgrade --link {PG_UPGRADE}\
cp -p $DATA/pg_hba.conf $DATA/pg_ident.conf $NEXT/
{ASIDE}\
pgvip config check
pgvip init --bundle /etc/pgvip/next.bundle
systemctl start pgvip
"""),
    Step(UPGRADE, "primary",
         "runuser -u postgres -- $NEW/vacuumdb -h /run/postgresql --all --analyze-in-stages\n"),
    Step(BACK, "primary-back", """\
systemctl stop pgvip
runuser -u postgres -- $NEW/pg_ctl stop -m fast -w -D $NEXT
for vip in $VIPS; do ip address flush to $vip; done
umount -l /var/lib/pgvip/peer-archive || true
mkdir /var/lib/pgvip/upgraded
find /var/lib/pgvip -mindepth 1 -maxdepth 1 ! -name upgraded ! -name old ! -name peer-archive \
-exec mv -t /var/lib/pgvip/upgraded {} +
mv $DATA $DATA.linked
mv /etc/pgvip/pgvip.toml.old /etc/pgvip/pgvip.toml
"""),
    Step(BACK, "standby-back", """\
systemctl start pgvip
pgvip resume
pgvip promote --force --without-fence --yes $PAIR
pgvip bundle /etc/pgvip/back.bundle --yes $PRIMARY
"""),
    Step(BACK, "primary-back", "pgvip clone /etc/pgvip/back.bundle\nsystemctl start pgvip\n"),
    Step(OTHER, "standby", f"{ASIDE}pgvip clone /etc/pgvip/next.bundle\nsystemctl start pgvip\n"),
)  # fmt: skip
"""The blocks of the page, in its order; a test compares the two."""


@dataclass(frozen=True, slots=True)
class Names:
    """What one pair has in place of the page's names. `me` is the primary.

    `next`, `peer_next`: the new data directories. `options`: of initdb. `settings`: of the old configuration files.
    `home`: of PostgreSQL's user, who can be there and write.
    """

    config: Config
    old: int
    new: int
    programs: Path
    next: Path
    peer_next: Path
    options: tuple[str, ...]
    settings: Mapping[str, str] = field(default_factory=dict)
    linked: bool = True
    home: Path = Path("/var/lib/postgresql")


@dataclass(frozen=True, slots=True)
class Planned:
    """A step of one pair: its section, the host on which it is run, the commands."""

    section: str
    host: str
    commands: str


def planned(names: Names) -> list[Planned]:
    """The steps with the names filled in."""
    config = names.config
    found = list[Planned]()
    for step in STEPS:
        for role, host in (("primary", config.me.name), ("standby", config.peer.name)):
            if step.where == "both" or step.where.startswith(role):
                found.append(Planned(step.section, host, _filled(names, step, role)))
    return found


def odd(names: Names) -> list[str]:
    """Names that the commands could not be written with."""
    return [word for word in _words(names, "primary").values() for word in word.split() if not PLAIN.fullmatch(word)]


def _data(names: Names, role: str) -> tuple[Path, Path]:
    """The data directory of a host, and its new one."""
    config = names.config
    own = config.postgres.data_directory
    return (own, names.next) if role == "primary" else (config.peer.data_directory or own, names.peer_next)


def _words(names: Names, role: str) -> dict[str, str]:
    config, (data, new) = names.config, _data(names, role)
    return {
        "OLD": str(config.postgres.bin_directory), "NEW": str(names.programs), "DATA": str(data), "NEXT": str(new),
        "VIPS": " ".join(str(one.ip) for one in config.vips.values()),
        "PAIR": config.name, "PRIMARY": config.me.name,
    }  # fmt: skip


def _filled(names: Names, step: Step, role: str) -> str:
    config, text = names.config, step.commands
    for old, new in _variants(names):
        text = text.replace(old, new)
    text = text.replace(SETTINGS, _settings(names))
    words = _words(names, role)
    text = re.sub(rf"\$({'|'.join(words)})\b", lambda found: words[found[1]], text)
    for old, new in (
        ("/var/lib/pgvip/peer-archive", str(config.archive.peer_mount)),
        ("/var/lib/pgvip", str(config.paths.state)),
        ("/etc/pgvip/pgvip.toml", str(config.file)),
        ("/etc/pgvip/", f"{config.file.parent}/"),
        ("-h /run/postgresql", f"-h {config.postgres.socket_directory} -p {config.postgres.port}"),
        ("runuser -u postgres", f"runuser -u {config.postgres.user}"),
    ):
        text = text.replace(old, new)
    if "runuser" in text:  # PostgreSQL's user cannot be in root's directory, and pg_upgrade writes into its own
        text = f"cd {names.home}\n{text}"
    return text


def _variants(names: Names) -> Iterator[tuple[str, str]]:
    """What is different for this pair, before the names are filled in."""
    config, options = names.config, " ".join(map(shlex.quote, names.options))
    if not names.linked:
        yield " --link", ""
    unit = config.postgres.unit
    next_unit = str(renamed(Path(unit), names.old, names.new)) if unit else ""
    sed = ""
    if unit:
        yield "runuser -u postgres -- $OLD/pg_ctl stop -m fast -w -D $DATA", f"systemctl stop {unit}"
        yield "runuser -u postgres -- $NEW/pg_ctl stop -m fast -w -D $NEXT", f"systemctl stop {next_unit}"
    if next_unit != unit:
        sed += f' -e "s|\\"{unit}\\"|\\"{next_unit}\\"|"'
    peer, new = _data(names, "standby")
    if peer != config.postgres.data_directory:  # the file has both, and is the same on both hosts
        for old, after in (_data(names, "primary"), (peer, new)):
            sed += f' -e "s|\\"{old}\\"|\\"{after}\\"|"'
    apart = config.postgres.config_directory
    if apart != config.postgres.data_directory:
        after = renamed(apart, names.old, names.new)
        made = _createcluster(names, after.name)
        sed += f' -e "s|\\"{apart}\\"|\\"{after}\\"|"'
        yield INITDB, made
        yield f" {PG_UPGRADE}", (
            f' -o "-c config_file={apart}/postgresql.conf" -O "-c config_file={after}/postgresql.conf" {PG_UPGRADE}'
        )
        yield "cp -p $DATA/pg_hba.conf $DATA/pg_ident.conf $NEXT/", (
            f"cp -p {apart}/pg_hba.conf {apart}/pg_ident.conf {after}/"
        )
        yield "pgvip clone /etc/pgvip/next.bundle", f"{made}pgvip clone --replace /etc/pgvip/next.bundle"
    else:
        yield INITDB, INITDB.replace("--data-checksums", options)
    yield '|\\"$NEW\\"|" /etc', f'|\\"$NEW\\"|"{sed} /etc'


def _createcluster(names: Names, cluster: str) -> str:
    """Debian's initdb, which takes the locale itself."""
    locale = [shlex.quote(one) for one in names.options if one.startswith(("--encoding", "--lc-", "--locale", "--icu"))]
    rest = [shlex.quote(one) for one in names.options if shlex.quote(one) not in locale]
    tail = f" -- {' '.join(rest)}" if rest else ""
    return f"pg_createcluster --start-conf manual -d $NEXT {' '.join(locale)} {names.new} {cluster}{tail}\n"


def _settings(names: Names) -> str:
    """The lines of the old files, in place of the example."""
    if not names.settings:
        return ""
    place = names.next
    apart = names.config.postgres.config_directory
    if apart != names.config.postgres.data_directory:
        place = renamed(apart, names.old, names.new)
    lines = "".join(f"{name} = {_quoted(value)}\n" for name, value in names.settings.items())
    return f"cat >>{place}/postgresql.conf <<'END'\n{lines}END\n"


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
