import json

import pytest

from ttft.errors import MissingArtifact, TtftError
from ttft.reporting.groups import read_groups
from ttft.reporting.runs import read_run


def labels(*folders):
    return [run.label for group in read_groups(list(folders)) for run in group.runs]


def test_labels_name_the_strategy_and_the_adaptive_rule(write_run, fake):
    prompts = [fake("a", 10, 9)]
    folders = [
        write_run("1", prompts),
        write_run("2", prompts, alpha=0.1),
        write_run("3", prompts, strategy="nearest"),
        write_run("4", prompts, strategy="uniform"),
    ]
    assert labels(*folders) == ["SIFT", "adaptive SIFT", "nearest", "uniform"]


def test_namesakes_are_told_apart_by_what_differs(write_run, fake):
    prompts = [fake("a", 10, 9)]
    one, two = write_run("one", prompts), write_run("two", prompts, n=50, lambda_=0.1)
    nearest = write_run("three", prompts, strategy="nearest")
    assert labels(one, two, nearest) == ["SIFT n=20 lambda=0.01", "SIFT n=50 lambda=0.1", "nearest"]


def test_namesakes_that_differ_in_nothing_are_named_by_folder(write_run, fake):
    prompts = [fake("a", 10, 9)]
    assert labels(write_run("one", prompts), write_run("two", prompts)) == ["one", "two"]


def test_a_folder_named_twice_counts_once(write_run, fake):
    folder = write_run("one", [fake("a", 10, 9)])
    assert labels(folder, folder / ".." / "one") == ["SIFT"]


def test_whole_and_suffix_and_models_are_never_mixed(write_run, fake):
    one = write_run("one", [fake("a", 10, 9)])
    two = write_run("two", [fake("a", 5, 4)], score="suffix")
    three = write_run("three", [fake("a", 8, 7, model="other-lm")])
    groups = read_groups([one, two, three])
    assert [(g.score, g.model) for g in groups] == [("whole", "toy-lm"), ("suffix", "toy-lm"), ("whole", "other-lm")]
    assert [run.label for g in groups for run in g.runs] == ["SIFT", "SIFT", "SIFT"]


def test_only_common_prompts_count(write_run, fake):
    one = write_run("one", [fake("b", 10, 9), fake("a", 10, 9), fake("c", 10, 9), fake("d", 10, 9)])
    other_text = fake("c", 10, 9, text_sha256="another")
    two = write_run("two", [fake("a", 10, 8), other_text, fake("b", 10, 8), fake("d", 10, 9, size=50)])
    (group,) = read_groups([one, two])
    assert [key[0] for key in group.prompts] == ["a", "b"]
    assert group.seen == 6  # a, b, two texts c, two cuts of d


def test_no_common_prompt_is_an_error(write_run, fake):
    with pytest.raises(TtftError, match="no prompt in common"):
        read_groups([write_run("one", [fake("a", 10, 9)]), write_run("two", [fake("b", 10, 9)])])


def test_missing_or_empty_run(write_run, fake, tmp_path):
    with pytest.raises(MissingArtifact, match="no such run folder") as error:
        read_run(tmp_path / "nowhere")
    assert "finetune-eval" in error.value.hint
    write_run("one", [fake("a", 10, 9)])
    with pytest.raises(MissingArtifact, match="not a run") as error:
        read_run(tmp_path / "runs")
    assert str(tmp_path / "runs" / "one") in error.value.hint
    with pytest.raises(MissingArtifact, match="no results yet") as error:
        read_run(write_run("empty", []))
    assert "finetune-eval" in error.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nats": [1.0]}, "steps and nats differ"),
        ({"steps": [1, 2, 3]}, "steps must rise from 0"),
        ({"bytes": 0}, "bytes must be above 0"),
        ({"bytes": "many"}, "damaged"),
        ({"kept": "both"}, "kept is 'both'"),
        ({"nats": [1.0, None, 2.0]}, "nats must be numbers"),
        ({"unknown": 1}, "not a Result record"),
        ({"prompt_id": "a"}, "repeats prompt 'a' of line 1"),
    ],
)
def test_damaged_lines_are_named(write_run, fake, change, message):
    folder = write_run("one", [fake("a", 10, 9), fake("b", 10, 9) | change])
    with pytest.raises(TtftError, match=message) as error:
        read_run(folder)
    assert f"{folder}/results.jsonl:2" in error.value.message


def test_a_line_that_is_not_json_is_named_and_a_cut_one_ignored(write_run, fake):
    folder = write_run("one", [fake("a", 10, 9)])
    results = folder / "results.jsonl"
    good = results.read_text()
    results.write_text(good + json.dumps(fake("b", 10, 9))[:40])
    assert len(read_run(folder).results) == 1
    results.write_text("{broken\n" + good)
    with pytest.raises(TtftError, match=r"results.jsonl:1 is not JSON"):
        read_run(folder)


def test_config_is_needed_and_provenance_is_not(write_run, fake):
    folder = write_run("one", [fake("a", 10, 9)])
    (folder / "provenance.json").unlink()
    assert read_run(folder).provenance == {"starts": []}
    (folder / "provenance.json").write_text("[")
    with pytest.raises(TtftError, match=r"provenance.json is not JSON"):
        read_run(folder)
    (folder / "provenance.json").unlink()
    (folder / "config.yaml").unlink()
    with pytest.raises(MissingArtifact, match=r"config\.yaml is missing"):
        read_run(folder)
