"""Fencing: power the peer off, and believe only what the device then says of its power."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgvip.deadlines import now_s, wait_until
from pgvip.errors import FenceError
from pgvip.system import fence_agents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pgvip.config.model import Config, FenceMethod

SETTLE_S = 5.0
"""How long a device may still say "on" after a successful `off`."""

SETTLE_POLL_S = 0.2


def fence(config: Config, log: Callable[[str], None] = lambda _: None) -> None:
    """Power the peer off by the configured methods in their order; returns when one has verified it.

    A time-out, an error, or a device that goes on saying "on" is a failure of that method, and the next one is
    tried. Repeating it is harmless: a host that is off stays off. FenceError when no method could verify it.
    """
    _first_that_works(config, "fence", _power_off, log)


def power_on(config: Config, log: Callable[[str], None] = lambda _: None) -> None:
    """Switch the peer on again by the first method that accepts the order; FenceError when none does."""
    _first_that_works(config, "switch on", lambda method: fence_agents.order(method, "on"), log)


def status(config: Config) -> str:
    """Each method's own answer about the peer's power, one line each, failures too."""
    return "\n".join(line for line, _ in _survey(config.peer.fencing)) or "no fence method is configured"


def test(config: Config) -> str:
    """Like `status`; FenceError when any of the methods would not work now. Nobody is powered off."""
    lines = list(_survey(config.peer.fencing))
    text = "\n".join(line for line, _ in lines)
    if not lines or not all(works for _, works in lines):
        raise FenceError(f"fencing of {config.peer.name} would not work", text or "No fence method is configured.")
    return text


@dataclass(frozen=True, slots=True)
class Answer:
    """What one method said of the peer's power ("on", "off", "" for no answer), and the seconds that took."""

    method: str
    power: str
    detail: str
    took_s: float
    timeout_s: float

    @property
    def works(self) -> bool:
        """It answers, and leaves half of its time-out: an `off` takes longer than a question."""
        return bool(self.power) and self.took_s <= self.timeout_s / 2

    def line(self) -> str:
        """For people."""
        said = self.power or self.detail
        slow = "" if self.works or not self.power else ": too slow, an `off` may not fit"
        return f"{self.method}: {said} ({self.took_s:.1f} s of its time-out of {self.timeout_s:g} s{slow})"

    def document(self) -> dict[str, object]:
        """For scripts."""
        return {
            "method": self.method, "power": self.power or None, "works": self.works, "detail": self.detail,
            "took_s": round(self.took_s, 3), "timeout_s": self.timeout_s,
        }  # fmt: skip


def survey(config: Config) -> tuple[Answer, ...]:
    """Ask each method of the peer, one after the other; nobody is powered off."""
    return tuple(_ask(method) for method in config.peer.fencing)


def _ask(method: FenceMethod) -> Answer:
    begun_s, power, detail = now_s(), "", ""
    try:
        power = fence_agents.power(method)
    except FenceError as failure:
        detail = f"{failure.message}: {failure.detail}".rstrip(": ")
    return Answer(method.name, power, detail, now_s() - begun_s, method.timeout_s)


def _first_that_works(
    config: Config, what: str, attempt: Callable[[FenceMethod], None], log: Callable[[str], None]
) -> None:
    failures = []
    for method in config.peer.fencing:
        try:
            attempt(method)
        except FenceError as failure:
            failures.append(f"{failure.message} ({failure.detail})" if failure.detail else failure.message)
            log(f"could not {what} {config.peer.name} by {method.name}: {failures[-1]}")
        else:
            log(f"{what} {config.peer.name}: done by {method.name}")
            return
    raise FenceError(f"could not {what} {config.peer.name}", "; ".join(failures) or "No fence method is configured.")


def _power_off(method: FenceMethod) -> None:
    """The order, and then the proof: the device says "off" (an answer that fails may be asked for again)."""
    fence_agents.order(method, "off")
    answer = "nothing"

    def is_off() -> bool:
        nonlocal answer
        try:
            answer = fence_agents.power(method)
        except FenceError as failure:
            answer = f"{failure.message}: {failure.detail}".rstrip(": ")
        return answer == "off"

    try:
        wait_until(is_off, SETTLE_S, every_s=SETTLE_POLL_S, error=FenceError)
    except FenceError:
        detail = f"It accepted the order and then said: {answer}."
        raise FenceError(f"{method.name} did not verify that the power is off", detail) from None


def _survey(methods: Iterable[FenceMethod]) -> Iterable[tuple[str, bool]]:
    for method in methods:
        try:
            yield f"{method.name}: {fence_agents.power(method)}", True
        except FenceError as failure:
            yield f"{method.name}: {failure.message}: {failure.detail}".rstrip(": "), False
