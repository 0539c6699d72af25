"""imagen tokens: create, list and revoke."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from support.terminal_runs import run_on_terminal

from imagen.cli import run
from imagen.config import load_settings
from imagen.library import open_library
from imagen.library.tokens import hash_secret, list_tokens


def test_a_token_is_printed_once_and_stored_as_a_hash(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["phone", "--scope", "read", "--rate", "10/1m", "--budget", "$2.5/day", "--days", "7"]
    assert run(["tokens", "add", *line]) == 0
    captured = capsys.readouterr()
    secret = captured.out.strip()
    assert secret.startswith("imagen_")
    with open_library(load_settings()) as library:
        (token,) = list_tokens(library)
    assert token.sha256 == hash_secret(secret)
    assert (token.scopes, token.rate) == (("read",), "10/1m")
    assert (token.budget_usd, token.budget_per) == (2.5, "day")
    assert token.expires is not None
    assert abs(token.expires - datetime.now(UTC) - timedelta(days=7)) < timedelta(minutes=1)
    assert run(["tokens", "list"]) == 0
    shown = capsys.readouterr().out
    assert shown.split()[:6] == ["phone", "read", "10/1m,", "$2.50", "a", "day"]
    assert secret not in shown
    assert run(["tokens", "list", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)["tokens"]
    assert listed["scopes"] == ["read"]
    assert "sha256" not in listed


def test_tokens_are_revoked_together_or_not_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "phone"):
        assert run(["tokens", "add", name]) == 0
    assert run(["tokens", "revoke", "a", "phones"]) == 2
    assert "There is no token named 'phones'. Did you mean 'phone'?" in capsys.readouterr().err
    with open_library(load_settings()) as library:
        assert len(list_tokens(library)) == 2
    assert run(["tokens", "revoke", "a", "phone"]) == 0
    assert run(["tokens", "list"]) == 0
    assert "No tokens exist." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["a b"], "is not a name for a token"),
        (["../x"], "is not a name for a token"),
        (["x", "--rate", "10"], "must be a number of jobs and a time"),
        (["x", "--budget", "10"], "must be an amount and a period"),
        (["x", "--budget", "1e9/day"], "must be an amount and a period"),
        (["x", "--days", "0"], "--days"),
        (["x", "--scope", "root"], "--scope"),
    ],
)
def test_a_wrong_token_is_a_sentence(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tokens", "add", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_the_list_fits_80_columns() -> None:
    name = "a-token-with-a-long-name-of-somebody-who-likes-long-names"
    options = ["--rate", "500/1h", "--budget", "12.50/month", "--days", "30"]
    assert run(["tokens", "add", name, *options]) == 0
    shown = run_on_terminal(80, "tokens", "list")
    assert "500/1h, $12.50 a month" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
