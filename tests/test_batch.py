"""The batch scripts: on a fake Slurm that runs its jobs at once, and on this machine. With a fake ttft that writes down
what it was asked for, and once with the real one."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ttft.state import read_lines

REPO = Path(__file__).parents[1]
SUBMIT, LOCAL = REPO / "scripts" / "slurm" / "submit.sh", REPO / "scripts" / "local_jobs.sh"

SBATCH = r"""#!/usr/bin/env bash
# Runs a copy of the script at once, as Slurm does: one task after the other, its output into the file of --output.
# A job that depends on one that failed does not run. Prints the job's number.
set -u
array="" output=/dev/null needs=""
while [[ $1 == -* ]]; do
  case $1 in
    --array=1-*) array=${1#--array=1-} ;;
    --output=*) output=${1#--output=} ;;
    --dependency=afterok:*) needs=${1#*:} ;;
  esac
  printf '%s ' "$1" >> "$FAKE/sbatch.log"
  shift
done
echo >> "$FAKE/sbatch.log"
job=$(($(find "$FAKE" -name 'job-*' | wc -l) + 1)) spool=$FAKE/spool-$$.sh status=0
cp "$1" "$spool"
if [ -n "$needs" ] && [ "$(cat "$FAKE/job-$needs")" != 0 ]; then
  status=never
elif [ -n "$array" ]; then
  export SLURM_ARRAY_TASK_COUNT=$array
  for SLURM_ARRAY_TASK_ID in $(seq "$array"); do
    export SLURM_ARRAY_TASK_ID
    bash "$spool" "${@:2}" >> "${output//%a/$SLURM_ARRAY_TASK_ID}" 2>&1 || status=1
  done
else
  bash "$spool" "${@:2}" >> "$output" 2>&1 || status=1
fi
echo "$status" > "$FAKE/job-$job"
echo "$job;cluster"
"""
RECORDER = r"""#!/usr/bin/env bash
printf '%s\n' "$(printf '%q ' "$@")" >> "$FAKE/ttft.log"
[[ " $* " != *" ${FAIL:-nothing} "* ]]
"""
REAL = f"""#!/bin/sh
exec {shlex.quote(sys.executable)} -m ttft "$@"
"""


@pytest.fixture
def machine(tmp_path):
    """machine(script, *arguments, **variables) -> the finished process, in tmp_path/work; ttft and sbatch are fakes."""
    work, fake = tmp_path / "work", tmp_path / "fake"
    work.mkdir()
    fake.mkdir()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH", "TOTAL_JOBS", "JOBS"))}
    kept |= {"FAKE": str(fake), "PATH": f"{fake}:{kept['PATH']}", "PYTHONPATH": str(REPO)}
    kept |= {"HF_HUB_OFFLINE": "1", "JOBS": "1"}

    def run(script: Path, *arguments: object, ttft: str = RECORDER, **variables: str) -> subprocess.CompletedProcess:
        for name, text in (("sbatch", SBATCH), ("ttft", ttft)):
            (fake / name).write_text(text)
            (fake / name).chmod(0o755)
        (fake / "ttft.log").unlink(missing_ok=True)
        command = [script, *map(str, arguments)]
        return subprocess.run(command, cwd=work, env=kept | variables, capture_output=True, text=True)

    run.work, run.fake = work, fake
    return run


def asked(machine) -> list[list[str]]:
    """What ttft was asked for; the last is the one that joins, those of the jobs may come in any order."""
    *jobs, last = [shlex.split(line) for line in (machine.fake / "ttft.log").read_text().splitlines()]
    return [*sorted(jobs), last]


both = pytest.mark.parametrize("script", [SUBMIT, LOCAL], ids=lambda path: path.name)


@both
def test_an_index_in_parts_and_their_merge(machine, script):
    done = machine(script, "index", 3, "big index", "docs", "--", "--glob", "**/*.md", "--set", "name={a b}")
    assert done.returncode == 0, done.stderr
    part = "big index/parts/part-{}-of-3"
    more = ["--glob", "**/*.md", "--set", "name={a b}"]
    assert asked(machine) == [
        *(["index", "docs", "--out", part.format(i), "--job", f"{i}/3", *more] for i in (1, 2, 3)),
        ["index", "merge", "big index/parts/*", "--out", "big index"],  # no part is there: the fake makes none
    ]
    for i in (1, 2, 3):
        (machine.work / part.format(i)).mkdir(parents=True)
    assert machine(script, "index", 3, "big index", "docs").returncode == 0
    assert asked(machine)[-1][2:5] == [part.format(i) for i in (1, 2, 3)]


@both
def test_a_run_in_jobs_and_its_report(machine, script):
    done = machine(script, "finetune-eval", 2, "runs/big", "index", "p.jsonl", "--", "--score", "suffix")
    assert done.returncode == 0, done.stderr
    command = ["finetune-eval", "index", "--prompts", "p.jsonl", "--out"]
    assert asked(machine) == [
        *([*command, f"runs/big/job-{i}-of-2", "--job", f"{i}/2", "--score", "suffix"] for i in (1, 2)),
        ["report", "runs/big"],
    ]
    logs = {path.name for path in (machine.work / "runs/big/logs").iterdir()}
    assert {"finetune-eval-1-of-2.log", "finetune-eval-2-of-2.log"} <= logs


@both
def test_what_failed_is_not_joined(machine, script):
    done = machine(script, "finetune-eval", 3, "runs/big", "index", "p.jsonl", FAIL="2/3")
    calls = (machine.fake / "ttft.log").read_text()
    assert calls.count("finetune-eval") == 3 and "report" not in calls
    if script == LOCAL:
        assert done.returncode == 1 and "finetune-eval 2/3 failed: see runs/big/logs/" in done.stderr
    assert machine(script, "finetune-eval", 3, "runs/big", "index", "p.jsonl").returncode == 0
    assert asked(machine)[-1] == ["report", "runs/big"]


def test_what_slurm_is_asked_for(machine):
    options = "--gpus=1 --time=8:00:00"
    done = machine(SUBMIT, "index", 2, "i", "docs", ARRAY_OPTIONS=options, TOTAL_JOBS="7")
    assert "job 1, 2 tasks; then index-merge: job 2" in done.stdout
    array, merge = (line.split() for line in (machine.fake / "sbatch.log").read_text().splitlines())
    assert {"--parsable", "--array=1-2", "--gpus=1", "--time=8:00:00", "--open-mode=append"} <= set(array)
    assert {"--parsable", "--dependency=afterok:1", "--kill-on-invalid-dep=yes"} <= set(merge)
    assert not {"--gpus=1"} & set(merge)
    assert "1/2" in (machine.fake / "ttft.log").read_text(), "a TOTAL_JOBS that is set outside is not this array's"


def test_some_tasks_of_an_array_again(machine):
    """Slurm's own count is then that of the tasks given, not that of the jobs."""
    job = SUBMIT.parent / "finetune-eval.sh"
    task = {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "2"}
    assert machine(job, "o", "i", "p", TOTAL_JOBS="8", **task).returncode == 0
    assert "5/8" in (machine.fake / "ttft.log").read_text()
    assert "sbatch --array" in machine(job, "o", "i", "p").stderr


def test_local_jobs_by_xargs_where_parallel_is_another_program(machine):
    (machine.fake / "parallel").write_text("#!/bin/sh\necho 'parallel of moreutils' >&2\nexit 1\n")
    (machine.fake / "parallel").chmod(0o755)
    assert machine(LOCAL, "index", 3, "o", "docs", JOBS="3").returncode == 0
    assert [call[-1] for call in asked(machine)[:3]] == ["1/3", "2/3", "3/3"]


@pytest.mark.parametrize("script", [SUBMIT, LOCAL, *sorted(SUBMIT.parent.glob("*.sh"))], ids=lambda path: path.name)
def test_usage(machine, script):
    said = machine(script, "-h")
    assert said.returncode == 0 and "Usage: " in said.stdout and "shellcheck" not in said.stdout
    wrong = machine(script)
    assert (wrong.returncode, wrong.stdout) == (2, "") and "Usage: " in wrong.stderr
    assert machine(script, "report", 2, "o", "i").returncode == 2


@pytest.mark.slow
@both
def test_the_real_ttft(machine, script, index_folder, prompts_file, lm_folder, tmp_path):
    command = ["finetune-eval", 2, "big", index_folder, prompts_file, "--", "--model", lm_folder, "-n", 2, "-k", 30]
    done = machine(script, *command, ttft=REAL)
    assert done.returncode == 0, done.stderr
    big = machine.work / "big"
    results = {i: big / f"job-{i}-of-2" / "results.jsonl" for i in (1, 2)}
    ids = [sorted(r["prompt_id"] for r in read_lines(path)) for path in results.values()]
    assert ids == [["p0", "p2"], ["p1", "p3"]] and (big / "report.html").exists()
    # again, with half a job lost: that half, and nothing else, is done again
    before = {i: path.read_bytes() for i, path in results.items()}
    results[2].write_bytes(before[2].splitlines(keepends=True)[0])
    assert machine(script, *command, ttft=REAL).returncode == 0
    assert results[1].read_bytes() == before[1] and len(read_lines(results[2])) == 2
    assert "2 prompts (1 new)" in (big / "logs" / "finetune-eval-2-of-2.log").read_text()


@pytest.mark.slow
@both
def test_the_real_ttft_makes_an_index(machine, script, corpus_file, encoder_folder):
    options = ["--embedder", encoder_folder, "--piece-chars", 60, "--shard-rows", 16, "--dtype", "float32"]
    done = machine(script, "index", 3, "big", corpus_file, "--", *options, ttft=REAL)
    assert done.returncode == 0, done.stderr
    one = [sys.executable, "-m", "ttft", "index", corpus_file, "--out", machine.work / "one", *map(str, options)]
    subprocess.run(one, check=True, capture_output=True, cwd=REPO)
    assert (machine.work / "big" / "manifest.json").read_bytes() == (
        machine.work / "one" / "manifest.json"
    ).read_bytes()
