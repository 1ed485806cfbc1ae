"""Word lists of the rule-based generator: function words, what a noun refers to, first names. Small on purpose."""

from __future__ import annotations

from typing import Literal

Kind = Literal["person", "people", "place", "work", "time", "thing"]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


AUXILIARIES = _words("""is are was were be been do does did has have had can could will would shall should
may might must didn't doesn't isn't wasn't weren't don't hasn't haven't hadn't""")
DO = _words("did does do didn't doesn't don't")
QUESTION_WORDS = _words("who whom whose what which when where why how")
PREPOSITIONS = _words("""of in on at to for from with by about during after before besides between against
into under over since through near following within without around among behind across toward towards than
as like until via versus""")
PRONOUNS = _words("""i you he she it they we him her his hers its their theirs them this that these those
there one ones me us my your our someone somebody anyone anybody anything something everything everyone
people else""")
DETERMINERS = _words(
    "the a an this that these those any some all both each every no many much several other another most"
)
FUNCTION_WORDS = (AUXILIARIES | QUESTION_WORDS | PREPOSITIONS | PRONOUNS | DETERMINERS) | _words(
    "and or but if not also so then while because tell give list name describe explain please me ok are there"
)
NAME_LINKS = _words("of the and de la le von van der den di da du del al bin for & y")
"""Lower-case words that may stand inside a name: "Battle of the Bulge"."""

VERBS = _words("""die died born founded established located end ended start started begin began happen
happened occur occurred live lived work worked play played write wrote written sing sang marry married
attend go come leave left move moved join joined make made create created build built release released
publish published open opened close closed win won lose lost receive received get got become became study
studied graduate graduated grow grew perform performed record recorded direct directed produce produced form
formed break broke retire retired serve served rule ruled reign govern run ran lead led fight fought sell
sold buy bought cost take took give gave say said think thought feel felt know mean meant use used find
found discover discovered invent invented design designed teach taught learn learned help helped cause
caused affect treat treated prevent spread stop stopped change changed develop developed compete score
scored tour toured travel return returned continue continued appear appeared star starred act acted debut
sign signed draft drafted coach coached manage managed own owned hold held contain include have do face
faced influence influenced inspire inspired support supported oppose opposed represent represented speak
spoke call called name named come came last need eat see show set put pay paid earn raise raised live air
aired film filmed take reach reached cross crossed border flow originate evolve differ compare compared
arrive considered released dissolved abolished elected appointed crowned buried killed shot assassinated
arrested composed adopted ratified signed introduced completed destroyed educated raised employed used based
set made known""")

PERSON_HEADS = _words("""person man woman boy girl actor actress author writer singer player president king
queen founder creator director composer performer leader ruler artist painter musician poet novelist
scientist philosopher inventor footballer athlete politician emperor pope general prince princess spouse
wife husband father mother brother sister son daughter child governor mayor minister chief owner producer
illustrator designer character manager coach justice individual physicist mathematician doctor lawyer judge
professor teacher student captain explorer pilot astronaut originator maker""")
PEOPLE_HEADS = _words("""band group team family people party couple brothers sisters twins members players
writers authors nations countries tribe tribes duo trio club orchestra crew union""")
PLACE_HEADS = _words("""city town state country county region continent river lake place district island
village province area location capital territory valley mountain sea ocean peninsula nation kingdom empire
park stadium school university college hospital states netherlands kingdom airport neighborhood
neighbourhood municipality suburb""")
WORK_HEADS = _words("""song album film movie book novel show series play poem game opera symphony painting
single record episode magazine newspaper documentary musical story""")
NOT_BEFORE_A_PERSON = _words("a an his her its their first second third fourth last next other another")
PERSON_CUES = _words("""born die died dead death marry married wife husband spouse children kids child
parents father mother brother brothers sister sisters siblings son daughter school college university
education career childhood family married divorced girlfriend boyfriend retire retired degree graduate
graduated personal nickname he she his her life worth""")

_MEN = """james john robert michael william david richard joseph thomas charles christopher
daniel matthew anthony mark donald steven paul andrew joshua kenneth kevin brian george timothy ronald
edward jason jeffrey ryan jacob gary nicholas eric jonathan stephen larry justin scott brandon benjamin
samuel gregory alexander frank patrick raymond jack dennis jerry tyler aaron jose adam nathan henry douglas
zachary peter kyle walter ethan jeremy harold keith christian roger noah gerald carl terry sean austin
arthur lawrence jesse dylan bryan joe jordan billy bruce albert willie gabriel logan alan juan wayne roy
ralph randy eugene vincent russell elijah louis bobby philip johnny isaac martin luther winston vladimir
barack bill jimmy mick ludwig wolfgang johann leonardo pablo vincent napoleon julius genghis mahatma nelson
muhammad ali ronnie travis chris tom tim jim ben sam dan ken ron don fred stan kurt max otto hans karl
friedrich franz igor sergei ivan dmitri leo anton"""
_WOMEN = """mary patricia jennifer linda elizabeth barbara susan jessica sarah karen lisa nancy
betty sandra margaret ashley kimberly emily donna michelle carol amanda melissa deborah stephanie rebecca
laura helen sharon cynthia kathleen amy angela shirley anna brenda pamela emma nicole samantha katherine
christine debra rachel carolyn janet catherine maria heather diane ruth julie olivia joyce virginia victoria
kelly lauren christina joan evelyn judith megan andrea cheryl hannah jacqueline martha gloria teresa ann
sara madison frances kathryn janice jean abigail alice julia judy sophia grace denise amber doris marilyn
danielle beverly isabella theresa diana natalie brittany charlotte marie kayla alexis lori gwen lindsey
serena venus marie florence jane agatha indira benazir hillary oprah beyonce madonna rihanna adele taylor
whitney celine shakira cher georgia dolly aretha billie ella nina amelia rosa harriet cleopatra anne queen
princess sue edith audrey britney"""
MEN, WOMEN = _words(_MEN), _words(_WOMEN)
MONTHS = _words("""january february march april may june july august september october november december""")


def kind_of_head(noun: str) -> Kind | None:
    """What a noun such as "author" or "city" refers to; None if the lists do not have it."""
    noun = noun.lower()
    for words, kind in HEADS:
        if noun in words:
            return kind
    return None


HEADS: tuple[tuple[frozenset[str], Kind], ...] = (
    (PERSON_HEADS, "person"),
    (PEOPLE_HEADS, "people"),
    (PLACE_HEADS, "place"),
    (WORK_HEADS, "work"),
)
