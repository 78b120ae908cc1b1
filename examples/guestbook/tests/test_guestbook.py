"""The guestbook keeps what visitors wrote, whatever happens to its machine."""

import pytest

import rumpel

on_both = pytest.mark.composition("guestbook", machine=["microvm", "q35"])


def sql(vm, statement):
    answer = vm.http().post("/api/query", json={"sql": statement})
    return answer.status_code, answer.json()


@pytest.fixture
def book(vm):
    assert sql(vm, "create table visitors (name text not null)")[0] == 200
    return vm


@on_both
def test_a_visitor_is_remembered(book):
    sql(book, "insert into visitors values ('Ada')")
    assert sql(book, "select name from visitors")[1]["rows"] == [["Ada"]]


@on_both
def test_every_test_begins_with_an_empty_book(book):
    assert sql(book, "select count(*) from visitors")[1]["rows"] == [[0]]


@on_both
def test_a_visitor_survives_a_power_cut(book):
    sql(book, "insert into visitors values ('Grace')")
    book.faults.power_cut()
    with pytest.raises(rumpel.MachineError):
        book.wait(lambda: False)
    book.power_on()
    assert sql(book, "select name from visitors")[1]["rows"] == [["Grace"]]


@on_both
def test_a_visitor_is_told_that_the_disk_is_full(book):
    book.faults.disk_full()
    status, answer = sql(book, "insert into visitors values ('Alan')")
    assert (status, answer["error"]["message"]) == (500, "disk I/O error")


def test_the_page_is_the_projects_own(boot):
    assert "<h1>Visitors</h1>" in boot("visitors").http().get("/").text
