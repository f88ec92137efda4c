"""How archiving stands, as a document for `pgvip archive status`: what is where, what is missing, what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgvip.archive.catalog import gaps, holdings, position
from pgvip.archive.inventory import ANSWER_S
from pgvip.errors import ProbeError
from pgvip.state import codec
from pgvip.system.sql import connect_local
from pgvip.system.wal_files import segment_name
from pgvip.text.writing import BACKLOG_FILES

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from pgvip.archive.inventory import Picture
    from pgvip.archive.listing import Survey
    from pgvip.config.model import Config
    from pgvip.system.sql import Session

Document = dict[str, Any]

ARCHIVER_KEYS = (
    "last_archived", "archived_ago_s", "last_failed", "failed_ago_s", "failing", "waiting_files", "waiting_s",
    "in_recovery", "failures",
)  # fmt: skip


def document(config: Config, seen: Picture) -> Document:
    """Everything, in plain values; `problems` says in sentences what is not as it should be."""
    found: Document = {
        "host": config.me.name,
        "peer": config.peer.name,
        "own": {"directory": str(config.archive.directory), **archive(seen.own, seen)},
        "other": None
        if seen.peer is None
        else {"directory": _peer_place(config), **archive(seen.peer, seen)},
        "other_why": seen.peer_why,
        "missing": [list(one.names(seen.segment_bytes)) for one in gaps(seen.holdings, seen.segment_bytes)],
        "archiver": archiver(config),
        "destinations": [destination(one.name, one.required, seen) for one in config.archive.destinations],
        "backups": [codec.encode(one) for one in seen.backups],
        "needed": needed(seen),
        "doubts": [{"what": doubt.what, "hint": doubt.hint} for doubt in seen.doubts(config)],
        "clean": config.archive.clean,
    }
    found["problems"] = problems(found)
    return found


def _peer_place(config: Config) -> str:
    return f"over the link from {config.peer.name}" if config.archive.by_link else str(config.archive.peer_mount)


def archive(survey: Survey, seen: Picture) -> Document:
    """One archive: its size, its stretches of WAL, its free space."""
    held = holdings(survey.files, survey.histories, seen.segment_bytes)
    wal = [file for file in survey.files if position(file.name, seen.segment_bytes)]
    return {
        "files": len(wal),
        "size_bytes": sum(file.size_bytes for file in wal),
        "newest_ago_s": max(0.0, seen.at - max(file.at for file in wal)) if wal else None,
        "oldest_ago_s": max(0.0, seen.at - min(file.at for file in wal)) if wal else None,
        "stretches": [list(one.names(seen.segment_bytes)) for one in held.stretches],
        "free_bytes": survey.free_bytes,
    }


def destination(name: str, required: bool, seen: Picture) -> Document:
    """What this host knows of a further destination, without touching it."""
    why, at = seen.own.failed.get(name, ("", 0.0))
    return {
        "name": name,
        "required": required,
        "pending_files": len(seen.own.pending.get(name, ())),
        "failed": why or None,
        "failed_ago_s": max(0.0, seen.at - at) if why else None,
    }


def archiver(
    config: Config, connect: Callable[[Config], AbstractContextManager[Session]] = connect_local
) -> Document | None:
    """How the local server's archiver does; None when it does not answer."""
    try:
        with connect(config) as session:
            row = session.query("archiver", timeout_s=ANSWER_S)[0]
    except ProbeError:
        return None
    return dict(zip(ARCHIVER_KEYS, row, strict=True))


def needed(seen: Picture) -> Document | None:
    """From which segment on WAL is needed, and by whom; None when nobody is known to need any."""
    if not seen.needs:
        return None
    oldest = min(seen.needs, key=lambda need: need.lsn)
    name = segment_name(0, oldest.lsn, seen.segment_bytes)[8:]
    return {"lsn": str(oldest.lsn), "segment": name, "by": oldest.who}


def problems(found: Document) -> list[str]:
    """What is not as it should be, in sentences."""
    said = [f"WAL is missing: {first} to {last}" for first, last in found["missing"]]
    said += [f"the archive of {found['peer']} cannot be read: {found['other_why']}"] if found["other_why"] else []
    state = found["archiver"]
    if state is None:
        said.append("the local database does not answer")
    elif not state["in_recovery"]:
        if state["failing"]:
            said.append(f"archiving fails: {state['last_failed']}; the server's log says why")
        if state["waiting_files"] > BACKLOG_FILES:
            said.append(f"{state['waiting_files']} files wait to be archived")
    for one in found["destinations"]:
        if one["failed"]:
            said.append(f"destination {one['name']} failed: {one['failed']}")
        if one["pending_files"]:
            said.append(f"{one['pending_files']} files are pending for destination {one['name']}")
    return said
