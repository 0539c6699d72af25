"""A server of imagen is an engine of another one, by OpenAI's API."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from support.openai_server import BACKENDS, SIZE, decode, half_mask, openai_server, png

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.live_server import LiveServer


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LiveServer, LiveServer]]:
    """The server that clients use, and the one behind it."""
    with openai_server(tmp_path_factory.mktemp("behind"), BACKENDS) as behind:
        remote = {"type": "openai", "url": f"{behind.url}/v1", "server": "imagen"}
        blocks: dict[str, dict[str, Any]] = {
            "remote": {**remote, "model": "other/mock-dusk"},
            "gpt": {**remote, "server": "openai", "model": "gpt-image-1"},
        }
        with openai_server(tmp_path_factory.mktemp("before"), blocks) as before:
            yield before, behind


def test_a_request_keeps_its_seed_and_parameters(chain: tuple[LiveServer, LiveServer]) -> None:
    before, behind = chain
    call = {"prompt": "a far fox", "size": SIZE, "seed": 12, "steps": 2, "n": 2}
    answer = before.client.post("/v1/images/generations", json=call)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["data"]) == 2
    jobs = [job for job in behind.runtime.store.list_jobs() if job.name == "a far fox"]
    specs = [job.spec or behind.runtime.store.list_jobs(parent=job.id)[0].spec for job in jobs]
    assert {(one.request.model, one.request.steps) for one in specs if one} == {("mock-dusk", 2)}
    direct = behind.client.post("/v1/images/generations", json={**call, "model": "other/mock-dusk"})
    first, same = (decode(one.json()["data"][0]["b64_json"]) for one in (answer, direct))
    assert first.tobytes() == same.tobytes()


def test_a_mask_keeps_its_polarity(chain: tuple[LiveServer, LiveServer]) -> None:
    files = {"image": ("a.png", png()), "mask": ("m.png", half_mask())}
    fields = {"prompt": "sea", "size": SIZE}
    answer = chain[0].client.post("/v1/images/edits", data=fields, files=files)
    assert answer.status_code == 200, answer.text
    image = decode(answer.json()["data"][0]["b64_json"]).convert("RGB")
    assert image.getpixel((10, 24)) != (255, 0, 0)
    assert image.getpixel((50, 24)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("quality", "sent", "warnings"),
    [("hd", "high", 0), ("low", "low", 0), ("finest", None, 1)],
)
def test_a_field_of_openai_reaches_a_backend_that_has_it(
    chain: tuple[LiveServer, LiveServer], quality: str, sent: str | None, warnings: int
) -> None:
    image = f"data:image/png;base64,{b64encode(png(size=(1024, 1024))).decode()}"
    call = {"model": "gpt", "prompt": "a", "images": [{"image_url": image}], "quality": quality}
    answer = chain[0].client.post("/v1/images/edits", json=call | {"size": "1024x1024"})
    assert answer.status_code == 200, answer.text
    facts = answer.json()["imagen"]
    assert len(facts["warnings"]) == warnings
    spec = chain[0].runtime.store.read(facts["job"]).spec
    assert spec is not None
    assert spec.request.extra.get("quality") == sent
