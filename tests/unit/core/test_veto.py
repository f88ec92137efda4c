"""The veto hooks before a takeover by fence: asked once for each wait, heeded, not waited for beyond the limit."""

from __future__ import annotations

from pgvip.core.actions import AskVeto, Fence, Result
from pgvip.core.messages import Order
from tests.unit.core_world import Host, primary, saw, standby

WHO = "10-storage: a resync is under way"


def asked() -> Host:
    """A standby with veto hooks whose primary has fallen silent: it has just asked."""
    return standby().sees(veto=saw(value=True)).silence().round()


def question(host: Host) -> AskVeto:
    return next(action for action in host.k.work.running if isinstance(action, AskVeto))


def answered(host: Host, text: str = "", *, ok: bool = True) -> Host:
    return host.done(question(host), ok=ok, text=text)


def refused() -> Host:
    return answered(asked(), WHO)


def test_without_hooks_nobody_is_asked_and_nothing_is_delayed() -> None:
    for host in (standby().silence(), standby().sees(veto=saw(value=False)).silence()):
        waiting = host.round()
        assert not waiting.started(AskVeto)
        assert waiting.round(after_s=host.s.fence_delay_s).started(Fence)


def test_they_are_asked_as_the_delay_begins_and_once() -> None:
    host = asked()
    assert host.started(AskVeto)
    assert not host.round(after_s=0.1).started(AskVeto)


def test_the_delay_is_kept_when_they_allow_it_sooner() -> None:
    host = answered(asked())
    assert not host.running(Fence)
    assert not host.round(after_s=0.4).started(Fence)
    assert host.round(after_s=0.5).started(Fence)


def test_the_fence_waits_for_their_answer_and_follows_it_at_once() -> None:
    host = asked().round(after_s=1.9)
    assert not host.running(Fence)
    assert answered(host).started(Fence)


def test_whoever_does_not_answer_in_time_prevents_nothing() -> None:
    host = asked()
    late = host.round(after_s=host.s.veto_timeout_s)
    assert late.started(Fence)
    assert late.said("veto-late") == {}
    assert late.last is not None
    assert [note.text for note in late.last.notes if note.event == "veto-late"] == [
        "no answer of the veto hooks within 2 s: take-over-by-fence goes on"
    ]


def test_a_failure_of_theirs_prevents_nothing() -> None:
    host = answered(asked().round(after_s=0.6), WHO, ok=False)
    assert host.started(Fence)


def test_a_veto_puts_the_takeover_off_and_is_named() -> None:
    host = refused()
    assert not host.running(Fence)
    assert "vetoed" in host.warnings()
    assert dict(host.k.intent.blockers)["take-over-by-fence"] == "vetoed: a veto hook puts the takeover off"
    assert not host.round(after_s=host.s.fence_retry_s - 0.1).running(Fence)


def test_they_are_asked_again_and_the_warning_stands_meanwhile() -> None:
    host = refused()
    again = host.round(after_s=host.s.fence_retry_s)
    assert again.started(AskVeto) not in (None, question(asked()))
    assert "vetoed" in again.warnings()
    allowed = answered(again)
    assert "vetoed" not in allowed.warnings()
    assert allowed.round(after_s=host.s.fence_delay_s).started(Fence)


def test_a_hook_that_hangs_after_a_veto_prevents_nothing() -> None:
    again = refused()
    again = again.round(after_s=again.s.fence_retry_s)
    assert again.round(after_s=again.s.veto_timeout_s).started(Fence)


def test_an_answer_that_comes_too_late_is_not_heard() -> None:
    host = asked()
    late = host.round(after_s=host.s.veto_timeout_s)
    told = answered(late, WHO)
    assert told.k.fencing.claim is not None
    assert "vetoed" not in told.warnings()


def test_an_old_answer_does_not_count_for_a_new_question() -> None:
    host = asked()
    other = host.round(results=[Result(AskVeto("run-b/77"), ok=True, at_s=host.now_s, text=WHO)])
    assert other.k.fencing.veto == host.k.fencing.veto


def test_a_peer_that_is_heard_ends_it() -> None:
    host = refused().told()
    assert host.k.fencing.veto is None
    assert "vetoed" not in host.warnings()


def test_a_word_for_one_silence_is_none_for_the_next() -> None:
    host = answered(asked()).told().silence().round()
    assert host.started(AskVeto)


def test_only_a_takeover_for_silence_is_asked_about() -> None:
    alone = primary().sees(veto=saw(value=True)).silence().round()
    assert alone.started(Fence)
    stubborn = standby().sees(veto=saw(value=True)).told(cannot="StopPostgres: D state")
    assert not stubborn.running(AskVeto)
    assert stubborn.told(after_s=0.5, cannot="StopPostgres: D state").started(Fence)


def test_without_a_fence_nobody_is_asked() -> None:
    assert not standby().sees(veto=saw(value=True)).configured(fencing=False).silence().round().started(AskVeto)


def test_the_first_question_about_a_takeover_has_no_answer_yet() -> None:
    host = standby().sees(veto=saw(value=True)).silence().round()
    host.must_start(AskVeto)
    assert host.k.fencing.veto is not None
    assert host.k.fencing.veto.refused == ""


# --- when the delay is longer than the hooks' time ----------------------------------------------------------


def patient() -> Host:
    """As `asked`, with a `fence_delay` that is longer than `veto_timeout`."""
    return standby().configured(fence_delay_s=5.0).sees(veto=saw(value=True)).silence().round()


def notes(host: Host) -> list[str]:
    assert host.last is not None
    return [note.event for note in host.last.notes]


def test_who_allowed_it_in_time_is_not_called_late() -> None:
    host = answered(patient()).round(after_s=2.5)
    assert "veto-late" not in notes(host)
    assert not host.running(Fence)


def test_who_is_late_is_called_so_once_and_not_heard_afterwards() -> None:
    late = patient().round(after_s=2.5)
    assert "veto-late" in notes(late)
    told = answered(late, WHO)
    assert "vetoed" not in told.warnings()
    again = told.round(after_s=1.0)
    assert "veto-late" not in notes(again)
    assert again.round(after_s=2.0).started(Fence)


def test_a_veto_that_is_not_repeated_in_time_is_none_any_more() -> None:
    host = answered(patient(), WHO)
    again = host.round(after_s=host.s.fence_retry_s)
    assert "vetoed" in again.warnings()
    late = again.round(after_s=2.5)
    assert not late.running(Fence)
    assert "vetoed" not in late.warnings()


# --- an operator's word comes first --------------------------------------------------------------------------


def test_a_forced_promotion_does_not_ask_and_ends_a_veto() -> None:
    fencing = refused().order(Order.FORCE_PROMOTE)
    assert fencing.started(Fence)
    assert "vetoed" not in fencing.warnings()
    written = refused().order(Order.FORCE_PROMOTE, "without-fence").written()
    assert written.record.primary == "b"
    assert "vetoed" not in written.warnings()
