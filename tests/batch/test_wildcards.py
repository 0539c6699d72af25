"""What prompts with wildcards become, and what stays as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from imagen.batch.wildcards import MAX_COMBINATIONS, MAX_DEPTH, Wildcards
from imagen.errors import RequestError

if TYPE_CHECKING:
    from pathlib import Path

_SEEDS = range(200)
_EXPECTED = [
    "a small cat and green and red and blue",
    "a big cat and green",
    "a small owl and red",
    "a young owl and red",
]
"""Of the seeds 0, 1, 2 and 2^64-1."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "wildcards"
    path.mkdir()
    return path


def _write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def _expansions(text: str, folder: Path | None = None) -> set[str]:
    wildcards = Wildcards([folder] if folder else [])
    return {wildcards.expand(text, seed) for seed in _SEEDS}


# --- what stays as it is ---


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a red fox in snow",
        "a {fox} in {snow}, {}",
        "an open } and an open {",
        "a | b || c",
        "100 $$, $$ and 2$$",
        '{"subject": "a fox", "colours": {"coat": "#ff0000"}, "list": ["a", "b"]}',
        '{"subject": "a fox | a dog", "style": "ink"}',
        "{'colour': 'red|blue'}",
        "[a|b], [cat:dog:0.25] and [low]",
        "(fog:1.5), ((fog)), (a|b:1.2)",
        "<lora:ink_v2:0.8> <lora:a__b:1>",
        r"a \(smile\), C:\fox\{x\}, \_ and \\",
        "snake_case, __ and ____ and __init_ and _ _x__",
        "$x ${seed} $<seed>",
        "two\r\nlines\n\n",
        "# not a comment",
        "änderö 狐 🦊",
    ],
)
def test_text_without_wildcards_is_unchanged(text: str) -> None:
    wildcards = Wildcards()
    assert wildcards.expand(text, 7) == text
    assert not wildcards.changes(text)
    assert list(wildcards.combinations(text)) == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a|b} [c|d]", {"a [c|d]", "b [c|d]"}),
        ("{[a|b]|c}", {"[a|b]", "c"}),
        ("{(fog:1.5)|<lora:ink:0.8>}", {"(fog:1.5)", "<lora:ink:0.8>"}),
        ('{"a": "{b|c} d", "n": 2}', {'{"a": "b d", "n": 2}', '{"a": "c d", "n": 2}'}),
        ("f{x {a|b} y}", {"f{x a y}", "f{x b y}"}),
        ("a ] b [ {c|d} {e}", {"a ] b [ c {e}", "a ] b [ d {e}"}),
        ("{a ]|b}", {"a ]", "b"}),
        ("{a [|b}", {"a [", "b"}),
    ],
)  # fmt: skip
def test_other_syntax_within_and_beside_choices_is_unchanged(text: str, expected: set[str]) -> None:
    assert _expansions(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\{a|b\}", "{a|b}"),
        (r"\__animal\__", "__animal__"),
        (r"\{a|b\} and \(c\)", r"{a|b} and \(c\)"),
    ],
)
def test_escapes_make_wildcards_plain_text(text: str, expected: str) -> None:
    wildcards = Wildcards()
    assert wildcards.expand(text, 7) == expected
    assert wildcards.changes(text)
    assert not wildcards.has_choices(text)


def test_escapes_within_choices() -> None:
    assert _expansions(r"{a\|b|\{c\}} \(x\)") == {r"a|b \(x\)", r"{c} \(x\)"}


# --- choices ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a {red|blue} fox", {"a red fox", "a blue fox"}),
        ("a {red |}fox", {"a red fox", "a fox"}),
        ("{new york|washing-ton!|änder}", {"new york", "washing-ton!", "änder"}),
        ("{a|{b|c}}{d|e}", {"ad", "ae", "bd", "be", "cd", "ce"}),
        ("{2$$a|b|c}", {"a,b", "a,c", "b,a", "b,c", "c,a", "c,b"}),
        ("{ 2 $$a|b}", {"a,b", "b,a"}),
        ("{2$$ and $$a|b}", {"a and b", "b and a"}),
        ("{2$$|$$a|b}", {"a|b", "b|a"}),
        ("{2$$$$a|b}", {"ab", "ba"}),
        ("{1-2$$ $$a|b}", {"a", "b", "a b", "b a"}),
        ("{0-1$$a|b}", {"", "a", "b"}),
        ("{-2$$a|b}", {"a", "b", "a,b", "b,a"}),
        ("{1-$$a|b}", {"a", "b", "a,b", "b,a"}),
        ("{3-$$$$a|b|c}", {"abc", "acb", "bac", "bca", "cab", "cba"}),
        ("{9$$a|b}", {"a,b", "b,a"}),
        ("{0$$a|b}", {""}),
        ("{1$$a}", {"a"}),
        ("{0::a|b}", {"b"}),
        ("{ 2::a|.5::b}", {"a", "b"}),
        ("{x::a|b}", {"x::a", "b"}),
    ],
)  # fmt: skip
def test_choices(text: str, expected: set[str]) -> None:
    assert _expansions(text) == expected
    assert set(Wildcards().combinations(text)) == expected


def test_weights_are_relative_frequencies() -> None:
    wildcards = Wildcards()
    drawn = Counter(wildcards.expand("{3::a|b|0.5::c}", seed) for seed in range(9000))
    assert drawn["a"] == pytest.approx(6000, rel=0.05)
    assert drawn["b"] == pytest.approx(2000, rel=0.08)
    assert drawn["c"] == pytest.approx(1000, rel=0.12)


def test_several_are_drawn_by_weight_and_never_twice() -> None:
    wildcards = Wildcards()
    drawn = [wildcards.expand("{2$$9::a|b|c}", seed).split(",") for seed in range(500)]
    assert all(len({*pair}) == 2 for pair in drawn)
    assert sum(pair[0] == "a" for pair in drawn) > 350


# --- the seed decides ---


def test_the_same_seed_gives_the_same_text_everywhere(folder: Path) -> None:
    """These values must never change: they would change images that people made."""
    _write(folder, "animal.txt", "fox\nbear\nowl\n2::cat\n")
    text = "a {small|big|{old|young}} __animal__ and {1-3$$ and $$red|green|blue}"
    wildcards = Wildcards([folder])
    assert [wildcards.expand(text, seed) for seed in (0, 1, 2, 2**64 - 1)] == _EXPECTED


def test_another_process_draws_the_same() -> None:
    text = "{a|b|c|d|e|f} {3$$g|h|i|j|k}"
    code = f"from imagen.batch.wildcards import Wildcards; print(Wildcards().expand({text!r}, 11))"
    drawn = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert drawn.stdout.strip() == Wildcards().expand(text, 11)


def test_texts_that_share_a_seed_are_drawn_independently() -> None:
    wildcards = Wildcards()
    text = "{a|b|c|d|e|f|g|h}"
    pairs = {(wildcards.expand(text, s), wildcards.expand(text, s, "negative")) for s in _SEEDS}
    assert len(pairs) > 30


# --- files ---


def test_a_text_file_has_a_value_on_each_line(folder: Path) -> None:
    _write(folder, "animal.txt", "# animals\n\n  red fox \r\nbear # brown\n{old|young} owl\n")
    assert _expansions("__animal__!", folder) == {
        "red fox!",
        "bear # brown!",
        "old owl!",
        "young owl!",
    }


def test_values_have_weights(folder: Path) -> None:
    _write(folder, "animal.txt", "8::fox\nbear\n0::owl\n")
    wildcards = Wildcards([folder])
    drawn = Counter(wildcards.expand("__animal__", seed) for seed in range(900))
    assert drawn["fox"] == pytest.approx(800, rel=0.05)
    assert drawn["owl"] == 0


def test_lists_in_yaml_and_json_have_the_names_of_their_keys(folder: Path) -> None:
    _write(
        folder, "pantry.yaml", "fruit: [apple, 2::pear]\nart:\n  dutch:\n  - Rembrandt\n  n: 5\n"
    )
    _write(folder, "deep/more.json", '{"fruit": ["fig"], "x": null}')
    _write(folder, "shapes.yml", "- circle\n- 7\n- |\n  square\n- [no]\n")
    assert _expansions("__fruit__", folder) == {"apple", "pear"}
    assert _expansions("__art/dutch__", folder) == {"Rembrandt"}
    assert _expansions("__deep/fruit__", folder) == {"fig"}
    assert _expansions("__shapes__", folder) == {"circle", "7", "square"}


def test_wildcards_refer_to_wildcards(folder: Path) -> None:
    _write(folder, "people.txt", "__africa__\n__north_america__ {man|woman}\n")
    _write(folder, "africa.txt", "Namibian")
    _write(folder, "north_america.txt", "Cuban")
    assert _expansions("a __people__", folder) == {"a Namibian", "a Cuban man", "a Cuban woman"}


def test_several_values_of_a_wildcard_differ(folder: Path) -> None:
    _write(folder, "colour.txt", "red\ngreen\nred\nblue")
    for text, length in (("{2$$ $$__colour__}", 2), ("{2-$$ $$__colour__}", 3)):
        drawn = {tuple(text.split()) for text in _expansions(text, folder)}
        assert all(len({*words}) == len(words) for words in drawn)
        assert max(map(len, drawn)) == length


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("__colours*__", {"red", "blue"}),
        ("__animals/*__", {"fox"}),
        ("__animals/**__", {"fox", "cobra"}),
        ("__**snake*__", {"cobra"}),
        (r"__animals\mammal__", {"fox"}),
        ("__animals//mammal__", {"fox"}),
        ("__*s/mammal__", {"fox"}),
    ],
)
def test_patterns(folder: Path, pattern: str, expected: set[str]) -> None:
    _write(folder, "colours-warm.txt", "red")
    _write(folder, "colours-cold.yaml", "[blue]")
    _write(folder, "animals/mammal.txt", "fox")
    _write(folder, "animals/reptiles/snakes.txt", "cobra")
    assert _expansions(pattern, folder) == expected


def test_folders_are_used_together(tmp_path: Path) -> None:
    for name, value in (("a", "fox"), ("b", "bear")):
        _write(tmp_path / name, "animal.txt", value)
    wildcards = Wildcards([tmp_path / "a", tmp_path / "b", tmp_path / "missing"])
    assert {wildcards.expand("__animal__", seed) for seed in _SEEDS} == {"fox", "bear"}


def test_utf_16_is_read(folder: Path) -> None:
    (folder / "animal.txt").write_bytes("Füchsin\r\nBär".encode("utf-16"))
    assert _expansions("__animal__", folder) == {"Füchsin", "Bär"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_only_files_are_read(folder: Path) -> None:
    os.mkfifo(folder / "pipe.txt")
    (folder / "folder.txt").mkdir()
    (folder / "gone.yaml").symlink_to("missing.yaml")
    _write(folder, ".hidden.txt", "bear")
    _write(folder, "animal.txt", "fox")
    assert _expansions("__*__", folder) == {"fox"}


# --- faults ---


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a {red|blue fox", "The prompt, character 3: this brace is not closed: {red|blue fox"),
        ("a {red|{blue} fox", "The prompt, character 3: this brace is not closed: {red|{blue} fox"),
        ("a {2$$red", "The prompt, character 3: this brace is not closed: {2$$red"),
        ("{0::a|0::b}", "The prompt, character 1: every option has the weight 0: {0::a|0::b}"),
        ("{3-1$$a|b}", "The prompt, character 1: the range 3-1 ends before it begins: {3-1$$a|b}"),
        ("a __animl__", "character 3: unknown wildcard '__animl__'. Did you mean 'animal'?"),
        ("{a|__animals/*__}", "The prompt, character 4: unknown wildcard '__animals/*__'."),
        ("__empty__", "The wildcard '__empty__' has no value: "),
        ("__broken__", "broken.txt, line 2: this brace is not closed: {x|y"),
        ("__unknown__", "unknown.txt, line 1: unknown wildcard '__nothing__'."),
        ("__weightless__", "weightless.txt, line 1: every value has the weight 0."),
        ("__circle/a__", "refer to each other in a circle: circle/a → circle/b → circle/a."),
        ("__self*__", "self.txt, line 1: wildcards refer to each other in a circle: self → self."),
        ("__latin__", "latin.txt is not text in UTF-8 or UTF-16"),
        ("__a*a*a*a*a*b__", "The prompt, character 1: a wildcard has at most 4 stars."),
        ("__animals/../../secret__", "The prompt, character 1: unknown wildcard"),
    ],
)  # fmt: skip
def test_faults_are_sentences_with_their_place(folder: Path, text: str, message: str) -> None:
    for name, content in {
        "animal": "fox",
        "empty": "# nothing\n\n",
        "broken": "fox\n{x|y\n",
        "unknown": "__nothing__",
        "weightless": "0::a\n0::b",
        "circle/a": "__circle/b__",
        "circle/b": "x {y|__circle/a__}",
        "self": "__self*__",
    }.items():
        _write(folder, f"{name}.txt", content)
    (folder / "latin.txt").write_bytes(b"f\xfcchsin")
    _write(folder.parent, "secret.txt", "a secret")
    wildcards = Wildcards([folder])
    with pytest.raises(RequestError) as error:
        wildcards.expand(text, 7)
    assert message in error.value.message
    with pytest.raises(RequestError):
        wildcards.count(text)


def test_a_broken_yaml_file_fails_only_what_needs_it(folder: Path) -> None:
    _write(folder, "animal.txt", "fox")
    _write(folder, "broken.yaml", "fruit: [apple")
    assert _expansions("__animal__", folder) == {"fox"}
    with pytest.raises(RequestError, match=r"broken\.yaml is not valid YAML"):
        Wildcards([folder]).expand("__fruit__", 7)


def test_without_folders_the_error_says_where_wildcards_are_looked_for() -> None:
    with pytest.raises(RequestError) as error:
        Wildcards().expand("__animal__", 7)
    assert "wildcard_dirs" in error.value.remedy


def test_nesting_is_bounded(folder: Path) -> None:
    deep = "{a|" * (MAX_DEPTH + 1) + "}" * (MAX_DEPTH + 1)
    with pytest.raises(RequestError, match="nested more than 20 deep"):
        Wildcards().expand(deep, 7)
    for number in range(40):
        _write(folder, f"w{number}.txt", f"__w{number + 1}__")
    _write(folder, "w40.txt", "fox")
    wildcards = Wildcards([folder])
    assert wildcards.expand("__w21__", 7) == "fox"
    for text in ("__w20__", "__w0__"):  # what is read already counts too
        with pytest.raises(RequestError, match="nested more than 20 deep"):
            wildcards.expand(text, 7)


def test_explosions_are_refused(folder: Path) -> None:
    for number in range(15):
        _write(folder, f"w{number}.txt", f"__w{number + 1}__ __w{number + 1}__")
    _write(folder, "w15.txt", "fox\nbear")
    wildcards = Wildcards([folder])
    with pytest.raises(RequestError, match=r"needs more than 1,000 choices"):
        wildcards.expand("__w0__", 7)
    with pytest.raises(RequestError, match=rf"more than {MAX_COMBINATIONS:,} combinations"):
        list(wildcards.combinations("__w0__"))
    _write(folder, "long.txt", "x" * 10_000)
    with pytest.raises(RequestError, match="more than 1,000,000 characters"):
        Wildcards([folder]).expand("__long__ " * 200, 7)


# --- combinations ---


@pytest.mark.parametrize(
    "text",
    [
        "{a|b} {c|d|e}",
        "{2$$a|b|c} {d|e}",
        "{1-3$$ $$a|b|{c|d}}",
        "{0-2$$a|{b|{c|d}}|e}",
        "{-$$a|b}",
        "a",
        "{3$$__colour__} {2-$$__colour__|x}",
        "{8$$a|b}",
    ],
)
def test_combinations_are_counted_beforehand(folder: Path, text: str) -> None:
    _write(folder, "colour.txt", "red\n{light|dark} blue\ngreen")
    wildcards = Wildcards([folder])
    combinations = list(wildcards.combinations(text))
    assert wildcards.count(text) == len(combinations) == len({*combinations})


def test_combinations_change_the_last_wildcard_fastest() -> None:
    expected = ["a c", "a d", "b c", "b d"]
    assert list(Wildcards().combinations("{a|b} {c|d}")) == expected


@pytest.mark.parametrize(
    "text",
    ["{a|b}" * 17, "{9$$" + "|".join("abcdefghij") + "}", "{1-$$__many__}", "{2$$__many__}"],
)
def test_too_many_combinations_are_refused_at_once(folder: Path, text: str) -> None:
    _write(folder, "many.txt", "\n".join(map(str, range(50_000))))
    with pytest.raises(RequestError, match=r"more than 100,000 combinations"):
        list(Wildcards([folder]).combinations(text))


def test_a_fault_of_the_negative_prompt_says_so() -> None:
    with pytest.raises(RequestError, match=r"^The negative prompt, character 3: this brace"):
        Wildcards().changes("a {b|c", "negative")
