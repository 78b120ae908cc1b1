"""What the package imports, what pyproject.toml declares, what requirements/ pins and what the documentation explains
are the same."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path


def declared(checkout: Path, extra: str = "") -> set[str]:
    """The packages that everybody needs, or those of an extra."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    lines = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return {canonical(re.split(r"[><=~! ]", line)[0]) for line in lines}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(checkout: Path) -> dict[str, Path]:
    """The distribution of every module from outside that src/ imports, wherever in a file, with a file that does."""
    distributions = packages_distributions()
    found: dict[str, Path] = {}
    for path in sorted((checkout / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            modules: list[str] = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
                modules = [node.module]
            for module in modules:
                top = module.partition(".")[0]
                if top not in sys.stdlib_module_names and top != "rumpel":
                    found.setdefault(canonical(distributions.get(top, [top])[0]), path)
    return found


def pins(checkout: Path, name: str) -> dict[str, str]:
    lines = (checkout / "requirements" / name).read_text().splitlines()
    return {match[1]: match[2] for line in lines if (match := re.match(r"([a-z0-9.-]+)==(\S+)", line))}


def test_everything_imported_is_declared_and_everything_declared_is_imported(checkout: Path) -> None:
    assert set(imported(checkout)) == declared(checkout) | declared(checkout, "dask")


def test_every_declared_dependency_is_pinned_with_hashes(checkout: Path) -> None:
    run, dev = pins(checkout, "run.txt"), pins(checkout, "dev.txt")
    dask = pins(checkout, "dask.txt")
    assert declared(checkout) <= set(run)
    assert declared(checkout, "dask") <= set(dask)
    assert run.items() <= dask.items() <= dev.items(), "the tests run with the versions that a person runs"
    for name in ("run.txt", "dask.txt", "dev.txt"):
        text = (checkout / "requirements" / name).read_text()
        for block in re.split(r"\n(?=[a-z])", text.strip()):
            assert "--hash=sha256:" in block, block


def test_requirements_name_no_host(checkout: Path) -> None:
    for path in (checkout / "requirements").iterdir():
        assert not re.search(r"https?://|file://|index-url|find-links|trusted-host", path.read_text()), path


def test_every_dependency_is_explained(checkout: Path) -> None:
    text = (checkout / "docs/dependencies.md").read_text().lower()
    debian = {
        word
        for name in ("debian.txt", "debian-test.txt")
        for line in (checkout / "requirements" / name).read_text().splitlines()
        if (word := line.partition("#")[0].strip())
    }
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    dev = {canonical(re.split(r"[><=~! ]", line)[0]) for line in project["optional-dependencies"]["dev"]}
    for name in declared(checkout) | declared(checkout, "dask") | dev:
        assert f"| {name} |" in text, name
    for line in (
        line
        for name in ("debian.txt", "debian-test.txt")
        for line in (checkout / "requirements" / name).read_text().splitlines()
        if line and not line.startswith("#")
    ):
        package, _, reason = line.partition("#")
        assert package.strip() in debian and reason.strip(), line
