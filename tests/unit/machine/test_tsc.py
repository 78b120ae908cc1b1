"""The time-stamp counter's rate is measured well, once."""

from __future__ import annotations

import pytest

from rumpel.machine import tsc


def test_two_measurements_agree_to_a_thousandth() -> None:
    first, second = tsc.measure_tsc_khz(), tsc.measure_tsc_khz()
    assert first > 100_000
    assert abs(first - second) < first / 1000


def test_rate_is_kept_for_this_boot_only(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RUMPEL_CACHE", str(tmp_path))
    first = tsc.host_tsc_khz()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tsc, "measure_tsc_khz", lambda: 7)
        assert tsc.host_tsc_khz() == first
        (tmp_path / "tsc").write_text("another-boot 5")
        assert tsc.host_tsc_khz() == 7
