"""What a generated dialog must be to be trained on: each rule a function, all of them in one table.

Every rule is applied to every dialog, and a dropped dialog keeps all its reasons. The rules that compare the query with
what a model recovers from the dialog come after the others, since they cost a call of a model, and copies are looked
for last. q2d drops dialogs of another intent than the question's; the other rules and all numbers here are our choice,
measured on human dialogs (q2d.md, section 4.4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ttft import defaults
from ttft.progress import OnNote, OnProgress, Progress, counted, ignore
from ttft.q2d.funnel import Funnel, funnel_of
from ttft.q2d.near_copies import Seen
from ttft.q2d.records import Dialog
from ttft.q2d.similarity import Similarity, rouge, rouge_f
from ttft.q2d.text import content_words, norm

LEAK_SKIPPED, BRIDGE_SKIPPED, INTENT_SKIPPED = "leak_check:skipped", "bridge_check:skipped", "intent_check:skipped"
NOTES = {LEAK_SKIPPED, BRIDGE_SKIPPED, INTENT_SKIPPED}
Recover = Callable[[Sequence[Dialog]], Sequence[str | None]]
"""Dialogs -> the query that a model writes for each, None where it fails."""


@dataclass(frozen=True)
class Limits:
    """The numbers of the rules.

    min_turns .. max_dialog_words  lengths, in turns and in words between spaces
    copied         ROUGE-1 F of last turn and query from which on the query counts as copied
    answer_chars   shorter answers, in normal form, are not looked for
    recoverable    least share of the query's content words that the dialog must hold
    intent         least similarity of recovered query and query
    jaccard        similarity from which on two dialogs are copies of each other
    per_question   most dialogs kept of one question, None for all
    off            rules that are not applied, by their names in RULES
    """

    min_turns: int = defaults.Q2D_MIN_TURNS
    max_turns: int = defaults.Q2D_MAX_TURNS
    max_turn_words: int = defaults.Q2D_MAX_TURN_WORDS
    max_last_words: int = defaults.Q2D_MAX_LAST_WORDS
    max_dialog_words: int = defaults.Q2D_MAX_DIALOG_WORDS
    copied: float = defaults.Q2D_COPIED
    answer_chars: int = defaults.Q2D_ANSWER_CHARS
    recoverable: float = defaults.Q2D_RECOVERABLE
    intent: float = defaults.Q2D_INTENT["rouge"]
    jaccard: float = defaults.Q2D_JACCARD
    per_question: int | None = None
    off: tuple[str, ...] = defaults.Q2D_OFF


@dataclass(frozen=True)
class Verdict:
    """What a rule says about a dialog: whether it is to be dropped, the numbers it looked at, and remarks."""

    drop: bool
    scores: dict[str, float]
    notes: tuple[str, ...] = ()


# ---- rules on the dialog alone -------------------------------------------------------------------------------------


def wrong_format(dialog: Dialog, limits: Limits) -> Verdict:
    """No turn, an empty turn, roles that do not alternate, or a first or last turn that is not the user's."""
    expected = ["user" if place % 2 == 0 else "assistant" for place in range(len(dialog.turns))]
    alternate = [turn.role for turn in dialog.turns] == expected and len(dialog.turns) % 2 == 1
    return Verdict(not alternate or not all(turn.text.strip() for turn in dialog.turns), {})


def wrong_length(dialog: Dialog, limits: Limits) -> Verdict:
    """Too few or too many turns, or too many words in a turn, in the last turn or in all."""
    words = [len(turn.text.split()) for turn in dialog.turns]
    total = sum(words)
    drop = (
        not limits.min_turns <= len(words) <= limits.max_turns
        or max(words, default=0) > limits.max_turn_words
        or (words[-1] if words else 0) > limits.max_last_words
        or total > limits.max_dialog_words
    )
    return Verdict(drop, {"turns": len(words), "words": total})


def copied(dialog: Dialog, limits: Limits) -> Verdict:
    """A turn is the query, or the last turn is nearly the query: there would be nothing to learn."""
    if not dialog.turns:
        return Verdict(False, {})
    query, last = norm(dialog.query), rouge_f(dialog.query, dialog.turns[-1].text)
    equal = bool(query) and any(norm(turn.text) == query for turn in dialog.turns)
    return Verdict(equal or last >= limits.copied, {"rouge_last_turn": last})


def leak(dialog: Dialog, limits: Limits) -> Verdict:
    """A turn holds an answer. Not looked for: answers that are yes or no, are short, or stand in the question, as in
    "A or B?", where every dialog has to name them."""
    forms = [norm(answer) for answer in dialog.answers]
    if any(form in ("yes", "no") or _holds(norm(dialog.query), form) for form in forms):
        return Verdict(False, {}, (LEAK_SKIPPED,))
    return _named(dialog, [form for form in forms if len(form) >= limits.answer_chars], bool(forms), LEAK_SKIPPED)


def bridge(dialog: Dialog, limits: Limits) -> Verdict:
    """A turn holds the answer to a step of the question: the query would then use it, not the step."""
    query = norm(dialog.query)
    forms = [form for form in map(norm, dialog.forbidden) if form not in ("yes", "no") and not _holds(query, form)]
    long = [form for form in forms if len(form) >= limits.answer_chars]
    return _named(dialog, long, bool(dialog.forbidden), BRIDGE_SKIPPED)


def _named(dialog: Dialog, forms: Sequence[str], given: bool, skipped: str) -> Verdict:
    if not forms:
        return Verdict(False, {}, (skipped,) if given else ())
    turns = [norm(turn.text) for turn in dialog.turns]
    return Verdict(any(_holds(turn, form) for turn in turns for form in forms), {})


def _holds(text: str, part: str) -> bool:
    """Whether whole words of the text are the part; both in normal form. 131 is no part of 1310."""
    return bool(part) and f" {part} " in f" {text} "


def unrecoverable(dialog: Dialog, limits: Limits) -> Verdict:
    """Too few of the query's content words stand in the dialog. A query without any counts as share 0."""
    words = content_words(dialog.query)
    said = set(norm(" ".join(turn.text for turn in dialog.turns)).split())
    share = sum(word in said for word in words) / len(words) if words else 0.0
    return Verdict(share < limits.recoverable, {"recoverable": share})


# ---- rules on the recovered query ----------------------------------------------------------------------------------


def other_intent(dialog: Dialog, limits: Limits) -> Verdict:
    """The recovered query is too far from the query."""
    if "intent" not in dialog.scores:
        return Verdict(False, {}, (INTENT_SKIPPED,))
    return Verdict(dialog.scores["intent"] < limits.intent, {})


def needs_no_context(dialog: Dialog, limits: Limits) -> Verdict:
    """The last turn alone is as near to the query as the recovered query."""
    scores = dialog.scores
    if "intent" not in scores or "last_turn" not in scores:
        return Verdict(False, {})
    return Verdict(scores["last_turn"] >= scores["intent"], {})


Rule = Callable[[Dialog, Limits], Verdict]
ON_DIALOGS: dict[str, Rule] = {
    "format": wrong_format,
    "length": wrong_length,
    "copied": copied,
    "leak": leak,
    "bridge": bridge,
    "unrecoverable": unrecoverable,
}
ON_QUERIES: dict[str, Rule] = {"no-context-needed": needs_no_context, "intent": other_intent}
AMONG_DIALOGS = ("duplicate", "surplus")
RULES = (*ON_DIALOGS, *ON_QUERIES, *AMONG_DIALOGS)
"""The reasons, in the order in which the rules are applied."""


# ---- all of them ---------------------------------------------------------------------------------------------------


def filter_dialogs(
    dialogs: Sequence[Dialog],
    limits: Limits | None = None,
    *,
    similarity: Similarity = rouge,
    recover: Recover | None = None,
    on_progress: OnProgress = ignore,
    on_note: OnNote = ignore,
) -> tuple[list[Dialog], Funnel]:
    """The dialogs, in their order, with verdict, all reasons, scores and notes; and how many each rule drops.

    limits      by default those of the defaults
    similarity  of query and recovered query; its threshold is limits.intent
    recover     asked for the queries of dialogs without one that the rules on dialogs keep

    A dialog whose query was never recovered is not judged by its intent, and says so in its notes. What earlier
    filtering said is forgotten.
    """
    limits = limits or Limits()
    judged: list[Dialog] = []
    for number, dialog in enumerate(dialogs, 1):
        fresh = replace(dialog, verdict=None, reasons=(), scores={}, notes=_others(dialog.notes))
        judged.append(_apply(ON_DIALOGS, fresh, limits))
        on_progress(Progress("filtering", number, len(dialogs), "dialogs"))
    if recover is not None:
        judged = _recovered(judged, recover)
    judged = [_apply(ON_QUERIES, dialog, limits) for dialog in _compared(judged, similarity, limits)]
    judged = _among(judged, limits)
    unknown = sum(INTENT_SKIPPED in dialog.notes and not dialog.reasons for dialog in judged)
    if unknown and "intent" not in limits.off:
        on_note(f"{counted(unknown, 'dialog')} without a recovered query: their intent was not compared")
    done = [replace(dialog, verdict="drop" if dialog.reasons else "keep") for dialog in judged]
    return done, funnel_of(done, [name for name in RULES if name not in limits.off])


def _others(notes: Sequence[str]) -> tuple[str, ...]:
    return tuple(note for note in notes if note not in NOTES)


def _apply(rules: dict[str, Rule], dialog: Dialog, limits: Limits) -> Dialog:
    reasons, scores, notes = list(dialog.reasons), dict(dialog.scores), list(dialog.notes)
    for name, rule in rules.items():
        if name in limits.off:
            continue
        verdict = rule(dialog, limits)
        reasons += [name] if verdict.drop else []
        scores |= verdict.scores
        notes += verdict.notes
    return replace(dialog, reasons=tuple(reasons), scores=scores, notes=tuple(notes))


def _recovered(dialogs: Sequence[Dialog], recover: Recover) -> list[Dialog]:
    asked = [dialog for dialog in dialogs if dialog.recovered_query is None and not dialog.reasons]
    found = dict(zip((dialog.id for dialog in asked), recover(asked), strict=True))
    return [replace(d, recovered_query=found[d.id]) if d.id in found else d for d in dialogs]


def _compared(dialogs: Sequence[Dialog], similarity: Similarity, limits: Limits) -> list[Dialog]:
    """The dialogs with the scores "intent" and, if that rule is on, "last_turn"."""
    known = [dialog for dialog in dialogs if dialog.recovered_query is not None and dialog.turns]
    if {"intent", "no-context-needed"} <= set(limits.off):
        return list(dialogs)
    pairs = {"intent": [(dialog.query, dialog.recovered_query or "") for dialog in known]}
    if "no-context-needed" not in limits.off:
        pairs["last_turn"] = [(dialog.query, dialog.turns[-1].text) for dialog in known]
    scores: dict[str, dict[str, float]] = {dialog.id: {} for dialog in known}
    for name, texts in pairs.items():
        for dialog, value in zip(known, similarity(texts), strict=True):
            scores[dialog.id][name] = value
    return [replace(dialog, scores=dialog.scores | scores.get(dialog.id, {})) for dialog in dialogs]


def _among(dialogs: Sequence[Dialog], limits: Limits) -> list[Dialog]:
    """Copies of earlier dialogs that are kept, and dialogs of a question that has enough of them."""
    seen, kept = Seen(limits.jaccard), dict[str, int]()
    judged = []
    for dialog in dialogs:
        text = norm(" ".join(turn.text for turn in dialog.turns))
        reasons = list(dialog.reasons)
        if "duplicate" not in limits.off and seen.copy_of(text) is not None:
            reasons.append("duplicate")
        most = limits.per_question
        if "surplus" not in limits.off and most is not None and kept.get(dialog.question_id, 0) >= most:
            reasons.append("surplus")
        if not reasons:
            seen.add(dialog.id, text)
            kept[dialog.question_id] = kept.get(dialog.question_id, 0) + 1
        judged.append(replace(dialog, reasons=tuple(reasons)))
    return judged
