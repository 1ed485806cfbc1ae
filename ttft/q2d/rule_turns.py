"""Last turns that lean on context, made from a question by replacing or leaving out what it mentions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from ttft.q2d import rule_templates as templates
from ttft.q2d import rule_words as words
from ttft.q2d.mentions import Mention, Parsed

FORMS = {
    "he": ("he", "him", "his"),
    "she": ("she", "her", "her"),
    "they": ("they", "them", "their"),
    "it": ("it", "it", "its"),
}
PRONOUN = re.compile(
    r"\b(he|she|it|they|him|her|his|hers|its|their|theirs|them|this|that|these|those|there|one|ones)\b", re.I
)
_PLURAL = {"is": "are", "was": "were", "does": "do", "has": "have", "isn't": "aren't", "wasn't": "weren't"}
_TAIL = re.compile(
    r" (?:in|during|on|at|from|after|before|besides|for|since|by|with|under|following|while|when|until|between|to|of"
    r"|about|other than|according to|as|against|into|near|based on|because of) ",
    re.I,
)
_TRUE_FORM = re.compile(
    r"^(when|where|why|how) (did|was|were|is|are|does|do|has|have|can|will|should) (\S+ .*\S)$", re.I
)
MOST_EDITS = 3


@dataclass(frozen=True, slots=True)
class LastTurn:
    """A way to ask the question. introduce: phrases that an earlier turn must say; after: a whole user turn that must
    stand right before; agreed: the assistant affirms it."""

    text: str
    introduce: tuple[tuple[str, Mention | None], ...]
    after: str = ""
    agreed: bool = False

    @property
    def pronoun(self) -> bool:
        return PRONOUN.search(self.text) is not None


@dataclass(frozen=True, slots=True)
class Edit:
    start: int
    end: int
    text: str
    phrase: str
    mention: Mention | None


def pronoun_for(mention: Mention, salt: str) -> str:
    """ "he", "she", "they" or "it". A name that the lists do not have gets one of the first three, the same
    throughout a dialog: salt is its own."""
    if mention.kind == "people":
        return "they"
    if mention.kind != "person":
        return "it"
    names = {word.lower().strip(".,") for word in mention.text.split()}
    if names & words.WOMEN | names & {"actress", "woman", "queen", "wife", "mother", "daughter", "sister", "girl"}:
        return "she"
    if names & words.MEN | names & {"man", "king", "husband", "father", "son", "brother", "boy", "pope"}:
        return "he"
    return Random(salt + mention.text).choices(("he", "she", "they"), (60, 25, 15))[0]


def overlap(target: str, prediction: str) -> float:
    """F of the words in common, 0..1; ROUGE-1 F without stemming."""
    a, b = (Counter(re.findall(r"\w+", text.lower())) for text in (target, prediction))
    both = (a & b).total()
    return 2 * both / max(1, a.total() + b.total())


def last_turns(parsed: Parsed, alternatives: Sequence[Mention], salt: str, rng: Random) -> list[LastTurn]:
    """All the ways to ask this question that these rules know, without repeats. alternatives: mentions of other
    questions, for "What about X?"."""
    edits = [edit for mention in parsed.mentions for edit in _edits(parsed, mention, salt, rng)]
    edits += _tails(parsed)
    found = [_apply(parsed, chosen) for chosen in _combinations(edits)]
    found += _follow_ups(parsed, alternatives, rng)
    found += _after_true(parsed, rng)
    known: dict[str, LastTurn] = {}
    for turn in found:
        if turn is not None:
            known.setdefault(turn.text, turn)
    return list(known.values())


def _edits(parsed: Parsed, mention: Mention, salt: str, rng: Random) -> Iterator[Edit]:
    """The ways to replace or drop one mention."""
    before, after = parsed.body[: mention.start], parsed.body[mention.end :]
    previous = before.split()[-1].lower() if before.split() else ""
    subject, obj, own = FORMS[pronoun_for(mention, salt)]

    def edit(text: str, start: int = mention.start, end: int = mention.end) -> Edit:
        return Edit(start, end, text, mention.text, mention)

    if mention.kind == "time":
        if previous in ("in", "during", "on"):
            start = before.rstrip().rfind(" ") + 1
            yield edit(rng.choice(("then", "at that time", "that year")), start)
            yield edit("", max(0, start - 1))
        return
    owner = re.search(r"\bthe ((?:[\w-]+ ){1,3})of $", before, re.I)
    if owner and not mention.possessive and not set(owner.group(1).lower().split()) & words.PREPOSITIONS:
        yield edit(f"{own} {owner.group(1).strip()}", owner.start())
    if mention.possessive:
        yield edit(own)
        yield edit("the")
    else:
        subject_place = bool(after.strip()) and (previous in words.AUXILIARIES or not previous or previous == "that")
        subject_place = (subject_place or previous in ("is", "was", "are", "were")) and " and " not in before[-5:]
        if previous in ("in", "at", "to", "near") and mention.kind in ("place", "thing"):
            yield edit("there", before.rstrip().rfind(" ") + 1)
        if subject_place and subject == "they":
            start = len(before.rstrip()) - len(previous)
            yield edit(f"{_PLURAL.get(previous, previous)} they", start)
        else:
            yield edit(subject if subject_place else obj)
        if previous in words.PREPOSITIONS and len(before.split()) > 3:
            yield edit("", max(0, before.rstrip().rfind(" ")))
    noun = mention.head.lower() if mention.head.isalpha() else ""
    noun = noun or {"person": "person", "place": "place", "people": "", "work": "", "thing": "one"}[mention.kind]
    if noun and noun not in words.FUNCTION_WORDS - {"one"}:
        which = rng.choice(("that", "this") if noun == "one" or not mention.head else ("the", "that", "this"))
        if noun.endswith("s") and not noun.endswith("ss") and which != "the":
            which = {"that": "those", "this": "these"}[which]
        yield edit(f"{which} {noun}" + ("'s" if mention.possessive else ""))


def _tails(parsed: Parsed) -> Iterator[Edit]:
    """The ends of the question that a preposition begins, to be left out."""
    verb = parsed.body.split()[-1].lower() if parsed.body else ""
    if verb in words.VERBS and words.DO.intersection(parsed.body.lower().split()):
        return
    for match in _TAIL.finditer(parsed.body):
        kept, tail = parsed.body[: match.start()], parsed.body[match.start() + 1 :]
        last = kept.split()[-1].lower()
        if len(kept.split()) >= 3 and last not in words.AUXILIARIES | words.PREPOSITIONS | words.DETERMINERS:
            inside = [m for m in parsed.mentions if m.start < match.start() < m.end]
            if not inside:
                yield Edit(match.start(), len(parsed.body), "", tail, None)


def _combinations(edits: Sequence[Edit]) -> Iterator[list[Edit]]:
    """Sets of 1 to 3 edits that do not overlap."""

    def extend(chosen: list[Edit], rest: Sequence[Edit]) -> Iterator[list[Edit]]:
        for place, edit in enumerate(rest):
            apart = all(edit.end <= other.start or other.end <= edit.start for other in chosen)
            if apart and not any(_confusable(edit, other) for other in chosen):
                yield [*chosen, edit]
                if len(chosen) + 1 < MOST_EDITS:
                    yield from extend([*chosen, edit], rest[place + 1 :])

    return extend([], edits[:12])


def _confusable(one: Edit, other: Edit) -> bool:
    """Whether the two would be the same pronoun, of things or of people, for different mentions."""
    a, b = (
        next((name for name, forms in FORMS.items() if set(forms) & set(e.text.split())), e.text) for e in (one, other)
    )
    return bool(a) and a == b


def _apply(parsed: Parsed, edits: Sequence[Edit]) -> LastTurn | None:
    text = parsed.body
    for edit in sorted(edits, key=lambda e: -e.start):
        text = text[: edit.start] + edit.text + text[edit.end :]
    text = re.sub(r"\s+([,;])", r"\1", " ".join(text.split())).strip(" ,;")
    if len(text.split()) < 2 or text.split()[-1].lower() in words.DETERMINERS - {"that", "this", "these", "those"}:
        return None
    if parsed.body[0].isupper():
        text = text[0].upper() + text[1:]
    return LastTurn(text + parsed.ending, tuple((edit.phrase, edit.mention) for edit in edits))


def _follow_ups(parsed: Parsed, alternatives: Sequence[Mention], rng: Random) -> Iterator[LastTurn]:
    """The question about something else first, then "What about X?"."""
    for mention in parsed.mentions:
        before, after = parsed.body[: mention.start], parsed.body[mention.end :]
        if mention.kind == "time":
            year = re.search(r"\d{4}", mention.text)
            other = (
                mention.text.replace(year.group(), str(int(year.group()) + rng.choice((-4, -2, -1, 1)))) if year else ""
            )
        else:
            same = [m.text for m in alternatives if m.kind == mention.kind and len(m.text.split()) < 6]
            other = rng.choice(same) if same else ""
        if not other or other.lower() == mention.text.lower():
            continue
        ends = "'s" if mention.possessive else ""
        earlier = f"{before}{other}{ends}{after}{parsed.ending}"
        words_before = before.split()
        name = mention.text
        if mention.kind == "time" and words_before and words_before[-1].lower() in words.PREPOSITIONS:
            name = f"{words_before[-1]} {name}"
        yield LastTurn(rng.choice(templates.FOLLOW_UPS).format(x=name + ends), (), earlier)


def _after_true(parsed: Parsed, rng: Random) -> Iterator[LastTurn]:
    """ "Did she go back to California?", then "Why?"."""
    if match := _TRUE_FORM.match(parsed.body):
        word, auxiliary, rest = match.groups()
        if rest.split()[0].lower() in words.QUESTION_WORDS or len(rest.split()) < 2:
            return
        for text in rng.sample(templates.AFTER_TRUE[word.lower()], 2):
            yield LastTurn(text, (), f"{auxiliary.capitalize()} {rest}?", agreed=True)
