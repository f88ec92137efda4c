"""What fence agents and the workers of PostgreSQL's user print, and how they end."""

from __future__ import annotations

import importlib
import json
from contextlib import suppress
from pathlib import Path

import pytest

from pgvip.config.model import FenceMethod
from pgvip.errors import FenceError, FormatError, PgvipError
from pgvip.state import codec
from pgvip.system import agent_metadata, fence_agents, tasks, workers
from pgvip.system.commands import Completed
from tests.fuzz.cases import documents, fuzz, numbers, one_of, raw, texts

METADATA = b"""<?xml version="1.0" ?>
<resource-agent name="fence_x" shortdesc="x">
<parameters><parameter name="ip" required="1"><getopt mixed="-a"/><content type="string"/></parameter></parameters>
<actions><action name="on"/><action name="off"/><action name="status"/></actions>
</resource-agent>
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@fuzz(data=raw(b"Status: ON\n", METADATA, b"\xff\xfe", b""), code=one_of(0, 1, 2, 3, 127, 255), real=numbers(0, 19))
def test_what_a_fence_agent_prints(root: Path, data: bytes, code: int, real: int) -> None:
    """Only its exit code says something; its words are for people. One in some is a real program."""
    (root / "said").write_bytes(data)
    secret = root / "password"
    secret.write_bytes(data[:20])
    secret.chmod(0o600)
    script = f"cat '{root}/said'; cat '{root}/said' >&2; exit {code}"
    method = FenceMethod(command=("/bin/sh", "-c", script), password_file=secret, timeout_s=20.0)
    if real:
        text = data.decode(errors="replace")
        assert isinstance(fence_agents._said(method, Completed(code, text, text)), str)
        return
    try:
        power = fence_agents.power(method)
    except FenceError:
        assert code not in (0, 2)
    else:
        assert power == {0: "on", 2: "off"}[code]


@fuzz(data=raw(b"secret\n", b"\xff\n", b""))
def test_a_password_file(root: Path, data: bytes) -> None:
    file = root / "secret"
    file.write_bytes(data)
    file.chmod(0o600)
    with suppress(FenceError):
        assert "\n" not in fence_agents.read_secret(file)


DEEP = "<resource-agent>" + "<actions>" * 600 + "</actions>" * 600 + "</resource-agent>"


@fuzz(text=texts(METADATA.decode(), METADATA.decode().replace("<actions>", "<!ENTITY a 'b'><actions>"), DEEP))
def test_what_a_fence_agent_says_of_itself(text: str) -> None:
    found = agent_metadata.parse(text)
    assert found is None or all(isinstance(name, str) for name in found.secrets)


# --- workers --------------------------------------------------------------------------------------------------

for name in tasks.MODULES:
    importlib.import_module(name)
ANSWERS = (
    {"result": {"timeline": 3, "lsn": "1/A0"}},
    {"result": [{"timeline": 3, "lsn": "1/A0"}, "x", ["y"], 4]},
    {"result": "a text", "failed": {"kind": "PostgresError", "message": "no", "detail": "d", "hint": "h", "errno": 0}},
    {"result": True, "failed": {"kind": "OSError", "message": "no", "detail": "/f", "hint": "", "errno": 2}},
    {"call": "progress", "arguments": ["half"], "result": 5},
    {"call": "on_bytes", "arguments": [1, 2], "result": None},
)


@fuzz(text=documents(*ANSWERS), task=one_of(*tasks.REGISTERED.values()))
def test_what_a_worker_answers(text: str, task: tasks.Task) -> None:
    """It has the identity of PostgreSQL's user: what it answers has the types of the task, or is refused."""
    with suppress(PgvipError):
        answer = codec.parse_object(text)
        with suppress(FormatError):
            words = tasks.read_call(task, answer.get("call"), answer.get("arguments"), task.callbacks)
            assert len(words) == len(task.callbacks[answer["call"]])
        failure = workers._failure(answer.get("failed"))
        assert isinstance(failure, PgvipError | OSError)
        assert "\x1b" not in str(failure)
        tasks.read_result(task, answer.get("result"))
    assert json.loads(codec.to_json(tasks.failure_of(FormatError("x"))))["kind"] == "FormatError"
