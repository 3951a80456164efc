"""Pages of every kind in a real browser: on a phone, in the dark, printed."""

from __future__ import annotations

import pytest
from page_kinds import Names, analysis_page, comparison_page, matrix_page, run_page
from pages import CHROMIUM, NO_BROWSER, PHONE, browse, printed

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NO_BROWSER)


SLOWER = [pytest.param(make, marks=pytest.mark.thorough) for make in (comparison_page, matrix_page)]


@pytest.mark.parametrize("make", [run_page, analysis_page, *SLOWER])
def test_a_page_fits_a_phone_can_be_read_in_the_dark_and_is_printed(make, tmp_path):
    page = make(tmp_path, Names(None)).read_text(encoding="utf-8")
    seen = browse(page, tmp_path, dark=True)
    assert seen.width == PHONE
    assert seen.paper < 0.02
    assert seen.faint == []
    assert set(seen.cards) == {"rgb(255, 255, 255)"}
    assert seen.drawings == page.count("<svg") > 0
    seen = browse(page, tmp_path)
    assert seen.paper == 1
    assert seen.faint == []
    sheets = printed(page, tmp_path)
    assert all(sheets)
    words = " ".join(" ".join(sheets).split())
    assert "Written by neurograph" in words
    assert "plain-00-name" in words


def test_the_browser_would_notice(tmp_path):
    bad = '<p style="width:900px;color:#333;background:#222">wide</p><img src="http://nowhere.invalid/a.png">'
    seen = browse(bad + '<script>console.error("bad")</script>', tmp_path, dark=True)
    assert seen.width >= 900
    assert seen.drawings == 0
    assert seen.faint == ["P"]
    assert seen.paper == 1
    assert len(seen.console) == 1
    assert set(seen.asked) == {"http://nowhere.invalid/a.png"}
    assert printed("<p>alone</p>", tmp_path) == ["alone"]
