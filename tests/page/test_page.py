"""The database's page in a real browser: what a person does with the keyboard alone, on wide and narrow screens."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "host/web")]

from native import Server, image_program, running
from webdriver import CONTROL, DELETE, DOWN, ENTER, ESCAPE, RIGHT, TAB, Browser

SCHEMA = (
    "CREATE TABLE planets(id INTEGER PRIMARY KEY, name TEXT NOT NULL, radius REAL, moons INTEGER, discovered TEXT);"
    "CREATE TABLE missions(id INTEGER PRIMARY KEY, planet INTEGER REFERENCES planets(id), name TEXT NOT NULL);"
    "CREATE VIEW giants AS SELECT name, radius FROM planets WHERE radius > 20000"
)
PLANETS = [
    ("Mercury", 2439.7, 0, None),
    ("Venus", 6051.8, 0, None),
    ("Earth", 6371.0, 1, None),
    ("Mars", 3389.5, 2, None),
    ("Jupiter", 69911.0, 95, "antiquity"),
    ("Saturn", 58232.0, 146, "antiquity"),
    ("Uranus", 25362.0, 28, "1781-03-13"),
    ("Neptune", 24622.0, 16, "1846-09-23"),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(image_program("sqlite-web"), tmp_path, DATABASE=str(tmp_path / "page.db")) as server:
        insert = "INSERT INTO planets(name, radius, moons, discovered) VALUES (?, ?, ?, ?)"
        statements = [{"sql": SCHEMA}, *({"sql": insert, "parameters": list(row)} for row in PLANETS)]
        missions = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 120) "
        missions += "INSERT INTO missions SELECT x, x % 7 + 2, 'Mission ' || x FROM c"
        with server.client() as client:
            client.post("/api/transaction", json={"statements": [*statements, {"sql": missions}]}).raise_for_status()
        yield server


def rows(server: Server, sql: str) -> list[list[object]]:
    with server.client() as client:
        found: list[list[object]] = client.post("/api/query", json={"sql": sql}).json()["rows"]
    return found


def open_table(browser: Browser, server: Server, name: str) -> None:
    """Choose a table by keyboard: 't' goes to the list."""
    browser.open(server.url)
    browser.wait_text("#tables", name)
    browser.wait_text("#grid", "Jupiter")
    browser.press("t")
    for _ in range(5):
        if browser.focused().startswith(name):
            break
        browser.press(TAB)
    browser.press(ENTER)
    browser.wait_text("#title", name)


def test_a_row_is_inserted_by_keyboard_alone(server: Server) -> None:
    with Browser() as browser:
        open_table(browser, server, "planets")
        browser.wait_text("#grid", "Neptune")
        browser.press("n")
        browser.wait_text("#insert-title", "Insert into planets")
        browser.press(TAB, "Pluto", TAB, "1188.3", TAB, "5", ENTER)
        browser.wait_text("#grid", "Pluto")
        assert browser.focused() == "9"
        assert rows(server, "SELECT * FROM planets WHERE name = 'Pluto'") == [[9, "Pluto", 1188.3, 5, None]]
        assert browser.messages() == []


def test_a_cell_is_edited_set_to_null_and_left_alone_by_keyboard(server: Server) -> None:
    with Browser() as browser:
        open_table(browser, server, "planets")
        browser.wait_text("#grid", "Neptune")
        browser.script("document.querySelector('#grid td').focus()")
        browser.press(DOWN, DOWN, RIGHT)
        assert browser.focused() == "Earth"
        browser.press(ENTER, "Terra", ENTER)
        browser.wait_text("#grid", "Terra")
        browser.wait(lambda: browser.focused() == "Terra", "the focus stays on the cell")
        browser.press(ENTER, "nothing", ESCAPE)
        assert browser.focused() == "Terra"
        browser.press(RIGHT, ENTER)
        browser.press("0", held=CONTROL)
        browser.wait(lambda: rows(server, "SELECT name, radius FROM planets WHERE id = 3") == [["Terra", None]], "NULL")
        assert browser.messages() == []


def test_a_text_of_several_lines_keeps_them_when_its_cell_is_opened_and_edited(server: Server) -> None:
    text = "UPDATE planets SET discovered = CASE id WHEN 1 THEN ? WHEN 2 THEN ? ELSE discovered END"
    with server.client() as client:
        client.post("/api/query", json={"sql": text, "parameters": ["one\ntwo", "a\r\nb"]}).raise_for_status()
    with Browser() as browser:
        open_table(browser, server, "planets")
        browser.wait_text("#grid", "two")
        browser.script("document.querySelectorAll('#grid tbody tr')[0].cells[4].focus()")
        browser.press(ENTER, ENTER)
        assert browser.focused() == "one\ntwo"
        assert rows(server, "SELECT discovered FROM planets WHERE id = 1") == [["one\ntwo"]]
        browser.press(ENTER)
        browser.script("const field = document.activeElement; field.setSelectionRange(3, 3)")
        browser.press("!", ENTER)
        browser.wait_text("#toast", "Saved.")
        browser.script("document.querySelectorAll('#grid tbody tr')[1].cells[4].focus()")
        browser.press(ENTER)
        browser.wait_text("#toast", "change it by a query")
    kept = rows(server, "SELECT discovered FROM planets WHERE id IN (1, 2) ORDER BY id")
    assert kept == [["one!\ntwo"], ["a\r\nb"]]


def test_a_query_runs_where_the_browser_keeps_no_history(server: Server) -> None:
    with Browser() as browser:
        open_table(browser, server, "planets")
        browser.script("Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }")
        browser.press("q", "SELECT name FROM planets WHERE moons > 90")
        browser.press(ENTER, held=CONTROL)
        browser.wait_text("#results", "Saturn")


def test_a_deleted_row_comes_back_when_undone(server: Server) -> None:
    with Browser() as browser:
        open_table(browser, server, "planets")
        browser.wait_text("#grid", "Neptune")
        browser.script("document.querySelector('#grid td').focus()")
        before = rows(server, "SELECT * FROM planets")
        browser.press(DELETE)
        browser.wait_text("#toast", "Row deleted.")
        assert len(rows(server, "SELECT * FROM planets")) == 7
        browser.script("document.querySelector('#toast button').focus()")
        browser.press(ENTER)
        browser.wait_text("#toast", "Row restored.")
        assert rows(server, "SELECT * FROM planets") == before


def test_rows_are_sorted_and_paged(server: Server) -> None:
    with Browser() as browser:
        open_table(browser, server, "missions")
        browser.wait_text("#range", "1\u201350")
        browser.press("]")
        browser.wait_text("#range", "51\u2013100")
        browser.press("]")
        browser.wait_text("#range", "101\u2013120")
        browser.script("document.querySelector('#grid th').focus()")
        browser.press(ENTER)
        browser.wait_text("#range", "1\u201350")
        browser.press(ENTER)
        browser.wait_text("#grid tbody tr", "120")


def test_a_query_runs_and_a_wrong_one_shows_its_place(server: Server) -> None:
    with Browser() as browser:
        open_table(browser, server, "planets")
        browser.press("q", "SELECT name\nFORM planets")
        browser.press(ENTER, held=CONTROL)
        browser.wait_text("#sql-error", 'Line 2, column 6: near "planets": syntax error')
        selected = "const s = document.getElementById('sql'); return s.value.slice(s.selectionStart, s.selectionEnd)"
        assert browser.script(selected) == "planets"
        browser.press("a", held=CONTROL)
        browser.press("SELECT name FROM planets WHERE moons > 90")
        browser.press(ENTER, held=CONTROL)
        browser.wait_text("#results", "Saturn")
        assert browser.text("#sql-error") == ""


def test_a_query_that_is_written_while_a_table_loads_stays_in_sight(server: Server) -> None:
    with Browser() as browser:
        browser.open(server.url)
        browser.wait_text("#grid", "Jupiter")
        browser.script(
            "const ask = window.fetch; window.fetch = async (...words) => { const answer = await ask(...words); "
            "if (String(words[0]).includes('/rows')) await new Promise((go) => { window.load = go; }); return answer; }"
        )
        browser.script("document.querySelector('#tables [data-name=missions]').click()")
        browser.wait(lambda: browser.script("return window.load !== undefined"), "the rows are asked for")
        browser.press("q", "SELECT 'here'")
        browser.script("window.load()")
        loaded = "return document.getElementById('range').textContent === '1\u201350'"
        browser.wait(lambda: browser.script(loaded), "the rows are there")
        browser.press(ENTER, held=CONTROL)
        browser.wait_text("#results", "here")


def test_what_the_database_holds_is_never_read_as_html(server: Server) -> None:
    evil = "<img src=x onerror='window.hacked=1'>"
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        client.post("/api/query", json={"sql": f'CREATE TABLE "{evil}"("{evil}" TEXT)'}).raise_for_status()
        client.post(
            "/api/query", json={"sql": f'INSERT INTO "{evil}" VALUES (?)', "parameters": [evil]}
        ).raise_for_status()
    with Browser() as browser:
        browser.open(server.url)
        browser.wait_text("#title", evil)
        browser.wait_text("#grid td", evil)
        assert browser.script("return window.hacked ?? document.querySelectorAll('#grid img, nav img').length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(
    server: Server, width: int, scheme: str, checkout: Path, tmp_path: Path
) -> None:
    with Browser(width, 800, scheme=scheme) as browser:
        open_table(browser, server, "planets")
        browser.wait_text("#grid", "Neptune")
        assert browser.script("return document.documentElement.scrollWidth") == width
        browser.press("q")
        assert browser.script("return document.documentElement.scrollWidth") == width
        browser.screenshot(tmp_path / "query.png")
        assert (tmp_path / "query.png").read_bytes().startswith(b"\x89PNG")
        assert browser.messages() == []
