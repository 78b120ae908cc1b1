"""The command line as a person or a program uses it: words, statuses, JSON, signals, pipes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

OF_THE_EMULATOR = {"qemu", "libslirp"}


def rumpel(*words: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-m", "rumpel", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
        timeout=240,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["lst"], "rumpel: There is no command 'lst'. Did you mean 'list'?\n"),
        (["xyzzy"], "rumpel: There is no command 'xyzzy'. 'rumpel --help' lists the commands.\n"),
        (["plan", "sqlite-wb"], "rumpel: there is no composition 'sqlite-wb'.\nDid you mean 'sqlite-web'?\n"),
        (["run", "helo"], "rumpel: There is no composition 'helo'.\nDid you mean 'hello'?\n"),
        (
            ["run", "hello", "-p", "http"],
            "rumpel: '-p http' is not a port.\n"
            "Write HOST:NAME, such as 8080:http; NAME is a port of the composition.\n",
        ),
        (
            ["run", "hello", "-e", "NOT_SET"],
            "rumpel: '-e NOT_SET' asks for the value that 'NOT_SET' has here, but there is no such variable.\n"
            "Set it, or write NOT_SET=VALUE.\n",
        ),
        (["run", "hello", "--memory", "much"], "rumpel: 'much' is not a size of memory.\nWrite it as 256M or 1G.\n"),
        (["plan", "hello", "--set", "x"], "rumpel: '--set x' sets nothing.\nWrite it as --set NAME=VALUE.\n"),
        (
            ["run", "hello", "--json"],
            "rumpel: '--json' needs '--detach': in the foreground the output is the console.\n",
        ),
        (
            ["stop", "hello", "--timeout", "nan"],
            "rumpel: Invalid value for '--timeout': 'nan' is not a number of seconds.\n"
            "'rumpel stop --help' shows how it is used.\n",
        ),
        (
            ["run", "hello", "--ready-timeout", "inf"],
            "rumpel: Invalid value for '--ready-timeout': inf is not in the range 0<x<=31536000.0.\n"
            "'rumpel run --help' shows how it is used.\n",
        ),
        (["stop"], "rumpel: 'rumpel stop' needs the name of a machine.\n'rumpel ps' lists what runs.\n"),
        (
            ["fetch", "nosuch"],
            re.compile(r"rumpel: There is no composition or source 'nosuch'\.\nThere are: .*sqlite-web.*\.\n"),
        ),
        (
            ["run", "nginx", "--kernel", "nano"],
            "rumpel: components/nginx/component.yaml: component 'nginx' needs 'dynamic-linking'; kernel 'nano' does "
            "not provide it; kernels that do: debian, linux.\n"
            "Choose one of them: 'kernel:' in the composition, or --kernel.\n",
        ),
        (["help", "stp"], "rumpel: There is no help on 'stp'.\nDid you mean 'stop'?\n"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_words_end_with_2_and_say_what_is_right(words: list[str], says: str | re.Pattern[str]) -> None:
    done = rumpel(*words)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    if isinstance(says, str):
        assert done.stderr == says
    else:
        assert says.fullmatch(done.stderr), done.stderr


def test_a_misspelt_option_is_answered_with_the_right_one() -> None:
    done = rumpel("run", "hello", "--kernal", "debian")
    assert done.returncode == 2
    assert done.stderr == (
        "rumpel: There is no option '--kernal'. Did you mean '--kernel'?\n'rumpel run --help' shows how it is used.\n"
    )


def test_a_folder_that_is_no_project_is_refused(tmp_path: Path) -> None:
    done = rumpel("--project", str(tmp_path), "list")
    assert done.returncode == 2
    assert done.stderr == (
        f"rumpel: '{tmp_path}' is not a project: it has no folder 'compositions'.\n"
        "A project's folder holds 'compositions/NAME.yaml'.\n"
    )


def test_the_project_is_the_nearest_folder_with_compositions_else_rumpels_own(tmp_path: Path) -> None:
    own = tmp_path / "own"
    (own / "compositions").mkdir(parents=True)
    (own / "compositions/mine.yaml").write_text(
        "schema: 1\nname: mine\nsummary: Mine\nkernel: debian\nmachine: microvm\ncomponents: [hello]\n"
    )
    below = own / "a/b"
    below.mkdir(parents=True)
    names = {each["name"] for each in json.loads(rumpel("list", "--json", cwd=below).stdout)}
    assert {"mine", "hello"} <= names
    assert "mine" not in rumpel("list", cwd=tmp_path).stdout
    assert "mine" in rumpel("list", cwd=tmp_path, RUMPEL_PROJECT=str(own)).stdout
    assert "mine" in rumpel("--project", str(own), "list", cwd=tmp_path).stdout


def test_a_composition_with_a_mistake_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "compositions").mkdir()
    (tmp_path / "compositions/bad.yaml").write_text("schema: 1\nname: bad\ncolour: red\n")
    done = rumpel("list", cwd=tmp_path)
    assert done.returncode == 2
    assert "hello" in done.stdout
    assert "bad.yaml:3:1" in done.stderr and "Traceback" not in done.stderr


def test_the_plan_is_the_same_bytes_each_time_and_explain_fits_a_terminal() -> None:
    first, second = rumpel("plan", "sqlite-web"), rumpel("plan", "sqlite-web")
    assert first.returncode == 0 and first.stdout == second.stdout
    assert json.loads(first.stdout)["composition"] == "sqlite-web"
    tree = rumpel("explain", "sqlite-web").stdout.splitlines()
    assert any("virtio-blk" in line for line in tree)
    assert max(map(len, tree)) <= 80


def test_help_fits_80_columns_and_names_every_command() -> None:
    from rumpel.cli.main import COMMANDS

    text = rumpel("--help", COLUMNS="80").stdout
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", text, re.MULTILINE), name
        page = rumpel("help", name, COLUMNS="80")
        assert page.returncode == 0, page.stderr
        assert max(map(len, page.stdout.splitlines())) <= 80, name
    assert max(map(len, text.splitlines())) <= 80


def test_help_imports_no_heavy_module() -> None:
    code = (
        "import sys; from rumpel.cli.main import main; main(['--help']);"
        "heavy = {'msgspec', 'yaml', 'elftools', 'qemu', 'asyncio', 'SCons', 'subprocess'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\n[]\n"), done.stdout[-200:]


def test_documented_exit_statuses_are_those_of_the_errors() -> None:
    import rumpel.errors as errors

    documented = set(re.findall(r"^  (\d+)  ", rumpel("help", "exit-statuses").stdout, re.MULTILINE))
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.RumpelError)]
    assert {str(kind.exit_status) for kind in kinds} <= documented
    assert {"0", "70", "130", "141"} <= documented


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -I -m rumpel plan sqlite-web | head -c 1; echo status ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout in ("{status 141\n", "{status 0\n")


def test_the_doctor_names_qemu_when_it_is_not_there(tmp_path: Path) -> None:
    done = rumpel("doctor", "--json", PATH=str(tmp_path), RUMPEL_CACHE=str(tmp_path / "cache"))
    findings = {each["name"]: each for each in json.loads(done.stdout)}
    assert done.returncode == 4
    assert findings["QEMU"] == {
        "name": "QEMU",
        "state": "missing",
        "says": "no program 'qemu-system-x86_64' on the PATH",
        "way_out": "As root: apt-get install --no-install-recommends qemu-system-x86",
    }
    assert findings["Python"]["state"] == "ok"
    assert findings["cache"]["state"] == "ok"


def test_pins_that_no_part_names_are_removed_when_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "compositions").mkdir()
    own = Path(__file__).resolve().parents[2] / "rumpel.lock"
    lock = json.loads(own.read_bytes())
    stale = {**lock["sources"][0], "name": "left-over", "version": "1.2"}
    text = json.dumps({**lock, "sources": [*lock["sources"], stale]})
    (tmp_path / "rumpel.lock").write_text(text)
    assert "left-over" in rumpel("--project", str(tmp_path), "lock").stdout
    assert (tmp_path / "rumpel.lock").read_text() == text
    done = rumpel("--project", str(tmp_path), "lock", "--prune")
    assert (done.returncode, done.stderr) == (0, "left-over: 1.2 is pinned no more; no part names it.\n")
    assert "left-over" not in done.stdout
    kept = json.loads((tmp_path / "rumpel.lock").read_bytes())["sources"]
    assert kept == [each for each in lock["sources"] if each["name"] not in OF_THE_EMULATOR]
    again = rumpel("--project", str(tmp_path), "lock", "--prune")
    assert (again.returncode, again.stderr) == (0, "A part names every pin; nothing was changed.\n")


def test_the_pins_of_rumpels_own_qemu_are_none_of_another_projects(tmp_path: Path) -> None:
    own = Path(__file__).resolve().parents[2]
    pins = {pin["name"]: pin["declared_by"] for pin in json.loads(rumpel("lock", "--json", cwd=own).stdout)}
    assert {name for name, by in pins.items() if by == ["emulator qemu"]} == OF_THE_EMULATOR
    (tmp_path / "compositions").mkdir()
    listed = json.loads(rumpel("--project", str(tmp_path), "lock", "--json").stdout)
    assert {pin["name"] for pin in listed} == set(pins) - OF_THE_EMULATOR
    done = rumpel("--project", str(tmp_path), "lock", "--update", "qemu")
    assert done.returncode != 0
    assert "'qemu'" in done.stderr
    assert rumpel("--project", str(tmp_path), "lock", "--prune").stderr == (
        "A part names every pin; nothing was changed.\n"
    )
    assert not (tmp_path / "rumpel.lock").exists()


def test_no_machine_runs_in_a_fresh_state() -> None:
    assert json.loads(rumpel("ps", "--all", "--json").stdout) == []
    assert rumpel("ps").stderr == "No machine runs.\n"
    gone = rumpel("logs", "nosuch")
    assert gone.returncode == 4
    assert gone.stderr == (
        "rumpel: There is no instance named 'nosuch'.\n'rumpel ps --all' lists what runs and what ran.\n"
    )


@pytest.mark.boot
def test_run_ends_with_the_status_of_the_program_and_prints_its_console() -> None:
    done = rumpel("run", "hello", "--set", "status=7")
    assert done.returncode == 7, done.stderr
    assert "Hello from Rumpel." in done.stdout
    assert done.stderr.endswith("The program ended with status 7.\n")
    assert "Hello" not in done.stderr


@pytest.mark.boot
def test_arguments_and_variables_reach_the_program_without_a_build() -> None:
    rumpel("build", "hello")
    done = rumpel("run", "hello", "--offline", "-e", "COLOUR=blue and green", "--", "one", "--two", "--status", "3")
    assert done.returncode == 3, done.stderr
    assert "COLOUR=blue and green" in done.stdout
    for argument in ("one", "--two"):
        assert argument in done.stdout
    assert not re.search(r"^\[ *\d+/\d+\]", done.stderr, re.MULTILINE), "something was built"


@pytest.mark.boot
@pytest.mark.parametrize(("composition", "formats"), [("hello", ["cpio"]), ("nginx", ["qcow2", "cpio"])])
def test_build_json_names_files_that_are_what_it_says(composition: str, formats: list[str]) -> None:
    import hashlib

    done = rumpel("build", composition, "--json")
    assert done.returncode == 0, done.stderr
    image = json.loads(done.stdout)
    boots = [image[name] for name in ("rootfs", "initramfs") if image[name] is not None]
    assert [file["format"] for file in boots] == formats
    for name in ("kernel", "plan", *(("rootfs", "initramfs")[: len(boots)])):
        data = Path(image[name]["path"]).read_bytes()
        assert len(data) == image[name]["size"]
        assert hashlib.sha256(data).hexdigest() == image[name]["sha256"]


@pytest.mark.boot
def test_the_printed_command_is_one_line_that_boots(tmp_path: Path) -> None:
    done = rumpel("run", "hello", "--print-command", "--accel", "tcg", "--", "pasted")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    pasted = subprocess.run(
        ["sh", "-c", done.stdout], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False
    )
    assert "Hello from Rumpel." in pasted.stdout and "pasted" in pasted.stdout
    assert json.loads(rumpel("ps", "--json").stdout) == []


@pytest.mark.boot
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_foreground_machine_cleanly(number: signal.Signals, own_state: Path) -> None:
    rumpel("build", "sqlite-web")
    with subprocess.Popen(
        [sys.executable, "-I", "-m", "rumpel", "run", "sqlite-web"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        line = next(line for line in lines if "answers at" in line)
        url = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert url is not None and line.endswith("Ctrl-C stops it.\n")
        with urllib.request.urlopen(url[0], timeout=30) as answer:
            assert answer.status == 200
        process.send_signal(number)
        _, rest = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    assert rest == "Stopping 'sqlite-web' ... (Ctrl-C again kills it)\n'sqlite-web' has stopped.\n"
    (row,) = json.loads(rumpel("ps", "--all", "--json").stdout)
    assert (row["state"], row["status"]) == ("ended", 0)


@pytest.mark.boot
def test_a_detached_machine_is_listed_followed_and_stopped() -> None:
    started = rumpel("run", "--detach", "--name", "db", "sqlite-web", "--json")
    assert started.returncode == 0, started.stderr
    url = json.loads(started.stdout)["urls"]["http"]
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.status == 200
    (row,) = json.loads(rumpel("ps", "--json").stdout)
    assert (row["name"], row["state"], row["urls"]["http"]) == ("db", "ready", url)

    second = rumpel("run", "--detach", "--name", "db", "sqlite-web")
    assert second.returncode == 4
    assert "An instance named 'db' is already running" in second.stderr

    with subprocess.Popen(
        [sys.executable, "-I", "-m", "rumpel", "logs", "-f"], stdout=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        console = following.stdout.readline()  # it follows: the machine may end now
        stopped = rumpel("stop", "db")
        assert (stopped.returncode, stopped.stderr) == (0, "'db' ended when asked.\n")
        console += following.communicate(timeout=20)[0]
    assert "web: listening on port 80" in console
    deadline = time.monotonic() + 10
    while json.loads(rumpel("ps", "--json").stdout) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert rumpel("ps").stderr == "No machine runs.\n"


def _run_with(redirection: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-I", "-m", "rumpel", *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("words", [("list",), ("plan", "web"), ("explain", "web"), ("ps", "--json")], ids=" ".join)
def test_a_closed_standard_output_is_no_error(words: tuple[str, ...]) -> None:
    done = _run_with(">&-", *words)
    assert (done.returncode, done.stderr) == (0, "")


def test_closed_streams_are_not_taken_by_files_that_are_opened_later() -> None:
    code = (
        "from rumpel.cli.main import main; main(['version']); f = open('/etc/passwd'); print(f.fileno() > 2, file=f2)"
    )
    code = f"import os; f2 = os.fdopen(os.dup(2), 'w'); os.close(0); os.close(1); os.close(2); {code}"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == "True\n"


@pytest.mark.parametrize("words", [("plan", "web"), ("list",)], ids=" ".join)
def test_a_full_disk_behind_standard_output_is_told_in_a_sentence(words: tuple[str, ...]) -> None:
    done = _run_with(">/dev/full", *words)
    sentence = "rumpel: No space left on device.\nCheck the space on the disk and the permissions there.\n"
    assert (done.returncode, done.stderr) == (4, sentence)


def test_a_state_folder_that_cannot_be_made_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = rumpel("run", "hello", "--offline", RUMPEL_STATE=str(tmp_path / "file/state"))
    assert done.returncode == 4
    assert done.stderr.endswith(
        f"rumpel: '{tmp_path}/file/state/instances/hello': Not a directory.\n"
        "Check the space on the disk and the permissions there.\n"
    ), done.stderr


def test_a_broken_file_of_a_project_stops_no_other_composition_and_is_listed(tmp_path: Path) -> None:
    for path, text in {
        "compositions/mine.yaml": "schema: 1\nname: mine\nsummary: x\nkernel: nano\nmachine: microvm\n"
        "components: [hello]\n",
        "compositions/bad.yaml": "schema: 1\nname: [\n",
        "components/other/component.yaml": "schema: 1\nname: [\n",
        "hal/drivers/other/driver.yaml": "schema: 1\nname: [\n",
        "hal/machines/other/machine.yaml": "schema: 1\nname: [\n",
        "kernels/other/kernel.yaml": "schema: 1\nname: [\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    explained = rumpel("--project", str(tmp_path), "explain", "mine")
    assert (explained.returncode, explained.stderr) == (0, "")
    built = rumpel("--project", str(tmp_path), "build", "mine")
    assert built.returncode == 0, built.stderr
    listed = rumpel("--project", str(tmp_path), "list")
    assert listed.returncode == 2
    assert re.search(r"^mine +nano +microvm +x$", listed.stdout, re.MULTILINE)
    assert [line.partition(":")[0].removeprefix(f"{tmp_path}/") for line in listed.stderr.splitlines()] == [
        "compositions/bad.yaml",
        "components/other/component.yaml",
        "hal/drivers/other/driver.yaml",
        "hal/machines/other/machine.yaml",
        "kernels/other/kernel.yaml",
    ]
