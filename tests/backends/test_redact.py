"""Credentials are removed from texts in every form in which a server may echo them."""

from __future__ import annotations

import json
from base64 import b64encode
from html import escape
from urllib.parse import quote, quote_plus

import pytest
from pydantic import Field

from imagen.backends.base import BackendConfig, Health
from imagen.backends.redact import Redactor, credentials
from imagen.core.result import Facts, Output, Result
from imagen.errors import Rejected

_TOKEN = 'ab/cd+ef"gh\\ij=kl&mn'
_BASIC = "studio:t0p/s3cret pass"
_IN_BASE64 = b64encode(_BASIC.encode()).decode()


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        pytest.param(_TOKEN, f"no {_TOKEN} here", id="plain"),
        pytest.param(f"Bearer {_TOKEN}", f"no {_TOKEN} here", id="without its scheme"),
        pytest.param(_TOKEN, f"no {_TOKEN.upper()} here", id="in other letters"),
        pytest.param(_TOKEN, f"no {json.dumps(_TOKEN)[1:-1]} here", id="JSON"),
        pytest.param(_TOKEN, f"no {json.dumps(json.dumps(_TOKEN))[3:-3]} here", id="JSON in JSON"),
        pytest.param(
            _TOKEN, "no ab\\/cd\\u002Bef\\u0022gh\\\\ij\\u003dkl\\u0026mn here", id="JSON of others"
        ),
        pytest.param(_TOKEN, f"no {_TOKEN!r} here".replace("'", ""), id="Python"),
        pytest.param(_TOKEN, f"no {quote(_TOKEN)} here", id="path"),
        pytest.param(_TOKEN, f"no {quote_plus(_TOKEN)} here", id="query"),
        pytest.param(_TOKEN, f"no {quote_plus(quote_plus(_TOKEN))} here", id="query in a query"),
        pytest.param(_TOKEN, f"no {escape(_TOKEN)} here", id="HTML"),
        pytest.param(_BASIC, "no t0p/s3cret pass here", id="password"),
        pytest.param(_BASIC, "no t0p%2Fs3cret+pass here", id="password in a query"),
        pytest.param(_BASIC, f"no {_IN_BASE64} here".replace("=", ""), id="unpadded base64"),
        pytest.param(_BASIC, f"no {quote_plus(_IN_BASE64)} here".replace("%3D", ""), id="quoted"),
        pytest.param(f"Basic {_IN_BASE64}", f"no {_BASIC} here", id="decoded"),
        pytest.param(f"Basic {_IN_BASE64}", "no t0p/s3cret pass here", id="password decoded"),
        pytest.param("a=x; session=f00dcafe", "no f00dcafe here", id="cookie"),
        pytest.param("¿¿¿>>>", "no wr_Cv8K_Pj4- here", id="base64 for addresses"),
        pytest.param("pass", "no pass here", id="short"),
    ],
)
def test_a_secret_is_removed(secret: str, text: str) -> None:
    assert Redactor([secret]).text(text) == "no *** here"


def test_base64_with_its_padding_is_removed() -> None:
    encoded = b64encode(b"me:secret1").decode()
    assert Redactor(["me:secret1"]).text(f"Basic {encoded}.") == "Basic ***==."


def test_a_short_secret_is_removed_only_as_a_whole_word() -> None:
    assert Redactor(["pass"]).text("passed a pass") == "passed a ***"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        pytest.param("Bearer r8_abc…", "Bearer ***…", id="cut"),
        pytest.param("Bearer r8_a%2…", "Bearer ***…", id="cut within a character"),
        pytest.param("Bearer r8_abc... and more", "Bearer ***... and more", id="dots"),
        pytest.param("Bearer r8_abc", "Bearer r8_abc", id="not cut"),
    ],
)
def test_the_beginning_of_a_secret_before_an_ellipsis_is_removed(text: str, redacted: str) -> None:
    assert Redactor(["r8_abcdefghijkl", "r8_a/bcdefghijkl"]).text(text) == redacted


def test_every_text_of_a_result_is_redacted() -> None:
    output = Output(data=b"f00dcafe", media_type="image/png", name="a-f00dcafe.png")
    facts = Facts(model="f00dcafe", models=("f00dcafe",), engine={"id": ["f00dcafe"]})
    result = Result(outputs=(output,), facts=facts, warnings=("f00dcafe was used.",))
    assert Redactor(["f00dcafe"]).value(result) == Result(
        outputs=(Output(data=b"f00dcafe", media_type="image/png", name="a-***.png"),),
        facts=Facts(model="***", models=("***",), engine={"id": ["***"]}),
        warnings=("*** was used.",),
    )
    health = Health(ok=False, summary="f00dcafe", remedies=("f00dcafe",))
    assert Redactor(["f00dcafe"]).value(health) == Health(
        ok=False, summary="***", remedies=("***",)
    )


def test_message_and_remedy_of_an_error_are_redacted() -> None:
    with pytest.raises(Rejected) as caught, Redactor(["f00dcafe"]).errors():
        raise Rejected("No f00dcafe.", remedy="Set f00dcafe.")
    assert (caught.value.message, caught.value.remedy) == ("No ***.", "Set ***.")
    assert caught.value.args == ("No ***.",)


class _Config(BackendConfig):
    url: str = "https://me:pass%2Fword@host/?key=qu3ry-key"
    token_env: str = "A_TOKEN"
    headers_env: dict[str, str] = Field({"X-Key": "A_KEY"})
    keys_env: tuple[str, ...] = ("ANOTHER", "NOT_SET")


def test_credentials_are_found_in_variables_urls_and_proxies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://you:proxypass@proxy:3128")
    environ = {"A_TOKEN": "t0ken-0f-mine", "A_KEY": "k3y-0f-mine", "ANOTHER": "an0ther"}
    redact = Redactor(credentials(_Config(name="x"), environ)).text
    for secret in ("t0ken-0f-mine", "k3y-0f-mine", "an0ther", "pass/word", "pass%2Fword"):
        assert redact(f"no {secret} here") == "no *** here"
    assert redact("no qu3ry-key, no proxypass here") == "no ***, no *** here"
    assert redact("me and you at host") == "me and you at host"


def test_a_text_with_many_ellipses_is_redacted_quickly() -> None:
    text = "r8_a... " + "..." * 100_000
    assert Redactor(["Bearer r8_abcdef0123456789"]).text(text) == "***... " + "..." * 100_000
