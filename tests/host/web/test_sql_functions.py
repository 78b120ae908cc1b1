"""SQLite's functions that would run past every deadline: what the API puts in their place gives the same results."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from native import Server
from test_sql_api import error, post, query

VALUES = (
    "NULL", "''", "x''", "0", "-12.5", "'a'", "'aa'", "'abcabc'", "'c'", "'bca'", "x'6263'", "x'c3'", "x'bc'",
    "'ü'", "'ü€ü€😀'", "'€'", "'€ü'", "'😀'", "' a '", "' '", "'12.5'", "'1'", "'aaaab'", "'aab'", "zeroblob(3)",
    "x'00'", "CAST(x'bc61' AS TEXT)", "CAST(x'bc' AS TEXT)", "CAST(x'61bc62' AS TEXT)", "CAST(x'c3' AS TEXT)",
    "CAST(x'6100620063' AS TEXT)", "CAST(x'00' AS TEXT)", "CAST(x'620063' AS TEXT)", "CAST(x'c3bcbcbc' AS TEXT)",
)  # fmt: skip
COUNTS = {"image": 1_000_000, "sanitized": 40_000}
"""How many letters a long text has: the sanitizers look at each byte that is searched, some twenty times slower."""


@pytest.fixture
def long_call(variant: str) -> Callable[[str], str]:
    """A call with LETTERS and HALF in it made into one with texts of `COUNTS` and half of it."""
    letters = f"replace(hex(zeroblob({COUNTS[variant] // 2})), '0', 'a')"
    other = f"replace(hex(zeroblob({COUNTS[variant] // 5 * 2})), '0', 'b')"
    half = f"substr({letters}, 1, {COUNTS[variant] // 2})"
    return lambda call: call.replace("LETTERS", letters).replace("HALF", half).replace("OTHER", other)


def _agree(server: Server, calls: list[str]) -> None:
    """The API's answers to calls of functions are those of an SQLite without any change."""
    plain = sqlite3.connect(":memory:")
    for piece in (calls[at : at + 200] for at in range(0, len(calls), 200)):
        sql = "SELECT " + ", ".join(f"typeof({call}) || ' ' || hex({call})" for call in piece)
        expected = list(plain.execute(sql).fetchone())
        for call, want, got in zip(piece, expected, query(server, sql)["rows"][0], strict=True):
            assert got == want, call


@pytest.mark.parametrize("function", ["instr", "trim", "ltrim", "rtrim"])
def test_a_function_of_two_texts_gives_what_sqlite_gives(sql: Server, function: str) -> None:
    _agree(sql, [f"{function}({a}, {b})" for a, b in itertools.product(VALUES, VALUES)])


def test_replace_gives_what_sqlite_gives(sql: Server) -> None:
    with_those = ("NULL", "''", "'x'", "'ü€'", "x'c3'", "7")
    starts_with_nul = {"x'00'", "zeroblob(3)", "CAST(x'00' AS TEXT)", "''", "x''"}  # versions differ in the type
    patterns = [value for value in VALUES if value not in starts_with_nul]
    _agree(sql, [f"replace({a}, {b}, {c})" for a, b, c in itertools.product(VALUES, patterns, with_those)])
    assert query(sql, "SELECT replace('abc', '', 'x'), replace('abc', x'', 'x')")["rows"] == [["abc", "abc"]]


def test_json_patch_gives_what_sqlite_gives(sql: Server) -> None:
    documents = ("NULL", "'{}'", '\'{"a":1,"b":{"c":[1,2]}}\'', '\'{"b":{"c":null},"d":"ü"}\'', "'[1]'", "'3'")
    _agree(sql, [f"json_patch({a}, {b})" for a, b in itertools.product(documents, documents)])
    nested = query(sql, """SELECT json_array(json_patch('{"a":1}', '{"b":2}'))""")
    assert nested["rows"] == [['[{"a":1,"b":2}]']]
    assert error(post(sql, "/query", {"sql": "SELECT json_patch('{', '{}')"}), 400)["message"] == "malformed JSON"


def test_a_replacement_that_grows_beyond_a_values_limit_is_413(sql: Server, long_call: Callable[[str], str]) -> None:
    call = long_call("length(replace(LETTERS, 'a', ?))")
    wrong = error(post(sql, "/query", {"sql": f"SELECT {call}", "parameters": ["1" * 300]}), 413)
    assert (wrong["code"], wrong["message"]) == ("too_large", "string or blob too big")


def test_the_functions_may_stand_in_an_index_and_in_a_generated_column(sql: Server) -> None:
    query(sql, "CREATE TABLE t(a, b AS (replace(a, 'x', 'y')), c AS (trim(a, '-')))")
    query(sql, "CREATE INDEX i ON t(instr(a, 'x'))")
    query(sql, "INSERT INTO t(a) VALUES ('-x-')")
    assert query(sql, "SELECT b, c FROM t WHERE instr(a, 'x') = 2")["rows"] == [["-y-", "x"]]


@pytest.mark.parametrize(
    "call",
    [
        "instr(zeroblob(1000000), zeroblob(500000) || x'01')",
        "instr(LETTERS, HALF || 'b')",
        "length(replace(LETTERS, HALF || 'b', ''))",
        "length(replace(LETTERS, 'a', 'b'))",
    ],
)
def test_a_search_ends_before_the_deadline_of_a_statement(
    sql: Server, long_call: Callable[[str], str], call: str
) -> None:
    query(sql, f"SELECT {long_call(call)}")


@pytest.mark.parametrize(
    "call",
    [
        "trim(LETTERS, OTHER || 'a')",
        "rtrim(LETTERS, OTHER || 'a')",
    ],
)
def test_a_long_function_ends_at_the_deadline(
    start: Callable[..., Server], sql_program: Any, tmp_path: Any, long_call: Callable[[str], str], call: str
) -> None:
    server = start(sql_program, DATABASE=str(tmp_path / "test.db"), STATEMENT_TIMEOUT="500")
    wrong = error(post(server, "/query", {"sql": f"SELECT length({long_call(call)})"}), 503)
    assert (wrong["code"], wrong["message"]) == ("timeout", "The statement ran longer than 500 milliseconds.")


def test_json_patch_of_two_long_arguments_is_413(sql: Server) -> None:
    document = "(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 9000) "
    document += "SELECT json_group_object('{}' || x, x) FROM c)"
    call = f"json_patch({document.format('a')}, {document.format('b')})"
    wrong = error(post(sql, "/query", {"sql": f"SELECT length({call})"}), 413)
    assert (wrong["code"], wrong["message"]) == ("too_large", "the arguments of json_patch() are too long")


def test_a_pattern_of_like_and_glob_may_have_100_bytes(sql: Server) -> None:
    assert query(sql, "SELECT ? LIKE ?", ["a" * 300, "a" * 99 + "%"])["rows"] == [[1]]
    for operator in ("LIKE", "GLOB"):
        wrong = error(post(sql, "/query", {"sql": f"SELECT 'a' {operator} ?", "parameters": ["a" * 101]}), 400)
        assert wrong["message"] == "LIKE or GLOB pattern too complex"
