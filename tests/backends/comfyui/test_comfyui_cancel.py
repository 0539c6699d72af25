"""A cancelled job leaves the queue or is interrupted; other jobs are left alone."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from support.comfyui_backends import REQUEST, open_comfyui, request_paths, run_request

from imagen.errors import Cancelled, Failed, Rejected, TimedOut
from imagen.testing.comfyui import OUT_OF_MEMORY, ComfyUI, FailureSwitches, GatewayAnswer, NodeError

if TYPE_CHECKING:
    from imagen.core.result import Progress


def _cancel_when_running(progress: Progress) -> None:
    if progress.step is not None:
        raise Cancelled


def _cancel_when_queued(progress: Progress) -> None:
    if progress.stage == "queued":
        raise Cancelled


def _cancel_at_once(_: Progress) -> None:
    raise Cancelled


def _press_ctrl_c(progress: Progress) -> None:
    if progress.step is not None:
        raise KeyboardInterrupt


def test_cancelling_a_waiting_job_leaves_the_running_one_alone() -> None:
    with ComfyUI() as server:
        stranger = server.submit_foreign(seconds=5)
        with pytest.raises(Cancelled):
            run_request(server, on_progress=_cancel_when_queued)
        assert server.queue_state() == (stranger, [])
        ours = server.prompts[0]["prompt_id"]
        assert set(server.interrupts) == {ours}


def test_a_running_job_is_interrupted_by_its_id() -> None:
    with ComfyUI(step_seconds=0.05) as server, closing(open_comfyui(server.url)) as backend:
        ticket = backend.prepare(REQUEST.with_values({"steps": 100}))
        with pytest.raises(Cancelled) as caught:
            backend.collect(ticket, _cancel_when_running)
        assert caught.value.remedy == ""
        assert server.queue_state() == (None, [])
        assert set(server.interrupts) == {ticket.id}


def test_an_old_server_is_interrupted_only_while_our_job_runs() -> None:
    with ComfyUI(old_server=True) as server:
        stranger = server.submit_foreign(seconds=5)
        with pytest.raises(Cancelled):
            run_request(server, on_progress=_cancel_when_queued)
        assert server.queue_state() == (stranger, [])
        assert server.interrupts == []


def test_an_old_server_is_interrupted_while_our_job_runs() -> None:
    with ComfyUI(old_server=True, step_seconds=0.05) as server:
        request = REQUEST.with_values({"steps": 100})
        with pytest.raises(Cancelled):
            run_request(server, request=request, on_progress=_cancel_when_running)
        assert server.queue_state() == (None, [])
        assert set(server.interrupts) == {None}


@pytest.mark.parametrize(
    ("version", "by_id"),
    [("0.3.55", False), ("0.3.56", True), ("0.4.0", True), ("nightly", False), ("", False)],
)
def test_the_version_decides_whether_one_prompt_can_be_interrupted(
    version: str, by_id: bool
) -> None:
    with ComfyUI(version=version, step_seconds=0.05) as server:
        request = REQUEST.with_values({"steps": 100})
        with pytest.raises(Cancelled):
            run_request(server, request=request, on_progress=_cancel_when_running)
        assert server.queue_state() == (None, [])
        ours = server.prompts[0]["prompt_id"]
        assert set(server.interrupts) == {ours if by_id else None}


def test_ctrl_c_cancels_the_job() -> None:
    with ComfyUI(step_seconds=0.05) as server:
        with pytest.raises(KeyboardInterrupt):
            run_request(server, on_progress=_press_ctrl_c)
        assert server.queue_state() == (None, [])


def test_a_job_cancelled_before_its_submission_is_not_sent() -> None:
    with ComfyUI() as server:
        with pytest.raises(Cancelled):
            run_request(server, on_progress=_cancel_at_once)
        assert request_paths(server) == []


def test_a_job_cancelled_during_a_slow_submission_is_cancelled_at_the_server() -> None:
    with ComfyUI(slow=0.7, step_seconds=1) as server:

        def cancel_while_it_is_sent(progress: Progress) -> None:
            if progress.ticket is None:
                server.switches = FailureSwitches()
                raise Cancelled

        with pytest.raises(Cancelled):
            run_request(server, on_progress=cancel_while_it_is_sent)
        assert len(server.prompts) == 1
        assert server.queue_state() == (None, [])


def test_a_job_cancelled_while_it_is_refused_is_certainly_stopped() -> None:
    missing = ["v1-5-pruned-emaonly-fp16.safetensors"]
    with ComfyUI(slow=0.7, missing_models=missing) as server:

        def cancel_while_it_is_sent(progress: Progress) -> None:
            if progress.ticket is None:
                server.switches = FailureSwitches()
                raise Cancelled

        with pytest.raises(Cancelled) as caught:
            run_request(server, on_progress=cancel_while_it_is_sent)
        assert "POST /prompt" in [f"{seen.method} {seen.path}" for seen in server.requests]
    assert (caught.value.message, caught.value.remedy) == (Cancelled().message, "")


def test_an_ended_job_is_stopped_although_its_submission_is_unanswered() -> None:
    unanswered = GatewayAnswer(path="/prompt", method="POST", reaches=True, hangs=True)
    with ComfyUI(step_seconds=0.05, http_errors=(unanswered,)) as server:

        def cancel_when_it_runs(_: Progress) -> None:
            if server.queue_state()[0] is not None:
                raise Cancelled

        with pytest.raises(Cancelled) as caught:
            run_request(
                server,
                request=REQUEST.with_values({"steps": 100}),
                on_progress=cancel_when_it_runs,
            )
        assert server.queue_state() == (None, [])
    assert caught.value.remedy == ""


def test_a_failed_cancellation_is_reported() -> None:
    with ComfyUI(step_seconds=0.05) as server:

        def die_and_cancel(progress: Progress) -> None:
            if progress.step is not None:
                server.stop()
                raise Cancelled

        with pytest.raises(Cancelled) as caught:
            run_request(server, on_progress=die_and_cancel)
    assert "could not be asked to cancel the job" in caught.value.remedy


def test_an_unconfirmed_cancellation_is_reported() -> None:
    hidden = GatewayAnswer(path="/history", status=502, times=999)
    with ComfyUI(step_seconds=0.05, http_errors=(hidden,)) as server:
        with pytest.raises(Cancelled) as caught:
            run_request(server, on_progress=_cancel_when_running)
        assert server.interrupts
    assert caught.value.remedy.startswith(
        "ComfyUI was asked to cancel the job, and cannot be asked whether it did: "
        f"{server.url} reports an error: 502"
    )


def test_a_job_interrupted_by_somebody_else_has_failed() -> None:
    with ComfyUI(interrupt=True) as server, pytest.raises(Failed) as caught:
        run_request(server)
    assert "The job was interrupted on the server" in caught.value.message
    assert "not by imagen" in caught.value.message


def test_an_interrupted_resumed_job_does_not_say_by_whom() -> None:
    with ComfyUI(interrupt=True) as server, closing(open_comfyui(server.url)) as backend:
        told: list[Progress] = []
        with pytest.raises(Failed):
            backend.collect(backend.prepare(REQUEST), told.append)
        ticket = [progress.ticket for progress in told if progress.ticket is not None][-1]
        with pytest.raises(Failed) as caught:
            backend.collect(ticket, told.append)
    assert caught.value.message.startswith("The job was interrupted on the server")
    assert "not imagen" not in caught.value.message


def test_an_interruption_is_noticed_without_a_websocket() -> None:
    with (
        ComfyUI(interrupt=True, refuse_ws=True) as server,
        pytest.raises(Failed, match=r"interrupted on the server.*, but not by imagen"),
    ):
        run_request(server)


def test_a_failed_node_is_reported_with_all_details() -> None:
    fault = NodeError(message="bad shapes", node="8")
    with ComfyUI(error=fault) as server, pytest.raises(Failed) as caught:
        run_request(server)
    lines = caught.value.message.splitlines()
    assert lines[0] == "Node 8 (KSampler 'The sampler') failed: ValueError: bad shapes."
    assert lines[1].strip().startswith("File ")
    assert caught.value.backend == "lab"


def test_out_of_memory_has_a_remedy() -> None:
    with ComfyUI(error=OUT_OF_MEMORY) as server, pytest.raises(Failed) as caught:
        run_request(server)
    assert caught.value.remedy.startswith("Use a smaller size")


def test_a_refused_workflow_has_a_remedy() -> None:
    missing = ["v1-5-pruned-emaonly-fp16.safetensors"]
    with ComfyUI(missing_models=missing) as server, pytest.raises(Rejected) as caught:
        run_request(server)
    assert "node 1 (CheckpointLoaderSimple 'The model'), ckpt_name" in caught.value.message
    assert caught.value.remedy == (
        "Download it from https://models.example/sd15 (2.0 GiB, CreativeML Open RAIL-M) "
        "into models/checkpoints/."
    )
    assert server.interrupts == []


def test_a_job_without_progress_is_cancelled_at_the_server_too() -> None:
    with ComfyUI(silent_load=0.6) as server:
        with pytest.raises(TimedOut, match="without any progress") as caught:
            run_request(server, idle_seconds=0.2)
        assert server.interrupts != []
    assert "backends.lab.idle_seconds" in caught.value.remedy


def test_a_job_is_cancelled_after_total_seconds() -> None:
    with ComfyUI() as server:
        stranger = server.submit_foreign(seconds=5)
        with pytest.raises(TimedOut, match="in all"):
            run_request(server, total_seconds=0.2)
        assert server.queue_state() == (stranger, [])


def test_a_server_with_a_dead_worker_fails_the_job() -> None:
    with ComfyUI(worker_dead=True) as server:
        with pytest.raises(Failed, match="runs none of the jobs in its queue") as caught:
            run_request(server)
        assert server.queue_state() == (None, [])
    assert caught.value.remedy.startswith("Restart ComfyUI")
