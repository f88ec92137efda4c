"""Verifiers must be those that PostgreSQL would make."""

from __future__ import annotations

from pgvip.system.scram import new_password, verifier


def test_verifier_of_a_known_password() -> None:
    """RFC 7677, 3: user "user", password "pencil"; its keys as PostgreSQL writes them."""
    made = verifier("pencil", b"[m\x99h\x9d\x125\x8e\xec\xa0K\x14\x126\xfa\x81", 4096)
    assert made == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


def test_two_verifiers_differ_and_passwords_need_no_escape() -> None:
    assert verifier("a") != verifier("a")
    assert not set(new_password()) & set(":\\'\" \n")
    assert len(new_password()) >= 32
