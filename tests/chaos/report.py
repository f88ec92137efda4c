"""The table of a chaos run: what each kind of fault cost, merged over all labs; printed, and as JSON."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.lab.hosts import REPOSITORY
from tests.lab.postgres import bin_directory

COLUMNS = ("fault", "n", "write median", "p95", "max", "read median", "max", "healthy median", "max", "lost")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of all do not exceed.

    >>> percentile([3.0, 1.0, 2.0], 0.95)
    3.0
    """
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 100) // 100) - 1)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 95th percentile and largest, in seconds; nothing for no values."""
    if not values:
        return {}
    return {"median": round(statistics.median(values), 2), "p95": round(percentile(values, 0.95), 2),
            "max": round(max(values), 2)}


def healthy_after(fault: dict[str, Any], healed: dict[tuple[int, int, int], float]) -> float | None:
    """Seconds from when the last fault of its group was healed (began, if nothing was to heal) to a healthy pair."""
    if fault["healthy_s"] is None:
        return None
    return float(fault["healthy_s"]) - healed[group_of(fault)]


def group_of(fault: dict[str, Any]) -> tuple[int, int, int]:
    return fault["lab"], fault["life"], fault["group"]


def row(kind: str, faults: Sequence[dict[str, Any]], healed: dict[tuple[int, int, int], float]) -> dict[str, Any]:
    """One kind's line of the table."""
    struck = [fault for fault in faults if not fault["void"]]
    healthy = [seconds for fault in struck if (seconds := healthy_after(fault, healed)) is not None]
    return {
        "kind": kind, "count": len(struck), "void": len(faults) - len(struck),
        "write_outage_s": spread([fault["write_s"] for fault in struck if fault["write_s"] is not None]),
        "read_outage_s": spread([fault["read_s"] for fault in struck if fault["read_s"] is not None]),
        "healthy_s": spread(healthy), "never_healthy": len(struck) - len(healthy),
        "lost": sum(fault["lost"] for fault in struck),
    }


def merge(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All labs' results as one document, without what `about` adds."""
    faults = [{"lab": result["lab"]} | fault for result in results for fault in result["faults"]]
    healed: dict[tuple[int, int, int], float] = {}
    for fault in faults:
        latest_s = max(fault["began_s"], fault["healed_s"] or 0.0)
        healed[group_of(fault)] = max(healed.get(group_of(fault), 0.0), latest_s)
    in_groups: dict[tuple[int, int, int], int] = {}
    for fault in faults:
        in_groups[group_of(fault)] = in_groups.get(group_of(fault), 0) + (not fault["void"])
    single = [fault for fault in faults if in_groups[group_of(fault)] == 1]
    counts: dict[str, float] = {}
    for result in results:
        for name, count in result["counts"].items():
            counts[name] = added(name, counts.get(name, 0), count)
    return {
        "faults": sum(not fault["void"] for fault in faults),
        "void": sum(bool(fault["void"]) for fault in faults),
        "groups": sum(result["groups_done"] for result in results),
        "lives": sum(result["lives"] for result in results),
        "kinds": rows(faults, healed), "alone": rows(single, healed),
        "counts": counts,
        "violations": [{"lab": r["lab"]} | one for r in results for one in r["violations"]],
        "losses": [{"lab": r["lab"]} | one for r in results for one in r["losses"]],
        "operator": [{"lab": r["lab"]} | one for r in results for one in r["operator"]],
        "errors": [f"lab {r['lab']}: {r['error']}" for r in results if r["error"]],
    }


def added(name: str, one: float, other: float) -> float:
    """Two parts of a count together: the sum, or for what is called a maximum the larger."""
    return max(one, other) if "_max" in name else one + other


def rows(faults: Sequence[dict[str, Any]], healed: dict[tuple[int, int, int], float]) -> list[dict[str, Any]]:
    """The table, a line for each kind that was drawn."""
    kinds = sorted({fault["kind"] for fault in faults})
    return [row(kind, [fault for fault in faults if fault["kind"] == kind], healed) for kind in kinds]


def about() -> dict[str, str]:
    """Versions of everything that took part."""
    postgres = subprocess.run([bin_directory() / "postgres", "--version"], capture_output=True, text=True, check=True)
    git = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=10"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    return {"postgresql": postgres.stdout.strip().removeprefix("postgres (PostgreSQL) "),
            "python": platform.python_version(), "kernel": platform.release(), "pgvip": commit or "not in git",
            "machine": platform.machine()}


def table(lines: Sequence[dict[str, Any]]) -> list[str]:
    """The lines of the table for people; all times in seconds."""
    def cell(values: dict[str, float], name: str) -> str:
        return f"{values[name]:.2f}" if values else "-"

    found = [list(COLUMNS)]
    for line in lines:
        write, read, healthy = line["write_outage_s"], line["read_outage_s"], line["healthy_s"]
        found.append([line["kind"], str(line["count"]), cell(write, "median"), cell(write, "p95"), cell(write, "max"),
                      cell(read, "median"), cell(read, "max"), cell(healthy, "median"), cell(healthy, "max"),
                      str(line["lost"])])
    widths = [max(len(words[column]) for words in found) for column in range(len(COLUMNS))]
    return ["  ".join(word.ljust(width) if column == 0 else word.rjust(width)
                      for column, (word, width) in enumerate(zip(words, widths, strict=True))) for words in found]


def text(document: dict[str, Any]) -> str:
    """The whole report for people."""
    lines = [document["command"], ", ".join(f"{name} {value}" for name, value in document["about"].items()), ""]
    lines += ["Outages in seconds as clients saw them around each fault, alone or not:", *table(document["kinds"])]
    if document["alone"] != document["kinds"]:
        lines += ["", "The same for faults that were alone in their group:", *table(document["alone"])]
    done = f"{document['faults']} faults in {document['groups']} groups on {document['lives']} pairs"
    lines += ["", f"{done}, {document['void']} drawn ones found nothing to strike; {document['seconds']:.0f} s"]
    lines += ["checked: " + ", ".join(f"{name} {count}" for name, count in document["counts"].items())]
    lines += [f"operator needed: lab {one['lab']} life {one['life']} group {one['group']}: {one['warning']}: "
              f"pgvip {one['command']}" for one in document["operator"]]
    lines += [f"lost in async: lab {one['lab']} life {one['life']}: {one['count']} of {one['instance']}, "
              f"{'within' if one['within'] else 'BEYOND'} the limit" for one in document["losses"]]
    lines += [f"ERROR: {error}" for error in document["errors"]]
    lines += [f"VIOLATION: lab {one['lab']} life {one['life']} at {one['at_s']:.3f}: {one['kind']}: {one['text']}"
              for one in document["violations"]]
    lines += [f"{len(document['violations'])} violations, {len(document['errors'])} errors"]
    return "\n".join(lines)


def write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n")
