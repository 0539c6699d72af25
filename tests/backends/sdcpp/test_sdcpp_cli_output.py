"""The output of sd-cli is parsed, in whatever pieces it arrives."""

from __future__ import annotations

import pytest

from imagen.backends.sdcpp.cli_output import (
    CliOutput,
    CliProgressBar,
    LineSplitter,
    LogLine,
    WrittenImage,
    exit_error,
    parse_line,
)

_STEP = "  |=========================>                        | 1/2 - 3.15s/it\x1b[K"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(_STEP, CliProgressBar(1, 2, True), id="seconds a step"),
        pytest.param("  |====| 2/2 - 3.07it/s", CliProgressBar(2, 2, True), id="steps a second"),
        pytest.param(
            "  |===>  | 722/1130 - 4.36GB/s\x1b[K", CliProgressBar(722, 1130, False), id="gigabytes"
        ),
        pytest.param(
            "  |####   | 10/1264 - 771.00MB/s", CliProgressBar(10, 1264, False), id="hashes"
        ),
        pytest.param(
            "[WARN ] model.cpp:231  - file /nope not found",
            LogLine("WARN", "file /nope not found"),
            id="warning",
        ),
        pytest.param(
            "[INFO ] stable-diffusion.cpp:3401 - generating image: 1/1 - seed 5",
            LogLine("INFO", "generating image: 1/1 - seed 5"),
            id="word",
        ),
        pytest.param("terminate called after throwing", None, id="neither"),
    ],
)
def test_a_line_is_a_progress_bar_a_log_line_or_neither(
    line: str, expected: LogLine | CliProgressBar | None
) -> None:
    assert parse_line(line) == expected


def test_progress_bars_end_with_a_carriage_return() -> None:
    lines = LineSplitter()
    found = [*lines.feed(b"one\r\ntwo\rth"), *lines.feed(b"ree\n"), *lines.feed(b"fo")]
    assert [*found, *lines.end()] == ["one", "two", "three", "fo"]


def test_color_codes_are_removed() -> None:
    assert list(LineSplitter().feed(b"\x1b[34;1m[INFO ]\x1b[0m a.cpp:1 - x\n")) == [
        "[INFO ] a.cpp:1 - x"
    ]


def test_a_character_split_between_two_pieces_is_decoded() -> None:
    lines = LineSplitter()
    assert [*lines.feed("süß".encode()[:2]), *lines.feed("süß".encode()[2:] + b"\n")] == ["süß"]


def test_an_endless_line_is_cut() -> None:
    lines = LineSplitter()
    assert [len(line) for line in lines.feed(b"x" * 70000)] == [70000]
    assert list(lines.end()) == []


def _parse_output(*texts: str, is_upscale: bool = False) -> CliOutput:
    record = CliOutput(is_upscale=is_upscale)
    for text in texts:
        record.add_line(text if text.startswith("  |") else f"[INFO ] a.cpp:1 - {text}")
    return record


def test_steps_count_only_while_an_image_is_sampled() -> None:
    before = _parse_output("  |=| 1/1 - 1.11it/s")
    after = _parse_output(
        "generating image: 1/1 - seed 7",
        "  |==| 2/2 - 1.11it/s",
        "sampling completed, taking 1.20s",
        "  |=| 1/9 - 1.11it/s",
    )
    assert (before.step, before.fraction) == (None, 0.0)
    assert (after.step, after.steps, after.is_sampled) == (2, 2, True)


def test_loading_between_steps_is_not_a_step() -> None:
    record = _parse_output(
        "  |==   | 50/100 - 1.11GB/s", "generating image: 1/1 - seed 7", "  |=| 9/9 - 2.00MB/s"
    )
    assert (record.step, record.fraction) == (None, 0.1)


def test_half_of_the_second_image_is_three_quarters_of_the_steps() -> None:
    record = _parse_output("generating image: 2/2 - seed 8", "  |==   | 1/2 - 1.11it/s")
    assert record.fraction == pytest.approx(0.1 + 0.8 * 0.75)
    assert (record.image, record.images, record.seeds) == (2, 2, [8])


def test_an_upscale_counts_steps_from_its_first_bar() -> None:
    record = _parse_output("  |==   | 1/2 - 1.11it/s", is_upscale=True)
    assert (record.step, record.steps) == (1, 2)


def test_written_and_failed_images_are_recorded() -> None:
    record = _parse_output(
        "save result image 0 to '/tmp/it's_0.png' (success)",
        "save result image 1 to '/tmp/it's_1.png' (failure)",
        "generate_image completed in 2.03s",
        "Version: SD 1.x ",
    )
    assert record.written == [
        WrittenImage(0, "/tmp/it's_0.png", True),
        WrittenImage(1, "/tmp/it's_1.png", False),
    ]
    assert (record.seconds, record.version) == (2.03, "SD 1.x")


def test_an_exit_status_of_windows_is_a_crash() -> None:
    error = exit_error(3221225477, _parse_output("generating image: 1/1 - seed 7"), "sd-cli.exe")
    assert error is not None
    assert error.message == "sd-cli.exe crashed (0xC0000005), without a message."
