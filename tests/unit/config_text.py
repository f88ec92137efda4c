"""A good configuration as text, and small edits of it."""

DB1_FENCING = (
    'fencing = [{ agent = "fence_ipmilan", options = { ip = "198.51.100.11" }, '
    'password_file = "/etc/pgvip/fence-db1" }]'
)

GOOD = """
[pair]
name = "orders"

[hosts.db1]
address = "192.0.2.11/24"
interface = "lo"
DB1_FENCING

[hosts.db2]
address = "192.0.2.12/24"
interface = "lo"
fencing = [{ command = ["/usr/local/sbin/power", "db2"], timeout_s = 20 }]

[addresses]
primary = "192.0.2.10"
standby = "192.0.2.20"

[gateway]
targets = ["192.0.2.1"]

[postgresql]
data_directory = "/srv/pg/data"
bin_directory = "/usr/lib/postgresql/15/bin"

[replication]
mode = "sync"

[archive]
directory = "/var/lib/pgvip/archive"

[rejoin]

[timing]

[link]

[paths]
""".replace("DB1_FENCING", DB1_FENCING)


def edited(*edits: tuple[str, str]) -> str:
    """GOOD with each (old, new) replaced once; an `old` that is not there is a mistake of the test."""
    text = GOOD
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text
