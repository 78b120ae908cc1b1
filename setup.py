"""What a wheel carries beside the code: Rumpel's own parts, in the package's folder `own` (see `rumpel.places`)."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
FOLDERS = ("compositions", "components", "hal", "kernels", "schemas", "requirements")
FILES = ("SConstruct", "rumpel.lock", "docs/exit-statuses.md")


class BuildWithParts(build_py):
    """Copies the parts behind the code."""

    def run(self) -> None:
        super().run()
        own = Path(self.build_lib) / "rumpel" / "own"
        shutil.rmtree(own, ignore_errors=True)
        for folder in FOLDERS:
            shutil.copytree(HERE / folder, own / folder, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        for file in FILES:
            (own / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(HERE / file, own / file)


setup(cmdclass={"build_py": BuildWithParts})
