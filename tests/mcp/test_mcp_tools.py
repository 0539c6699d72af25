"""The tools of the MCP server: what they answer, and how they refuse."""

from __future__ import annotations

import asyncio
import os
import threading
from base64 import b64decode, b64encode
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mcp.types import ImageContent
from PIL import Image
from support.live_server import server_settings
from support.mcp_host import VERSIONS, call, call_tool, with_host

from imagen.config import Budget
from imagen.mcp.follow import submit_for_host
from imagen.mcp.results import show_file
from imagen.runtime import open_runtime
from imagen.runtime.caller import Caller

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcp import Client

    from imagen.runtime import Runtime

TOOLS = [
    *("generate_image", "edit_image", "upscale_image", "compare_models", "regenerate"),
    *("get_job", "cancel_job", "list_images", "view_image", "list_models", "estimate_cost"),
]
SMALL: dict[str, Any] = {"size": "64x48", "seed": 7}


BLOCKS: dict[str, dict[str, Any]] = {
    "mock": {"type": "mock"},
    "slow": {"type": "mock", "step_seconds": 0.5},
    "failing": {"type": "mock", "fail": "rejected"},
    "cloud": {"type": "openai", "model": "gpt-image-1.5", "parameters": {"quality": "high"}},
}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """A worker, a mock that is quick, one that is slow, and one that fails."""
    settings = server_settings(
        BLOCKS,
        folder=tmp_path_factory.mktemp("mcp"),
        budgets=(Budget(amount=0.05, per="run"),),
        default_backend="mock",
    )
    with open_runtime(settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def fox(runtime: Runtime) -> dict[str, Any]:
    """An image that was generated before."""
    made = call_tool(runtime, "generate_image", prompt="a red fox", **SMALL)
    image: dict[str, Any] = made.data["images"][0]
    return image


def test_there_are_eleven_tools_with_hints_and_schemas(runtime: Runtime) -> None:
    async def use(client: Client) -> Any:
        return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in with_host(runtime, use)}
    assert list(tools) == TOOLS
    for tool in tools.values():
        assert tool.description
        assert tool.output_schema is not None
        described = tool.input_schema["properties"].values()
        assert [one for one in described if not one.get("description")] == []
    hints = {name: tool.annotations for name, tool in tools.items()}
    reads = {name for name, one in hints.items() if one is not None and one.read_only_hint}
    assert reads == {"get_job", "list_images", "view_image", "list_models", "estimate_cost"}
    assert [name for name, one in hints.items() if one and one.destructive_hint] == ["cancel_job"]
    assert hints["generate_image"] is not None
    assert hints["generate_image"].open_world_hint  # the block `cloud` leaves this network
    assert sum(len(tool.description) for tool in tools.values()) < 2000


@pytest.mark.parametrize("version", VERSIONS)
def test_an_image_comes_as_text_preview_link_and_data(runtime: Runtime, version: str) -> None:
    async def use(client: Client) -> Any:
        return await call(client, "generate_image", prompt="a fox", **SMALL)

    made = with_host(runtime, use, version=version)
    assert made.kinds == ["text", "image", "resource_link"]
    assert (made.data["state"], made.data["is_over"], made.data["error"]) == ("done", True, None)
    image = made.data["images"][0]
    assert os.path.isabs(image["path"])
    assert Path(image["path"]).is_file()
    assert image["path"] in made.text
    assert (image["seed"], image["width"], image["height"]) == (7, 64, 48)
    assert made.data["cost_usd"] == 0.0
    preview = made.result.content[1]
    assert preview.mime_type == "image/jpeg"
    assert Image.open(BytesIO(b64decode(preview.data))).size == (64, 48)


def test_an_answer_with_many_large_images_stays_small(runtime: Runtime) -> None:
    made = call_tool(runtime, "generate_image", prompt="a fox", size="1024", count=6)
    assert made.kinds == ["text", *["image"] * 4, *["resource_link"] * 6]
    assert len(made.result.model_dump_json(by_alias=True)) < 200_000
    assert made.progress
    assert [one for one in made.progress if one[1] != 1.0] == []


def test_the_noisiest_image_is_made_small_enough() -> None:
    noise = Image.frombytes("RGBA", (1024, 1024), os.urandom(1024 * 1024 * 4))
    noise.save("noise.png")
    shown = show_file(Path("noise.png"), side=1568)
    assert len(shown.data) < 190_000


def test_a_job_that_takes_longer_goes_on(runtime: Runtime) -> None:
    async def use(client: Client) -> Any:
        made = await call(
            client, "generate_image", prompt="x", model="slow", wait_seconds=0, **SMALL
        )
        assert not made.data["is_over"]
        assert "get_job" in made.text
        seen = await call(client, "get_job", job=made.data["job"])
        stopped = await call(client, "cancel_job", job=made.data["job"])
        return made, seen, stopped

    made, seen, stopped = with_host(runtime, use)
    assert seen.data["job"] == stopped.data["job"] == made.data["job"]
    assert stopped.data["state"] in ("cancelling", "cancelled", "running")


def test_a_job_is_cancelled_when_its_host_cancels_the_call(runtime: Runtime) -> None:
    before = {job.id for job in runtime.store.list_jobs()}

    async def use(client: Client) -> str:
        calling = asyncio.ensure_future(
            call(client, "generate_image", prompt="slow fox", model="slow", **SMALL)
        )
        new: set[str] = set()
        async with asyncio.timeout(10):
            while not new:
                await asyncio.sleep(0.02)
                new = {job.id for job in runtime.store.list_jobs()} - before
            calling.cancel()
            (id,) = new
            while runtime.store.read(id).state != "cancelled":
                await asyncio.sleep(0.02)
        return id

    assert with_host(runtime, use)


def test_a_job_is_cancelled_also_while_it_is_submitted() -> None:
    goes_on, cancelled = threading.Event(), threading.Event()
    seen: list[str] = []

    def submit() -> str:
        assert goes_on.wait(10)
        return "the-job"

    def cancel(id: str) -> None:
        seen.append(id)
        cancelled.set()

    async def run() -> None:
        submitting = asyncio.ensure_future(submit_for_host(submit, str, cancel))
        await asyncio.sleep(0)
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
        goes_on.set()
        assert await asyncio.to_thread(cancelled.wait, 10)

    asyncio.run(run())
    assert seen == ["the-job"]


def test_edit_sends_the_image_as_reference_or_initial_image(
    runtime: Runtime, fox: dict[str, Any]
) -> None:
    edited = call_tool(runtime, "edit_image", image=fox["id"], prompt="make it blue", seed=3)
    assert edited.data["images"][0]["width"] == 64
    drawn = call_tool(
        runtime, "edit_image", image=f"image:{fox['id']}", prompt="blue", strength=0.5, seed=3
    )
    jobs = [runtime.store.read(one.data["job"]).spec for one in (edited, drawn)]
    assert [bool(spec.request.references) for spec in jobs if spec] == [True, False]
    assert [bool(spec.request.image) for spec in jobs if spec] == [False, True]


def test_a_mask_is_sent_with_the_image(runtime: Runtime, fox: dict[str, Any]) -> None:
    Image.new("L", (64, 48), 255).save("mask.png")
    mask = str(Path("mask.png").absolute())
    painted = call_tool(runtime, "edit_image", image=fox["path"], mask=mask, prompt="a hat")
    spec = runtime.store.read(painted.data["job"]).spec
    assert spec is not None
    assert (spec.request.task, str(spec.request.mask)[:5]) == ("inpaint", "blob:")


def test_upscaling_needs_no_engine_with_lanczos(runtime: Runtime, fox: dict[str, Any]) -> None:
    made = call_tool(runtime, "upscale_image", image=fox["id"], factor=3, method="lanczos")
    assert (made.data["images"][0]["width"], made.data["images"][0]["height"]) == (192, 144)


def test_regenerate_changes_what_is_asked(runtime: Runtime, fox: dict[str, Any]) -> None:
    same = call_tool(runtime, "regenerate", image=fox["id"])
    other = call_tool(runtime, "regenerate", image=fox["id"], changes={"seed": 8})
    files = [Path(one["path"]).read_bytes() for one in (*same.data["images"],)]
    assert same.data["images"][0]["seed"] == 7
    assert other.data["images"][0]["seed"] == 8
    assert files


def test_a_comparison_has_a_contact_sheet(runtime: Runtime) -> None:
    made = call_tool(runtime, "compare_models", prompt="a fox", models=["mock", "failing"], **SMALL)
    assert made.kinds == ["text", "image", "resource_link"]
    assert Path(made.data["sheet"]).is_file()
    assert made.data["sheet"] in made.text
    assert len(made.data["images"]) == 1
    assert "rejected" in made.data["error"].lower()


def test_images_are_listed_and_shown(runtime: Runtime, fox: dict[str, Any]) -> None:
    listed = call_tool(runtime, "list_images", search="red", limit=50)
    assert fox["id"] in [one["id"] for one in listed.data["images"]]
    assert call_tool(runtime, "list_images", search="zebra").text == "There are no such images."
    page = call_tool(runtime, "list_images", limit=1)
    assert isinstance(page.data["after"], int)
    shown = call_tool(runtime, "view_image", image=fox["id"], side=64)
    assert shown.kinds == ["text", "image", "resource_link"]
    assert shown.data["prompt"] == "a red fox"


def test_the_file_of_an_image_is_a_resource_with_its_type(
    runtime: Runtime, fox: dict[str, Any]
) -> None:
    async def use(client: Client) -> Any:
        templates = (await client.list_resource_templates()).resource_templates
        assert [one.uri_template for one in templates] == ["imagen://images/{id}"]
        return (await client.read_resource(fox["uri"])).contents[0]

    content = with_host(runtime, use)
    assert content.mime_type == "image/png"
    assert b64decode(content.blob) == Path(fox["path"]).read_bytes()


def test_models_are_listed_with_what_they_can_do(runtime: Runtime) -> None:
    listed = call_tool(runtime, "list_models", backend="mock")
    (mock,) = listed.data["backends"]
    assert (mock["is_default"], mock["is_cloud"]) == (True, False)
    assert "edit" in mock["tasks"]
    assert "mock/mock-dusk" in mock["models"]


def test_the_cost_is_estimated_and_null_where_it_is_unknown(runtime: Runtime) -> None:
    free = call_tool(runtime, "estimate_cost", prompt="a fox", count=3)
    assert (free.data["images"], free.data["is_free"]) == (3, True)
    paid = call_tool(runtime, "estimate_cost", prompt="a fox", model="cloud", count=2)
    assert paid.data["cost_usd"] == pytest.approx(0.266)
    unknown = call_tool(
        runtime, "estimate_cost", prompt="a fox", model="cloud", parameters={"quality": "auto"}
    )
    assert unknown.data["cost_usd"] is None
    assert "unknown" in unknown.text


@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        ("generate_image", {"prompt": "x", "size": "huge"}, "'huge' is not a valid size"),
        ("generate_image", {"prompt": "x", "model": "moc"}, "There is no model 'moc'"),
        ("generate_image", {"prompt": "x", "parameters": {"cfg": 500}}, "cfg"),
        ("generate_image", {"prompt": "x", "model": "cloud"}, "budget"),
        ("generate_image", {"prompt": "x", "model": "failing"}, "rejected"),
        ("edit_image", {"image": "../x", "prompt": "y"}, "nor an absolute path"),
        ("edit_image", {"image": "/nowhere.png", "prompt": "y"}, "there is no file"),
        ("edit_image", {"image": "abcdef", "prompt": "y"}, "abcdef"),
        ("compare_models", {"prompt": "x", "models": ["moc"]}, "Unknown backend 'moc'"),
        ("regenerate", {"image": "abcdef"}, "abcdef"),
        ("get_job", {"job": "abcdef"}, "not found"),
        ("cancel_job", {"job": "abcdef"}, "not found"),
        ("view_image", {"image": "abcdef"}, "abcdef"),
        ("list_models", {"backend": "moc"}, "Unknown backend 'moc'"),
    ],
)
def test_an_error_is_a_result_with_a_sentence(
    runtime: Runtime, tool: str, arguments: dict[str, Any], sentence: str
) -> None:
    answered = call_tool(runtime, tool, **arguments)
    assert answered.result.is_error
    assert sentence in answered.text


@pytest.mark.parametrize("is_local", [True, False])
def test_a_file_can_be_named_only_on_the_same_machine(
    runtime: Runtime, fox: dict[str, Any], is_local: bool
) -> None:
    answered = call_tool(runtime, "edit_image", is_local=is_local, image=fox["path"], prompt="blue")
    assert answered.result.is_error is not is_local
    if not is_local:
        assert "cannot read files of your machine" in answered.text


def test_a_host_elsewhere_sends_a_data_url(runtime: Runtime, fox: dict[str, Any]) -> None:
    data = b64encode(Path(fox["path"]).read_bytes()).decode()
    url = f"data:image/png;base64,{data}"
    answered = call_tool(runtime, "edit_image", is_local=False, image=url, prompt="blue")
    assert not answered.result.is_error


def test_a_token_that_may_only_read_cannot_generate(runtime: Runtime) -> None:
    reader = Caller(name="reader", scopes=frozenset({"read"}))

    async def use(client: Client) -> Any:
        made = await call(client, "generate_image", prompt="a fox")
        listed = await call(client, "list_images")
        return made, listed

    made, listed = with_host(runtime, use, caller=reader)
    assert made.result.is_error
    assert "needs the scope generate" in made.text
    assert not listed.result.is_error


def test_a_job_of_a_token_is_counted_for_it(runtime: Runtime) -> None:
    async def use(client: Client) -> Any:
        return await call(client, "generate_image", prompt="a fox", **SMALL)

    made = with_host(runtime, use, caller=Caller(name="laptop"))
    assert runtime.store.read(made.data["job"]).caller == "laptop"
    assert isinstance(made.result.content[1], ImageContent)
