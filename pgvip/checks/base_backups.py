"""Base backups: the pair has a good one, young enough."""

from __future__ import annotations

from pgvip.checks.finding import Finding, Perf, critical, ok, warning
from pgvip.checks.subject import Facts, Skipped
from pgvip.text.writing import duration

DAY_S = 86400.0
_MAKE = "pgvip backup; see that the timer that makes them runs"


def newest(facts: Facts) -> Finding:
    """By what [backup] asks for, of both hosts."""
    config = facts.config
    limit_s = config.backup.max_age_days * DAY_S
    if not config.archive.enabled or config.backup.keep == 0:
        raise Skipped("pgvip makes no base backups here, by configuration")
    found = facts.status["backup"]
    if found is None and not limit_s:
        raise Skipped("there is none, and none is asked for (backup.max_age_days)")
    if found is None:
        return critical("no good base backup of this pair is known", _MAKE)
    age_s = float(found["age_s"])
    perf = Perf("backup_age", round(age_s), "s", limit_s or None)
    text = f"{found['name']} on {found['host']} is {duration(age_s)} old"
    if 0 < limit_s < age_s:
        return warning(f"{text}; backup.max_age_days = {config.backup.max_age_days:g}", _MAKE, perf=[perf])
    return ok(text, perf)
