"""The jobs of one run are that run: joined, with a word about what is missing, and refused where they do not fit."""

from __future__ import annotations

import pytest

from ttft.errors import MissingArtifact, TtftError
from ttft.reporting.groups import read_groups
from ttft.reporting.jobs import read_runs
from ttft.reporting.summary import summarize


@pytest.fixture
def write_job(write_run, fake):
    """write_job(name, "i/n", ids, **config) -> the folder of a job with these prompts."""

    def write(name, job, ids, **config):
        return write_run(name, [fake(i, 10, 9) for i in ids], job=job, **config)

    return write


def test_jobs_are_joined_beside_other_runs(write_job, write_run, fake):
    one, two = write_job("big/job-1-of-2", "1/2", "ac"), write_job("big/job-2-of-2", "2/2", "b")
    other = write_run("other", [fake(i, 10, 8) for i in "abc"], strategy="nearest")
    joined, nearest = read_runs([two, other, one])
    assert [r.prompt_id for r in joined.results] == ["a", "c", "b"] and len(joined.selections) == 3
    assert joined.folder == one.parent and joined.warnings == () and "job" not in joined.config
    assert [start["job"] for start in joined.provenance["starts"]] == ["1/2", "2/2"]
    assert nearest.folder == other
    (group,) = read_groups([one, two, other])
    assert [run.label for run in group.runs] == ["SIFT", "nearest"] and len(group.prompts) == 3


def test_a_folder_of_jobs_is_its_jobs(write_job, write_run, fake):
    one, _ = write_job("big/job-1-of-2", "1/2", "ac"), write_job("big/job-2-of-2", "2/2", "b")
    (joined,) = read_runs([one.parent, one])
    assert len(joined.results) == 3
    plain = write_run("plain", [fake("a", 10, 9)])
    write_job("job", "1/1", "a")
    with pytest.raises(MissingArtifact, match="not a run"):
        read_runs([plain.parent])


def test_two_configurations_in_one_folder_are_two_runs(write_job):
    more = {"n": 50, "lambda_": 0.1, "seed": 1, "lr": 1e-3}
    folders = [write_job(f"{name}-{i}", f"{i}/2", "ab"[i - 1], **c) for name, c in (("x", {}), ("y", more))
               for i in (1, 2)]  # fmt: skip
    (group,) = read_groups([folders[0].parent])
    assert len(group.prompts) == 2 and len({run.label for run in group.runs}) == 2


def test_what_is_missing_is_said(write_job):
    one, three = write_job("1", "1/4", "aeim"), write_job("3", "3/4", "cg")
    (run,) = read_runs([one, three])
    assert run.warnings == (
        "WARNING: 2 of 4 jobs are missing (2/4, 4/4), and so are their prompts.",
        "WARNING: job 3/4 is not finished: it has 2 prompts of 3.",
    )
    notes = summarize(read_groups([one, three])[0]).notes
    assert "SIFT: WARNING: job 3/4 is not finished: it has 2 prompts of 3." in notes


@pytest.mark.parametrize(
    ("counts", "unfinished"),
    [((3, 3, 3), []), ((3, 3, 2), []), ((3, 2, 2), []), ((2, 3, 3), ["1/3"]), ((3, 2, 3), ["2/3"])],
)
def test_an_unfinished_job_is_told_by_the_others(write_job, counts, unfinished):
    folders = [write_job(f"{i}", f"{i}/3", [f"{i}-{p}" for p in range(n)]) for i, n in enumerate(counts, 1)]
    (run,) = read_runs(folders)
    assert [w.split()[2] for w in run.warnings] == unfinished


def test_a_job_that_has_just_begun_is_missing(write_job):
    one, _ = write_job("big/1", "1/2", "a"), write_job("big/2", "2/2", "")
    (run,) = read_runs([one.parent])
    assert "1 of 2 jobs is missing (2/2)" in run.warnings[0]


def test_a_prompt_in_two_jobs_is_an_error(write_job):
    one, two = write_job("one", "1/2", "ac"), write_job("two", "2/2", "bc")
    with pytest.raises(TtftError, match="prompt 'c' is in two jobs") as error:
        read_runs([one, two])
    assert str(one) in error.value.message and str(two) in error.value.message


def test_jobs_of_two_cuts_are_an_error(write_job):
    one, two = write_job("one", "1/2", "ac"), write_job("two", "2/3", "b")
    with pytest.raises(TtftError, match="cut differently") as error:
        read_runs([one, two])
    assert str(one) in error.value.message and str(two) in error.value.message


def test_a_job_that_is_none_is_named(write_job):
    with pytest.raises(TtftError, match=r"config.yaml: job is 'half', not i/n"):
        read_runs([write_job("one", "half", "a")])
