import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ttft.commands.report import page_file, run
from ttft.config.report import ReportConfig
from ttft.errors import ConfigError
from ttft.visible import HIDDEN


@pytest.fixture
def two_runs(write_run, fake):
    one = write_run("one", [fake("a", 100, 50), fake("b", 300, 330, size=300)])
    two = write_run("two", [fake("a", 100, 90), fake("b", 300, 270, size=300)], strategy="nearest")
    return [str(one), str(two)]


def test_numbers_reach_stdout_page_and_json(two_runs, capsys):
    run(ReportConfig(runs=two_runs))
    out = capsys.readouterr().out
    folder = Path(two_runs[0]).parent
    row = next(line for line in out.splitlines() if line.startswith("| SIFT"))
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "SIFT", "2", "1.3706", "95.0", "50.0-110.0", "20.0", "3.60", "50.0",
    ]  # fmt: skip
    assert "| nearest" in out and "90.0-90.0" in out and "| base" in out and "1.4427" in out
    assert out.splitlines()[-1] == f"report: {folder / 'report.html'}"
    numbers = json.loads((folder / "report.json").read_text())
    assert [r["percent"] for r in numbers["groups"][0]["rows"]] == pytest.approx([100, 95, 90])
    assert "95.0" in (folder / "report.html").read_text()


def test_one_run_is_reported_in_its_own_folder(two_runs, capsys):
    run(ReportConfig(runs=two_runs[:1], subsets=False))
    out = capsys.readouterr().out
    assert (Path(two_runs[0]) / "report.html").exists() and "by subset" not in out


def test_where_the_page_goes(two_runs, tmp_path):
    folders = [Path(r) for r in two_runs]
    assert page_file(folders, str(tmp_path / "x.html")) == tmp_path / "x.html"
    assert page_file(folders, str(tmp_path / "x")) == tmp_path / "x" / "report.html"
    with pytest.raises(ConfigError, match="share no folder"):
        page_file([Path("/one"), Path("/two")], None)


def test_dry_run_writes_nothing(two_runs, capsys):
    run(ReportConfig(runs=two_runs), dry_run=True)
    out = capsys.readouterr().out
    assert "subsets: true" in out and "report.html" in out and "report.json" in out
    assert not list(Path(two_runs[0]).parent.glob("report.*"))


def test_hostile_labels_reach_no_terminal(write_run, fake, capsys, monkeypatch):
    bad = "\x1b]0;title\x07\u202e[/red]"
    one = write_run("one", [fake("a", 100, 50, subset=bad, model=bad), fake("b", 100, 90, subset="x", model=bad)],
                    strategy=bad)  # fmt: skip
    for is_terminal in (False, True):
        monkeypatch.setattr(sys.stdout, "isatty", lambda is_terminal=is_terminal: is_terminal)
        run(ReportConfig(runs=[str(one)]))
        said = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
        assert not set(map(ord, said)) & set(HIDDEN) and "\\u001b]0;title\\u0007" in said


def test_two_reports_at_once_do_not_share_a_file(two_runs):
    """Each writes under a name of its own and renames: what is there in the end is whole."""
    command = [sys.executable, "-m", "ttft", "report", *two_runs]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(3)]
    assert [(p.communicate(timeout=300)[1], p.returncode) for p in both] == [(b"", 0)] * 3
    folder = Path(two_runs[0]).parent
    assert (folder / "report.html").read_text().endswith("</html>\n")
    assert json.loads((folder / "report.json").read_text())
    assert not [p for p in folder.iterdir() if p.name.endswith(".part")]


def test_config_needs_a_run():
    with pytest.raises(ConfigError, match="runs"):
        ReportConfig.build(sets=["runs=[]"])


def test_importing_the_command_is_light():
    code = "import sys, ttft.config.report, ttft.commands.report; print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
