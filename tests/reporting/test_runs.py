import json

import pytest

from ttft.errors import MissingArtifact, TtftError
from ttft.reporting.groups import read_groups
from ttft.reporting.runs import read_run
from ttft.run_dir import read_config, sealed


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
    other_text = fake("c", 10, 9, text_sha256="0" * 64)
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
        ({"steps": [], "nats": []}, "has not failed needs a score"),
        ({"bytes": 0}, "bytes: Input should be greater than 0"),
        ({"bytes": "many"}, "bytes: Input should be a valid integer"),
        ({"tokens": True}, "tokens: Input should be a valid integer"),
        ({"kept": "both"}, "kept: Input should be 'tuned' or 'base'"),
        ({"nats": [1.0, None, 2.0]}, r"nats.1: Input should be a valid number"),
        ({"nats": [1.0, -1.0, 2.0]}, r"nats.1: Input should be greater than or equal to 0"),
        ({"nats": [1.0, 1e300, 2.0]}, r"nats.1: Input should be less than"),
        ({"ids": [1, -2]}, r"ids.1: Input should be greater than or equal to 0"),
        ({"text_sha256": "abc"}, "text_sha256: String should match"),
        ({"guard": {"scale": 0.5}}, "guard needs scale, known, tuned_nats"),
        ({"guard": {"scale": 2, "known": {}, "tuned_nats": 1.0}}, r"guard.scale: Input should be less than"),
        ({"unknown": 1}, "unknown: unknown key"),
        ({"prompt_id": "a"}, "repeats 'a' of line 1"),
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


@pytest.mark.parametrize("name", ["results.jsonl", "selections.jsonl"])
def test_a_changed_number_a_doubled_line_and_lines_of_before_are_noticed(write_run, fake, name):
    folder = write_run("one", [fake("a", 1234, 900), fake("b", 1234, 900)])
    path = folder / name
    good = path.read_text()
    path.write_text(good.replace("1234", "1244", 1) if name == "results.jsonl" else good.replace("0.999", "0.998", 1))
    with pytest.raises(TtftError, match=rf"{name}:1 is damaged: its content does not match its checksum"):
        read_run(folder)
    path.write_text(good + good.splitlines(True)[0])
    with pytest.raises(TtftError, match=rf"{name}:3 repeats 'a' of line 1"):
        read_run(folder)
    path.write_text("".join(json.dumps(line) + "\n" for line in read_lines_of(good)))
    with pytest.raises(TtftError, match=rf"{name}:1 has no checksum, so .* an earlier version of ttft") as error:
        read_run(folder)
    assert "new --out" in error.value.hint


def read_lines_of(text: str) -> list[dict]:
    return [{key: value for key, value in json.loads(line).items() if key != "check"} for line in text.splitlines()]


def test_results_and_selections_must_agree(write_run, fake):
    folder = write_run("one", [fake("a", 10, 9, ids=[1, 3])])
    with pytest.raises(TtftError, match=r"results.jsonl: the texts of 'a' are not those in selections.jsonl"):
        read_run(folder)


def test_config_is_needed_and_sealed(write_run, fake):
    folder = write_run("one", [fake("a", 10, 9)])
    path = folder / "config.yaml"
    good = path.read_text()
    path.write_text(good.replace("n: 20", "n: 21"))
    with pytest.raises(TtftError, match=r"config.yaml is damaged: its hash does not match"):
        read_run(folder)
    path.write_text("\n".join(line for line in good.splitlines() if not line.startswith("sha256")))
    with pytest.raises(TtftError, match=r"config.yaml has no hash, so it was written by an earlier version"):
        read_run(folder)
    path.write_text("- 1\n")
    with pytest.raises(TtftError, match=r"config.yaml is not a mapping"):
        read_run(folder)
    path.unlink()
    with pytest.raises(MissingArtifact, match=r"config\.yaml is missing"):
        read_run(folder)


@pytest.mark.parametrize(("value", "said"), [("\ud800", "lone surrogate"), (float("inf"), "too large")])
def test_what_no_report_can_hold_is_refused(write_run, fake, value, said):
    folder = write_run("one", [fake("a", 10, 9)])
    config, provenance = read_config(folder), {"starts": [{"commit": value}]}
    (folder / "config.yaml").write_text(json.dumps(sealed(config | {"x": value})).replace("Infinity", "1.0e999"))
    with pytest.raises(TtftError, match=rf"config\.yaml: .*{said}"):
        read_run(folder)
    (folder / "config.yaml").write_text(json.dumps(sealed(config)))
    (folder / "provenance.json").write_text(json.dumps(sealed(provenance)).replace("Infinity", "1e999"))
    with pytest.raises(TtftError, match=rf"provenance\.json.*{said}"):
        read_run(folder)


def test_provenance_may_be_missing_and_not_damaged(write_run, fake):
    folder = write_run("one", [fake("a", 10, 9)])
    path = folder / "provenance.json"
    good = path.read_text()
    path.unlink()
    assert read_run(folder).provenance == {"starts": []}
    for text, words in (
        ("[", "is not JSON"),
        (good.replace("abc123", "abc124"), "is damaged: its hash does not match"),
    ):
        path.write_text(text)
        with pytest.raises(TtftError, match=rf"provenance.json {words}"):
            read_run(folder)
