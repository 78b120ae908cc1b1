"""Bodies that no client would send, made by libFuzzer under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from native import ROOT, SANITIZE, include_flags, sanitized_objects

SEEDS = (
    {"sql": "SELECT 1"},
    {"parameters": [None]},
    {"parameters": [{"base64": "AAEC"}]},
    {"parameters": [{"text_base64": "/w=="}]},
    {"parameters": [{"integer": "-9223372036854775808"}]},
    {"parameters": [{"real": "-Infinity"}]},
    {"parameters": [1e300]},
    {"parameters": ["a\0\u00fc\U0001f600"]},
    {"parameters": {"a": 1, "b": True, "c": [1]}},
)
FUZZED = ("-jansson-", "-sqlite3-c", "-sql-api-json-c", "-web-text-c")


@pytest.mark.slow
def test_no_body_breaks_the_decoding(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(SEEDS):
        (corpus / str(number)).write_text(json.dumps(seed))
    folder = ROOT / "build/host/fuzz"
    objects = sanitized_objects("sqlite-web", "clang", ("-fsanitize=fuzzer-no-link",), folder, FUZZED)
    program = folder / "fuzz_body"
    source = Path(__file__).with_name("fuzz_body.c")
    command = [
        "clang",
        *SANITIZE,
        "-fsanitize=fuzzer",
        f"-I{ROOT / 'components/sql-api'}",
        *include_flags("sqlite-web"),
    ]
    subprocess.run([*command, "-o", str(program), str(source), *map(str, objects), "-lm"], check=True, timeout=300)
    run = subprocess.run(
        [
            str(program),
            "-max_total_time=15",
            "-timeout=10",
            "-rss_limit_mb=2048",
            f"-artifact_prefix={tmp_path}/",
            str(corpus),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr[-4000:]
