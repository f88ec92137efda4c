"""What fence agents and other programs print, and how they end."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from pgvip.config.model import FenceMethod
from pgvip.errors import FenceError
from pgvip.system import fence_agents
from tests.fuzz.cases import fuzz, one_of, raw

METADATA = b"""<?xml version="1.0" ?>
<resource-agent name="fence_x" shortdesc="x">
<parameters><parameter name="ip" required="1"><getopt mixed="-a"/><content type="string"/></parameter></parameters>
<actions><action name="on"/><action name="off"/><action name="status"/></actions>
</resource-agent>
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@fuzz(data=raw(b"Status: ON\n", METADATA, b"\xff\xfe", b""), code=one_of(0, 1, 2, 3, 127, 255))
def test_what_a_fence_agent_prints(root: Path, data: bytes, code: int) -> None:
    """Only its exit code says something; its words are for people."""
    (root / "said").write_bytes(data)
    secret = root / "password"
    secret.write_bytes(data[:20])
    secret.chmod(0o600)
    script = f"cat '{root}/said'; cat '{root}/said' >&2; exit {code}"
    method = FenceMethod(command=("/bin/sh", "-c", script), password_file=secret, timeout_s=20.0)
    try:
        power = fence_agents.power(method)
    except FenceError:
        assert code not in (0, 2)
    else:
        assert power == {0: "on", 2: "off"}[code]


@fuzz(data=raw(b"secret\n", b"\xff\n", b""))
def test_a_secret_file(root: Path, data: bytes) -> None:
    file = root / "secret"
    file.write_bytes(data)
    file.chmod(0o600)
    with suppress(FenceError):
        assert "\n" not in fence_agents.read_secret(file)
