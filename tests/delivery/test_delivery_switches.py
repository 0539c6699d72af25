"""Which switches and settings enable uploads and the copy of the ledger."""

from __future__ import annotations

from typing import Any

import pytest
from support import generation_records as records

from imagen.delivery import images, supabase, usage
from imagen.errors import ConfigError, Unauthorized

_ALL = {"SUPABASE_URL": "https://abc.supabase.co", "SUPABASE_SERVICE_KEY": "k"}


@pytest.mark.parametrize(
    ("sync", "environ", "owner", "expected"),
    [
        pytest.param("auto", _ALL, records.OWNER, True, id="all is there"),
        pytest.param("auto", _ALL, None, False, id="no owner"),
        pytest.param("auto", {"SUPABASE_URL": "https://x"}, records.OWNER, False, id="no key"),
        pytest.param("auto", {"SUPABASE_SERVICE_KEY": "k"}, records.OWNER, False, id="no address"),
        pytest.param("auto", _ALL | {"SUPABASE_URL": " "}, records.OWNER, False, id="a blank"),
        pytest.param("off", _ALL, records.OWNER, False, id="off"),
        pytest.param("on", _ALL, records.OWNER, True, id="on"),
    ],
)
def test_images_are_uploaded_if_everything_is_configured(
    sync: str, environ: dict[str, str], owner: str | None, expected: bool
) -> None:
    settings = records.settings(output={"cloud_sync": sync}, owner_user_id=owner)
    assert images.is_enabled(settings, environ) is expected


def test_any_of_the_key_variables_enables_uploads() -> None:
    settings = records.settings(owner_user_id=records.OWNER, cloud={"key_env": ["FIRST", "SECOND"]})
    environ = {"SUPABASE_URL": "https://abc.supabase.co", "SECOND": "k"}
    assert images.is_enabled(settings, environ)


def test_missing_settings_are_named_if_cloud_sync_is_on() -> None:
    settings = records.settings(output={"cloud_sync": "on"}, owner_user_id=None)
    with pytest.raises(ConfigError) as caught:
        images.is_enabled(settings, {})
    assert caught.value.message == (
        "output.cloud_sync is on, but SUPABASE_URL and SUPABASE_SERVICE_KEY "
        "and owner_user_id are not set."
    )


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="images too"),
        pytest.param({"owner_user_id": None}, id="no owner"),
        pytest.param({"output": {"cloud_sync": "off"}}, id="images stay here"),
    ],
)
def test_the_ledger_is_copied_if_credentials_are_set(settings: dict[str, Any]) -> None:
    assert usage.is_enabled(records.settings(**settings), _ALL) is True


@pytest.mark.parametrize(
    ("settings", "environ"),
    [
        pytest.param({"usage": {"mirror": "off"}}, _ALL, id="off"),
        pytest.param({}, {"SUPABASE_URL": "https://x"}, id="no key"),
        pytest.param({}, {"SUPABASE_SERVICE_KEY": "k"}, id="no address"),
    ],
)
def test_the_ledger_is_not_copied_without_credentials(
    settings: dict[str, Any], environ: dict[str, str]
) -> None:
    assert usage.is_enabled(records.settings(**settings), environ) is False


def test_missing_settings_are_named_if_the_mirror_is_on() -> None:
    settings = records.settings(usage={"mirror": "on"}, cloud={"key_env": ["MY_KEY"]})
    with pytest.raises(ConfigError, match=r"usage\.mirror is on, but MY_KEY is not set\."):
        usage.is_enabled(settings, {"SUPABASE_URL": "https://x"})


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        pytest.param("abc.supabase.co", "must look like https://abc.supabase.co", id="no scheme"),
        pytest.param("https://a..co", "must look like https://abc.supabase.co", id="no host"),
        pytest.param("https://me:pw@host", "must not hold a user or password", id="password"),
        pytest.param("https://host/?a=1", r"no \? and no #", id="query"),
    ],
)
def test_an_invalid_project_url_is_refused(url: str, wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong) as caught:
        supabase.connect(records.settings(), _ALL | {"SUPABASE_URL": url})
    assert "SUPABASE_URL" in caught.value.message
    assert "pw" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize(
    "url", ["http://abc.supabase.co", "http://8.8.8.8:8000", "http://[2606:4700::1]"]
)
def test_a_public_http_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^SUPABASE_URL must begin with https://: the service"):
        supabase.connect(records.settings(), _ALL | {"SUPABASE_URL": url})


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:54321", "http://192.168.1.7:8000", "http://kong:8000", "http://nas.local"],
)
def test_a_local_project_may_use_http(url: str) -> None:
    supabase.connect(records.settings(), _ALL | {"SUPABASE_URL": url}).close()


def test_a_key_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(Unauthorized, match="The value of SUPABASE_SERVICE_KEY cannot be sent"):
        supabase.connect(records.settings(), _ALL | {"SUPABASE_SERVICE_KEY": "schlüssel"})


def test_connect_needs_a_project() -> None:
    with pytest.raises(ConfigError, match="SUPABASE_URL is not set"):
        supabase.connect(records.settings(), {"SUPABASE_SERVICE_KEY": "k"})
