"""From the logs of clients and probers to histories."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.chaos.history import ArpAnswer, Histories, Kind, Outcome, Probe, Read, Write
from tests.lab.clients import parse_event


def load(directory: Path) -> Histories:
    """Everything in a directory that `workload.Workload` and `probers.Probers` wrote into."""
    found = Histories()
    known: dict[str, str] = {}
    for path in sorted(directory.glob("client-*.log")):
        for words in map(json.loads, lines_of(path)):
            if words[0] == "write":
                found.writes.append(write_of(words, known))
            else:
                found.reads.append(read_of(words, known))
    for path in sorted(directory.glob("probe-*.log")):
        host = path.stem.removeprefix("probe-")
        found.probes.extend(probe_of(host, line) for line in lines_of(path))
    for path in sorted(directory.glob("arp*.log")):
        found.arp.extend(arp_of(line) for line in lines_of(path))
    return found


def lines_of(path: Path) -> Iterable[str]:
    """The whole lines of a log; a program that was killed may have left half a line at a boot's end."""
    with path.open(errors="replace") as log:
        yield from (line.rstrip("\n") for line in log if line.endswith("\n") and line.strip())


def write_of(words: list[Any], known: dict[str, str]) -> Write:
    """One transaction, as `programs.client` writes it. `known`: one copy of each instance's name."""
    _, client, number, kind, rows, sent_s, answered_s, outcome, instance, value, detail = words
    name = known.setdefault(instance, instance)
    return Write(client, number, Kind(kind), rows, sent_s, answered_s, Outcome(outcome), name, value, detail)


def read_of(words: list[Any], known: dict[str, str]) -> Read:
    """One query, as `programs.client` writes it."""
    _, client, vip, session, sent_s, answered_s, ok, instance, in_recovery, seen, register, detail = words
    name = known.setdefault(instance, instance)
    return Read(client, vip, session, sent_s, answered_s, ok, name, in_recovery, dict(seen), register, detail)


def probe_of(host: str, line: str) -> Probe:
    """One try on a host's own socket, as `tests.lab.client_sql` writes it."""
    event = parse_event(line)
    if not event.ok:
        return Probe(host, event.sent_s, event.answered_s, None, "")
    answer, _, instance = event.detail.strip().partition(" ")
    return Probe(host, event.sent_s, event.answered_s, answer == "yes", instance)


def arp_of(line: str) -> ArpAnswer:
    """One question, as `tests.lab.client_arp` writes it."""
    _, address, at_s, macs = line.split(" ")
    return ArpAnswer(address, float(at_s), tuple(filter(None, macs.split(","))))
