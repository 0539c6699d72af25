"""Stopping: ours goes, from the queue or from the middle of its run, and nobody else's does."""

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


def test_p8_a_job_that_waits_is_taken_back_and_the_running_one_goes_on() -> None:
    """Pitfall 8: no interrupt reaches a stranger."""
    with ComfyUI() as server:
        stranger = server.submit_foreign(seconds=5)
        with pytest.raises(Cancelled):
            run_request(server, on_progress=_cancel_when_queued)
        assert server.queue_state() == (stranger, [])
        ours = server.prompts[0]["prompt_id"]
        assert set(server.interrupts) == {ours}


def test_p8_a_job_that_runs_is_interrupted_by_its_name() -> None:
    """And it is over when the call comes back; what waits behind it begins."""
    with ComfyUI(step_seconds=0.05) as server, closing(open_comfyui(server.url)) as backend:
        ticket = backend.prepare(REQUEST.with_values({"steps": 100}))
        with pytest.raises(Cancelled) as caught:
            backend.collect(ticket, _cancel_when_running)
        assert caught.value.remedy == ""
        assert server.queue_state() == (None, [])
        assert set(server.interrupts) == {ticket.id}


def test_p8_an_old_server_is_told_to_stop_only_while_ours_runs() -> None:
    """It would stop anybody's."""
    with ComfyUI(old_server=True) as server:
        stranger = server.submit_foreign(seconds=5)
        with pytest.raises(Cancelled):
            run_request(server, on_progress=_cancel_when_queued)
        assert server.queue_state() == (stranger, [])
        assert server.interrupts == []


def test_p8_an_old_server_stops_what_runs_when_that_is_ours() -> None:
    """There is no other way with it."""
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
def test_p8_the_version_says_whether_one_prompt_alone_can_be_interrupted(
    version: str, by_id: bool
) -> None:
    with ComfyUI(version=version, step_seconds=0.05) as server:
        request = REQUEST.with_values({"steps": 100})
        with pytest.raises(Cancelled):
            run_request(server, request=request, on_progress=_cancel_when_running)
        assert server.queue_state() == (None, [])
        ours = server.prompts[0]["prompt_id"]
        assert set(server.interrupts) == {ours if by_id else None}


def test_ctrl_c_stops_the_job_too() -> None:
    """Whatever ends the call ends the work."""
    with ComfyUI(step_seconds=0.05) as server:
        with pytest.raises(KeyboardInterrupt):
            run_request(server, on_progress=_press_ctrl_c)
        assert server.queue_state() == (None, [])


def test_cancelled_before_it_was_sent_nothing_is_sent() -> None:
    """The ticket is told first, and written down first."""
    with ComfyUI() as server:
        with pytest.raises(Cancelled):
            run_request(server, on_progress=_cancel_at_once)
        assert request_paths(server) == []


def test_cancelled_while_the_server_takes_its_time_to_accept_it_is_taken_back() -> None:
    """The answer to the POST has not come, the job may be in the queue."""
    with ComfyUI(slow=0.7, step_seconds=1) as server:

        def cancel_while_it_is_sent(progress: Progress) -> None:
            if progress.ticket is None:
                server.switches = FailureSwitches()
                raise Cancelled

        with pytest.raises(Cancelled):
            run_request(server, on_progress=cancel_while_it_is_sent)
        assert len(server.prompts) == 1
        assert server.queue_state() == (None, [])


def test_cancelled_while_the_server_refuses_it_leaves_no_doubt() -> None:
    """There is no job that could go on."""
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


def test_a_job_that_ended_is_stopped_though_its_submission_is_never_answered() -> None:
    """It runs by the time that Ctrl-C comes, and its history says that it was interrupted."""
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


def test_a_server_that_cannot_be_told_to_stop_is_said_so() -> None:
    """Cancelled it is; that the job stopped is not certain."""
    with ComfyUI(step_seconds=0.05) as server:

        def die_and_cancel(progress: Progress) -> None:
            if progress.step is not None:
                server.stop()
                raise Cancelled

        with pytest.raises(Cancelled) as caught:
            run_request(server, on_progress=die_and_cancel)
    assert "could not be asked to cancel the job" in caught.value.remedy


def test_a_server_that_was_told_to_stop_and_hides_its_history_is_said_so() -> None:
    """It took both orders; only what came of them cannot be asked."""
    hidden = GatewayAnswer(path="/history", status=502, times=999)
    with ComfyUI(step_seconds=0.05, http_errors=(hidden,)) as server:
        with pytest.raises(Cancelled) as caught:
            run_request(server, on_progress=_cancel_when_running)
        assert server.interrupts
    assert caught.value.remedy.startswith(
        "ComfyUI was asked to cancel the job, and cannot be asked whether it did: "
        f"{server.url} reports an error: 502"
    )


def test_p9_a_job_that_somebody_else_interrupts_has_failed() -> None:
    """Pitfall 9: it is neither a success nor an end of ours, and it says who it was not."""
    with ComfyUI(interrupt=True) as server, pytest.raises(Failed) as caught:
        run_request(server)
    assert "The job was interrupted on the server" in caught.value.message
    assert "not by imagen" in caught.value.message


def test_p9_who_interrupted_a_run_that_was_found_again_is_not_known() -> None:
    """Its own process may have, before it was killed."""
    with ComfyUI(interrupt=True) as server, closing(open_comfyui(server.url)) as backend:
        told: list[Progress] = []
        with pytest.raises(Failed):
            backend.collect(backend.prepare(REQUEST), told.append)
        ticket = [progress.ticket for progress in told if progress.ticket is not None][-1]
        with pytest.raises(Failed) as caught:
            backend.collect(ticket, told.append)
    assert caught.value.message.startswith("The job was interrupted on the server")
    assert "not imagen" not in caught.value.message


def test_p9_the_same_without_a_socket() -> None:
    """The history tells an interruption from an error."""
    with (
        ComfyUI(interrupt=True, refuse_ws=True) as server,
        pytest.raises(Failed, match=r"interrupted on the server.*, but not by imagen"),
    ):
        run_request(server)


def test_p10_an_error_of_a_node_says_all_that_is_known() -> None:
    """Pitfall 10: id, class, title, exception, words, and where in the server's code."""
    fault = NodeError(message="bad shapes", node="8")
    with ComfyUI(error=fault) as server, pytest.raises(Failed) as caught:
        run_request(server)
    lines = caught.value.message.splitlines()
    assert lines[0] == "Node 8 (KSampler 'The sampler') failed: ValueError: bad shapes."
    assert lines[1].strip().startswith("File ")
    assert caught.value.backend == "lab"


def test_p10_too_little_memory_has_a_remedy() -> None:
    """It is the commonest error of all."""
    with ComfyUI(error=OUT_OF_MEMORY) as server, pytest.raises(Failed) as caught:
        run_request(server)
    assert caught.value.remedy.startswith("Use a smaller size")


def test_p11_a_refused_workflow_says_what_to_do() -> None:
    """Pitfall 11: what the server said of each node is not thrown away."""
    missing = ["v1-5-pruned-emaonly-fp16.safetensors"]
    with ComfyUI(missing_models=missing) as server, pytest.raises(Rejected) as caught:
        run_request(server)
    assert "node 1 (CheckpointLoaderSimple 'The model'), ckpt_name" in caught.value.message
    assert caught.value.remedy == (
        "Download it from https://models.example/sd15 (2.0 GiB, CreativeML Open RAIL-M) "
        "into models/checkpoints/."
    )
    assert server.interrupts == []


def test_p16_no_progress_for_too_long_ends_the_job_on_both_sides() -> None:
    """Pitfall 16, the other half: a wedge is not waited for without end."""
    with ComfyUI(silent_load=0.6) as server:
        with pytest.raises(TimedOut, match="without any progress") as caught:
            run_request(server, idle_seconds=0.2)
        assert server.interrupts != []
    assert "backends.lab.idle_seconds" in caught.value.remedy


def test_p16_a_job_may_take_only_so_long_in_all() -> None:
    """The queue included."""
    with ComfyUI() as server:
        stranger = server.submit_foreign(seconds=5)
        with pytest.raises(TimedOut, match="in all"):
            run_request(server, total_seconds=0.2)
        assert server.queue_state() == (stranger, [])


def test_a_server_whose_worker_has_died_is_not_waited_for() -> None:
    """It answers, and runs nothing; only a restart helps."""
    with ComfyUI(worker_dead=True) as server:
        with pytest.raises(Failed, match="runs none of the jobs in its queue") as caught:
            run_request(server)
        assert server.queue_state() == (None, [])
    assert caught.value.remedy.startswith("Restart ComfyUI")
