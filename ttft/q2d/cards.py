"""Cards: README.md with the YAML front matter that the Hub reads, for generated dialogs and for query models.

A card states what the records and the configuration say, and nothing else of where it was made. Texts from elsewhere
stand in fenced blocks or escaped table cells.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ttft.q2d.records import Dialog
from ttft.q2d.text import dialog_text, one_line
from ttft.state import dump_yaml

SIZES = (("n<1K", 1_000), ("1K<n<10K", 10_000), ("10K<n<100K", 100_000), ("100K<n<1M", 1_000_000))
SHOWN = 2  # dialogs on a card
LONGEST = 2_000  # characters of a dialog that is shown
PAPER = (
    "The method follows Bitton et al., *q2d: Turning Questions into Dialogs to Teach Models How to Search* "
    "(EMNLP 2023, arXiv 2304.14318). Prompts, filters and thresholds are this tool's own: the paper's are not public."
)


@dataclass(frozen=True, slots=True)
class Licence:
    """spdx: as the Hub writes it;  note: for people. share_alike: what is made from it has the same licence."""

    spdx: str
    note: str
    share_alike: bool = False


LICENCES: dict[str, Licence] = {
    "qrecc": Licence("cc-by-sa-3.0", "QReCC: CC BY-SA 3.0, share-alike", True),
    "infocqr": Licence("cc-by-sa-3.0", "InfoCQR: made from QReCC (CC BY-SA 3.0); states no licence of its own", True),
    "adaqr": Licence("cc-by-sa-3.0", "AdaQR: made from QReCC (CC BY-SA 3.0); states no licence of its own", True),
    "scai": Licence("cc-by-sa-3.0", "SCAI-QReCC: made from QReCC (CC BY-SA 3.0)", True),
    "quac": Licence("cc-by-sa-4.0", "QuAC, by way of QReCC or CANARD: share-alike", True),
    "nq": Licence("cc-by-sa-3.0", "Natural Questions, by way of QReCC: CC BY-SA 3.0, share-alike", True),
    "trec": Licence("cc-by-sa-3.0", "TREC CAsT, by way of QReCC: CC BY-SA 3.0, share-alike", True),
    "canard": Licence("cc-by-sa-4.0", "CANARD: CC BY-SA 4.0, share-alike", True),
    "hotpotqa": Licence("cc-by-sa-4.0", "HotpotQA: CC BY-SA 4.0, share-alike", True),
    "musique": Licence("cc-by-4.0", "MuSiQue: CC BY 4.0, with attribution (StonyBrookNLP/musique)"),
    "bamboogle": Licence("other", "Bamboogle: its licence is not verified"),
    "cast": Licence("mit", "TREC CAsT topics (daltonj/treccastweb): MIT"),
    "mtrag": Licence("apache-2.0", "MTRAG (IBM/mt-rag-benchmark): Apache-2.0"),
    "alexa": Licence("mit-0", "Alexa contextual query rewrite: MIT-0"),
}
"""By the words of a source's name. As their owners state it; see the sources' own pages."""


def licence_of(source: str) -> Licence:
    """By the first known word in the name of a source; a licence "other" for an unknown one."""
    words = re.findall(r"[a-z]+", source.lower())
    for word in words:
        for name, licence in LICENCES.items():
            if word == name or (len(name) > 4 and word.startswith(name)):
                return licence
    return Licence("other", "not known to this tool: state the licence of the questions before you publish")


def dataset_card(
    dialogs: Sequence[Dialog], *, name: str, funnel: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None, statistics: Mapping[str, Any] | None = None,
    splits: Mapping[str, int] | None = None, data_files: str | None = None,
) -> str:  # fmt: skip
    """The card of generated dialogs; `dialogs` may hold dropped ones, which are counted.

    funnel      what the filters counted, by name;  settings: thresholds and the like
    statistics  numbers by name, such as analysis.Intrinsic.to_json()
    splits      split -> rows;  data_files: their path on the Hub with "{split}" in it, such as "data/{split}.jsonl"
    """
    kept = [d for d in dialogs if d.verdict != "drop"]
    sources = Counter(d.source for d in kept)
    front: dict[str, Any] = {
        "license": _licence(list(sources)), "pretty_name": one_line(name), "task_categories": ["text-generation"],
        "tags": ["conversational-search", "query-rewriting", "synthetic", "q2d"], "size_categories": [_size(len(kept))],
    }  # fmt: skip
    if splits and data_files:
        files = [{"split": one, "path": data_files.format(split=one)} for one in splits]
        front["configs"] = [{"config_name": "default", "data_files": files}]
    parts = [_front(front), f"# {_cell(name)}", _made(kept)]
    parts += [_section("Counts", _counts(dialogs, kept, splits))]
    parts += [_section("Filters", _funnel(funnel))] if funnel else []
    parts += [_section("Settings", _table(("setting", "value"), _flat(settings)))] if settings else []
    parts += [_section("Statistics", _table(("of the dialogs", "value"), _flat(statistics)))] if statistics else []
    parts += [_section("Licences by source", _licences(sources)), _section("Limits", LIMITS)]
    parts += [_section("Examples", "\n\n".join(_example(d) for d in kept[:SHOWN]))] if kept else []
    return "\n\n".join(parts) + "\n"


LIMITS = """- **The assistant's turns are unverified statements of a generator.** Do not train a model that
  answers on them without a check; they are context for a model that writes queries.
- The dialogs were made from questions, so their last turns may be nearer to the query than those of people.
- A dialog whose answer was not known could not be checked for giving it away.
- Questions about what is "current" have answers that change with time."""


def model_card(facts: Mapping[str, Any], *, name: str, results: Mapping[str, Any] | None = None) -> str:
    """The card of a query model. facts: what q2d.json says, with "base_model" or "base"; results: numbers by name."""
    base = str(facts.get("base_model") or facts.get("base") or "")
    front: dict[str, Any] = {"library_name": "peft", "pipeline_tag": "text-generation"}
    front |= {"base_model": base} if base and not _is_path(base) else {}
    front |= {"tags": ["conversational-search", "query-rewriting", "lora", "q2d"]}
    parts = [_front(front), f"# {_cell(name)}", MODEL, PAPER]
    parts += [_section("How it was made", _table(("fact", "value"), _flat(facts)))]
    parts += [_section("Results", _table(("measure", "value"), _flat(results)))] if results else []
    parts += [_section("Limits", MODEL_LIMITS)]
    return "\n\n".join(parts) + "\n"


MODEL = """A query model: it reads a dialog and writes the search query for its last turn, complete by itself.

    ttft q2d rewrite dialogs.jsonl --model FOLDER"""
MODEL_LIMITS = """- A query may leave out or add what the dialog does not say: show it to the user, and log it.
- The licence of the training data may bind what is made from it: see the card of the data set."""


# ---- parts ---------------------------------------------------------------------------------------------------------


def _front(front: Mapping[str, Any]) -> str:
    return f"---\n{dump_yaml(dict(front)).rstrip()}\n---"


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}"


def _made(dialogs: Sequence[Dialog]) -> str:
    makers = Counter((d.generator.model, d.generator.prompt_sha256, d.generator.temperature) for d in dialogs)
    rows = [
        (without_credentials(model), prompt[:16] or "-", temperature, count)
        for (model, prompt, temperature), count in makers.items()
    ]
    table = _table(("generator", "sha256 of its prompt", "temperature", "dialogs"), rows)
    return (
        "Information-seeking dialogs that were generated from questions; the question is the search query of the "
        f"dialog's last turn.\n\n{PAPER}\n\n{table}"
    )


def _counts(dialogs: Sequence[Dialog], kept: Sequence[Dialog], splits: Mapping[str, int] | None) -> str:
    rows: list[tuple[object, ...]] = [
        ("dialogs", len(kept)), ("questions", len({d.question_id for d in kept})),
    ]  # fmt: skip
    if len(kept) < len(dialogs):
        rows.append(("dropped by filters", len(dialogs) - len(kept)))
        reasons = Counter(reason for d in dialogs if d.verdict == "drop" for reason in d.reasons)
        rows += [(f"dropped, among other reasons: {reason}", count) for reason, count in sorted(reasons.items())]
    rows += [(f"split {name}", count) for name, count in (splits or {}).items()]
    return _table(("what", "number"), rows)


def _funnel(funnel: Mapping[str, Any]) -> str:
    """The filters with what they dropped, as funnel.Funnel.to_json() has it, and its other numbers."""
    steps = funnel.get("steps") or ()
    rows = [[step[key] for key in ("name", "dropped", "only", "left")] for step in steps]
    rest = _flat({key: value for key, value in funnel.items() if key != "steps"})
    table = _table(("filter", "dropped", "by no other filter", "left"), rows) + "\n\n" if rows else ""
    return table + _table(("of the filtering", "value"), rest)


def _licences(sources: Mapping[str, int]) -> str:
    rows = [(source or "(none given)", count, licence_of(source).note) for source, count in sorted(sources.items())]
    share_alike = any(licence_of(source).share_alike for source in sources)
    note = "\n\nShare-alike: what is published of these dialogs must carry the same licence." * share_alike
    return _table(("source of the questions", "dialogs", "licence"), rows) + note


def _licence(sources: Sequence[str]) -> str:
    """The one licence of all sources, else "other"."""
    found = {licence_of(source).spdx for source in sources}
    return found.pop() if len(found) == 1 else "other"


def _size(count: int) -> str:
    return next((name for name, limit in SIZES if count < limit), "n>1M")


def _example(dialog: Dialog) -> str:
    text = dialog_text(dialog.turns)[:LONGEST]
    body = f"{text}\n-> {one_line(dialog.query)[:LONGEST]}"
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", body)), default=0))
    return f"{fence}text\n{body}\n{fence}"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    """A value within a table cell: on one line, and no markup."""
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    text = f"{value:.4g}" if isinstance(value, float) else without_credentials(one_line(str(value)))
    return re.sub(r"([\\|<>*_`\[\]#])", r"\\\1", text)


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, object]]:
    """(name, value) of a nested mapping, without what is named like a secret."""
    rows: list[tuple[str, object]] = []
    for key, value in values.items():
        name = f"{before}{key}"
        if SECRET.search(str(key)):
            continue
        rows += _flat(value, f"{name}, ") if isinstance(value, Mapping) else [(name, value)]
    return rows


SECRET = re.compile(r"(api_?key|token$|secret|password|authorization|credential)", re.I)
CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@|(?<=[?&])[^=&\s]*(?:key|token|secret)[^=&\s]*=[^&\s]*", re.I)


def without_credentials(text: str) -> str:
    """The text without the user and password of an address, and without keys in its query."""
    return CREDENTIALS.sub("", text)


def _is_path(name: str) -> bool:
    return name.startswith(("/", ".", "~")) or name.count("/") > 1
