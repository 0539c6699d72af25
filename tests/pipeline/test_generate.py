"""The spine: what is on disk at each moment of a run, and what never gets submitted."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from imagen.config import Limits, OutputSettings, Settings
from imagen.core.request import Request
from imagen.core.result import Output, Progress, Result, no_progress
from imagen.errors import ConfigError, Lost, OutputError, RequestError, Unavailable
from imagen.jobs import file_store
from imagen.jobs.recover import resume
from imagen.pipeline.generate import create_jobs, generate, open_named, prepare, run_job

if TYPE_CHECKING:
    from imagen.core.result import OnProgress
    from imagen.core.ticket import Ticket

_ASKED = Request(prompt="a fox", seed=7, width=32, height=32)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        backends={"other": {"type": "mock", "look": "other"}},
        output=OutputSettings(directory=tmp_path / "out"),
        state_dir=tmp_path / "state",
    )


def _ticket(settings: Settings) -> Ticket:
    (ticket,) = prepare(open_named("mock", settings), _ASKED, settings)
    return ticket


@dataclass
class _Engine:
    """Watches the folder of tickets from within `collect`."""

    state_dir: Path
    error: Exception | None = None
    seen: list[tuple[bool, dict[str, Any]]] = field(default_factory=list)

    def collect(self, ticket: Ticket, on_progress: OnProgress) -> Result:
        self._look(ticket.id)
        on_progress(Progress(stage="submitted", ticket=ticket.sent(job="j1")))
        self._look(ticket.id)
        if self.error is not None:
            raise self.error
        return Result(outputs=(Output(data=b"a text", media_type="text/plain"),))

    def _look(self, id: str) -> None:
        ticket = file_store.read(id, self.state_dir).ticket
        self.seen.append((ticket.submitted, ticket.engine))


def _make(settings: Settings, error: Exception | None = None) -> _Engine:
    engine = _Engine(settings.state_dir, error)
    job = create_jobs([_ticket(settings)], _ASKED, settings)[0]
    run_job(engine, job, settings, no_progress)  # type: ignore[arg-type]
    return engine


def test_job_is_on_disk_before_and_after_submission(settings: Settings) -> None:
    assert _make(settings).seen == [(False, {}), (True, {"job": "j1"})]


def test_job_is_deleted_once_the_image_is_recorded(settings: Settings) -> None:
    _make(settings)
    assert file_store.pending(settings.state_dir) == []
    assert [path.suffix for path in settings.output.directory.iterdir() if path.suffix == ".txt"]


def test_job_can_be_fetched_after_its_engine_disconnected(settings: Settings) -> None:
    with pytest.raises(Unavailable):
        _make(settings, Unavailable("gone"))
    (id,) = file_store.pending(settings.state_dir)
    elsewhere = settings.model_copy(update={"output": OutputSettings(name="another")})
    (saved,) = resume(id, elsewhere).saved
    assert (saved.path.parent, saved.seed) == (settings.output.directory, 7)
    assert saved.path.name.endswith("-a-fox-7.png")
    assert file_store.pending(settings.state_dir) == []


def test_lost_job_is_deleted(settings: Settings) -> None:
    with pytest.raises(Lost):
        _make(settings, Lost("gone"))
    assert file_store.pending(settings.state_dir) == []


def test_generate_returns_the_generations(settings: Settings) -> None:
    (made,) = generate(_ASKED, settings, backend="other")
    assert made.ticket.backend == "other"
    assert made.result.facts.seed == 7
    assert (made.saved[0].width, made.saved[0].height) == (32, 32)


def test_images_beyond_a_batch_take_several_runs(settings: Settings) -> None:
    batch = {"count": 65, "latent_batch": True, "steps": 1}
    made = generate(_ASKED.with_values(batch), settings)
    assert [run.ticket.request.seed for run in made] == [7, 71]
    assert [len(run.saved) for run in made] == [64, 1]
    assert made[0].ticket.receipt["count"].sentence("count") == (
        "count: 65 became '2 runs, each with the seed that follows'"
    )


def test_progress_has_the_number_of_the_image(settings: Settings) -> None:
    places: list[tuple[int | None, int | None]] = []
    asked = _ASKED.with_values({"count": 3, "steps": 1})
    generate(asked, settings, on_progress=lambda told: places.append((told.image, told.images)))
    assert list(dict.fromkeys(places)) == [(1, 3), (2, 3), (3, 3)]


def test_progress_of_a_single_image_has_no_number(settings: Settings) -> None:
    places: set[int | None] = set()
    generate(_ASKED, settings, on_progress=lambda told: places.add(told.images))
    assert places == {None}


def test_strict_refuses_what_cannot_be_honoured(settings: Settings) -> None:
    with pytest.raises(RequestError) as caught:
        generate(_ASKED.with_values({"cfg": 3.0}), settings, strict=True)
    assert str(caught.value) == (
        "Refused under --strict, since mock cannot honour all of the request:\n"
        "cfg: 3.0 was dropped (the mock paints without a model)\n"
        "Leave these parameters out, or leave out --strict."
    )


def test_name_outside_the_folder_is_refused_before_submission(
    settings: Settings,
) -> None:
    output = OutputSettings.model_construct(
        directory=settings.output.directory, name="../{slug}", sidecar=True, metadata=True
    )
    with pytest.raises(ConfigError):
        generate(_ASKED, settings.model_copy(update={"output": output}))
    assert not settings.state_dir.exists()


def test_unsaveable_image_is_rescued_and_named(settings: Settings, tmp_path: Path) -> None:
    def put_something_in_the_way(_: Progress) -> None:
        (tmp_path / "out").write_text("a file in the way")

    with pytest.raises(OutputError) as caught:
        generate(_ASKED, settings, on_progress=put_something_in_the_way)
    (kept,) = caught.value.kept
    assert kept.parent == settings.state_dir / "rescued"
    assert str(kept) in caught.value.message
    assert "imagen resume" not in caught.value.remedy


def test_limits_apply_to_the_backends_size(settings: Settings) -> None:
    graph = settings.output.directory.parent / "graph.json"
    graph.write_text(
        '{"1": {"class_type": "EmptyImage", "inputs": {"width": "$<width>"}},'
        ' "9": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}}'
    )
    graph.with_suffix(".yaml").write_text("parameters: {width: {type: int, multiple_of: 64}}")
    block = {"type": "comfyui", "workflow": str(graph)}
    tight = settings.model_copy(
        update={"backends": {"tight": block}, "limits": Limits(max_width=1000)}
    )
    with pytest.raises(RequestError, match=r"width 1024 exceeds limits\.max_width, which is 1000"):
        prepare(open_named("tight", tight), Request(width=1000), tight)


def test_missing_cloud_settings_are_reported_before_generating(settings: Settings) -> None:
    output = settings.output.model_copy(update={"cloud_sync": "on"})
    with pytest.raises(ConfigError, match="SUPABASE_URL"):
        generate(_ASKED, settings.model_copy(update={"output": output}))
    assert not output.directory.exists()


def test_job_has_an_absolute_output_folder(settings: Settings) -> None:
    here = settings.model_copy(update={"output": OutputSettings(directory=Path("out"))})
    job = create_jobs([_ticket(here)], _ASKED, here)[0]
    assert job.output["directory"] == str(Path.cwd() / "out")
