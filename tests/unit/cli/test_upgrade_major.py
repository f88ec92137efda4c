"""What `pgvip upgrade-major` prints of the outage, of the other way, and of the steps; the rest is in tests/lab."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from pgvip.checks.major_trial import Counted
from pgvip.checks.major_upgrade import UpgradeFacts
from pgvip.cli import upgrade_major
from pgvip.setup.major_steps import NOTES, STEPS, planned
from pgvip.system.new_programs import Programs
from tests.unit.setup.test_major_steps import NAMES

NEW = Programs("17.2", (), (), True, "/srv/17", 1 << 40, True, True, True)


@dataclass
class Known:
    """What was counted."""

    new: Programs = NEW
    counted: Counted = Counted(files=900, relations=300)  # noqa: RUF009 - it is frozen

    def local(self, name: str) -> list[tuple[Any, ...]]:
        rows: dict[str, list[tuple[Any, ...]]] = {
            "cluster_bytes": [(10 << 30, 0)], "database_names": [(1, "postgres"), (5, "app")],
        }  # fmt: skip
        return rows[name]


def outage(**known: Any) -> str:
    document = upgrade_major.outage_of(cast("UpgradeFacts", Known(**known)))
    return "\n".join(upgrade_major.outage_lines(NAMES.config, document))


def test_the_outage_has_what_can_be_counted_and_says_what_is_not_known() -> None:
    said = outage()
    assert "about 300 relations (tables, indexes, TOAST) in 2 databases" in said
    assert "links to about 900 files; 10 GB of data are not copied" in said, said
    assert "is not known before" in said
    assert "the planner's statistics" in said
    assert "the planner's statistics" not in outage(new=replace(NEW, version="18.0"))
    assert "the copy of 10 GB" in outage(new=replace(NEW, same_disk=False))


def test_the_other_way_is_advised_where_this_one_is_long() -> None:
    usual = upgrade_major.logical(cast("UpgradeFacts", Known()))
    apart = upgrade_major.logical(cast("UpgradeFacts", Known(new=replace(NEW, same_disk=False))))
    many = upgrade_major.logical(cast("UpgradeFacts", Known(counted=Counted(10**6, 10**5))))
    assert apart[:-1] == many[:-1] == usual
    assert "links are not possible" in apart[-1]
    assert "100000 relations" in many[-1]


def test_the_steps_are_commands_and_comments() -> None:
    lines = list(upgrade_major.step_lines(planned(NAMES)))
    commands = "\n".join(line for line in lines[1:] if line and not line.startswith("# "))
    assert commands == "".join(one.commands for one in planned(NAMES)).rstrip("\n")
    assert {one.section for one in STEPS} == set(NOTES)
    for line in lines:
        assert not line.startswith("# ") or len(line) <= upgrade_major.WIDTH + 2
