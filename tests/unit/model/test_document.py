"""YAML 1.2 trees: what scalars mean, where values stand, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rumpel.errors import ModelError
from rumpel.model.document import Mapping, Scalar, Sequence, core_value, parse_document, read_document

FILE = Path("f.yaml")


def parse(text: str) -> Mapping:
    return parse_document(text.encode(), FILE)


def words(text: str) -> str:
    with pytest.raises(ModelError) as caught:
        parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("Yes", "Yes"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("0755", 755),
        ("0o755", 0o755),
        ("0x1F", 31),
        ("-12", -12),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("+", "+"),
        ("=", "="),
        ("<<", "<<"),
        ("0b11", "0b11"),
        ("9" * 40, float("9" * 40)),
    ],
)
def test_plain_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    found = core_value(text)
    assert (type(found), found) == (type(value), value)


def test_quoted_scalars_are_text() -> None:
    entries = parse("a: '1'\nb: \"true\"\nc: |\n  5\n").entries
    assert [entry.value.value for entry in entries.values() if isinstance(entry.value, Scalar)] == [
        "1",
        "true",
        "5\n",
    ]


def test_every_key_and_value_knows_its_line_and_column() -> None:
    root = parse("a: 1\nlist:\n  - x\n  - {k: v}\n")
    assert str(root.entries["list"].location) == "f.yaml:2:1"
    items = root.get("list")
    assert isinstance(items, Sequence)
    assert [str(item.location) for item in items.items] == ["f.yaml:3:5", "f.yaml:4:5"]
    inner = items.items[1]
    assert isinstance(inner, Mapping)
    assert str(inner.entries["k"].value.location) == "f.yaml:4:9"


def test_aliases_stand_for_their_anchor() -> None:
    root = parse("a: &x {k: 1}\nb: *x\n")
    assert root.get("a") is root.get("b")


def test_all_duplicate_keys_of_a_file_are_told_at_once() -> None:
    assert words("a: 1\nb: {c: 1, c: 2}\na: 2\n") == (
        "f.yaml:2:11: the key 'c' is given twice; first on line 2. Keep one of them.\n"
        "f.yaml:3:1: the key 'a' is given twice; first on line 1. Keep one of them."
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: [1, 2\nb: 3\n",
            "f.yaml:2:2: this is not valid YAML, near 'b: 3': did not find expected ',' or ']' while parsing a flow "
            "sequence that starts on line 1.",
        ),
        ("a: 1\n\tb: 2\n", "f.yaml:2:1: a tab stands where YAML expects spaces. Indent with spaces."),
        (
            "a: b: c\n",
            "f.yaml:1:5: this is not valid YAML, near 'a: b: c': mapping values are not allowed in this context.",
        ),
        ("- a\n- b\n", "f.yaml:1:1: the file must hold a mapping (lines of 'key: value')."),
        ("", "f.yaml: the file must hold a mapping (lines of 'key: value')."),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document starts here; a file must hold one."),
        ("a: !!python/name:os.system x\n", "f.yaml:1:4: the tag '!!python/name:os.system' is not allowed. Remove it."),
        ("a: *b\n", "f.yaml:1:4: the alias '*b' has no anchor '&b' before it."),
        ("a: &a [*a]\n", "f.yaml:1:8: the alias '*a' stands inside its own anchor."),
        ("? [a]\n: 1\n", "f.yaml:1:3: a key must be a single word, not a list or a mapping."),
        ("a: \x01\n", "f.yaml:1:4: this is not valid YAML: control characters are not allowed."),
    ],
)
def test_unusable_yaml_is_told_with_its_place(text: str, message: str) -> None:
    assert words(text) == message


def test_aliases_cannot_unfold_without_bound() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert words("\n".join(lines)).endswith("the file unfolds to more than 20000 values here.")


def test_nesting_is_bounded() -> None:
    assert words("[" * 5000) == "f.yaml:1:34: the file is nested more than 32 levels deep here."


def test_a_file_that_is_not_utf_8_is_told_with_the_bad_byte_s_place() -> None:
    with pytest.raises(ModelError) as caught:
        parse_document(b"a: 1\nb: \xff\n", FILE)
    assert str(caught.value) == "f.yaml:2:4: the file is not UTF-8 text here."


def test_a_file_that_is_too_large_is_refused() -> None:
    assert words("a: " + "x" * 300_000) == "f.yaml: the file has 300003 bytes; at most 262144 are read."


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as caught:
        read_document(tmp_path / "gone.yaml")
    assert str(caught.value) == "gone.yaml: the file cannot be read: No such file or directory."


@given(st.text(max_size=60) | st.text(alphabet="ab:-[]{}&*!|>'\"#%@, \n\t?", max_size=60))
def test_any_text_gives_a_tree_or_a_model_error(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    try:
        parse_document(data, FILE)
    except ModelError as error:
        assert all(problem.location.path == FILE for problem in error.problems)
