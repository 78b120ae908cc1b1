"""Each test runs twice: with the program of the image, and with the same sources under sanitizers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from native import Server, image_program, running, sanitized_program

Start = Callable[..., Server]
VARIANTS = {"image": image_program, "sanitized": sanitized_program}


@pytest.fixture(scope="session", params=sorted(VARIANTS))
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def web_program(variant: str) -> Path:
    return VARIANTS[variant]("web")


@pytest.fixture(scope="session")
def sql_program(variant: str) -> Path:
    return VARIANTS[variant]("sqlite-web")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of files to serve, with something beside it that must never be served."""
    root = tmp_path / "site"
    (root / "sub").mkdir(parents=True)
    (root / "index.html").write_text("<h1>Home</h1>\n")
    (root / "sub/index.html").write_text("<h1>Sub</h1>\n")
    (root / "style.css").write_text("h1 { color: red }\n")
    (root / ".hidden").write_text("hidden")
    (root / "large.bin").write_bytes(bytes(i * 7 % 251 for i in range(300_000)))
    (tmp_path / "secret.txt").write_text("secret")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "linked").symlink_to(tmp_path)
    return root


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts programs: `start(program, NAME=value...)`; all are ended and checked after the test."""
    with ExitStack() as stack:
        yield lambda program, **settings: stack.enter_context(running(program, tmp_path, **settings))


@pytest.fixture
def web(start: Start, web_program: Path, site: Path) -> Server:
    return start(web_program, WEB_ROOT=str(site))


@pytest.fixture
def sql(start: Start, sql_program: Path, tmp_path: Path) -> Server:
    return start(sql_program, DATABASE=str(tmp_path / "test.db"))
