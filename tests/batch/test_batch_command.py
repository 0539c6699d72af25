"""imagen batch, from a file of prompts to its images."""

from __future__ import annotations

import io
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.sync_folder import running_imagen

from imagen.cli import run
from imagen.config import load_settings
from imagen.jobs.sql_store import open_job_store
from imagen.testing.comfyui import ComfyUI
from imagen.testing.comfyui.failure_switches import FailureSwitches, GatewayAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator

_SMALL = ("--size", "32x32", "-b", "mock")


def _batch(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> dict[str, Any]:
    assert run(["batch", *words, "--json", "--quiet"]) == code
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    return printed


def _records(folder: str) -> dict[str, dict[str, Any]]:
    """The requests in the sidecars of a folder, by the names of the images."""
    paths = sorted(Path(folder).rglob("*.json"))
    return {
        path.name.removesuffix(".json"): json.loads(path.read_bytes())["request"] for path in paths
    }


def _configure(url: str) -> None:
    block = {"type": "comfyui", "url": url, "workflow": "sd15"}
    text = json.dumps({"default_backend": "studio", "backends": {"studio": block}})
    Path("imagen.yaml").write_text(text)


@pytest.fixture
def slow_server() -> Iterator[ComfyUI]:
    with ComfyUI(step_seconds=0.1) as server:
        _configure(server.url)
        yield server


# --- what is made ---


def test_each_line_is_an_image_named_after_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    Path("prompts.txt").write_text("# animals\na red fox\n\na bear, asleep\n")
    assert run(["batch", "prompts.txt", *_SMALL, "--seed", "7", "--steps", "3", "--quiet"]) == 0
    paths = sorted(map(Path, capsys.readouterr().out.splitlines()))
    assert [path.name for path in paths] == ["0001-a-red-fox-7.png", "0002-a-bear-asleep-7.png"]
    assert {path.parent for path in paths} == {Path("outputs/batch-prompts").absolute()}
    for record in _records("outputs").values():
        assert (record["steps"], record["seed"], record["width"]) == (3, 7, 32)


def test_columns_set_backend_name_and_format(capsys: pytest.CaptureFixture[str]) -> None:
    Path("imagen.yaml").write_text("backends: {other: {type: mock}}\n")
    Path("rows.csv").write_text(
        "prompt,steps,backend,output\na fox,2,other,foxes/red.webp\na bear,,,bear\n"
    )
    printed = _batch(capsys, "rows.csv", *_SMALL, "--steps", "5", "-o", "made")
    made = Path("made").absolute()
    assert sorted(printed["images"]) == [str(made / "bear.png"), str(made / "foxes" / "red.webp")]
    assert _records("made")["red.webp"]["steps"] == 2
    assert _records("made")["bear.png"]["steps"] == 5
    assert json.loads((made / "foxes/red.webp.json").read_bytes())["backend"] == "other"


def test_standard_input_and_templates(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = io.TextIOWrapper(io.BytesIO(b'{"animal": "fox"}\n{"animal": "bear", "steps": 2}\n'))
    monkeypatch.setattr(sys, "stdin", data)
    words = ("--format", "jsonl", "--prompt-template", "a {animal} in snow")
    _batch(capsys, "-", *_SMALL, *words, "-o", "made")
    prompts = [record["prompt"] for record in _records("made").values()]
    assert prompts == ["a fox in snow", "a bear in snow"]


def test_count_and_wildcards(capsys: pytest.CaptureFixture[str]) -> None:
    Path("prompts.txt").write_text("a {red|blue} fox\nan owl\n")
    printed = _batch(capsys, "prompts.txt", *_SMALL, "--count", "3", "--seed", "7")
    assert (printed["done"], len(printed["images"])) == (6, 6)
    records = _records("outputs")
    assert sorted(name[:4] for name in records) == ["0001"] * 3 + ["0002"] * 3
    of_fox = [record for name, record in records.items() if name.startswith("0001")]
    assert {record["seed"] for record in of_fox} == {7, 8, 9}
    assert {record["template"] for record in of_fox} == {"a {red|blue} fox"}


def test_combinatorial_and_literal(capsys: pytest.CaptureFixture[str]) -> None:
    Path("prompts.txt").write_text("a {red|blue} {fox|bear}\nan owl\n")
    _batch(capsys, "prompts.txt", *_SMALL, "--combinatorial", "-o", "all")
    assert sorted(record["prompt"] for record in _records("all").values()) == [
        *("a blue bear", "a blue fox", "a red bear", "a red fox", "an owl")
    ]
    _batch(capsys, "prompts.txt", *_SMALL, "--literal", "-o", "as-is")
    prompts = {record["prompt"] for record in _records("as-is").values()}
    assert prompts == {"a {red|blue} {fox|bear}", "an owl"}


# --- again ---


def test_what_is_there_is_not_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    Path("prompts.txt").write_text("a {red|blue} fox\na bear\na bear\n")
    first = _batch(capsys, "prompts.txt", *_SMALL)
    assert (first["done"], first["done_earlier"]) == (3, 0)
    second = _batch(capsys, "prompts.txt", *_SMALL)
    assert (second["done"], second["done_earlier"], second["job"]) == (0, 3, None)
    assert sorted(second["earlier_images"]) == sorted(first["images"])
    Path("prompts.txt").write_text("an owl\na bear\na {red|blue} fox\na bear\n")  # by content
    third = _batch(capsys, "prompts.txt", *_SMALL)
    assert (third["done"], third["done_earlier"]) == (1, 3)
    assert "owl" in third["images"][0]
    other = _batch(capsys, "prompts.txt", *_SMALL, "-o", "elsewhere")
    assert other["done"] == 4


def test_how_wildcards_are_read_makes_a_difference(capsys: pytest.CaptureFixture[str]) -> None:
    Path("prompts.txt").write_text("a {red|blue} fox\na bear\n")
    assert _batch(capsys, "prompts.txt", *_SMALL)["done"] == 2
    for more, done in (("--literal", 1), ("--combinatorial", 2)):
        again = _batch(capsys, "prompts.txt", *_SMALL, more)
        assert (again["done"], again["done_earlier"]) == (done, 1)


def test_deleted_images_are_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    Path("prompts.txt").write_text("a fox\na bear\n")
    first = _batch(capsys, "prompts.txt", *_SMALL)
    for times in (1, 2):
        lost = next(Path("outputs").rglob("*fox*.png"))
        lost.unlink()
        again = _batch(capsys, "prompts.txt", *_SMALL)
        assert (again["done"], again["done_earlier"]) == (1, 1), times
    assert len(first["images"]) == 2
    assert _batch(capsys, "prompts.txt", *_SMALL)["done_earlier"] == 2


def test_another_input_image_is_another_request(capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    Path("rows.csv").write_text("prompt,image\na fox,in.png\n")
    for colour in ("red", "blue"):
        Image.new("RGB", (32, 32), colour).save("in.png")
        assert _batch(capsys, "rows.csv", *_SMALL)["done"] == 1
        assert _batch(capsys, "rows.csv", *_SMALL)["done_earlier"] == 1


def test_a_failure_has_exit_code_4_and_is_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    refused = GatewayAnswer(status=400, path="/prompt", method="POST", after=1, body="not this one")
    Path("prompts.txt").write_text("a fox\na bear\nan owl\n")
    with ComfyUI(switches=FailureSwitches(http_errors=(refused,))) as server:
        _configure(server.url)
        words = ("prompts.txt", "--size", "64x64", "--steps", "2")
        first = _batch(capsys, *words, code=4)
        assert (first["done"], len(first["failed"]), len(first["images"])) == (2, 1, 2)
        assert "not this one" in first["failed"][0]["message"]
        server.switches = FailureSwitches()
        second = _batch(capsys, *words)
        assert (second["done"], second["done_earlier"], second["failed"]) == (1, 2, [])
        assert len(server.prompts) == 3


def test_ctrl_c_leaves_the_rest_in_the_queue(
    capsys: pytest.CaptureFixture[str], slow_server: ComfyUI
) -> None:
    Path("prompts.txt").write_text("\n".join(f"fox {n}" for n in range(8)))
    words = ("batch", "prompts.txt", "--size", "64x64", "--steps", "4")
    with running_imagen(*words) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "of the batch are still in the queue." in err
    assert "imagen worker --drain" in err
    done = _batch(capsys, *words[1:])
    assert done["done"] + done["done_earlier"] == 8
    assert (
        len({prompt["prompt_id"] for prompt in slow_server.prompts})
        == 8
        == len(slow_server.prompts)
    )
    assert len(list(Path("outputs").rglob("*.png"))) == 8


def test_a_killed_batch_goes_on_where_it_was(
    capsys: pytest.CaptureFixture[str], slow_server: ComfyUI
) -> None:
    config = json.loads(Path("imagen.yaml").read_text()) | {"jobs": {"lease_seconds": 1}}
    Path("imagen.yaml").write_text(json.dumps(config))
    Path("prompts.txt").write_text("\n".join(f"a {{red|blue}} fox {n}" for n in range(6)))
    words = ("batch", "prompts.txt", "--size", "64x64", "--steps", "4")
    for _ in range(2):
        with running_imagen(*words) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.kill()
    done = _batch(capsys, *words[1:])
    assert done["done"] + done["done_earlier"] == 6
    ids = [prompt["prompt_id"] for prompt in slow_server.prompts]
    assert len(ids) == len({*ids}) == 6
    assert len(list(Path("outputs").rglob("*.png"))) == 6


def test_warnings_are_printed_before_the_images(capsys: pytest.CaptureFixture[str]) -> None:
    Path("prompts.txt").write_text("a fox\na bear\n")
    assert run(["batch", "prompts.txt", *_SMALL, "--set", "sparkle=1"]) == 0
    err = capsys.readouterr().err
    assert err.count("sparkle: 1 was dropped") == 1
    assert "No worker is running" not in err
    assert err.endswith("2 jobs done.\n")


# --- detached ---


def test_detached_rows_wait_in_the_queue(capsys: pytest.CaptureFixture[str]) -> None:
    Path("prompts.txt").write_text("a fox\na bear\n")
    words = ("prompts.txt", *_SMALL, "--detach", "--priority", "5")
    first = _batch(capsys, *words)
    assert len(first["jobs"]) == 2
    assert not Path("outputs").exists()
    again = _batch(capsys, *words)
    assert (again["job"], sorted(again["jobs"])) == (first["job"], sorted(first["jobs"]))
    with open_job_store(load_settings(None)) as store:
        parent = store.read(first["job"])
        assert (parent.kind, parent.name, parent.priority) == (
            "batch",
            "prompts.txt: 2 requests",
            5,
        )
    done = _batch(capsys, "prompts.txt", *_SMALL)
    assert (done["done"], len(done["images"])) == (2, 2)


# --- faults ---


def test_all_faults_are_listed_and_nothing_is_submitted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("rows.csv").write_text(
        "prompt,steps,size,output,backend\n"
        "a fox,8,,a\n"
        "a bear,many,,b\n"
        "a {red|owl,8,,c\n"
        "an elk,8,9x,d\n"
        "a cat,8,,a\n"
        "a dog,8,,../e\n"
        "a cow,8,,f.gif\n"
        "a pig,8,,,mok\n"
    )
    assert run(["batch", "rows.csv", "-b", "mock"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[:5] == [
        "imagen: rows.csv, line 3: steps: must be a whole number, not 'many'",
        "rows.csv, line 4: The prompt, character 3: this brace is not closed: {red|owl",
        "rows.csv, line 5: '9x' is not a valid size. Write it as 1024x768, 768 or 16:9.",
        "rows.csv, line 6: output 'a' is also the name in line 2.",
        "rows.csv, line 7: output '../e' contains '..', which leads out of the output directory.",
    ]
    assert "line 8: output: images can be saved as .png, .jpg, " in lines[5]
    assert "line 9: Unknown backend" in lines[6]
    assert lines[7] == "Nothing was submitted."
    with open_job_store(load_settings(None)) as store:
        assert store.list_jobs() == []


def test_rows_that_a_backend_refuses_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [{"prompt": "a fox"}, {"prompt": "b", "backend": "mok"}, {"image": "missing.png"}]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert run(["batch", "rows.jsonl", *_SMALL, "--detach"]) == 2
    err = capsys.readouterr().err
    assert "rows.jsonl, line 2: Unknown backend" in err
    assert "rows.jsonl, line 3: " in err
    assert "missing.png" in err
    with open_job_store(load_settings(None)) as store:
        assert store.list_jobs() == []


def test_keep_going_leaves_refused_rows_out(capsys: pytest.CaptureFixture[str]) -> None:
    Path("rows.jsonl").write_text('{"prompt": "a fox"}\n{"prompt": "b", "backend": "mok"}\n5\n')
    assert run(["batch", "rows.jsonl", *_SMALL, "--keep-going", "--quiet"]) == 0
    printed = capsys.readouterr()
    assert "line 2: Unknown backend" in printed.err
    assert "line 3: it must be an object" in printed.err
    assert len(printed.out.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.txt"], "Cannot read the prompt file missing.txt"),
        (["p.txt", "--literal", "--combinatorial"], "exclude each other"),
        (["p.txt", "-o", "-"], "--output must name a folder"),
        (["p.txt", "-o", "fox.png"], "--output must name a folder"),
        (["p.txt", "--prompt-template", "a fox"], "names no column"),
        (["p.txt", "--prompt-template", "a {animal}"], "no column 'animal' for the template"),
        (["p.txt", "--format", "csv"], "p.txt: unknown column 'a fox'"),
        (["p.txt", "--combinatorial", "-n", "{a|b}" * 17], "more than 100,000 combinations"),
        (["p.txt", "--size", "huge"], "not a valid size"),
    ],
)
def test_faults_of_the_command(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    Path("p.txt").write_text("a fox\n")
    assert run(["batch", *words, "-b", "mock"]) == 2
    assert message in capsys.readouterr().err
    assert not Path("outputs").exists()


# --- dry runs ---


def test_a_dry_run_counts_and_submits_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Path("prompts.txt").write_text("".join(f"fox {n}\n" for n in range(7)))
    words = ("prompts.txt", *_SMALL, "--count", "2", "--steps", "10", "--dry-run")
    assert run(["batch", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "prompts.txt, line 1: fox 0 (mock)"
    assert lines[5:] == [
        "And 2 more requests.",
        "Requests: 7. Jobs: 14. Images: 14.",
        "Compute: 0.1434 (megapixels × steps).",
    ]
    printed = _batch(capsys, *words)
    assert (printed["requests"], printed["images"], printed["usual_seconds"]) == (7, 14, None)
    assert printed["rows"][6]["place"] == "prompts.txt, line 7"
    with open_job_store(load_settings(None)) as store:
        assert store.list_jobs() == []


def test_a_dry_run_estimates_the_time_from_earlier_jobs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("imagen.yaml").write_text(
        "backends: {one: {type: mock}, two: {type: mock}}\npools: {both: [one, two]}\n"
    )
    Path("prompts.txt").write_text("a fox\na bear\n")
    for name in ("one", "two"):
        assert run(["generate", "an owl", "--size", "32x32", "-b", name, "--quiet"]) == 0
    capsys.readouterr()
    words = ("prompts.txt", "--size", "32x32", "--dry-run")
    alone = _batch(capsys, *words, "-b", "one")["usual_seconds"]
    assert alone > 0
    together = _batch(capsys, *words, "-b", "both")["usual_seconds"]
    assert 0 < together < alone * 50
