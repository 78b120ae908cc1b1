"""The page about the description files says what the schemas say."""

from __future__ import annotations

from pathlib import Path

from rumpel.model.check import load_schema
from rumpel.model.reference import reference


def test_the_page_in_docs_is_written_from_the_schemas() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "reference-model.md"
    assert page.read_text() == reference(), "Run: python -m rumpel.model.reference > docs/reference-model.md"


def test_every_top_level_key_has_its_row() -> None:
    text = reference()
    for kind in ("composition", "component", "driver", "machine", "kernel", "emulator"):
        section = text.partition(f"## {kind.capitalize()}:")[2].partition("\n## ")[0]
        for key in load_schema(kind)["properties"]:
            assert f"\n| `{key}` |" in section
