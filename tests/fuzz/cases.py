"""One decorator for all fuzz tests, and the inputs that they share."""

from __future__ import annotations

import functools
import inspect
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

CAMPAIGN = "PGVIP_FUZZ_CASES" in os.environ
CASES = int(os.environ.get("PGVIP_FUZZ_CASES", "300"))
"""For each test. A slice takes the same cases every time, so that a change is judged and not the day."""
BATCH = 25
"""Inputs made from one seed: most of the time of a case would be hypothesis's own."""
COUNTS: Counter[str] = Counter()

EDITS_MAX = 5
ODD_TEXTS = (
    *("", "²", "٣", "-1", "0x10", "1_000", "9" * 25, "9" * 5000, "0x" + "F" * 5000, "1e999", "nan", "inf"),
    *("FFFFFFFFF/0", "\0", "\x1b[2J", "\u2028", "\ufeff", "'", '"', "\\", "#", "=", "\r", "\n\n", " " * 300),
    *("0/0", "/", "g/1", "\x85", "\x0b", "0", "1", "\udcff", "🐘", "true", "null"),
)
ODD_NUMBERS = (0, -1, 1 << 31, 1 << 32, 1 << 63, 1 << 64, 10**30, 0.0, -0.5, 1e300, float("inf"), float("nan"))


@dataclass(frozen=True)
class Seeded:
    """Makes an input from a seed: much faster than a strategy, and not made smaller when it fails."""

    make: Callable[[Random], Any]


def fuzz(**inputs: SearchStrategy[Any] | Seeded) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test with many values of each input, and count them."""
    seeded = {name: one.make for name, one in inputs.items() if isinstance(one, Seeded)}
    strategies = {name: one for name, one in inputs.items() if not isinstance(one, Seeded)}
    if seeded:
        strategies["seed"] = st.integers(0, (1 << 64) - 1)
    batch = BATCH if seeded else 1

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def counted(*args: Any, seed: int = 0, **given_: Any) -> None:
            random = Random(seed)
            for _ in range(batch):
                values = {name: make(random) for name, make in seeded.items()}
                COUNTS[test.__name__] += 1
                try:
                    test(*args, **given_, **values)
                except Exception as failure:
                    failure.add_note(f"input: {values!r}")
                    raise

        counted.__dict__["__signature__"] = _signature(test, seeded.keys())
        del counted.__dict__["__wrapped__"]
        wanted = settings(
            max_examples=max(1, CASES // batch),
            deadline=None,
            database=None,
            derandomize=not CAMPAIGN,
            suppress_health_check=list(HealthCheck),
        )
        return wanted(given(**strategies)(counted))

    return decorate


def _signature(test: Callable[..., None], seeded: Any) -> inspect.Signature:
    """What is asked of hypothesis and pytest: the test's own, with a seed for all that is made from it."""
    own = inspect.signature(test).parameters.values()
    kept = [one for one in own if one.name not in seeded]
    more = [inspect.Parameter("seed", inspect.Parameter.KEYWORD_ONLY)] if seeded else []
    return inspect.Signature([*kept, *more])


# --- bytes and texts ------------------------------------------------------------------------------------------


def raw(*samples: bytes) -> Seeded:
    """Bytes that are right but for a few places, and now and then any."""
    return Seeded(lambda random: _edited(random, samples))


def texts(*samples: str) -> Seeded:
    """Texts in which a few words are odd, lines missing or repeated; and now and then any."""
    return Seeded(lambda random: _edited_text(random, samples))


def numbers(low: int, high: int) -> Seeded:
    """A whole number, its ends more often than others."""
    return Seeded(lambda random: random.choice((low, high, random.randint(low, high), random.randint(low, high))))


def one_of(*values: Any) -> Seeded:
    """One of these."""
    return Seeded(lambda random: random.choice(values))


def lists(inner: Seeded, most: int) -> Seeded:
    """Up to `most` of something."""
    return Seeded(lambda random: [inner.make(random) for _ in range(random.randint(0, most))])


def _edited(random: Random, samples: tuple[bytes, ...]) -> bytes:
    if not samples or random.random() < 0.1:
        return random.randbytes(random.choice((0, 1, 4, 24, 42, 400)))
    data = bytearray(random.choice(samples))
    for _ in range(random.randint(0, EDITS_MAX)):
        at = random.randint(0, len(data))
        data[at : at + random.choice((0, 1, 1, 2, 4, 16, 4096))] = _piece(random)
    return bytes(data)


def _piece(random: Random) -> bytes:
    kind = random.random()
    if kind < 0.4:
        return random.randbytes(random.choice((0, 1, 1, 2, 4)))
    if kind < 0.8:
        return random.choice(ODD_TEXTS).encode(errors="surrogateescape")
    return bytes([random.randrange(256)]) * random.choice((2, 8, 40))


def _edited_text(random: Random, samples: tuple[str, ...]) -> str:
    if random.random() < 0.1:
        return "".join(odd_text(random) for _ in range(random.randint(0, 4)))
    lines = random.choice(samples).split("\n")
    for _ in range(random.randint(0, EDITS_MAX)):
        at, what = random.randrange(len(lines)), random.random()
        if what < 0.5:
            words = lines[at].split(" ")
            words[random.randrange(len(words))] = odd_text(random)
            lines[at] = " ".join(words)
        elif what < 0.65:
            cut = random.randint(0, len(lines[at]))
            lines[at] = lines[at][:cut] + odd_text(random) + lines[at][cut + random.choice((0, 1)) :]
        elif what < 0.75 and len(lines) > 1:
            del lines[at]
        else:
            lines.insert(at, lines[at] if what < 0.9 else odd_text(random))
    return "\n".join(lines)


def odd_text(random: Random) -> str:
    """A text that somebody did not think of."""
    return random.choice(ODD_TEXTS) if random.random() < 0.7 else chr(random.randrange(0xD800)) * random.randint(1, 3)


# --- documents ------------------------------------------------------------------------------------------------

BOMBS = ("[" * 20_000, '{"a":' * 20_000, "1" * 20_000, f'"{"x" * 70_000}"', '"\\ud800"', "1e99999", "[NaN]", "\ufeff{}")
"""Deep, long, and what JSON does not have."""


def documents(*samples: Any) -> Seeded:
    """JSON texts: documents with a few values replaced, texts with a few bytes, deep and long ones."""
    written = tuple(json.dumps(sample) for sample in samples)

    def make(random: Random) -> str:
        kind = random.random()
        if kind < 0.01:
            return random.choice(BOMBS)
        if kind < 0.2:
            return _edited_text(random, written)
        return json.dumps(_edited_document(random, json.loads(random.choice(written))))

    return Seeded(make)


def _edited_document(random: Random, document: Any) -> Any:
    for _ in range(random.randint(0, EDITS_MAX)):
        document = _edit(random, document)
    return document


def _edit(random: Random, node: Any) -> Any:
    if not isinstance(node, dict | list) or not node or random.random() < 0.1:
        return _value(random)
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    key = random.choice(keys)
    if random.random() < 0.15:
        del node[key]
    else:
        node[key] = _edit(random, node[key])
    return node


def _value(random: Random, depth: int = 0) -> Any:
    """Anything that JSON can say, and what Python's reader takes beyond it."""
    kind = random.random()
    if depth < 3 and kind < 0.1:
        return [_value(random, depth + 1) for _ in range(random.randint(0, 3))]
    if depth < 3 and kind < 0.2:
        return {odd_text(random): _value(random, depth + 1) for _ in range(random.randint(0, 3))}
    if kind < 0.5:
        return odd_text(random)
    if kind < 0.7:
        return random.choice((None, True, False))
    return random.choice((*ODD_NUMBERS, random.randint(-5, 300), random.random()))
