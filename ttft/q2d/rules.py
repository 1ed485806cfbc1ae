"""Dialogs from questions by rules and templates: no model, no facts, the same dialog for the same seed.

An earlier turn introduces what the question is about; the last turn replaces it by a pronoun, leaves it out, or asks
"What about X?". Earlier turns may talk of something else first. How much of the question the last turn keeps is drawn
from the figures of human dialogs (QReCC): ROUGE-1 F of the last turn with the question, and the share with a pronoun.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from ttft.q2d import rule_templates as templates
from ttft.q2d import rule_words as words
from ttft.q2d.mentions import Mention, Parsed, parse
from ttft.q2d.records import NO_SEARCH, Pair, Question, Turn, alternating
from ttft.q2d.rule_turns import FORMS, LastTurn, last_turns, overlap, pronoun_for
from ttft.q2d.text import content_words, model_text, norm

HUMAN_DECILES = (0.2, 0.43, 0.50, 0.57, 0.63, 0.67, 0.73, 0.77, 0.80, 0.86, 0.93)
"""Of ROUGE-1 F(last turn, rewrite) of human dialogs; the ends are ours."""
PRONOUN_RATE = 0.66
LENGTHS, LENGTH_WEIGHTS = (3, 5, 7, 9), (30, 32, 24, 14)
COMPLETE, SWITCH = 0.05, 0.06
"""Shares of dialogs whose last turn is the whole question: on the same topic, on another."""
DISTRACTED = 0.35  # of dialogs talk of something else first, or the assistant does
ATTEMPTS = 16
MOST_WORDS_OF_TURN, MOST_WORDS_OF_LAST, MOST_COPIED = 78, 38, 0.93


def make_dialog(question: Question, *, sample: int, seed: int, others: Sequence[Question] = ()) -> tuple[Turn, ...]:
    """Turns whose last one asks for what the question asks. A pure function of its arguments.

    sample  which of several dialogs of this question
    others  questions whose subjects may be talked of before; the answers of this one do not become part of the dialog
    """
    rng = Random(f"{seed}\n{sample}\n{question.id}\n{question.question}")
    parsed = parse(question.question)
    best: tuple[Turn, ...] | None = None
    for _ in range(ATTEMPTS):
        turns = alternating(_Writer(parsed, others, rng).dialog())
        if acceptable(turns, question):
            return turns
        best = best or turns
    return plain_dialog(question, rng) if parsed.body else (best or plain_dialog(question, rng))


def acceptable(turns: Sequence[Turn], question: Question) -> bool:
    """Whether every content word of the question is in the dialog, no turn repeats it, none gives its answer away."""
    said = [norm(turn.text) for turn in turns]
    known = set(" ".join(said).split())
    asked = norm(question.question)
    if not set(content_words(question.question)) <= known or asked in said:
        return False
    if overlap(question.question, turns[-1].text) > MOST_COPIED or len(turns[-1].text.split()) > MOST_WORDS_OF_LAST:
        return False
    if max(len(turn.text.split()) for turn in turns) > MOST_WORDS_OF_TURN or not all(said):
        return False
    secrets = [norm(text) for text in (*question.answers, *question.forbidden)]
    secrets = [text for text in secrets if len(text) > 2 and f" {text} " not in f" {asked} "]
    return not any(f" {secret} " in f" {turn} " for secret in secrets for turn in said)


def plain_dialog(question: Question, rng: Random) -> tuple[Turn, ...]:
    """For a question of which the rules find nothing to refer to: it is asked in full, after a lead-in."""
    lead = rng.choice(templates.LEAD_INS)
    return alternating(("I have a question.", "Sure, go ahead.", f"{lead} {question.question}"))


class _Writer:
    """One attempt at the texts of a dialog."""

    def __init__(self, parsed: Parsed, others: Sequence[Question], rng: Random) -> None:
        self.parsed, self.rng = parsed, rng
        drawn = [rng.choice(others) for _ in range(4)] if others else []
        self.others = [q for q in drawn if q.question.strip() and parsed.body.lower() not in q.question.lower()]
        self.alternatives = [m for q in self.others for m in parse(q.question).mentions if len(m.text) < 60]
        self.users: list[tuple[str, str]] = []  # (text, what the assistant calls the topic)
        self.agreed, self.salt = False, str(rng.random())

    def dialog(self) -> list[str]:
        rng, draw = self.rng, self.rng.random()
        room = rng.choices(LENGTHS, LENGTH_WEIGHTS)[0] // 2
        if draw < SWITCH and self.alternatives:
            last = self._switch(room)
        elif draw < SWITCH + COMPLETE or not (choices := last_turns(self.parsed, self.alternatives, self.salt, rng)):
            last = self._complete(room)
        else:
            last = self._leaning(self._choose(choices), room)
        return self._woven(last)

    def _choose(self, choices: Sequence[LastTurn]) -> LastTurn:
        """The one that keeps as much of the question as a draw from human dialogs, with or without a pronoun."""
        rng = self.rng
        place = rng.random() * 10
        low, high = HUMAN_DECILES[int(place)], HUMAN_DECILES[int(place) + 1]
        wanted = low + (high - low) * (place % 1)
        pronoun = rng.random() < PRONOUN_RATE
        right = [turn for turn in choices if turn.pronoun == pronoun] or choices
        asked = self.parsed.body
        known = set(re.findall(r"\w+", asked.lower()))

        def cost(turn: LastTurn) -> float:
            added = sum(word not in known for word in re.findall(r"\w+", turn.text.lower()))
            return abs(overlap(asked, turn.text) - wanted) + 0.04 * added + 0.06 * rng.random()

        return min(right, key=cost)

    # ---- kinds of dialogs ------------------------------------------------------------------------------------------

    def _switch(self, room: int) -> str:
        self._about(self.rng.choice(self.alternatives), room)
        return self._whole(templates.SWITCHES)

    def _complete(self, room: int) -> str:
        mentions = [m for m in self.parsed.mentions if len(m.text.split()) < 8]
        if mentions:
            self._about(self.rng.choice(mentions), room)
        else:
            self.users.append(("I have a question.", "that"))
        return self._whole(templates.LEAD_INS)

    def _whole(self, lead_ins: Sequence[str]) -> str:
        body, rng = self.parsed.body, self.rng
        lead = rng.choice(lead_ins)
        if len(body.split()) > 12:
            lead = f"{lead} {rng.choice(('can you tell me this:', 'here is what I wonder:', 'please look this up:'))}"
        first = body.split()[0] if body else ""
        if first.lower() in words.FUNCTION_WORDS and not lead.endswith(":"):
            body = first.lower() + body[len(first) :]
        return f"{lead} {body}{self.parsed.ending}"

    def _leaning(self, last: LastTurn, room: int) -> str:
        """Introduce what the last turn leaves out, the main topic last, with other turns around."""
        rng = self.rng
        phrases = [(p, m) for p, m in last.introduce if not any(p != o and p in o for o, _ in last.introduce)]
        phrases.sort(key=lambda pair: (pair[1] is None, -len(pair[0])))
        needed = max(1, len(phrases)) + bool(last.after)
        spare = max(0, room - needed)
        if self.alternatives and spare and rng.random() < DISTRACTED:
            taken = rng.randint(1, spare)
            self._about(rng.choice(self.alternatives), taken)
            spare -= taken
        topic = phrases[0][1] if phrases and phrases[0][1] else None
        if phrases and len(phrases) == 2 and rng.random() < 0.4 and phrases[1][1] is None:
            self._say(self._introduction(topic or phrases[0][1], f"{phrases[0][0]} {phrases[1][0]}"), phrases[0][0])
            spare += 1
            phrases = []
        for place, (phrase, mention) in enumerate(phrases):
            kind = templates.DETAIL if mention else templates.DETAIL_TAIL
            text = self._introduction(mention, phrase) if place == 0 else rng.choice(kind).format(x=phrase)
            self._say(text, phrase)
        for _ in range(spare if topic else 0):
            self._say(self._aspect(topic), topic.text if topic else "it")
        if last.after:
            self._say(last.after, "that")
            self.agreed = last.agreed
        return last.text

    def _about(self, mention: Mention, count: int) -> None:
        """`count` user turns about a mention."""
        self._say(self._introduction(mention, mention.text), mention.text)
        for _ in range(count - 1):
            self._say(self._aspect(mention), mention.text)

    # ---- sentences -------------------------------------------------------------------------------------------------

    def _say(self, text: str, topic: str) -> None:
        if self.parsed.lower and not self.parsed.ending:
            text = text.rstrip("?.")
        self.users.append((text[:1].upper() + text[1:] if not self.parsed.lower else text, topic))

    def _introduction(self, mention: Mention | None, phrase: str) -> str:
        rng = self.rng
        sentences: tuple[str, ...] = templates.INTRODUCE if mention else templates.INTRODUCE_TAIL
        if mention and len(phrase.split()) < 5 and rng.random() < 0.6:
            sentences = templates.INTRODUCE_BY_KIND[mention.kind]
        return self._cased(rng.choice(sentences)).format(x=phrase)

    def _aspect(self, mention: Mention | None) -> str:
        rng = self.rng
        if mention is None or rng.random() < 0.15:
            return self._cased(rng.choice(templates.SMALL_TALK))
        he, him, his = FORMS[pronoun_for(mention, self.salt)]
        sentence = rng.choice(templates.ASPECTS[mention.kind])
        if he == "they":
            sentence = re.sub(r"\b[Ii]s \{he\}", "Are {he}", re.sub(r"\b[Ww]as \{he\}", "Were {he}", sentence))
        return self._cased(sentence).format(he=he, him=him, his=his)

    def _cased(self, sentence: str) -> str:
        return sentence.lower() if self.parsed.lower else sentence

    def _woven(self, last: str) -> list[str]:
        texts: list[str] = []
        for place, (user, topic) in enumerate(self.users):
            agreed = self.agreed and place == len(self.users) - 1
            texts += [user, self.rng.choice(templates.AGREE) if agreed else self._assistant(topic)]
        return [*texts, last]

    def _assistant(self, topic: str) -> str:
        """A sentence or three that say nothing of substance, as long as people's answers are."""
        rng = self.rng
        middles: tuple[str, ...] = templates.MIDDLES
        if self.others and rng.random() < DISTRACTED and self.alternatives:
            middles = templates.MIDDLES_OTHER
        if len(topic.split()) > 9:
            topic = rng.choice(("that", "this"))
        other = rng.choice(self.alternatives).text if self.alternatives else "other things"
        asked = rng.choice(self.others).question.rstrip("?.! ") + "?" if self.others else ""
        middle = rng.choice(middles).format(x=topic, o=other, q=asked)
        opening, offer = rng.choice(templates.OPENINGS), rng.choice(templates.OFFERS)
        middle = middle if opening.endswith(",") else middle[0].upper() + middle[1:]
        return " ".join(f"{opening} {middle if middle.endswith('?') else middle + '.'} {offer}".split())


def no_search_dialogs(n: int, seed: int, questions: Sequence[Question] = ()) -> list[Pair]:
    """n dialogs whose last turn needs no search (a greeting, thanks, a question about the talk itself), with the target
    NO_SEARCH, to train on. Their earlier turns are made from `questions`, by default from a few of our own."""
    rng = Random(f"no search\n{seed}")
    pool = list(questions) or [Question(f"own-{i}", text) for i, text in enumerate(templates.OWN_QUESTIONS)]
    pairs = []
    for number in range(n):
        texts: list[str] = []
        greeting = rng.random() < 0.25
        if not greeting or rng.random() < 0.3:
            turns = make_dialog(rng.choice(pool), sample=number, seed=seed, others=pool)
            texts = [turn.text for turn in turns]
            texts = texts[: rng.choice(range(2, len(texts) + 1, 2))] if rng.random() < 0.4 else texts
            texts += [rng.choice(templates.ANSWERED_OTHER)] * (len(texts) % 2)
        last = rng.choice(templates.GREETINGS if greeting else rng.choice((templates.THANKS, templates.ABOUT_TALK)))
        pairs.append(Pair(f"no-search-{seed}-{number}", model_text(alternating([*texts, last])), NO_SEARCH))
    return pairs
