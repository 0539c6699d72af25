"""Which requests are in a prompt file, and where it is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagen.batch.prompt_files import (
    MAX_ROWS,
    MOST_FAULTS,
    PromptFormat,
    PromptRow,
    PromptTemplate,
    RowFault,
    find_format,
    parse_rows,
    read_prompt_file,
    read_prompts,
    refuse_faults,
)
from imagen.core.request import Control, Lora, Request
from imagen.errors import RequestError


def _rows(
    text: str | bytes, format: PromptFormat = "text", template: str = ""
) -> list[PromptRow | RowFault]:
    data = text.encode() if isinstance(text, str) else text
    return list(parse_rows(data, "rows", format, PromptTemplate(template) if template else None))


def _requests(text: str | bytes, format: PromptFormat, template: str = "") -> list[Request]:
    rows = _rows(text, format, template)
    return [row.build_request(Request(steps=4)) for row in rows if isinstance(row, PromptRow)]


# --- text ---


def test_text_has_a_prompt_on_each_line() -> None:
    text = "# foxes\n\n  a red fox \r\na {red|blue} fox # 2\n\\# hash\n"
    assert _rows(text) == [
        PromptRow(3, {"prompt": "a red fox"}),
        PromptRow(4, {"prompt": "a {red|blue} fox # 2"}),
        PromptRow(5, {"prompt": "\\# hash"}),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(encoding: str) -> None:
    assert _rows("eine Füchsin\nein Bär".encode(encoding)) == [
        PromptRow(1, {"prompt": "eine Füchsin"}),
        PromptRow(2, {"prompt": "ein Bär"}),
    ]
    assert _requests("prompt,steps\nFüchsin,8\n".encode(encoding), "csv") == [
        Request(prompt="Füchsin", steps=8)
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"f\xfcchsin", "rows is not text in UTF-8 or UTF-16"),
        ("a fox".encode("utf-16-le"), "rows is not text: it holds NUL."),
        (b"", "rows holds no prompt."),
        (b"# nothing\n\n", "rows holds no prompt."),
    ],
)
def test_files_that_hold_no_prompts_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(RequestError) as error:
        _rows(data)
    assert message in error.value.message


def test_a_template_is_filled_from_each_line() -> None:
    (row,) = _rows("fox", template="a {prompt} in {snow|rain}, {prompt}")
    assert row == PromptRow(1, {"prompt": "a fox in {snow|rain}, fox"})


# --- CSV ---


def test_columns_are_fields_spelled_as_on_the_command_line() -> None:
    text = (
        "prompt,Negative Prompt,size,lora,control,reference,seed,cfg_scale,sampler,latent_batch,"
        "extra,backend,output\n"
        '"a fox, red",,512x768,ink:0.8; b,canny:e.png:0.5,a.png;~/b.png,7,2.5,8,true,'
        '"{style: ink}",mock,foxes/red\n'
    )
    (row,) = _rows(text, "csv")
    assert isinstance(row, PromptRow)
    assert (row.line, row.backend, row.output) == (2, "mock", "foxes/red")
    assert row.build_request(Request(steps=4, negative="blur")) == Request(
        prompt="a fox, red",
        negative="blur",
        width=512,
        height=768,
        loras=(Lora(name="ink", strength=0.8), Lora(name="b")),
        controls=(Control(kind="canny", image="e.png", strength=0.5),),
        references=("a.png", str(Path("~/b.png").expanduser())),
        seed=7,
        cfg=2.5,
        sampler="8",
        latent_batch=True,
        steps=4,
        extra={"style": "ink"},
    )


def test_rows_override_defaults_and_empty_cells_do_not() -> None:
    requests = _requests("prompt,steps,size\na,8,\nb,,16:9\n", "csv")
    assert requests == [Request(prompt="a", steps=8), Request(prompt="b", steps=4, aspect="16:9")]
    assert PromptRow(1, {"aspect": "16:9"}).build_request(Request(width=64, height=64)) == Request(
        aspect="16:9"
    )


@pytest.mark.parametrize("text", ["prompt;steps\na, b;8\n", "prompt\tsteps\na, b\t8\n"])
def test_other_separators(text: str) -> None:
    assert _requests(text, "csv") == [Request(prompt="a, b", steps=8)]


def test_lines_are_counted_in_the_file() -> None:
    text = 'prompt,steps\n\n"two\nlines",8\nfox,many\n\nbear,1,2\nowl,9,,\n'
    rows = _rows(text, "csv")
    assert [row.line for row in rows] == [3, 5, 7, 8]
    assert rows[0] == PromptRow(3, {"prompt": "two\nlines", "steps": 8})
    assert rows[2] == RowFault(7, "it has 3 values, and there are 2 columns.")


def test_columns_without_a_name_or_after_a_hash_are_left_out() -> None:
    assert _rows("prompt,#note,\nfox,x,y\n", "csv") == [PromptRow(2, {"prompt": "fox"})]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("promt,steps\n", "rows: unknown column 'promt'. Did you mean 'prompt'?"),
        ("prompt,stepz\nfox,8\n", "rows: unknown column 'stepz'. Did you mean 'steps'?"),
        ("prompt,positive\n", "rows: the columns 'prompt' and 'positive' mean the same."),
        ("steps,steps\n", "rows: the columns 'steps' and 'steps' mean the same."),
        ('prompt\nfox\n"bear\n', "rows: the CSV is not valid at line 3: unexpected end of data."),
        ('prompt\n"a"b\n', "rows: the CSV is not valid at line 2: "),
        ("prompt\n" + "x" * 140_000, "rows: the CSV is not valid at line 2: field larger than"),
        ("prompt\n", "rows holds no prompt."),
    ],
)
def test_a_csv_file_that_is_wrong_as_a_whole(text: str, message: str) -> None:
    with pytest.raises(RequestError) as error:
        _rows(text, "csv")
    assert message in error.value.message


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("16x,,", "'16x' is not a valid size"),
        (",:1,", "loras ':1' does not name a LoRA"),
        (",,canny", "controls 'canny' is not a control image"),
    ],
)
def test_cells_that_are_wrong(cells: str, message: str) -> None:
    (row,) = _rows(f"size,lora,control\n{cells}\n", "csv")
    assert isinstance(row, RowFault)
    assert message in row.message


def test_a_template_is_filled_from_columns() -> None:
    text = "animal,place,steps\nfox,the snow,8\n{bear|owl},,\n"
    assert _requests(text, "csv", "a {animal} in {place}, {steps} {x|y}") == [
        Request(prompt="a fox in the snow, 8 {x|y}", steps=8),
        Request(prompt="a {bear|owl} in ,  {x|y}", steps=4),
    ]
    jsonl = '{"animal": "fox", "place": 5, "seed": 7}'
    assert _requests(jsonl, "jsonl", "a {animal} {place}") == [
        Request(prompt="a fox 5", seed=7, steps=4)
    ]


@pytest.mark.parametrize(
    ("text", "template", "message"),
    [
        ("animal\nfox\n", "a {animl}", "unknown column 'animal'"),
        ("animal,steps\na,8\n", "a {animal} in {stepz}", "no column 'stepz' for the template. Did"),
        ("prompt,animal\nx,fox\n", "a {animal}", "the template leaves out the column 'prompt'."),
        ("animal\nfox\n", "a fox", "names no column"),
        ("animal\nfox\n", "a {fox|bear} {2$$a|b} {}", "names no column"),
    ],
)  # fmt: skip
def test_templates_that_do_not_fit(text: str, template: str, message: str) -> None:
    with pytest.raises(RequestError) as error:
        _rows(text, "csv", template)
    assert message in error.value.message


def test_a_key_that_a_template_needs_is_missed_in_its_line() -> None:
    rows = _rows('{"animal": "fox"}\n{"animl": "bear"}\n', "jsonl", "a {animal}")
    assert isinstance(rows[1], RowFault)
    assert "animl" in rows[1].message


# --- JSON ---


def test_json_lines_have_the_keys_of_a_request() -> None:
    lines = [
        {"prompt": "a", "loras": [{"name": "ink"}], "extra": {"x": [1]}, "output": "o"},
        {"positive_prompt": "b", "size": "16:9", "backend": "mock", "steps": None},
    ]
    text = "\n\n".join(map(json.dumps, lines))
    first, second = _rows(text, "jsonl")
    assert isinstance(first, PromptRow)
    assert isinstance(second, PromptRow)
    assert (first.line, first.output, second.line, second.backend) == (1, "o", 3, "mock")
    assert first.build_request(Request(steps=4)) == Request(
        prompt="a", loras=(Lora(name="ink"),), extra={"x": [1]}, steps=4
    )
    assert second.build_request(Request(steps=4)) == Request(prompt="b", aspect="16:9")
    assert _requests(json.dumps(lines), "jsonl") == _requests(text, "jsonl")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "it is not valid JSON: "),
        ("[" * 200, "it "),
        ('"a fox"', "it must be an object"),
        ('{"promt": "a"}', "promt: unknown key. Did you mean 'prompt'?"),
        ('{"prompt": "a", "backend": 5}', "backend: must be text."),
        ('{"size": "huge"}', "'huge' is not a valid size"),
        ('{"seed": NaN}', "it holds NaN"),
    ],
)
def test_json_lines_that_are_wrong(line: str, message: str) -> None:
    rows = _rows('{"prompt": "a"}\n' + line, "jsonl")
    assert isinstance(rows[1], RowFault)
    assert rows[1].line == 2
    assert message in rows[1].message


@pytest.mark.parametrize("values", [{"prompt": 5}, {"steps": "many"}, {"seed": -2}])
def test_values_of_a_wrong_type_are_refused(values: dict[str, object]) -> None:
    (row,) = _rows(json.dumps(values), "jsonl")
    assert isinstance(row, PromptRow)
    with pytest.raises(RequestError, match=next(iter(values))):
        row.build_request(Request())


def test_an_array_that_is_not_json() -> None:
    with pytest.raises(RequestError, match=r"rows: it is not valid JSON"):
        _rows('[{"prompt": "a"},', "jsonl")


# --- files ---


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.txt", "text"), ("a", "text"), ("a.CSV", "csv"), ("a.tsv", "csv"),
        ("a.jsonl", "jsonl"), ("a.json", "jsonl"), ("a.ndjson", "jsonl"),
    ],
)  # fmt: skip
def test_the_format_follows_from_the_name(name: str, format: str) -> None:
    assert find_format(name) == format


def test_files_that_cannot_be_read() -> None:
    for path in ("missing.txt", "."):
        with pytest.raises(RequestError, match="Cannot read the prompt file"):
            read_prompt_file(path)


def test_read_prompts_reads_any_format() -> None:
    Path("a.csv").write_text("prompt\na fox\na bear\n")
    assert read_prompts("a.csv") == ["a fox", "a bear"]
    Path("a.jsonl").write_text('{"prompt": "a"}\n5\n')
    with pytest.raises(RequestError, match=r"a\.jsonl, line 2: it must be an object"):
        read_prompts("a.jsonl")


def test_faults_are_listed_up_to_a_number() -> None:
    refuse_faults([])
    faults = [(f"rows, line {n}", f"wrong {n}.\nalso {n}.") for n in range(1, 26)]
    with pytest.raises(RequestError) as error:
        refuse_faults(faults)
    lines = error.value.message.splitlines()
    assert lines[:2] == ["rows, line 1: wrong 1.", "rows, line 1: also 1."]
    assert lines[-1] == "5 more are wrong."
    assert len(lines) == 2 * MOST_FAULTS + 1


def test_the_number_of_rows_is_bounded() -> None:
    assert len(_rows("fox\n" * MAX_ROWS)) == MAX_ROWS
    with pytest.raises(RequestError, match=r"rows: it has more than 100,000 rows\."):
        _rows("fox\n" * (MAX_ROWS + 1))
