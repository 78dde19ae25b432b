"""The HTML shell: escaped, self-contained, dark where the reader's system is, and large enough for a phone."""

import re

from shards.page import STYLE, html_table, page


def test_a_page_escapes_its_title_and_fetches_nothing():
    text = page("a < b", "<p>body</p>")
    assert "<title>a &lt; b</title>" in text
    assert "<p>body</p>" in text
    assert "://" not in text


def test_cards_take_their_colours_from_the_theme_and_every_colour_has_a_dark_one():
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    named = re.compile(r"(--\w+):")
    assert named.findall(light) == named.findall(dark) != []
    (figure,) = re.findall(r"^figure \{(.*?)\}", STYLE, re.DOTALL | re.MULTILINE)
    assert "background: var(--card); color: var(--ink);" in figure


def test_captions_are_15_pixels_or_more():
    (caption,) = re.findall(r"figcaption \{.*?font-size: ([\d.]+)rem", STYLE)
    (code,) = re.findall(r"^code \{.*?font-size: ([\d.]+)em", STYLE, re.MULTILINE)
    assert 16 * float(caption) * float(code) >= 15


def test_a_table_sets_numbers_right_and_escapes_words():
    text = html_table(("name", "n"), [("a&b", 1234567), ("c", 0.5)])
    assert "<td>a&amp;b</td><td class=n>1,234,567</td>" in text
    assert "<td class=n>0.5</td>" in text
    assert "<th>name</th><th class=n>n</th>" in text
