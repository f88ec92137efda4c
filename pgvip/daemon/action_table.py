"""Who acts: each action with the function that carries it out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from pgvip.actions import fence, leftovers, mount, postgres, replication, salvage, vip
from pgvip.config.model import Config
from pgvip.core.actions import (
    Action,
    AddVip,
    AskVeto,
    CheckVip,
    Claimed,
    ClaimTerm,
    ConfirmGrant,
    DropVip,
    Fence,
    FindEnd,
    KillPostgres,
    MountArchive,
    PowerOn,
    Promote,
    Rejoin,
    Salvage,
    SetSyncNames,
    StartPostgres,
    StopPostgres,
    UnmountArchive,
    WriteState,
)
from pgvip.daemon.action_threads import Function, Outcome
from pgvip.errors import ActionError, ProbeError
from pgvip.rejoin import follow
from pgvip.state.record import RecordStore
from pgvip.system import stopped_wal
from pgvip.system.processes import kill_cluster

INTERRUPT_S = 5.0


def no_witness(action: ClaimTerm) -> Claimed:
    """Where none is configured."""
    raise ActionError(f"witness {action.witness_id} is not configured here")


class Actions:
    """The functions behind the actions."""

    def __init__(
        self,
        config: Callable[[], Config],
        store: RecordStore,
        log: Callable[[str, str], None],
        ask_veto: Callable[[], str] = lambda: "",
        claim: Callable[[ClaimTerm], Claimed] = no_witness,
    ) -> None:
        self._config, self._store, self._log, self._ask_veto = config, store, log, ask_veto
        self._claim = claim

    def functions(self) -> dict[type[Action], Function]:
        """One for each kind of action. Each raises a PgvipError when it fails."""
        return {
            WriteState: self._write_state,
            StartPostgres: self._start,
            StopPostgres: self._stop,
            KillPostgres: lambda _: postgres.stop(self._config(), clean=False),
            ClaimTerm: self._claim_term,
            Promote: lambda _: Outcome(text=postgres.promote(self._config())),
            SetSyncNames: self._set_sync_names,
            ConfirmGrant: self._confirm_grant,
            AddVip: self._add_vip,
            DropVip: self._drop_vip,
            CheckVip: self._check_vip,
            Fence: lambda _: fence.fence(self._config(), self._say("fence")),
            PowerOn: lambda _: fence.power_on(self._config(), self._say("power-on")),
            FindEnd: lambda _: Outcome(point=stopped_wal.end_of_wal(self._config())),
            Salvage: self._salvage,
            Rejoin: self._rejoin,
            MountArchive: lambda _: mount.mount(self._config()),
            UnmountArchive: lambda _: mount.unmount(self._config()),
            AskVeto: lambda _: Outcome(text=self._ask_veto()),
        }

    def interrupt(self, _stop: StopPostgres) -> None:
        """End the server's processes, so that a start or promotion that waits for them fails."""
        kill_cluster(self._config().postgres.data_directory, INTERRUPT_S)

    def _say(self, event: str) -> Callable[[str], None]:
        return lambda text: self._log(event, text)

    def _write_state(self, action: Action) -> None:
        assert isinstance(action, WriteState)
        self._store.save(action.durable)

    def _start(self, action: Action) -> None:
        assert isinstance(action, StartPostgres)
        durable = self._store.load()
        system_id = durable.record.system_id if durable and durable.record else ""
        postgres.start(self._config(), standby=action.standby, sync=action.sync, system_id=system_id)

    def _stop(self, action: Action) -> None:
        assert isinstance(action, StopPostgres)
        postgres.stop(self._config(), clean=action.clean, handover=action.handover)

    def _claim_term(self, action: Action) -> Outcome:
        assert isinstance(action, ClaimTerm)
        return Outcome(claimed=self._claim(action))

    def _set_sync_names(self, action: Action) -> None:
        assert isinstance(action, SetSyncNames)
        replication.set_sync_names(self._config(), on=action.on)

    def _confirm_grant(self, action: Action) -> Outcome:
        assert isinstance(action, ConfirmGrant)
        settings = self._config().settings
        limit_s = settings.stop_s if action.sync else settings.consent_s  # in sync it waits for a whole checkpoint
        return Outcome(point=replication.confirm_grant(self._config(), sync=action.sync, timeout_s=limit_s))

    def _add_vip(self, action: Action) -> None:
        assert isinstance(action, AddVip)
        with suppress(ProbeError):  # the probe says so, and tries again
            leftovers.remember(self._config(), action.vip)
        vip.add(self._config(), action.vip)

    def _drop_vip(self, action: Action) -> None:
        assert isinstance(action, DropVip)
        vip.drop(self._config(), action.vip)

    def _check_vip(self, action: Action) -> Outcome:
        assert isinstance(action, CheckVip)
        return Outcome(text=vip.check(self._config(), action.vip))

    def _salvage(self, action: Action) -> Outcome:
        assert isinstance(action, Salvage)
        config = self._config()
        return Outcome(point=salvage.salvage(config, action.start, config.settings.salvage_s))

    def _rejoin(self, action: Action) -> Outcome:
        assert isinstance(action, Rejoin)
        return Outcome(text=follow.rejoin(self._config(), clone=action.clone, progress=self._say("rejoin")) or "")
