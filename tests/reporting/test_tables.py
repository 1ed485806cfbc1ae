import io

import pytest
from rich.console import Console

from ttft.reporting import tables
from ttft.reporting.groups import read_groups
from ttft.reporting.notes import headline
from ttft.reporting.summary import summarize


@pytest.fixture
def summary(write_run, fake):
    prompts = [fake(f"p{i}", 1000 + i, 900, size=2000, subset=("GitHub", "USPTO Backgrounds")[i % 2]) for i in range(6)]
    folders = [write_run("1", prompts), write_run("2", prompts, alpha=0.1), write_run("3", prompts, strategy="nearest")]
    (group,) = read_groups(folders)
    return summarize(group)


def shown(summary, width):
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    for part in tables.for_terminal(summary, width):
        console.print(part)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120])
def test_fits_the_terminal_and_breaks_no_number(summary, width):
    text = shown(summary, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for word in ("0.6492", "89.7-89.9", "evaluate", "Backgrounds", "nearest", "interval"):
        assert word in text, word


def test_narrow_terminals_drop_what_is_said_elsewhere(summary):
    assert "s per prompt" in " ".join(tables.main_table(summary).header)
    assert tables.main_table(summary, narrow=True).header == [
        "run", "BPB", "% of base", "95% interval", "steps", "% made worse",
    ]  # fmt: skip


def test_markup_in_names_is_text(write_run, fake):
    (group,) = read_groups([write_run("1", [fake("a", 10, 9, subset="[red]x[/blue]")])])
    assert "[red]x[/blue]" in shown(summarize(group), 100)


def test_markdown_is_aligned_and_complete(summary):
    text = tables.markdown(summary)
    lines = [line for line in text.split("### ")[1].splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1 and len(lines) == 2 + 4
    assert "| % of base |" in lines[0] and "% of base by subset" in text
    assert "% of base by subset" not in tables.markdown(summary, subsets=False)


def test_bars_in_names_do_not_break_markdown():
    table = tables.Table("t", ["run", "x"], [["a|b", "1"]])
    assert "a\\|b" in tables.markdown_table(table)


def test_turned_swaps_rows_and_columns():
    table = tables.Table("t", ["run", "x", "y"], [["a", "1", "2"], ["b", "3", "4"]])
    assert table.turned("what") == tables.Table("t", ["what", "a", "b"], [["x", "1", "3"], ["y", "2", "4"]])


def test_headline_claims_no_more_than_the_interval(summary, write_run, fake):
    assert "the best of 3 runs, improves" in headline("whole", summary.rows)
    (mixed,) = read_groups([write_run("m", [fake("a", 10, 9), fake("b", 10, 10.5)])])
    assert "no clear difference" in headline("whole", summarize(mixed).rows)
    (worse,) = read_groups([write_run("w", [fake("a", 10, 11), fake("b", 10, 12)])])
    assert "is worse than" in headline("whole", summarize(worse).rows)
    (one,) = read_groups([write_run("o", [fake("a", 10, 11)])])
    assert "no interval" in headline("whole", summarize(one).rows)
