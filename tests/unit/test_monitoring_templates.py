"""The templates for monitoring systems in conf/: valid, and made for what pgvip really prints."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.status.test_document import healthy

CONF = Path(__file__).parents[2] / "conf"
EXPORT = yaml.safe_load((CONF / "zabbix-template.yaml").read_text(encoding="utf-8"))["zabbix_export"]
[TEMPLATE] = EXPORT["templates"]
ITEMS: dict[str, Any] = {item["key"]: item for item in TEMPLATE["items"]}
TRIGGERS = [trigger for item in ITEMS.values() for trigger in item.get("triggers", ())]
TYPES = {"CHAR", "TEXT", "UNSIGNED", "FLOAT"}
METRIC = r"\w+=-?[\d.e+-]+;[\d.e+-]*;[\d.e+-]*"
SERVICE = re.compile(rf'([0-3]) "(pgvip[^"]*)" (-|{METRIC}(?:\|{METRIC})*) (\S.*)')
"""A line of a Checkmk local check."""


def path_of(item: dict[str, Any]) -> str:
    """The JSONPath of a dependent item."""
    [found] = [one["parameters"][0] for one in item["preprocessing"] if one["type"] == "JSONPATH"]
    return str(found)


def found(path: str, document: Any) -> Any:
    """What a JSONPath finds, of the kinds that the template has. KeyError where there is no such key."""
    if path.endswith(".length()"):
        return len(found(path.removesuffix(".length()"), document))
    head, _, each = path.partition("[*].")
    for key in head.split(".")[1:]:
        document = document[key]
    return [one[each] for one in document] if each else document


def test_every_item_finds_its_value_in_the_status() -> None:
    document = healthy()
    document["warnings"] = [{"name": "lag", "text": "", "hint": ""}]
    for item in ITEMS.values():
        if item["type"] == "DEPENDENT":
            value = found(path_of(item), document)
            assert item["master_item"] == {"key": "pgvip.status"}
            numeric = item.get("value_type", "UNSIGNED") in ("UNSIGNED", "FLOAT")
            assert value is None or numeric is (isinstance(value, int | float) and not isinstance(value, bool)), item


def test_the_form_is_that_of_zabbix_6() -> None:
    assert EXPORT["version"] == "6.0"
    every = [EXPORT["groups"][0], TEMPLATE, *ITEMS.values(), *TRIGGERS]
    ids = [one["uuid"] for one in every]
    assert len(set(ids)) == len(ids)
    assert all(uuid.UUID(one).version == 4 and "-" not in one for one in ids)
    assert {item.get("value_type", "UNSIGNED") for item in ITEMS.values()} <= TYPES
    assert TEMPLATE["groups"] == [{"name": EXPORT["groups"][0]["name"]}]


def test_triggers_are_about_items_and_macros_of_the_template() -> None:
    assert len(TRIGGERS) >= 7
    text = (CONF / "zabbix-template.yaml").read_text(encoding="utf-8")
    macros = {one["macro"] for one in TEMPLATE["macros"]}
    assert set(re.findall(r"\{\$[\w.]+\}", text)) == macros
    for trigger in TRIGGERS:
        keys = re.findall(r"/pgvip by HTTP/([\w.]+)", trigger["expression"])
        assert keys, trigger
        assert set(keys) <= set(ITEMS)
        assert trigger["expression"].count("(") == trigger["expression"].count(")")
        assert trigger["description"]


def services(command: str | Path) -> list[tuple[str, ...]]:
    """What the local check prints, with `command` as pgvip; it always ends with 0."""
    environment = {**os.environ, "PGVIP_COMMAND": str(command)}
    argv = [sys.executable, str(CONF / "checkmk-pgvip")]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=30, check=True)
    matches = [SERVICE.fullmatch(line) for line in done.stdout.splitlines()]
    assert all(matches), done.stdout
    return [one.groups() for one in matches if one]


def program(directory: Path, text: str) -> Path:
    path = directory / "pgvip"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_checkmk_gets_a_service_for_each_check(tmp_path: Path) -> None:
    perf = {"label": "lag bytes", "value": 16, "unit": "B", "warning": 8, "critical": None}
    checks = [
        {"name": "lag", "level": "WARNING", "text": "a|b\n c", "detail": "d", "hint": "see it", "perf": [perf, perf]},
        {"name": "peer", "level": "OK", "text": "heard", "detail": "", "hint": "", "perf": []},
    ]
    answer = json.dumps({"schema": 1, "pair": "orders", "host": "db1", "level": "WARNING", "checks": checks})
    (tmp_path / "answer").write_text(answer)
    assert services(program(tmp_path, f"cat {tmp_path}/answer; exit 1")) == [
        ("1", "pgvip orders lag", "lag_bytes=16;8;|lag_bytes=16;8;", "a/b c\\nd\\nHint: see it"),
        ("0", "pgvip orders peer", "-", "heard"),
    ]


@pytest.mark.parametrize("text", ["echo no JSON", "exit 3", "echo '{}'"])
def test_checkmk_hears_of_a_pgvip_without_an_answer(tmp_path: Path, text: str) -> None:
    [(state, name, _, said)] = services(program(tmp_path, text))
    assert (state, name) == ("3", "pgvip")
    assert "gives no answer" in said


def test_checkmk_hears_why_a_check_failed(tmp_path: Path) -> None:
    failure = json.dumps({"schema": 1, "ok": False, "error": "the daemon does not answer", "exit_code": 4})
    [(state, _, _, said)] = services(program(tmp_path, f"echo '{failure}'; exit 4"))
    assert (state, "the daemon does not answer" in said) == ("3", True)


def test_checkmk_hears_of_a_pgvip_that_is_not_there(tmp_path: Path) -> None:
    [(state, name, _, _said)] = services(tmp_path / "missing")
    assert (state, name) == ("3", "pgvip")
