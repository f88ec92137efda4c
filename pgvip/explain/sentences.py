"""The events of a play as sentences in their order, and the outage that clients would see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgvip.core.actions import (
    Action,
    AddVip,
    DropVip,
    KillPostgres,
    Promote,
    Rejoin,
    Salvage,
    SetSyncNames,
    StartPostgres,
    StopPostgres,
    WriteState,
)
from pgvip.core.changes import ROWS, By, Change
from pgvip.core.settings import Note
from pgvip.core.values import Mode, Vip

if TYPE_CHECKING:
    from pgvip.config.model import Config
    from pgvip.explain.play import Event, Stage
    from pgvip.explain.played_pair import Player

LINES_MAX = 40


@dataclass(frozen=True, slots=True)
class Step:
    """`at_s`: after the fault. `change`: the row of the table that it belongs to, "" for none."""

    at_s: float
    host: str
    text: str
    change: str = ""


def steps(stage: Stage, config: Config, happens: str) -> list[Step]:
    """What happens, in order; a sentence that would come twice in a row comes once."""
    found = [Step(0.0, "", happens)]
    told: set[str] = set()
    change = ""
    for event in stage.events:
        at_s = round(event.at_s - stage.begun_s, 3)
        if event.note is not None:
            text, row = _note(stage, config, event, event.note)
        else:
            text, row = _action(stage, config, event), ""
        change = row or change
        key = f"{event.host} {text}"
        if text and key not in told:
            told.add(key)
            found.append(Step(at_s, event.host, text, row))
    found += list(_service(stage))
    found.sort(key=lambda step: step.at_s)
    return found[:LINES_MAX]


def _note(stage: Stage, config: Config, event: Event, note: Note) -> tuple[str, str]:
    name, _, words = note.text.partition(": ")
    row = ROWS.get(name)
    player = stage.of(event.host)
    if note.event == "intent" and row is not None:
        return _intent(player, row), row.name
    if note.event == "claim" and words.startswith("asking"):
        return "asks the witness for the term", name
    if note.event == "claimed":
        winner = dict(note.fields)["winner"]
        return "has the term" if winner == event.host else f"learns that the term is {winner}'s", ""
    if note.event == "lease-ended":
        return f"has not heard {player.settings.peer} for lease_s = {player.settings.lease_s:g} s: gives up", ""
    if note.event == "claim":
        again = "again" in words
        return (f"tries to fence {player.settings.peer} again, and so on" if again
                else f"fences {player.settings.peer} ({_methods(config, player)})"), name
    if note.event == "fenced":
        return f"{player.settings.peer} is verified off", ""
    if note.event == "fence-failed":
        return f"the fence fails: {words or note.text}", ""
    if note.event == "giving-up":
        given = ROWS.get(dict(note.fields).get("change", ""))
        return f"agrees, and gives the role up to {player.settings.peer}" if given and given.moves else "agrees", ""
    if note.event in ("called-off", "claim-ended", "switchover-dropped"):
        return f"{note.event.replace('-', ' ')}: {note.text}", ""
    return "", ""


def _intent(player: Player, row: Change) -> str:
    peer, s = player.settings.peer, player.settings
    if row.by is By.FENCE and not s.fencing:
        return f"{row.because}, but there is no way to fence {peer}: it does nothing"
    if row.by in (By.FENCE, By.WITNESS) and row.delayed:
        return f"{row.because}; waits fence_delay_s = {s.fence_delay_s:g} s, unless it is off, and checks again"
    if row.by is By.FENCE:
        return f"{row.because}"
    if row.by is By.INVITE:
        return f"{row.because}: offers the role to {peer}"
    if row.by is By.REQUEST:
        return f"{row.because}: asks {peer} to agree"
    return row.because


def _methods(config: Config, player: Player) -> str:
    target = config.peer if player.name == config.me.name else config.me
    return ", then ".join(method.name.rpartition("/")[2] for method in target.fencing) or "no method"


def _action(stage: Stage, config: Config, event: Event) -> str:
    action, peer = event.action, stage.peer_of(stage.of(event.host)).name
    if not event.ok:
        return ""  # the note says so
    if isinstance(action, WriteState):
        return _written(stage, action, event.host)
    if isinstance(action, AddVip | DropVip):
        verb = "raises" if isinstance(action, AddVip) else "drops"
        return f"{verb} the {action.vip.value} VIP {config.vips[action.vip].ip}"
    return _server(action, peer)


def _server(action: Action | None, peer: str) -> str:
    if isinstance(action, Promote):
        return "is promoted"
    if isinstance(action, KillPostgres):
        return "kills PostgreSQL"
    if isinstance(action, StopPostgres):
        return "stops PostgreSQL cleanly" if action.clean else "sees that every process of PostgreSQL is gone"
    if isinstance(action, StartPostgres):
        return f"starts PostgreSQL as a standby of {peer}" if action.standby else "starts PostgreSQL again"
    if isinstance(action, SetSyncNames):
        return f"commits wait for {peer}" if action.on else f"commits do not wait for {peer} any more"
    if isinstance(action, Salvage):
        return f"puts the WAL that {peer} lacks where {peer} finds it"
    if isinstance(action, Rejoin):
        return f"makes its data follow {peer}: saves what diverged, rewinds, else clones"
    return ""


def _written(stage: Stage, action: WriteState, host: str) -> str:
    """A new record, reported of the host that makes it; who adopts it writes the same."""
    record = action.durable.record
    if record is None or (record.term % 2 == 0) is not stage.of(host).settings.me_first:
        return ""
    if action.durable.claimed_term == record.term:
        return ""  # only that the witness is asked for this term, or what it said
    if record.mode is Mode.PAIR:
        return f"writes term {record.term}: {record.primary} is primary, and the other may take over"
    return f"writes term {record.term}: {record.primary} serves alone"


def _service(stage: Stage) -> Iterator[Step]:
    """When clients can write again, and when readers can read again."""
    last = (True, True)
    for at_s, writes, reads in stage.served:
        passed_s = round(at_s - stage.begun_s, 3)
        if writes and not last[0]:
            yield Step(passed_s, "", "clients can write again")
        if reads and not last[1]:
            yield Step(passed_s, "", "clients can read again by the standby VIP")
        last = (writes, reads)


def outage_s(stage: Stage, which: Vip) -> float | None:
    """From the first moment without service to the last return of it; 0 without any, None when it does not return."""
    index = 1 if which is Vip.PRIMARY else 2
    states = [(state[0], bool(state[index])) for state in stage.served]
    if not states[-1][1]:
        return None
    down_s = next((at_s for at_s, up in states if not up), None)
    if down_s is None:
        return 0.0
    up_s = max(at_s for (at_s, up), (_, before) in zip(states[1:], states, strict=False) if up and not before)
    return round(up_s - down_s, 3)
