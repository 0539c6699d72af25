"""Clients in other languages use a server as they do OpenAI's: `scripts/test clients`."""

from __future__ import annotations

import os
import subprocess
import sys
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import openai
import pytest
from support.openai_server import BACKENDS, SIZE, decode, half_mask, openai_server, png

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.live_server import LiveServer

litellm = pytest.importorskip("litellm")
_SCRIPTS = Path(sys.prefix, "clients")
"""`scripts/test clients` installs them there."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with openai_server(tmp_path_factory.mktemp("clients"), BACKENDS) as running:
        yield running


def _jobs_named(server: LiveServer, name: str) -> int:
    return len([job for job in server.runtime.store.list_jobs() if job.name == name])


@pytest.mark.parametrize(
    ("script", "jobs"), [("openai_node.mjs", {"a slow fox": 1}), ("vercel_ai.mjs", {})]
)
def test_a_client_for_javascript(server: LiveServer, script: str, jobs: dict[str, int]) -> None:
    mask = b64encode(half_mask()).decode()
    done = subprocess.run(
        ["node", str(_SCRIPTS / script)],
        env={**os.environ, "IMAGEN_URL": server.url, "IMAGEN_MASK": mask},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {name: _jobs_named(server, name) for name in jobs} == jobs


def test_the_client_for_python_repeats_a_call_for_one_job(server: LiveServer) -> None:
    with openai.OpenAI(
        base_url=f"{server.url}/v1", api_key="any", timeout=0.7, max_retries=8
    ) as client:
        answer = client.images.generate(
            model="slow", prompt="a hasty fox", size=SIZE, extra_body={"steps": 6}
        )
    assert answer.data is not None
    assert decode(answer.data[0].b64_json).size == (64, 48)
    assert _jobs_named(server, "a hasty fox") == 1


@pytest.mark.filterwarnings("ignore")  # its own
def test_litellm(server: LiveServer) -> None:
    call = {"size": SIZE, "api_base": f"{server.url}/v1", "api_key": "any"}
    made = litellm.image_generation(model="openai/gpt-image-1", prompt="a fox", n=2, **call)
    assert [decode(image.b64_json).size for image in made.data] == [(64, 48)] * 2
    for image in (BytesIO(png()), [BytesIO(png()), BytesIO(png("blue"))]):
        edited = litellm.image_edit(model="openai/gpt-image-1", image=image, prompt="sea", **call)
        assert len(edited.data) == 1
    with pytest.raises(litellm.NotFoundError, match="no model 'nope'"):
        litellm.image_generation(model="openai/nope", prompt="a fox", **call)
    with pytest.raises(litellm.APIError, match="as configured"):
        litellm.image_generation(model="openai/broken", prompt="a broken fox", **call)
    assert _jobs_named(server, "a broken fox") == 1
