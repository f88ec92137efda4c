"""What is to power the peer off: the programs, their options by the agents' own metadata, and secrets among them."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from pgvip.config.fence_rules import secret_in_clear
from pgvip.config.read import wrong
from pgvip.errors import ConfigError
from pgvip.system import fence_agents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgvip.config.model import Config, FenceMethod
    from pgvip.system.agent_metadata import Metadata

SHOWN_MAX = 30
"""Names of options in one hint: fence_ipmilan has 50 with the old ones."""


def fence_programs(config: Config) -> Iterator[ConfigError]:
    """Programs that are not there, are no fence, or that others may change; options that the agent does not know."""
    for number, method in enumerate(config.peer.fencing, 1):
        key = f"hosts.{config.peer.name}.fencing[{number}]"
        if not fence_agents.present(method):
            yield _absent(key, method)
            continue
        refused = fence_agents.program_refusal(method)
        if refused:
            why, _, hint = refused.partition(": ")
            yield ConfigError(f"{key}: {method.name} is not called", f"It runs as root, and {why}.", f"Run: {hint}")
            continue
        found = fence_agents.metadata(method)
        for name in fence_agents.secrets_in_clear(method, found):
            yield secret_in_clear(key, name)
        no_fence = fence_agents.fabric(method, found)
        if no_fence is not None:
            yield ConfigError(f"{key}: {no_fence.message}", no_fence.detail, no_fence.hint)
        elif found is not None:
            yield from _unknown_options(key, method, found)


def _absent(key: str, method: FenceMethod) -> ConfigError:
    if not method.agent:
        return wrong(f"{key}.command", method.name, "is not a program of this host", "Install it, or correct its name.")
    here = fence_agents.installed()
    close = difflib.get_close_matches(method.agent, here, 1)
    listed = f"Agents here: {', '.join(here[:SHOWN_MAX]) or 'none'}."
    hint = f"Did you mean {close[0]}?" if close else f"Install the package of the agent, or correct its name. {listed}"
    return wrong(f"{key}.agent", method.agent, "is not a program of this host", hint)


def _unknown_options(key: str, method: FenceMethod, found: Metadata) -> Iterator[ConfigError]:
    """An agent ignores what it does not know, with a line in its log: the device would be asked without it."""
    if not found.parameters:
        return  # it does not say what it takes
    names = {"options": [name for name, _ in method.options], "secrets": [name for name, _ in method.secrets]}
    for part, name in [(part, name) for part, listed in names.items() for name in listed]:
        if name.replace("-", "_") in found.parameters:
            continue
        close = difflib.get_close_matches(name.replace("-", "_"), sorted(found.parameters), 1)
        shown = sorted(found.parameters)
        more = f" and {len(shown) - SHOWN_MAX} more" if len(shown) > SHOWN_MAX else ""
        hint = f"Did you mean {close[0]}?" if close else f"It knows: {', '.join(shown[:SHOWN_MAX])}{more}."
        yield ConfigError(f"{key}.{part}.{name} is no parameter of {method.agent}, by its own metadata", hint=hint)
