"""Requests become jobs of the queue, and wrong ones become sentences."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from simulators.replicate import Replicate

from imagen.config import Budget, load_settings
from imagen.core.image_file import parse_blob_name
from imagen.core.request import Control, Request, Upscale
from imagen.errors import OverBudget, RequestError, UnknownBackend
from imagen.jobs.blobs import open_blobs
from imagen.jobs.model import INTERPOLATION, ServedResource, WorkerInfo
from imagen.jobs.sql_store import open_job_store
from imagen.jobs.submit import (
    JobRequest,
    RefusedRows,
    SubmitOptions,
    affinity_of,
    plan_requests,
    submit_request,
    submit_requests,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagen.config import Settings
    from imagen.jobs.model import QueuedJob
    from imagen.jobs.sql_store import SqlJobStore

_CONFIG = """
state_dir: state
output: {directory: out, name: "{slug}"}
backends:
  mock: {type: mock}
  other: {type: mock}
  studio: {type: comfyui, url: "http://127.0.0.1:9", workflow: flux1-schnell}
pools: {both: [mock, other], mixed: [mock, studio], far: [gpu1, gpu2]}
styles: {ink: {prompt: "{prompt}, ink", seed: 5}}
"""


@pytest.fixture
def settings() -> Settings:
    Path("imagen.yaml").write_text(_CONFIG)
    return load_settings()


@pytest.fixture
def store(settings: Settings) -> Iterator[SqlJobStore]:
    with open_job_store(settings) as store:
        yield store


def _submit(
    request: Request, settings: Settings, store: SqlJobStore, **options: object
) -> list[QueuedJob]:
    """Submit a request to the mock; all rows, the parent first."""
    chosen = SubmitOptions(**{"backend": "mock"} | options)  # type: ignore[arg-type]
    submission = submit_request(request, settings, chosen, store=store)
    ids = dict.fromkeys([submission.id, *submission.ids])
    return [store.read(id) for id in ids]


def test_a_request_for_one_image_is_one_job_without_a_parent(
    settings: Settings, store: SqlJobStore
) -> None:
    (job,) = _submit(Request(prompt="a fox", seed=7), settings, store, priority=3)
    assert job.spec is not None
    assert (job.kind, job.state, job.parent, job.pool, job.name) == (
        "image", "queued", None, "mock", "a fox",
    )  # fmt: skip
    assert (job.priority, job.spec.request) == (3, Request(prompt="a fox", seed=7))
    assert job.spec.output["directory"] == str(Path("out").absolute())


def test_images_of_one_request_are_jobs_with_consecutive_seeds(
    settings: Settings, store: SqlJobStore
) -> None:
    parent, *children = _submit(Request(prompt="a fox", seed=7, count=3), settings, store)
    specs = [child.spec for child in children if child.spec is not None]
    assert (parent.kind, parent.spec) == ("request", None)
    assert [(spec.request.seed, spec.first) for spec in specs] == [(7, 0), (8, 1), (9, 2)]
    assert {child.parent for child in children} == {parent.id}


@pytest.mark.parametrize("seed", [None, -1])
def test_random_seeds_are_drawn_at_submission(
    seed: int | None, settings: Settings, store: SqlJobStore
) -> None:
    request = Request(prompt="a fox", seed=seed, count=2)
    _, *children = _submit(request, settings, store)
    first, second = (child.spec.request.seed for child in children if child.spec)
    assert first is not None
    assert second == first + 1


def test_the_seed_of_a_style_is_kept_and_the_style_travels_with_the_job(
    settings: Settings, store: SqlJobStore
) -> None:
    (job,) = _submit(Request(prompt="a fox", style="ink"), settings, store)
    assert job.spec is not None
    assert (job.spec.request.seed, job.spec.styles["ink"]["prompt"]) == (None, "{prompt}, ink")


def test_a_request_that_its_backend_cannot_honour_is_refused_before_anything_is_stored(
    settings: Settings, store: SqlJobStore
) -> None:
    for request, options, said in (
        (Request(steps=3), {}, "needs a prompt"),
        (Request(prompt="a fox", style="inkk"), {}, "Did you mean 'ink'?"),
        (Request(prompt="a fox", cfg=3.0, extra={"sparkle": 1}), {"strict": True}, "sparkle"),
        (Request(prompt="a fox", image="missing.png"), {}, "missing.png"),
    ):
        with pytest.raises(RequestError, match=said):
            _submit(request, settings, store, **options)
    assert store.list_jobs() == []


def test_an_unknown_backend_is_told_with_the_nearest_backend_or_pool(
    settings: Settings, store: SqlJobStore
) -> None:
    with pytest.raises(UnknownBackend, match="Did you mean 'both'"):
        _submit(Request(prompt="a fox"), settings, store, backend="bothh")


def test_a_request_to_a_pool_is_checked_against_all_of_its_backends(
    settings: Settings, store: SqlJobStore
) -> None:
    request = Request(prompt="a fox", width=16384, height=16384)
    with pytest.raises(RequestError):
        _submit(request, settings, store, backend="both")
    strict = Request(prompt="a fox", cfg=7.0)
    with pytest.raises(RequestError, match="mock, which is in the pool mixed, cannot do it"):
        _submit(strict, settings, store, backend="mixed", strict=True)


def test_a_pool_without_a_backend_here_is_submitted_unchecked_with_a_warning(
    settings: Settings, store: SqlJobStore
) -> None:
    options = SubmitOptions(backend="far")
    submission = submit_request(Request(prompt="a fox"), settings, options, store=store)
    assert "not checked" in submission.warnings[0]
    assert store.read(submission.id).state == "queued"


def test_a_pool_that_no_worker_serves_is_a_warning(settings: Settings, store: SqlJobStore) -> None:
    options, request = SubmitOptions(backend="both"), Request(prompt="a fox", seed=1)

    def warnings() -> list[str]:
        return submit_request(request, settings, options, store=store).warnings

    assert warnings() == ["No worker is running. Start one with: imagen worker"]
    now = datetime.now(UTC)
    worker = {"id": "w", "host": "h", "pid": 1, "started": now, "seen": now}
    resources = (ServedResource("s", 1, ("studio",)),)
    store.see_worker(WorkerInfo(**worker, resources=resources))
    assert warnings() == ["No running worker serves both. Its jobs wait until one does."]
    resources = (ServedResource("o", 1, ("other",)),)
    store.see_worker(WorkerInfo(**worker, resources=resources))
    assert warnings() == []


def test_input_images_are_stored_under_their_names_and_may_then_be_deleted(
    settings: Settings, store: SqlJobStore
) -> None:
    Image.new("RGB", (64, 64), "red").save("photo.png")
    data = Path("photo.png").read_bytes()
    request = Request(prompt="a fox", image="photo.png", strength=0.5)
    (job,) = _submit(request, settings, store)
    Path("photo.png").unlink()
    assert job.spec is not None
    stored = parse_blob_name(job.spec.request.image or "")
    assert stored is not None
    assert stored[1] == "photo.png"
    assert open_blobs(settings, store.library).get(stored[0]) == data


def test_control_images_that_must_be_made_are_jobs_before_those_that_use_them(
    settings: Settings, store: SqlJobStore
) -> None:
    Image.new("RGB", (64, 64), "red").save("photo.png")
    control = Control(kind="canny", image="photo.png", preprocess=True)
    rows = [
        JobRequest(Request(prompt=prompt, seed=1, controls=(control,)), "mock")
        for prompt in ("a fox", "a cat")
    ]
    options = SubmitOptions(backend="mock")
    submission = submit_requests(rows, settings, options, kind="batch", name="two", store=store)
    made, fox, cat = (store.read(id) for id in submission.ids)
    assert made.spec is not None
    assert (made.spec.request.preprocess, made.state) == ("canny", "queued")
    for job in (fox, cat):
        assert job.spec is not None
        assert (job.state, job.after, job.spec.control_jobs) == ("held", made.id, {0: made.id})


def test_a_job_waits_for_its_time_and_for_another_job(
    settings: Settings, store: SqlJobStore
) -> None:
    at = datetime.now(UTC) + timedelta(hours=2)
    (first,) = _submit(Request(prompt="a fox"), settings, store, at=at)
    assert abs(first.due - at) < timedelta(seconds=1)
    (second,) = _submit(Request(prompt="a cat"), settings, store, after=first.id[:8])
    assert (second.state, second.after) == ("held", first.id)
    store.cancel(first.id)
    with pytest.raises(RequestError, match="has ended: cancelled"):
        _submit(Request(prompt="a dog"), settings, store, after=first.id)


def test_the_same_key_is_submitted_once(settings: Settings, store: SqlJobStore) -> None:
    for request, total in ((Request(prompt="a fox"), 1), (Request(prompt="a cat", count=2), 3)):
        first = _submit(request, settings, store, key=str(total))
        second = _submit(request, settings, store, key=str(total))
        assert [job.id for job in first] == [job.id for job in second]
        assert len(store.list_jobs(pool="mock")) == total


def test_all_wrong_rows_are_reported_together_and_none_is_submitted(
    settings: Settings, store: SqlJobStore
) -> None:
    rows = [
        JobRequest(Request(prompt="a fox"), "mock"),
        JobRequest(Request(steps=3), "mock"),
        JobRequest(Request(prompt="a fox"), "mcok"),
    ]
    options = SubmitOptions(backend="mock")
    with pytest.raises(RefusedRows) as refused:
        submit_requests(rows, settings, options, kind="batch", name="b", store=store)
    assert [row for row, _ in refused.value.rows] == [1, 2]
    assert store.list_jobs() == []


def test_requests_that_differ_only_in_texts_and_seeds_share_a_check(settings: Settings) -> None:
    requests = [
        Request(prompt="a fox", seed=1, template="a {fox|bear}"),
        Request(prompt="a bear", seed=2, negative="blur", template="a {bear|fox}"),
        Request(prompt="an owl", seed=3, negative="noise"),
        Request(prompt="an elk", seed=4, steps=3),
    ]
    rows = [JobRequest(request, "mock") for request in requests]
    plans, _ = plan_requests(rows, settings, SubmitOptions(backend="mock"))
    assert plans[1] is plans[2]
    assert len({id(plan) for plan in plans}) == 3
    assert [one.images for plan in plans for one in plan] == [1] * 4


def test_a_row_with_an_id_is_one_job_under_that_id(settings: Settings, store: SqlJobStore) -> None:
    id = "11111111-2222-3333-4444-555555555555"
    row = JobRequest(Request(prompt="a fox", seed=1, count=2, latent_batch=True), "mock", id=id)
    options = SubmitOptions(backend="mock")
    submission = submit_requests(
        [row], settings, options, kind="grid", name="g", sheet={"folder": "/f"}, store=store
    )
    cell, sheet = (store.read(one) for one in submission.ids)
    assert cell.id == id
    assert sheet.spec is not None
    assert (sheet.kind, sheet.state, sheet.spec.comparison) == ("sheet", "held", {"folder": "/f"})


@pytest.mark.usefixtures("replicate_token")
def test_budgets_for_one_run_cover_all_requests_of_a_submission(
    settings: Settings, store: SqlJobStore
) -> None:
    with Replicate() as cloud:
        model = "black-forest-labs/flux-schnell"
        block = {"type": "replicate", "model": model, "base_url": cloud.url}
        budget = Budget(amount=0.005, per="run")
        limited = settings.model_copy(
            update={"backends": {**settings.backends, "cloud": block}, "budgets": (budget,)}
        )
        row = JobRequest(Request(prompt="a fox"), "cloud")

        def submit(rows: list[JobRequest], *, over_budget: bool = False) -> int:
            chosen = SubmitOptions(backend="cloud", over_budget=over_budget)
            return submit_requests(rows, limited, chosen, kind="batch", name="b", store=store).jobs

        assert submit([row]) == 1
        with pytest.raises(OverBudget):
            submit([row, row])
        assert submit([row, row], over_budget=True) == 2
        assert cloud.submissions == 0


def test_interpolation_needs_no_backend(settings: Settings, store: SqlJobStore) -> None:
    Image.new("RGB", (64, 64), "red").save("photo.png")
    request = Request(image="photo.png", upscale=Upscale(factor=2, method="lanczos"))
    (job,) = _submit(request, settings, store, backend=INTERPOLATION)
    assert (job.pool, job.state) == (INTERPOLATION, "queued")


def test_affinity_is_the_model_that_is_loaded(settings: Settings) -> None:
    request = Request(prompt="a fox")
    assert affinity_of(request, "studio", settings) == "flux1-schnell"
    assert affinity_of(request, "mock", settings) == "mock"
    named = Request(prompt="a fox", model="dream.safetensors")
    assert affinity_of(named, "studio", settings) == "dream.safetensors"
    assert affinity_of(request, "studio", settings, workflow="sdxl") == "sdxl"
