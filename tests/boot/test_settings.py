"""What a start is given reaches the guest, changes no image, and stays secret where it is one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from rumpel.machine.registry import console_log, instance_directory

pytestmark = pytest.mark.boot

ROOT = Path(__file__).resolve().parents[2]
SECRET = "correct horse battery staple\nsecond line"


@pytest.fixture(scope="session")
def look(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the program `look`, which says what its start gave it."""
    folder = tmp_path_factory.mktemp("look") / "project"
    shutil.copytree(Path(__file__).parent / "look", folder)
    return folder


def rumpel(*words: str, project: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-m", "rumpel", "--project", str(project), *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=280, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


def run(project: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return rumpel("run", "look", "--accel", "tcg", *words, project=project, **environment)


def checksum(content: bytes) -> int:
    """As the program `look` computes it."""
    total = 0
    for byte in content:
        total = (total * 31 + byte) & 0xFFFFFFFF
    return total


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_setting_reaches_the_program_and_no_file_of_the_image_changes(look: Path, tmp_path: Path) -> None:
    assert rumpel("build", "look", project=look).returncode == 0
    image = look / "build/look/debian-microvm"
    before = digests(image)
    assert {"kernel", "rootfs.cpio", "manifest.json", "plan.json"} <= before.keys()
    variables = tmp_path / "variables"
    variables.write_text("# the limits\n\nLIMIT=1\nGREETING=a = b # c \nINHERITED\n")
    done = run(
        look, "-e", "LIMIT=50", "-e", "OWN", "--env-file", str(variables), "--hostname", "box.example", "--cpus", "2",
        "--memory", "96M", "--", "--flag", "two words", "",
        OWN="here", INHERITED="from the caller",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.replace("\r", "").splitlines()
    said = [line for line in lines if line.startswith(("argument", "environment", "host", "no secrets", "volume"))]
    assert said[:3] == ["argument --flag", "argument two words", "argument "]
    assert {
        "environment LIMIT=50", "environment OWN=here", "environment GREETING=a = b # c ",
        "environment INHERITED=from the caller",
    } <= set(said)  # fmt: skip
    assert said[-3:] == ["host box.example", "no secrets", "volume written"]
    assert digests(image) == before


def test_a_web_service_takes_its_settings_at_start_and_answers(tmp_path: Path) -> None:
    # A folder of its own: another test may build sqlite-web meanwhile, and be asked for it in other words.
    (tmp_path / "compositions").mkdir()
    (tmp_path / "compositions/service.yaml").write_text("schema: 1\nname: service\nextends: sqlite-web\n")
    assert rumpel("build", "service", project=tmp_path).returncode == 0
    image = tmp_path / "build/service/debian-microvm"
    before = digests(image)
    done = rumpel(
        "run", "service", "-d", "--json", "--accel", "tcg", "-e", "LIMIT=50", "-p", "0:http", "--memory", "88M",
        "--address", "192.168.77.9/24,192.168.77.1,192.168.77.3", project=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    url = json.loads(done.stdout)["urls"]["http"]
    body = json.dumps(
        {"sql": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<99) SELECT i FROM n"}
    )
    request = urllib.request.Request(f"{url}/api/query", body.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert len(json.load(answer)["rows"]) == 50
    assert rumpel("stop", "service").returncode == 0
    assert digests(image) == before


def test_what_the_image_gives_by_default_can_be_taken_away(look: Path) -> None:
    assert "argument default" in run(look).stdout
    done = run(look, "--no-arguments", "--no-volume", "data")
    assert done.returncode == 0, done.stderr
    assert "argument" not in done.stdout
    assert "volume not written: " in done.stdout


@pytest.fixture
def waiting(look: Path, tmp_path: Path) -> Iterator[dict[str, object]]:
    """A detached machine that waits, with a secret that was read from a file."""
    secret = tmp_path / "token"
    secret.write_text(SECRET)
    done = run(look, "-d", "--json", "--secret", f"token={secret}", "--secret", f"other={secret}", "--", "wait")
    assert done.returncode == 0, done.stderr
    yield json.loads(done.stdout)
    rumpel("stop", "look")


def processes_with(text: bytes) -> list[str]:
    """The processes in whose command line or environment `text` stands."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                if text in (folder / name).read_bytes():
                    found.append(f"{folder.name}/{name}")
            except OSError:
                continue
    return found


def test_a_secret_is_a_file_in_the_guest_and_in_no_command_line_environment_or_file_of_the_host(
    waiting: dict[str, object], own_state: Path, tmp_path: Path
) -> None:
    expected = f"mode 400 size {len(SECRET)} sum {checksum(SECRET.encode())}"
    console = console_log("look").read_text()
    assert "secrets mode 700\n" in console
    assert f"secret token {expected}\n" in console and f"secret other {expected}\n" in console
    qemu = Path(f"/proc/{waiting['qemu']}/cmdline").read_bytes()
    assert b"opt/rumpel/settings" in qemu  # it is the machine's QEMU that is looked at
    needle = SECRET.split("\n")[0].encode()
    assert processes_with(needle) == []
    settings = instance_directory("look") / "settings"
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600
    assert b"arg=wait\0" in settings.read_bytes()
    holding = [path for path in own_state.rglob("*") if path.is_file() and needle in path.read_bytes()]
    assert holding == []


def test_a_read_only_volume_is_not_written_and_is_shared(look: Path, tmp_path: Path) -> None:
    shared = tmp_path / "shared.ext4"
    assert rumpel("volume", "create", str(shared), "--size", "8M").returncode == 0
    before = hashlib.sha256(shared.read_bytes()).hexdigest()
    try:
        first = run(look, "-d", "--name", "one", "--volume", f"data={shared}:ro", "--", "wait")
        assert first.returncode == 0, first.stderr
        second = run(look, "--name", "two", "--volume", f"data={shared}:ro")
        assert second.returncode == 0, second.stderr
        assert "volume not written: Read-only file system" in second.stdout
        writer = run(look, "--name", "three", "--volume", f"data={shared}")
        assert (writer.returncode, writer.stderr.splitlines()[-2:]) == (4, [
            f"rumpel: The volume 'data' is in use by another instance: {shared}.",
            "Stop that instance ('rumpel ps' lists what runs); nothing was changed.",
        ])  # fmt: skip
    finally:
        rumpel("stop", "one")
    assert hashlib.sha256(shared.read_bytes()).hexdigest() == before


def test_a_volume_grows_before_the_start_and_keeps_what_is_in_it(look: Path, tmp_path: Path) -> None:
    assert run(look).returncode == 0
    grown = run(look, "--volume-size", "data=12M")
    assert grown.returncode == 0, grown.stderr
    assert "The volume 'data' was made larger: 8 MiB -> 12 MiB.\n" in grown.stderr
    assert rumpel("volume", "copy-out", "look/data", "/mark", str(tmp_path)).returncode == 0
    assert (tmp_path / "mark").read_text() == "mark\nmark\n"
    smaller = run(look, "--volume-size", "data=10M")
    assert smaller.returncode == 4
    assert "The volume 'data' has 12 MiB; a volume is not made smaller, such as to 10 MiB." in smaller.stderr


def test_no_command_touches_a_volume_that_a_machine_writes(look: Path, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_text("x")
    assert run(look, "-d", "--", "wait").returncode == 0
    try:
        [row] = json.loads(rumpel("volume", "ls", "--json").stdout)
        assert (row["name"], row["in_use"]) == ("look/data", True)
        said = (
            f"rumpel: The volume 'look/data' is in use by another instance: {row['path']}.\n"
            "Stop that instance ('rumpel ps' lists what runs); nothing was changed.\n"
        )
        for words in (
            ["inspect", "look/data"], ["copy-in", "look/data", str(source)],
            ["copy-out", "look/data", "/mark", str(tmp_path)], ["grow", "look/data", "64M"],
            ["rm", "--yes", "look/data"],
        ):  # fmt: skip
            done = rumpel("volume", *words)
            assert (done.returncode, done.stderr) == (4, said), words
        assert not (tmp_path / "mark").exists()
    finally:
        rumpel("stop", "look")
    [row] = json.loads(rumpel("volume", "ls", "--json").stdout)
    assert row["in_use"] is False
    assert rumpel("volume", "rm", "--yes", "look/data").returncode == 0


def test_memory_that_the_image_does_not_fit_into_is_refused_before_the_boot(own_state: Path) -> None:
    assert rumpel("build", "hello").returncode == 0
    done = rumpel("run", "hello", "--memory", "16M", "--accel", "tcg")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(
        "rumpel: 16M is too little for 'hello': the kernel 'debian' takes 70M.\n"
        "Give it at least 72M, with '--memory 72M' or by the composition's 'memory'.\n"
    )
    assert not (own_state / "instances").exists()
    assert rumpel("run", "hello", "--memory", "72M", "--accel", "tcg").returncode == 0
