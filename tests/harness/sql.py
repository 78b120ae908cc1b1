"""A few statements for the database under test."""

from __future__ import annotations

import httpx

from rumpel.harness.vm import Vm


def sql(vm: Vm, statement: str) -> httpx.Response:
    return vm.http().post("/api/query", json={"sql": statement})


def prepare(vm: Vm) -> None:
    answer = sql(vm, "create table t (x)")
    assert answer.status_code == 200, answer.text


def insert(vm: Vm, *, create: bool = False) -> None:
    if create:
        prepare(vm)
    answer = sql(vm, "insert into t values (1)")
    assert answer.status_code == 200, answer.text


def count(vm: Vm) -> int:
    answer = sql(vm, "select count(*) from t")
    assert answer.status_code == 200, answer.text
    return int(answer.json()["rows"][0][0])
