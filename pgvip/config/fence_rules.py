"""Contradictions in how the hosts are fenced: methods, their options and secrets, one device for two hosts."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from pgvip.config.read import wrong
from pgvip.config.toml import SECRET_NAME, without_secrets
from pgvip.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgvip.config.model import Config, FenceMethod, Host

_RESERVED = {"action", "port_action"}
_PLUGS = ("plug", "port", "nodename")
"""Parameters that name what a device powers; the last two are old names (fence-agents 4.12, lib/fencing.py)."""


def both(config: Config) -> tuple[Host, Host]:
    """Both hosts by name, so that both hosts of a pair say the same."""
    first, second = sorted((config.me, config.peer), key=attrgetter("name"))
    return first, second


def fencing(config: Config) -> Iterator[ConfigError]:
    """Each method of each host, by itself."""
    for host in both(config):
        for number, method in enumerate(host.fencing, 1):
            key = f"hosts.{host.name}.fencing[{number}]"
            if bool(method.agent) == bool(method.command):
                what = "has both agent and command" if method.agent else "has neither agent nor command"
                yield ConfigError(f"{key} {what}", hint="Write one of the two; each method is a table of its own.")
                continue
            if method.command and (method.options or method.secret_files):
                hint = "Put the arguments into the list itself; options, secrets and password_file are for agents."
                yield wrong(f"{key}.command", without_secrets(method.command), "takes no options", hint)
            program = method.name
            if "/" in program and not Path(program).is_absolute():
                yield wrong(f"{key}", program, "is a relative path", "Write the whole path, or the bare name.")
            yield from _options(key, dict(method.options))
            yield from _secrets(key, method)


def secret_in_clear(key: str, name: str) -> ConfigError:
    """A secret parameter of an agent stands among the options; its value is never shown."""
    return ConfigError(
        f"{key}.options.{name}: a secret is written into the configuration",
        "The file is readable by others and is copied about.",
        f'Put it into a file of mode 0600, one line, and name that file: secrets = {{ {name} = "/etc/pgvip/..." }}.',
    )


def _secrets(key: str, method: FenceMethod) -> Iterator[ConfigError]:
    names = [name for name, _ in method.secret_files]
    for name in sorted({*names}):
        if name in _RESERVED:
            yield ConfigError(f"{key}.secrets.{name} is set by pgvip itself", hint="Remove it.")
        elif names.count(name) > 1:
            yield ConfigError(f"{key} has both password_file and secrets.{name}", hint="Write one of the two.")
        elif name in dict(method.options):
            yield ConfigError(f"{key}: {name} is in options and comes from a file too", hint="Write one of the two.")


def _options(key: str, options: dict[str, str]) -> Iterator[ConfigError]:
    for name, value in options.items():
        if SECRET_NAME.search(name):
            yield secret_in_clear(key, name)
        elif name in _RESERVED:
            yield wrong(f"{key}.options.{name}", value, "is set by pgvip itself", "Remove it.")
        elif name == "method" and value == "cycle":
            hint = 'Write method = "onoff" or remove it.'
            detail = "A cycle can report success while the power stayed on."
            yield wrong(f"{key}.options.{name}", value, "is not verifiable", hint, detail)


def same_devices(config: Config) -> Iterator[ConfigError]:
    """A device of one host that is written for the other: whoever fences would power itself off."""
    first, second = both(config)
    for host, other in ((first, second), (second, first)):
        for number, method in enumerate(host.fencing, 1):
            options = dict(method.options)
            for name in _PLUGS:
                if options.get(name) == other.name:
                    key = f"hosts.{host.name}.fencing[{number}].options.{name}"
                    hint = f"Name what powers {host.name}; see whether the methods of the two hosts are exchanged."
                    yield wrong(key, other.name, "is the name of the other host", hint)
    known = {_device(method): number for number, method in enumerate(first.fencing, 1) if method.options}
    for number, method in enumerate(second.fencing, 1):
        if method.options and (twin := known.get(_device(method))) is not None:
            yield ConfigError(
                f"hosts.{second.name}.fencing[{number}] is the same device as hosts.{first.name}.fencing[{twin}]",
                f"Agent {method.agent} and all options are equal: a host that fences would power itself off.",
                f"Write the address or the plug of {second.name}'s own device.",
            )


def _device(method: FenceMethod) -> tuple[str, frozenset[tuple[str, str]]]:
    files = [(name, str(path)) for name, path in method.secrets]
    return method.agent, frozenset([*method.options, *files])
