"""What a question is about: the spans of its text that a later turn of a dialog can refer to.

Found without any language model: names (capitalised words), quoted titles, years, noun phrases such as "the creator of
Peace Concluded" or "ibuprofen" (regular expressions and small word lists). They need not be right about grammar; a span
that makes no good pronoun costs a dialog some naturalness, and nothing of the question is lost.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ttft.q2d import rule_words as words
from ttft.q2d.rule_words import Kind

_TOKEN = re.compile(r"[^\s,;:?!()\"“”]+")
_QUOTED = re.compile(r"[\"“]([^\"“”]{2,80})[\"”]|(?<=\s)['\u2018]([A-Z][^'\u2018\u2019]{2,80})['\u2019](?=[\s?.,]|$)")
_YEAR = re.compile(r"\b(?:(?:January|February|March|April|May|June|July|August|September|October|November|December) )?"
                   r"(?:the )?(?:1[0-9]|20)\d\ds?\b")  # fmt: skip
_CLAUSE = re.compile(
    r"\bthe (?:[\w'\u2019-]+ ){1,4}?(?:of|that|who|whom|whose|which|where|in which|for which|named) ", re.I
)
_FINAL_VERB = re.compile(r" ([\w'\u2019-]+)(?: (?:in|of|from|to|with|on|at|by|for|as))?$")
_END_PUNCTUATION = re.compile(r"[\s?.!]+$")
MOST_LOWER_WORDS = 6  # of a noun phrase without capitals


@dataclass(frozen=True, slots=True)
class Mention:
    """A span of a question. text: without a final 's; head: its noun, such as "film", if it names one."""

    start: int
    end: int
    text: str
    kind: Kind
    possessive: bool = False
    head: str = ""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A question without its end punctuation, and its mentions from left to right (clauses may hold others)."""

    body: str
    ending: str
    mentions: tuple[Mention, ...]

    @property
    def lower(self) -> bool:
        return self.body == self.body.lower()


def parse(question: str) -> Parsed:
    """The mentions of a question. There may be none, as in "why?"."""
    text = " ".join(question.split())
    ending = _END_PUNCTUATION.search(text)
    body = text[: ending.start()] if ending else text
    found = [*_quoted(body), *_names(body)]
    taken = [(m.start, m.end) for m in found]
    for year in _YEAR.finditer(body):
        if not any(s < year.end() and year.start() < e for s, e in taken):
            found.append(Mention(year.start(), year.end(), year.group(), "time"))
    names = [m for m in found if m.kind != "time"]
    found += _clauses(body)
    if not names:
        found += [m for m in _plain_phrases(body) if not any(m.start < n.end and n.start < m.end for n in found)]
    return Parsed(
        body, "?" if "?" in text[len(body) :] else "", tuple(sorted(set(found), key=lambda m: (m.start, -m.end)))
    )


def _quoted(body: str) -> list[Mention]:
    return [Mention(m.start(), m.end(), m.group(), "work") for m in _QUOTED.finditer(body)]


def _names(body: str) -> list[Mention]:
    """Runs of capitalised words, with "of the" and the like inside, and a noun with its article before."""
    tokens = [(m.start(), m.end(), m.group()) for m in _TOKEN.finditer(body)]
    quoted = [(m.start(), m.end()) for m in _QUOTED.finditer(body)]
    capital = [_is_capital(t, place == 0) and not any(s < t[1] and t[0] < e for s, e in quoted)
               for place, t in enumerate(tokens)]  # fmt: skip
    found, place = [], 0
    while place < len(tokens):
        if not capital[place]:
            place += 1
            continue
        last = place
        while not _closes(tokens[last][2]) and (ahead := _next_capital(body, tokens, capital, last)):
            last = ahead
        if last > place or tokens[place][2].lower() not in words.FUNCTION_WORDS:
            found.append(_name(body, tokens, place, last))
        place = last + 1
    return found


def _is_capital(token: tuple[int, int, str], first: bool) -> bool:
    word = token[2]
    if word.lower().strip("'\u2019.") in words.FUNCTION_WORDS and (first or len(word) < 4):
        return False
    return word[0].isupper() and not (first and word.lower() in words.VERBS)


def _closes(word: str) -> bool:
    return word.endswith(("'s", "\u2019s", "s'", "s\u2019"))


def _next_capital(body: str, tokens: list, capital: list[bool], last: int) -> int | None:
    """The index of the token that goes on with the name, over at most two linking words or a number."""
    for ahead in range(last + 1, min(last + 4, len(tokens))):
        if body[tokens[ahead - 1][1] : tokens[ahead][0]] != " ":
            return None
        if capital[ahead] or (ahead == last + 1 and tokens[ahead][2].isdigit() and len(tokens[ahead][2]) < 4):
            return ahead
        if tokens[ahead][2] not in words.NAME_LINKS:
            return None
    return None


def _name(body: str, tokens: list, first: int, last: int) -> Mention:
    start, end = tokens[first][0], tokens[last][1]
    before = [token[2] for token in tokens[max(0, first - 4) : first]]
    head, back = "", 0
    if "the" in [word.lower() for word in before]:
        back = len(before) - max(p for p, word in enumerate(before) if word.lower() == "the")
        between = before[len(before) - back + 1 :]
        if any(word.lower() in words.FUNCTION_WORDS | words.VERBS or _closes(word) for word in between):
            back = 0
        elif between:
            head = between[-1]
    if back:
        start = tokens[first - back][0]
    possessive = _closes(tokens[last][2])
    if back and not possessive and (noun := re.match(r" ([a-z][\w-]{2,})(?=\s|$)", body[end:])):
        word = noun.group(1)
        if word not in words.FUNCTION_WORDS | words.VERBS and not word.endswith(("ed", "ing")):
            end, head = end + noun.end(), word
    text = body[start:end]
    text = re.sub(r"['\u2019]s$", "", text) if possessive else text
    name = re.sub(r"['\u2019]s$", "", body[tokens[first][0] : end])
    kind = words.kind_of_head(head) or _kind_of_name(body, name, before, bool(back))
    return Mention(start, end, text, kind, possessive, head)


def _kind_of_name(body: str, name: str, before: list[str], article: bool) -> Kind:
    parts = name.split()
    previous = before[-1].lower() if before else ""
    if any(part.lower() in words.MONTHS for part in parts) and len(parts) < 3:
        return "time"
    if kind := words.kind_of_head(previous):
        return kind
    if kind := words.kind_of_head(parts[-1]):
        return kind
    if previous in words.NOT_BEFORE_A_PERSON:
        return "thing"
    if " and " in name or (article and parts[-1].endswith("s")):
        return "people"
    if parts[0].lower() in words.MEN | words.WOMEN and len(parts) < 5 and not set(parts) & words.NAME_LINKS:
        return "person"
    if previous in ("in", "near", "to", "at") and not article and len(parts) < 4:
        return "place"
    rest = {word.lower() for word in _TOKEN.findall(body)} - {part.lower() for part in parts}
    if not article and 1 < len(parts) < 4 and not set(parts) & words.NAME_LINKS and all(p[0].isupper() for p in parts):
        subject = previous in words.AUXILIARIES or name + "'s" in body or name + "\u2019s" in body
        if subject or rest & words.PERSON_CUES:
            return "person"
    return "thing"


def _clauses(body: str) -> list[Mention]:
    """ "the person who gave the Checkers speech", up to the end of the question or, inside a subject, its last verb."""
    found = []
    verb = _FINAL_VERB.search(body)
    stop = verb.start() if verb and verb.group(1).lower() in words.VERBS else None
    for match in _CLAUSE.finditer(body):
        before = [word.lower() for word in body[: match.start()].split()]
        if stop is None and words.DO.intersection(before):
            continue  # its verb is somewhere inside, unknown where
        end = stop if stop and words.AUXILIARIES.intersection(before) else len(body)
        text = body[match.start() : end]
        if match.end() >= end or text.split()[-1].lower() in words.AUXILIARIES | words.PREPOSITIONS:
            continue
        noun = re.search(r"([\w-]+) (?:in which|for which|\S+) $", match.group())
        head = noun.group(1).lower() if noun else ""
        found.append(Mention(match.start(), end, text, words.kind_of_head(head) or "thing", head=head))
    return found


def _plain_phrases(body: str) -> list[Mention]:
    """Noun phrases of a question without names: after a preposition, after "did", after "who wrote"."""
    tokens = [(m.start(), m.end(), m.group().lower()) for m in _TOKEN.finditer(body)]
    found = []
    for place, (_, _, word) in enumerate(tokens):
        opens = word in words.PREPOSITIONS or word in words.AUXILIARIES
        opens = opens or (place > 0 and word in words.VERBS and tokens[place - 1][2] in words.QUESTION_WORDS)
        if opens and (mention := _phrase_from(body, tokens, place + 1)):
            found.append(mention)
    return found


def _phrase_from(body: str, tokens: list, first: int) -> Mention | None:
    last = first
    stops = words.PREPOSITIONS | words.AUXILIARIES | words.QUESTION_WORDS | words.PRONOUNS
    while last < len(tokens) and last - first < MOST_LOWER_WORDS:
        word = tokens[last][2]
        adjoining = last == first or body[tokens[last - 1][1] : tokens[last][0]] == " "
        if not adjoining or word in stops or (word in words.VERBS and last > first):
            break
        last += 1
    content = [token[2] for token in tokens[first:last] if token[2] not in words.DETERMINERS]
    if not content or content[0] in words.FUNCTION_WORDS or (len(content) == 1 and content[0] in words.VERBS):
        return None
    start, end = tokens[first][0], tokens[last - 1][1]
    possessive = _closes(tokens[last - 1][2])
    text = re.sub(r"['\u2019]s$", "", body[start:end])
    kind = words.kind_of_head(re.sub(r"['\u2019]s$", "", content[-1])) or _kind_of_plain(content)
    return Mention(start, end, text, kind, possessive, "" if len(content) == 1 else content[-1])


def _kind_of_plain(content: list[str]) -> Kind:
    if any(word in words.MONTHS or re.fullmatch(r"(1\d|20)\d\ds?", word) for word in content):
        return "time"
    if content[0] in words.MEN | words.WOMEN and len(content) > 1:
        return "person"
    return "people" if re.search(r"[^sui]s$", content[-1]) else "thing"
