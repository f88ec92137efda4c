"""Each mistake in the configuration and the exact message it gets: key, value, hint."""

import pytest

from pgvip.config import load
from pgvip.errors import ConfigError, Exit
from tests.unit.config_text import DB1_FENCING, GOOD, edited

FENCING_HINT = (
    'Write a list of methods, [{ agent = "fence_ipmilan", options = { ... }, password_file = "..." }], '
    'or fencing = "none" to do without: then a silent primary is never taken over from.'
)
DETAIL_LEASE = "Detection 3 s + hooks.veto_timeout_s 2 s + all fence time-outs must fit."


def fencing(method: str) -> tuple[str, str]:
    """The edit that gives db1 this one method."""
    return (DB1_FENCING, f"fencing = [{{ {method} }}]")


# (edits of a good file, message, hint)
MISTAKES = {
    "unknown section": (
        [("[timing]", "[timings]")],
        "timings is not a known key",
        "Did you mean timing?",
    ),
    "unknown key": (
        [("[timing]", "[timing]\nintervall_s = 2")],
        "timing.intervall_s is not a known key",
        "Did you mean timing.interval_s?",
    ),
    "unknown key of a host": (
        [('interface = "lo"', 'interfaces = "lo"')],
        None,
        None,
    ),
    "section that stands twice": (
        [("[rejoin]", "[rejoin]\n[timing]")],
        "/etc/pgvip/pgvip.toml: section [timing] stands twice, in lines 33 and 35",
        "Put the keys of both into one section; or correct the name, if one of them is another section.",
    ),
    "host that stands twice": (
        [("[hosts.db2]", "[hosts.db1]")],
        "/etc/pgvip/pgvip.toml: section [hosts.db1] stands twice, in lines 5 and 10",
        "Put the keys of both into one section; or correct the name, if one of them is another section.",
    ),
    "key that stands twice": (
        [('interface = "lo"', 'interface = "lo"\ninterface = "eth0"')],
        "/etc/pgvip/pgvip.toml: a key in line 8 stands twice in its section",
        "Remove one of the two lines.",
    ),
    "different prefixes": (
        [("192.0.2.12/24", "192.0.2.12/25")],
        'hosts.db2.address = "192.0.2.12/25": has another prefix than db1 (/24)',
        "Write the prefix that ip address shows for the network of the virtual addresses, the same for both.",
    ),
    "plug of the other host": (
        [fencing('agent = "fence_a", options = { ip = "192.0.2.30", plug = "db2" }')],
        'hosts.db1.fencing[1].options.plug = "db2": is the name of the other host',
        "Name what powers db1; see whether the methods of the two hosts are exchanged.",
    ),
    "one device for both hosts": (
        [('fencing = [{ command = ["/usr/local/sbin/power", "db2"], timeout_s = 20 }]', DB1_FENCING)],
        "hosts.db2.fencing[1] is the same device as hosts.db1.fencing[1]",
        "Write the address or the plug of db2's own device.",
    ),
    "age of backups that nobody makes": (
        [("[rejoin]", "[backup]\nkeep = 0\nmax_age_days = 2\n[rejoin]")],
        "backup.max_age_days = 2.0: asks for base backups, and pgvip makes none (backup.keep = 0)",
        "Write 0.",
    ),
    "mail with a name": (
        [("[rejoin]", '[notify]\nmail = ["DBA <dba@example.org>"]\n[rejoin]')],
        'notify.mail = ["DBA <dba@example.org>"]: is not a list of mail addresses',
        'Write addresses as in mail = ["dba@example.org"], without names and commas.',
    ),
    "unknown form of a webhook": (
        [("[rejoin]", '[notify]\nwebhooks = [{ format = "slak", url_file = "/etc/pgvip/url" }]\n[rejoin]')],
        'notify.webhooks[1].format = "slak": is not one of the known words',
        'Did you mean "slack"? Known: "slack", "teams", "pagerduty", "json".',
    ),
    "webhook with its secret in the file": (
        [("[rejoin]", '[notify]\nwebhooks = [{ format = "teams", url = "https://x/S3CRET" }]\n[rejoin]')],
        "notify.webhooks[1].url is a secret: whoever knows the URL can post",
        "Write it as one line into a file of mode 0600, and name that file: url_file.",
    ),
    "pagerduty without a key": (
        [("[rejoin]", '[notify]\nwebhooks = [{ format = "pagerduty" }]\n[rejoin]')],
        "notify.webhooks[1].key_file is missing",
        "Write the routing key as one line into a file of mode 0600, and name that file: key_file.",
    ),
    "webhook without a URL": (
        [("[rejoin]", '[notify]\nwebhooks = [{ format = "json" }]\n[rejoin]')],
        "notify.webhooks[1].url or url_file is needed, one of the two",
        "Write url_file where the URL is a secret.",
    ),
    "webhook that is none": (
        [("[rejoin]", '[notify]\nwebhooks = [{ format = "json", url = "alerts.example.org" }]\n[rejoin]')],
        'notify.webhooks[1].url = "alerts.example.org": is not a URL of http or https',
        'Write url = "https://alerts.example.org/pgvip".',
    ),
    "key that resembles none": (
        [("[link]", "[link]\nzzz = 1")],
        "link.zzz is not a known key",
        "Remove it. Known here: port.",
    ),
    "section missing": (
        [('[gateway]\ntargets = ["192.0.2.1"]', "")],
        "gateway.targets is missing",
        'Write targets = ["192.0.2.1"].',
    ),
    "string for a number": (
        [("[timing]", '[timing]\ninterval_s = "2"')],
        'timing.interval_s = "2": is not a number',
        "Write a number from 0.1 to 60, without quotes.",
    ),
    "true for a number": (
        [("[timing]", "[timing]\ncheck_times = true")],
        "timing.check_times = true: is not a whole number",
        "Write a whole number from 1 to 100, without quotes.",
    ),
    "number for a string": (
        [('name = "orders"', "name = 5")],
        "pair.name = 5: is not a string",
        'Write name = "orders" (a string in quotes).',
    ),
    "string for a flag": (
        [("[archive]", '[archive]\nenabled = "yes"')],
        'archive.enabled = "yes": is neither true nor false',
        "Write true or false, without quotes.",
    ),
    "not a number": (
        [("[timing]", "[timing]\ninterval_s = nan")],
        "timing.interval_s = NaN: is not a number",
        "Write a number from 0.1 to 60, without quotes.",
    ),
    "interval out of range": (
        [("[timing]", "[timing]\ninterval_s = 0")],
        "timing.interval_s = 0: is out of range",
        "Write a number from 0.1 to 60; the default is 1.",
    ),
    "check_times out of range": (
        [("[timing]", "[timing]\ncheck_times = 0")],
        "timing.check_times = 0: is out of range",
        "Write a number from 1 to 100; the default is 3.",
    ),
    "unknown preset": (
        [("[timing]", '[timing]\npreset = "faster"')],
        'timing.preset = "faster": is not one of the known words',
        'Did you mean "fast"? Known: "default", "fast".',
    ),
    "unknown mode": (
        [('mode = "sync"', 'mode = "quorum"')],
        'replication.mode = "quorum": is not one of the known words',
        'Write one of "sync", "async".',
    ),
    "heartbeat longer than the interval": (
        [("[timing]", "[timing]\nheartbeat_s = 2")],
        "timing.heartbeat_s = 2.0: is longer than timing.interval_s = 1",
        "Write at most 1, or a longer timing.interval_s.",
    ),
    "hung after less than two heartbeats": (
        [("[timing]", "[timing]\nhung_after_s = 0.6")],
        "timing.hung_after_s = 0.6: is less than two heartbeats of 0.5 s",
        "Write at least 1, so that one late one is no fault.",
    ),
    "standby down after less than two heartbeats": (
        [("[timing]", "[timing]\nstandby_down_s = 0.5")],
        "timing.standby_down_s = 0.5: is less than two heartbeats of 0.5 s",
        "Write at least 1, so that one late one is no fault.",
    ),
    "stop given up before PostgreSQL's own limit": (
        [("[timing]", "[timing]\nstop_s = 5")],
        "timing.stop_s = 5.0: is shorter than postgresql.stop_timeout_s = 60",
        "Write at least 60.",
    ),
    "salvage longer than consent": (
        [("[timing]", "[timing]\nsalvage_s = 10")],
        "timing.salvage_s = 10.0: is not shorter than timing.consent_s = 10",
        "A host that gives up for that long would be fenced.",
    ),
    "isolated for less than two detections": (
        [("[timing]", "[timing]\nisolation_demote_s = 5.9")],
        "timing.isolation_demote_s = 5.9: is shorter than twice interval_s * check_times = 3 s",
        "Write 0 (never) or at least 6.",
    ),
    "unfollowed for less than two detections": (
        [("[timing]", "[timing]\nunfollowed_s = 5.9")],
        "timing.unfollowed_s = 5.9: is shorter than twice interval_s * check_times = 3 s",
        "Write at least 6.",
    ),
    "watchdog that does not wait for a restart": (
        [("[timing]", '[watchdog]\nmode = "if-present"\ntimeout_s = 4\n[timing]')],
        "watchdog.timeout_s = 4: is too short",
        "Write at least 5.",
    ),
    "watchdog later than every fence": (
        [("[timing]", '[watchdog]\nmode = "required"\ntimeout_s = 24\n[timing]')],
        "watchdog.timeout_s = 24: is too long",
        "Write at most 23.",
    ),
    "unknown mode of the watchdog": (
        [("[timing]", '[watchdog]\nmode = "on"\n[timing]')],
        'watchdog.mode = "on": is not one of the known words',
        'Write one of "off", "if-present", "required".',
    ),
    "address lease shorter than detection": (
        [("[addresses]", "[addresses]\nvalid_lft_s = 2")],
        "addresses.valid_lft_s = 2: is shorter than interval_s * check_times = 3 s",
        "Write 0 (no lease) or at least 4.",
    ),
    "one host": (
        [('[hosts.db2]\naddress = "192.0.2.12/24"\ninterface = "lo"\n', "[unrelated]\n")],
        None,
        None,
    ),
    "three hosts": (
        [("[addresses]", '[hosts.db3]\naddress = "192.0.2.13"\ninterface = "lo"\nfencing = "none"\n[addresses]')],
        "hosts: 3 instead of two (db1, db2, db3)",
        "Write exactly two sections, [hosts.NAME] for each host of the pair.",
    ),
    "both hosts at one address": (
        [("192.0.2.12/24", "192.0.2.11/24")],
        'hosts.db2.address = "192.0.2.11": is also that of db1',
        "Give each host its own address, not a virtual one.",
    ),
    "host names that fold into one": (
        [("[hosts.db2]", "[hosts.DB1]")],
        'hosts = ["DB1", "db1"]: differ only in case or - and _',
        "Rename one host.",
    ),
    "host name with a space": (
        [("[hosts.db2]", '[hosts."db 2"]')],
        'hosts = "db 2": is not a valid name',
        "Use letters, digits, _ and -, at most 40.",
    ),
    "pair name too long": (
        [("orders", "o" * 41)],
        f'pair.name = "{"o" * 41}": is not a valid name',
        "Use letters, digits, _ and -, at most 40.",
    ),
    "address that is none": (
        [("192.0.2.11/24", "192.0.2.311")],
        'hosts.db1.address = "192.0.2.311": is not an IP address',
        'Write an address as in address = "192.0.2.11"; names are not looked up.',
    ),
    "prefix too long": (
        [('"192.0.2.10"', '"192.0.2.10/33"')],
        'addresses.primary = "192.0.2.10/33": is not an IP address',
        'Write an address as in primary = "192.0.2.10"; names are not looked up.',
    ),
    "address of nobody": (
        [('"192.0.2.10"', '"0.0.0.0"')],
        'addresses.primary = "0.0.0.0": is not the address of a host',
        'Write an address as in primary = "192.0.2.10".',
    ),
    "hosts mix IPv4 and IPv6": (
        [("192.0.2.12/24", "2001:db8::12")],
        'hosts.db2.address = "2001:db8::12": mixes IPv4 and IPv6 with its peer',
        "Use IPv4 for both hosts, or IPv6 for both.",
    ),
    "interface name too long": (
        [('interface = "lo"', 'interface = "interface-number-9"')],
        'hosts.db1.interface = "interface-number-9": cannot be an interface\'s name',
        "Write a name of at most 15 characters, as in the output of ip link.",
    ),
    "unknown role": (
        [('interface = "lo"', 'interface = "lo"\nrole = "master"')],
        'hosts.db1.role = "master": is not one of the known words',
        'Write one of "auto", "primary", "standby", "primary_standby".',
    ),
    "both pinned primary": (
        [("[hosts.db1]", '[hosts.db1]\nrole = "primary"'), ("[hosts.db2]", '[hosts.db2]\nrole = "primary"')],
        'hosts.db2.role = "primary": contradicts the same role of db1',
        'Leave one of the two hosts on "auto".',
    ),
    "both pinned primary_standby": (
        [
            ("[hosts.db1]", '[hosts.db1]\nrole = "primary_standby"'),
            ("[hosts.db2]", '[hosts.db2]\nrole = "primary_standby"'),
        ],
        'hosts.db2.role = "primary_standby": contradicts the same role of db1',
        'Leave one of the two hosts on "auto".',
    ),
    "no fencing": ([(DB1_FENCING, "")], "hosts.db1.fencing is missing", FENCING_HINT),
    "empty fencing": (
        [(DB1_FENCING, "fencing = []")],
        'hosts.db1.fencing = []: is neither a list of methods nor "none"',
        FENCING_HINT,
    ),
    "fencing by a word": (
        [(DB1_FENCING, 'fencing = "ipmi"')],
        'hosts.db1.fencing = "ipmi": is neither a list of methods nor "none"',
        FENCING_HINT,
    ),
    "agent and command": (
        [fencing('agent = "fence_a", command = ["b"]')],
        "hosts.db1.fencing[1] has both agent and command",
        "Write one of the two; each method is a table of its own.",
    ),
    "neither agent nor command": (
        [fencing("timeout_s = 9")],
        "hosts.db1.fencing[1] has neither agent nor command",
        "Write one of the two; each method is a table of its own.",
    ),
    "command as a string": (
        [fencing('command = "power off"')],
        'hosts.db1.fencing[1].command = "power off": is not a list of strings',
        'Write command = ["/usr/local/sbin/power", "host-a"].',
    ),
    "options for a command": (
        [fencing('command = ["power"], options = { a = "b" }')],
        'hosts.db1.fencing[1].command = ["power"]: takes no options',
        "Put the arguments into the list itself; options, secrets and password_file are for agents.",
    ),
    "relative path of an agent": (
        [fencing('agent = "agents/fence_a"')],
        'hosts.db1.fencing[1] = "agents/fence_a": is a relative path',
        "Write the whole path, or the bare name.",
    ),
    "password in the options": (
        [fencing('agent = "fence_a", options = { password = "geheim" }')],
        "hosts.db1.fencing[1].options.password: a secret is written into the configuration",
        'Put it into a file of mode 0600, one line, and name that file: secrets = { password = "/etc/pgvip/..." }.',
    ),
    "relative path of a secret": (
        [fencing('agent = "fence_a", secrets = { secret_key = "key" }')],
        'hosts.db1.fencing[1].secrets.secret_key = "key": is not an absolute path',
        "Write the whole path, as in /etc/pgvip/fence-a.secret_key.",
    ),
    "a secret twice": (
        [fencing('agent = "fence_a", password_file = "/p", secrets = { password = "/q" }')],
        "hosts.db1.fencing[1] has both password_file and secrets.password",
        "Write one of the two.",
    ),
    "a secret that is an option too": (
        [fencing('agent = "fence_a", options = { ip = "::1" }, secrets = { ip = "/q" }')],
        "hosts.db1.fencing[1]: ip is in options and comes from a file too",
        "Write one of the two.",
    ),
    "action as a secret": (
        [fencing('agent = "fence_a", secrets = { action = "/q" }')],
        "hosts.db1.fencing[1].secrets.action is set by pgvip itself",
        "Remove it.",
    ),
    "action in the options": (
        [fencing('agent = "fence_a", options = { action = "reboot" }')],
        'hosts.db1.fencing[1].options.action = "reboot": is set by pgvip itself',
        "Remove it.",
    ),
    "method cycle": (
        [fencing('agent = "fence_a", options = { method = "cycle" }')],
        'hosts.db1.fencing[1].options.method = "cycle": is not verifiable',
        'Write method = "onoff" or remove it.',
    ),
    "fence time-out out of range": (
        [fencing('agent = "fence_a", timeout_s = 0')],
        "hosts.db1.fencing[1].timeout_s = 0: is out of range",
        "Write a number from 1 to 600; the default is 40.",
    ),
    "async lag shorter than a fence": (
        [('mode = "sync"', 'mode = "async"\nlag_s_max = 30')],
        "replication.lag_s_max = 30.0: is too short to fence db1 within it",
        "Write at least 45, or shorten hosts.db1.fencing timeout_s.",
    ),
    "VIPs equal": (
        [("192.0.2.20", "192.0.2.10")],
        'addresses.standby = "192.0.2.10": is also the primary\'s',
        "Give each role its own address.",
    ),
    "VIP is a host's own": (
        [("192.0.2.20", "192.0.2.12")],
        'addresses.standby = "192.0.2.12": is db2\'s own address',
        "Use an address that no host owns; pgvip adds it where the role is.",
    ),
    "VIP outside of the network": (
        [('"192.0.2.11/24"', '"192.0.2.11"'), ("192.0.2.20", "198.51.100.20")],
        'addresses.standby = "198.51.100.20": is outside the network of db2\'s lo',
        "Use a free address of 192.0.2.0/24, or the interface that is in its network.",
    ),
    "VIP is the broadcast address": (
        [('"192.0.2.11/24"', '"192.0.2.11"'), ("192.0.2.20", "192.0.2.255")],
        'addresses.standby = "192.0.2.255": is the first or last address of 192.0.2.0/24',
        "Use one in between.",
    ),
    "gateway without targets": (
        [('targets = ["192.0.2.1"]', "targets = []")],
        "gateway.targets = []: is empty",
        'Write targets = ["192.0.2.1"].',
    ),
    "gateway is the peer": (
        [('targets = ["192.0.2.1"]', 'targets = ["192.0.2.12"]')],
        'gateway.targets = "192.0.2.12": is db2\'s own address',
        "Name a router or another machine outside of the pair.",
    ),
    "gateway is a VIP": (
        [('targets = ["192.0.2.1"]', 'targets = ["192.0.2.10"]')],
        'gateway.targets = "192.0.2.10": is the primary VIP',
        "Name a router or another machine outside of the pair.",
    ),
    "gateway by name": (
        [('targets = ["192.0.2.1"]', 'targets = ["router"]')],
        'gateway.targets = "router": is not an IP address',
        "Write addresses; names are not looked up, since a dead name server is no dead gateway.",
    ),
    "one port for two": (
        [("[link]", "[link]\nport = 5432")],
        "link.port = 5432: is also PostgreSQL's port",
        "Use another; the default is 8432.",
    ),
    "no such port": (
        [("[link]", "[link]\nport = 70000")],
        "link.port = 70000: is out of range",
        "Write a number from 1 to 65535; the default is 8432.",
    ),
    "archive inside the data": (
        [("/var/lib/pgvip/archive", "/srv/pg/data/archive")],
        'archive.directory = "/srv/pg/data/archive": is inside the data directory',
        "Move it out of there.",
    ),
    "state inside the data": (
        [("[paths]", '[paths]\nstate = "/srv/pg/data/pgvip"')],
        'paths.state = "/srv/pg/data/pgvip": is inside the data directory',
        "Move it out of there.",
    ),
    "mount over the archive": (
        [("[archive]", '[archive]\npeer_mount = "/var/lib/pgvip/archive"')],
        'archive.peer_mount = "/var/lib/pgvip/archive": is also archive.directory',
        "Name an empty directory of its own for the peer's archive.",
    ),
    "mount inside the archive": (
        [("[archive]", '[archive]\npeer_mount = "/var/lib/pgvip/archive/peer"')],
        'archive.peer_mount = "/var/lib/pgvip/archive/peer": lies within archive.directory or around it',
        "Part the two.",
    ),
    "unknown packing": (
        [("[archive]", '[archive]\ncompress = "zip"')],
        'archive.compress = "zip": is not one of the known words',
        'Did you mean "gzip"? Known: "none", "zstd", "lz4", "gzip".',
    ),
    "destinations that are no list": (
        [("[archive]", '[archive]\ndestinations = "/mnt/far"')],
        'archive.destinations = "/mnt/far": is not a list of destinations',
        ('Write a list, [{ name = "far", directory = "/mnt/far", compress = "zstd" }, '
        '{ name = "store", command = ["/usr/local/bin/put", "%p", "%f"] }].'),
    ),
    "destination without a place": (
        [("[archive]", '[archive]\ndestinations = [{ name = "far" }]')],
        'archive.destinations[1].name = "far": has neither a directory nor a command, or both',
        "Give the destination one of the two.",
    ),
    "destination with an odd name": (
        [("[archive]", '[archive]\ndestinations = [{ name = "../x", directory = "/mnt/x" }]')],
        'archive.destinations[1].name = "../x": is not a usable name',
        'Write small letters, digits, _ and -; not "archive", the first one.',
    ),
    "destination twice": (
        [(
            "[archive]",
            '[archive]\ndestinations = [{ name = "x", directory = "/mnt/x" }, { name = "x", directory = "/mnt/y" }]',
        )],
        ('archive.destinations = [{"name": "x", "directory": "/mnt/x"}, {"name": "x", "directory": "/mnt/y"}]: '
        '"x" is there twice'),
        "Give each destination a name of its own.",
    ),
    "destination that is the archive": (
        [("[archive]", '[archive]\ndestinations = [{ name = "x", directory = "/var/lib/pgvip/archive" }]')],
        'archive.destinations (x) = "/var/lib/pgvip/archive": is also archive.directory',
        "Name a directory of its own for each archive.",
    ),
    "command without the file": (
        [("[archive]", '[archive]\ndestinations = [{ name = "x", command = ["/bin/put", "%f"] }]')],
        'archive.destinations[1].command = ["/bin/put", "%f"]: does not name the file (%p)',
        'Write command = ["/usr/local/bin/put", "%p", "%f"].',
    ),
    "command by a relative path": (
        [("[archive]", '[archive]\ndestinations = [{ name = "x", command = ["put", "%p"] }]')],
        'archive.destinations[1].command = ["put", "%p"]: does not begin with an absolute path',
        'Write command = ["/usr/local/bin/put", "%p", "%f"].',
    ),
    "packing for a command": (
        [("[archive]", '[archive]\ndestinations = [{ name = "x", command = ["/bin/put", "%p"], compress = "lz4" }]')],
        'archive.destinations[1].compress = "lz4": does not go with a command',
        "Let the command compress; it gets the plain file.",
    ),
    "backups in the other host's archive": (
        [("[rejoin]", '[backup]\ndirectory = "/var/lib/pgvip/peer-archive/backups"\n[rejoin]')],
        'backup.directory = "/var/lib/pgvip/peer-archive/backups": is in the peer\'s archive',
        "It is read-only; name another.",
    ),
    "backups among the WAL": (
        [("[rejoin]", '[backup]\ndirectory = "/var/lib/pgvip/archive"\n[rejoin]')],
        'backup.directory = "/var/lib/pgvip/archive": is also archive.directory',
        "Name one within it or elsewhere.",
    ),
    "unknown placeholder of the mount": (
        [("[archive]", '[archive]\nmount_source = "{host}:/export"')],
        'archive.mount_source = "{host}:/export": holds an unknown placeholder',
        "Use {peer} and {directory} only; write other braces twice.",
    ),
    "relative path": (
        [('"/srv/pg/data"', '"pg/data"')],
        'postgresql.data_directory = "pg/data": is not an absolute path',
        "Write the whole path, as in /var/lib/postgresql/15/main.",
    ),
    "window misspelt": (
        [("[rejoin]", '[rejoin]\nclone = "window"\nwindow = "1-5"')],
        'rejoin.window = "1-5": is not a time of day',
        'Write window = "HH:MM-HH:MM", local time, as in "01:00-05:00".',
    ),
    "window missing": (
        [("[rejoin]", '[rejoin]\nclone = "window"')],
        'rejoin.clone = "window": but no window is given',
        'Write window = "HH:MM-HH:MM", local time, as in "01:00-05:00".',
    ),
    "window empty": (
        [("[rejoin]", '[rejoin]\nwindow = "02:00-02:00"')],
        'rejoin.window = "02:00-02:00": is empty',
        'Write window = "HH:MM-HH:MM", local time, as in "01:00-05:00".',
    ),
    "unknown clone": (
        [("[rejoin]", '[rejoin]\nclone = "later"')],
        'rejoin.clone = "later": is not one of the known words',
        'Write one of "now", "window", "never".',
    ),
    "unknown way of TLS": (
        [("[postgresql]", '[postgresql]\ntls = "of"')],
        'postgresql.tls = "of": is not one of the known words',
        'Did you mean "off"? Known: "pair", "own", "off".',
    ),
    "own certificate without an authority": (
        [("[postgresql]", '[postgresql]\ntls = "own"')],
        "postgresql.tls_authority is missing",
        "Name the PEM file with the authority of the server's certificate, the same path on both hosts.",
    ),
    "a mount, and the archive over the link": (
        [("[archive]", '[archive]\npeer_archive = "link"\nmount_options = "ro"')],
        'archive.mount_options = "ro": belongs to peer_archive = "nfs"',
        'Remove mount_options, or write peer_archive = "nfs".',
    ),
    "port of the archive is taken": (
        [("[archive]", '[archive]\npeer_archive = "link"\nport = 8432')],
        "archive.port = 8432: is also link.port",
        "Use another; the default is 8434.",
    ),
    "authority without an own certificate": (
        [("[postgresql]", '[postgresql]\ntls_authority = "/etc/ssl/ours.pem"')],
        'postgresql.tls_authority = "/etc/ssl/ours.pem": belongs to tls = "own"',
        "Remove it, or change tls.",
    ),
    "name of a certificate that is the pair's": (
        [("[hosts.db1]", '[hosts.db1]\ncertificate_name = "db1.example.org"')],
        'hosts.db1.certificate_name = "db1.example.org": belongs to tls = "own"',
        "Remove it, or change postgresql.tls.",
    ),
    "section that is a value": (
        [("[rejoin]", "[rejoins]"), ("\n[pair]", "rejoin = 5\n[pair]")],
        None,
        None,
    ),
}
# Cases of which several messages come at once, or in another form.
SEVERAL = {
    "unknown key of a host": [
        "hosts.db1.interface is missing",
        "hosts.db1.interfaces is not a known key",
    ],
    "one host": [
        "hosts: 1 instead of two (db1)",
        "unrelated is not a known key",
    ],
    "section that is a value": [
        "rejoin = 5: is not a table",
        "rejoins is not a known key",
    ],
}


@pytest.mark.parametrize("name", [name for name in MISTAKES if name not in SEVERAL])
def test_mistake(name: str) -> None:
    edits, message, hint = MISTAKES[name]
    found = load.problems(edited(*edits), "db1")
    assert [(error.message, error.hint) for error in found] == [(message, hint)]


@pytest.mark.parametrize("name", SEVERAL)
def test_several_mistakes(name: str) -> None:
    found = load.problems(edited(*MISTAKES[name][0]), "db1")
    assert [error.message for error in found] == SEVERAL[name]


def test_good_file_has_no_mistake() -> None:
    assert load.problems(GOOD, "db1") == []


def test_lease_detail_adds_up() -> None:
    (found,) = load.problems(edited(('mode = "sync"', 'mode = "async"\nlag_s_max = 30')), "db1")
    assert found.detail == DETAIL_LEASE


def test_the_longer_of_delay_and_veto_counts_into_the_lease() -> None:
    """Both run at the same time."""
    slow = 'mode = "async"\nlag_s_max = 46\n[hooks]\nveto_timeout_s = 3'
    assert load.problems(edited(('mode = "sync"', slow)), "db1") == []
    (found,) = load.problems(edited(('mode = "sync"', slow.replace("= 3", "= 3.5"))), "db1")
    assert "Write at least 46.5" in found.hint
    short = slow.replace("= 3", "= 0.1").replace("46", "43.5")
    assert load.problems(edited(('mode = "sync"', short)), "db1") == []


@pytest.mark.parametrize(
    "written",
    [
        'options = { passwd = "geheim" }', 'options = { secret_key = "geheim" }', 'options = { apikey = "geheim" }',
        'options = { token = ["geheim"] }', 'options = { snmp_priv_passwd = "geheim" }',
        'options = { key = "geheim\\u0007" }',
    ],
)  # fmt: skip
def test_a_secret_is_refused_and_never_repeated(written: str) -> None:
    (found,) = load.problems(edited(fencing(f'agent = "fence_a", {written}')), "db1")
    assert "a secret is written into the configuration" in found.message
    assert "secrets = {" in found.hint
    assert "geheim" not in str(found)


def test_what_looks_like_a_secret_and_is_none_is_let_be() -> None:
    harmless = 'options = { password_script = "/bin/x", identity_file = "/k", token_file = "/t", tlskey = "/k" }'
    assert load.problems(edited(fencing(f'agent = "fence_a", {harmless}')), "db1") == []


def test_all_mistakes_are_raised_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        load.parse(edited(('name = "orders"', "name = 5"), ('mode = "sync"', 'mode = "x"')), "db1")
    assert raised.value.exit_code is Exit.CONFIG
    assert "2 mistakes" in raised.value.message
    assert "pair.name = 5" in raised.value.detail
    assert 'replication.mode = "x"' in raised.value.detail


def test_a_key_that_stands_twice_shows_no_value() -> None:
    (found,) = load.problems("[http]\npassword = 'a'\npassword = 'geheim'\n", "db1")
    assert "stands twice" in found.message
    assert "geheim" not in str(found)


def test_one_device_with_a_plug_for_each_host_is_no_mistake() -> None:
    device = 'fencing = [{ agent = "fence_pdu", options = { ip = "192.0.2.30", plug = PLUG } }]'
    one, other = device.replace("PLUG", "1"), device.replace("PLUG", "2")
    power = 'fencing = [{ command = ["/usr/local/sbin/power", "db2"], timeout_s = 20 }]'
    assert load.problems(edited((DB1_FENCING, one), (power, other)), "db1") == []


def test_broken_toml_names_the_line() -> None:
    (found,) = load.problems("[pair]\nname = orders\n", "db1")
    assert "line 2" in found.detail
