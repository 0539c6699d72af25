"""A configuration is read as strict YAML, and errors have a place."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagen.config.yaml_document import ConfigDocument, read
from imagen.errors import ConfigError

FILE = Path("imagen.yaml")


def document(data: str | bytes) -> ConfigDocument:
    FILE.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read(FILE)


def refusal(data: str | bytes) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        document(data)
    return error.value


def _laughs(levels: int) -> str:
    """A billion laughs: each level repeats the one before it ten times."""
    lines = ["k0: &k0 [x]\n"]
    lines += [f"k{n}: &k{n} [{','.join([f'*k{n - 1}'] * 10)}]\n" for n in range(1, levels)]
    return "".join(lines)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"default_backend: mock\n", id="utf-8"),
        pytest.param(b"\xef\xbb\xbfdefault_backend: mock\n", id="utf-8-with-bom"),
        pytest.param(
            "\ufeffdefault_backend: mock\n".encode("utf-16-le"), id="utf-16-of-powershell"
        ),
        pytest.param(b"default_backend: mock\r\n", id="windows-line-ends"),
    ],
)
def test_every_usual_encoding_is_read(data: bytes) -> None:
    assert document(data).values == {"default_backend": "mock"}


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing but this\n", "---\n", "null\n"])
def test_empty_file_has_no_values(text: str) -> None:
    assert document(text).values == {}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(
            "default_backend: mock\nlimits: max: 3\n",
            "imagen.yaml, line 2, column 12: mapping values are not allowed in this context.",
            id="two-colons",
        ),
        pytest.param(
            "limits:\n\tmax_width: 64\n",
            "imagen.yaml, line 2, column 1: YAML allows spaces here, but not a tab.",
            id="tab",
        ),
        pytest.param(
            "default_backend: *other\n",
            "imagen.yaml, line 1, column 18: found undefined alias.",
            id="unknown-alias",
        ),
        pytest.param(
            "limits:\n  max_width: 64\nlimits:\n  max_height: 64\n",
            "imagen.yaml, line 3, column 1: the key 'limits' is already on line 1; keep one.",
            id="duplicate-section",
        ),
        pytest.param(
            "backends:\n  a: {type: mock, look: x, look: y}\n",
            "imagen.yaml, line 2, column 28: the key 'look' is already on line 2; keep one.",
            id="duplicate-key-inside",
        ),
        pytest.param(
            "styles:\n  on: {width: 64}\n",
            "imagen.yaml, line 2, column 3: the key 'on' is not text; put it in quotes.",
            id="a-key-that-yaml-takes-for-true",
        ),
        pytest.param(
            "? [a, b]\n: c\n",
            "imagen.yaml, line 1, column 3: this key is not text; put it in quotes.",
            id="a-list-as-key",
        ),
        pytest.param(
            "default_backend: mock\n---\ndefault_backend: mock\n",
            "imagen.yaml, line 2, column 1: expected a single document in the stream that "
            "starts on line 1, but found another document.",
            id="two-documents",
        ),
        pytest.param(
            "limits: {max_width: !!int many}\n",
            "imagen.yaml, line 1, column 21: this value does not fit its type.",
            id="tag-that-does-not-fit",
        ),
        pytest.param(
            "limits: {max_width: " + "9" * 5000 + "}\n",
            "imagen.yaml, line 1, column 21: this number is longer than 100 characters.",
            id="number-of-5000-digits",
        ),
        pytest.param(
            "limits: {max_width: 0x" + "f" * 5000 + "}\n",
            "imagen.yaml, line 1, column 21: this number is longer than 100 characters.",
            id="hexadecimal",
        ),
        pytest.param(
            "limits: {max_width: 1" + ":59" * 3000 + "}\n",
            "imagen.yaml, line 1, column 21: this number is longer than 100 characters.",
            id="sexagesimal",
        ),
        pytest.param(
            "backends: {a: {type: mock, look: !!timestamp 2024-01-01}}\n",
            "imagen.yaml, line 1, column 34: !!timestamp is not supported; write the value "
            "as text.",
            id="a-timestamp",
        ),
        pytest.param(
            "backends: {a: {type: mock, look: !!set {x, y}}}\n",
            "imagen.yaml, line 1, column 34: !!set is not supported; write the value as text.",
            id="a-set",
        ),
        pytest.param(
            _laughs(6),
            "imagen.yaml contains more than 100,000 values with its aliases expanded.",
            id="aliases-of-aliases",
        ),
        pytest.param(
            _laughs(40),
            "imagen.yaml contains more than 100,000 values with its aliases expanded.",
            id="many-aliases-of-aliases",
        ),
        pytest.param(
            "a: &a " + "x" * 60_000 + "\nb: [" + "*a," * 1000 + "]\n",
            "imagen.yaml contains more than 100,000 values with its aliases expanded.",
            id="aliases-of-a-long-text",
        ),
        pytest.param(
            "".join(f"k{n}: &k{n} [{f'*k{n - 1}' if n else 'x'}]\n" for n in range(3000)),
            "imagen.yaml is nested in itself, or more than 60 levels deep.",
            id="a-chain-of-aliases",
        ),
        pytest.param(
            "# " + "x" * 1024**2,
            "imagen.yaml is not a configuration: it is larger than 1 MB.",
            id="a-large-file",
        ),
        pytest.param(
            b"# caf\xc3\xa9\ndefault_backend: caf\xe9\n",
            "imagen.yaml, line 2, column 21: this is not UTF-8 text.",
            id="latin-1",
        ),
        pytest.param(
            "default_backend: mock\ntitle: a\x1bb\n",
            "imagen.yaml, line 2, column 9: the character U+001B is not allowed in YAML.",
            id="control-character",
        ),
        pytest.param(
            "- backend\n- mock\n",
            "imagen.yaml must contain keys and values, such as `default_backend: mock`, "
            "not a list.",
            id="a-list",
        ),
        pytest.param(
            "mock\n",
            "imagen.yaml must contain keys and values, such as `default_backend: mock`, not text.",
            id="a-text",
        ),
        pytest.param(
            "backends: &all\n  again: *all\n",
            "imagen.yaml is nested in itself, or more than 60 levels deep.",
            id="nested-in-itself",
        ),
        pytest.param(
            "backends: " + "[" * 100_000,
            "imagen.yaml is nested in itself, or more than 60 levels deep.",
            id="nested-deeper-than-the-parser-can-bear",
        ),
    ],
)
def test_unreadable_yaml_is_reported_with_its_place(data: str | bytes, message: str) -> None:
    assert refusal(data).message == message


def test_python_objects_are_not_created() -> None:
    assert "could not determine a constructor" in refusal("x: !!python/name:os.system\n").message


def test_open_bracket_is_reported_with_its_first_line() -> None:
    error = refusal("workflow_dirs: [a,\n  b\ndefault_backend: mock\n")
    assert error.message.startswith("imagen.yaml, line 3, column 16: ")
    assert "that starts on line 1" in error.message


def test_yaml_problem_has_its_line() -> None:
    assert [problem.line for problem in refusal("a: 1\nb: c: d\n").problems] == [2]


def test_folder_is_not_a_configuration() -> None:
    FILE.mkdir()
    with pytest.raises(ConfigError, match=r"^Cannot read imagen\.yaml: "):
        read(FILE)


def test_date_is_read_as_text() -> None:
    assert document("title: 2024-13-45\n").values == {"title": "2024-13-45"}


def test_merged_mapping_may_be_overridden() -> None:
    text = "base:\n  inner: &a\n    <<: {look: x}\n    look: y\nother: {<<: *a, look: z}\n"
    assert document(text).values == {"base": {"inner": {"look": "y"}}, "other": {"look": "z"}}


def test_repeated_merge_counts_once() -> None:
    lines = ["k0: &k0 {look: x}\n"]
    lines += [f"k{n}: &k{n} {{<<: [{','.join([f'*k{n - 1}'] * 10)}]}}\n" for n in range(1, 40)]
    assert document("".join(lines)).values["k39"] == {"look": "x"}


def test_lone_equals_sign_is_text() -> None:
    assert document("title: =\n").values == {"title": "="}


@pytest.mark.parametrize("path", ["C:\\models", "C:\\Users", "C:\\x y"])
def test_backslash_in_double_quotes_has_a_remedy(path: str) -> None:
    error = refusal(f'state_dir: "{path}"\n')
    assert error.remedy == (
        "In double quotes, YAML reads \\ as the start of an escape. "
        "Write a path in single quotes, or with forward slashes."
    )


@pytest.mark.parametrize(
    ("path", "line"),
    [
        pytest.param(("backends",), 2, id="a-section"),
        pytest.param(("backends", "a", "url"), 5, id="a-key-inside"),
        pytest.param(("backends", "a", "missing"), 3, id="the-nearest-above"),
        pytest.param(("list", 1), 8, id="an-item"),
        pytest.param(("nothing",), None, id="nowhere"),
    ],
)
def test_each_key_has_its_line(path: tuple[str | int, ...], line: int | None) -> None:
    text = "# first\nbackends:\n  a:\n    type: mock\n    url: x\nlist:\n  - one\n  - two\n"
    assert document(text).line(path) == line
