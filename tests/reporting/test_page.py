import re
from html.parser import HTMLParser

import pytest

from ttft.reporting.charts import Series, line_chart, nice_ticks, stage_bars
from ttft.reporting.groups import read_groups
from ttft.reporting.page import page
from ttft.reporting.summary import summarize
from ttft.visible import HIDDEN

VOID = {"meta", "br"}


class Balance(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []
        self.feed(text)
        assert self.open == [], self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *attr) for attr in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *attr) for attr in attrs]

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag


@pytest.fixture
def html(write_run, fake):
    bad = '<script>alert("x")</script>&"'
    prompts = [fake(bad, 100, 90, subset="<b>sub"), *(fake(f"p{i}", 100, 80 + i) for i in range(4))]
    one = write_run("<i>one", prompts, prompts="<u>file")
    two = write_run("two", prompts, strategy="<em>mine", lr=1)
    three = write_run("three", prompts, score="suffix")
    return page([summarize(group) for group in read_groups([one, two, three])])


def test_tags_are_balanced_and_data_is_escaped(html):
    parsed = Balance(html)
    assert not {"script", "i", "u", "em", "b"} & set(parsed.tags)
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;&quot;" in html
    assert "&lt;em&gt;mine" in html and "&lt;b&gt;sub" in html and "&lt;u&gt;file" in html


def test_hostile_names_are_inert_and_visible(write_run, fake):
    """Prompt ids, subsets, models, labels, folders and configuration: no tags, attributes or control characters."""
    bad = '<script>alert(1)</script>" onload="alert(1)\' bad=\x1b]0;title\x07\x9b\u202e\u2066\x7f&'
    prompts = [fake(f"{bad}{i}", 100, 80 + i, subset=f"{bad}{i % 2}", model=bad) for i in range(6)]
    config = {"strategy": bad, "model": bad, "prompts": bad, "embedder": bad, "index": bad}
    one, two = write_run("one", prompts, **config), write_run("two", prompts, **config | {"strategy": "nearest"})
    text = page([summarize(group) for group in read_groups([one, two])])
    parsed = Balance(text)
    assert "script" not in parsed.tags
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on") or name == "bad"]
    assert not set(map(ord, text)) & set(HIDDEN)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&quot;alert(1)&#x27; bad=\\u001b]0;title\\u0007" in text
    assert "\\u202e\\u2066\\u007f&amp;" in text


def test_nothing_is_loaded_from_elsewhere(html):
    parsed = Balance(html)
    assert not {"link", "img", "iframe", "object", "embed", "base"} & set(parsed.tags)
    assert not [a for a in parsed.attributes if a[1] in ("src", "href", "srcset", "xlink:href")]
    assert "http://" not in html and "https://" not in html and "url(" not in html and "@import" not in html


def test_it_holds_what_a_reader_needs(html):
    assert html.count("<h2>") == 2 and "whole score" in html and "suffix score" in html
    for text in ("gradient steps", "mean sigma", "evaluate", "95% interval", "abc123", "2025-01-02T03:04:05", "Linux"):
        assert text in html, text
    assert "prefers-color-scheme" in html and "viewport" in html
    assert not re.search(r"\bnan\b", html)


def test_a_page_is_deterministic(write_run, fake):
    folder = write_run("one", [fake("a", 100, 90), fake("b", 50, 40)])
    assert page([summarize(g) for g in read_groups([folder])]) == page([summarize(g) for g in read_groups([folder])])


def test_degenerate_runs_still_make_a_page(write_run, fake):
    single = fake("a", 100, 100, steps=[0], nats=[100.0], sigma=[], seconds={}, subset="", kept="base")
    nothing = [fake("a", 0, 0), fake("b", 0, 10)]  # of a base of 0 nats there is no percentage
    for name, prompts in (("single", [single]), ("nothing", nothing)):
        folder = write_run(name, prompts)
        (folder / "selections.jsonl").unlink()
        (folder / "provenance.json").unlink()
        text = page([summarize(g) for g in read_groups([folder])])
        Balance(text)
        assert not re.search(r'="[^"]*\b(nan|inf)\b', text)


def test_charts_of_nothing_are_empty():
    assert line_chart([Series("a", [], [], [], [])], "t", "x", "y") == ""
    assert stage_bars([("a", {})], [], "t") == ""


@pytest.mark.parametrize(("low", "high"), [(0, 1), (99.9, 100), (5, 5), (0, 0), (80, 140), (-3, 0.2), (0.001, 0.0013)])
def test_ticks_enclose_the_values_and_are_few(low, high):
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low + 1e-9 and ticks[-1] >= high - 1e-9 and 2 <= len(ticks) <= 9
