"""Sentences of the rule-based generator. {x}: what is talked about; {he}, {him}, {his}: pronouns for it; {o}: something
else; {q}: a question about something else. None states a fact about {x}.
"""

from __future__ import annotations

from ttft.q2d.rule_words import Kind

INTRODUCE = (
    "Tell me about {x}.", "Tell me something about {x}", "What can you tell me about {x}?", "I just read about {x}.",
    "I am reading up on {x} at the moment.", "My friend keeps talking about {x}.", "Have you heard of {x}?",
    "I saw a documentary about {x} last night.", "I have to write a short text on {x}.", "Do you know {x}?",
    "I would like to know more about {x}.", "Someone mentioned {x} at lunch today.", "{x} came up in class today.",
    "What do you know about {x}?", "I have a few questions about {x}.", "Can we talk about {x}?",
    "I keep seeing {x} in the news.", "I heard about {x} in a podcast.", "We had a quiz with {x} in it.",
    "Let's talk about {x}.", "{x} was mentioned in a book I am reading.", "I am curious about {x}.",
    "Are you familiar with {x}?", "Is there a good article about {x}?", "Why does everybody talk about {x}?",
    "I want to learn about {x}.", "Could you help me with {x}?", "Give me some background on {x}",
    "why is {x} well known?",
    "What is interesting about {x}?", "What should I know about {x}?", "What is the story of {x}?",
)  # fmt: skip
INTRODUCE_BY_KIND: dict[Kind, tuple[str, ...]] = {
    "person": ("Who is {x}?", "Who was {x}?", "Where is {x} from?", "What is {x} known for?", "Where did {x} grow up?",
               "How did {x} become known?", "What did {x} do?", "What was {x} like as a child?",
               "When did {x} start out?",
               "Did {x} have a family?"),
    "people": ("Who are {x}?", "What are {x}?", "How did {x} get started?", "What are {x} known for?"),
    "place": ("Where is {x}?", "I am planning a trip to {x}.", "What is {x} known for?", "How big is {x}?",
              "My cousin moved to {x}.", "What is it like in {x}?", "We are doing {x} in geography."),
    "work": ("What is {x} about?", "Is {x} any good?", "I came across {x} yesterday.", "Who made {x}?",
             "What was the response to {x}?", "When did {x} come out?"),
    "time": ("I am interested in {x}.", "What was going on in {x}?", "We are talking about {x}."),
    "thing": ("What is {x}?", "How does {x} work?", "What is {x} good for?", "What is the origin of {x}?",
              "Why is {x} important?", "Can you explain {x}?"),
}  # fmt: skip
ASPECTS: dict[Kind, tuple[str, ...]] = {
    "person": ("What else is {he} known for?", "Is {he} still alive?", "Did {he} have any children?",
               "Where did {he} go to school?", "When did {his} career begin?", "Was {he} ever married?",
               "What was {his} childhood like?", "Did {he} win any awards?", "Who influenced {him}?",
               "What do people think of {him}?", "Were there any controversies around {him}?",
               "How did {he} get started?",
               "What was {his} biggest success?", "Who were {his} parents?", "Did {he} travel a lot?"),
    "people": ("Who started that?", "Are they still around?", "What are they best known for?",
               "How many of them are there?",
               "When did they begin?", "Did they have any problems?", "What happened to them?", "How did they start?",
               "What do people say about them?", "Did they get any recognition?"),
    "place": ("How many people live there?", "What is the weather like there?", "What can one see there?",
              "Is it far away?", "What language do they speak there?", "What is it famous for?",
              "Is it worth a visit?",
              "How old is it?", "Who lives there?"),
    "work": ("Who worked on it?", "When did it come out?", "Was it successful?", "What is it about?",
             "What did the critics say about it?", "Did it win any prizes?", "Why is it popular?", "How long is it?"),
    "time": ("What else happened then?", "Was that an important time?", "Who was around then?"),
    "thing": ("How does that work?", "Is it common?", "Where does it come from?", "Why does it matter?",
              "Are there different kinds?", "What is it used for?", "How old is it?", "Is there a downside to it?",
              "Who came up with it?", "What does it look like?", "Are there any alternatives?"),
}  # fmt: skip
SMALL_TALK = (
    "Okay, interesting.", "I see, thanks.", "Good to know.", "Right, go on.", "Anything else?", "What else is there?",
    "Are you sure about that?", "Can you be more specific?", "Any other interesting aspects?", "Thanks, that helps.",
    "Hm, I did not know that.", "Do you have more on that?", "Okay, let's go into detail then.",
)  # fmt: skip
DETAIL = (
    "I mean {x}.", "It is really about {x}.", "I am mainly thinking of {x}.", "My question has to do with {x}.",
    "What I have in mind is {x}.", "I am interested in {x}.", "And {x}, does that mean anything to you?",
    "There was something about {x} too.", "I also read about {x}.", "Do you also know about {x}?",
    "And what about {x}?",
    "How about {x}?", "{x} is what I am after.", "I should say that this is about {x}.",
)  # fmt: skip
INTRODUCE_TAIL = (
    "I am looking for something {x}.", "My question is about something {x}.", "I need to know something {x}.",
    "There is something {x} that I would like to know.", "Think of the situation {x}.",
    "It has to do with things {x}.",
)  # fmt: skip
DETAIL_TAIL = (
    "I mean {x}.", "It is about something {x}.", "The part {x} is what interests me.", "I am thinking of {x}.",
    "Only {x}, nothing else.", "I would like to narrow it down: {x}.", "Let me add: {x}.", "{x}, that is.",
)  # fmt: skip

OPENINGS = (
    "Sure.", "Of course.", "Yes, gladly.", "Good question.", "Okay.", "I see.", "Certainly.", "Yes.", "Right.",
    "That is a popular topic.", "Happy to help.", "Thanks for asking.", "Fair enough.", "Well,", "Let me see.", "",
)  # fmt: skip
MIDDLES = (
    "there is a good deal written about {x}, and it depends on what exactly you are after",
    "{x} comes up often in questions, and the sources cover many sides of it",
    "many people ask about {x}, so there should be enough material to look through",
    "I can look into {x} further, although the accounts that I have seen do not all agree",
    "there are several sources on {x}, some of them quite detailed and some rather short",
    "I would rather check that about {x} than guess, since details are easily mixed up",
    "it is a broad subject, and one can approach it from different sides",
    "I do not have the details of that at hand, but I can search for them",
    "opinions on that differ a little, and I would want to check it before saying more",
    "that has been discussed at length elsewhere, so I will keep it short here",
    "I found some general material on {x} that may be of use to you",
    "there is a longer article on {x} which goes through it step by step",
    "one can find a lot about {x} once the question is narrowed down a bit",
    "reference works have an entry on {x} with further reading at the end",
    "I know {x} by name, and I can look up whatever you need",
    "this is something people often wonder about when they first hear of {x}",
)
MIDDLES_OTHER = (
    "people who ask about {x} often ask about {o} as well, but that is a different matter",
    "please do not mix this up with {o}, which came up in another talk of mine",
    "earlier today somebody else wanted to know: {q} Here we can stay with {x}",
    "the page on {x} stands right next to one on {o} in my list",
    "we could also turn to {o} later if you like",
    "another frequent request is: {q}",
)
OFFERS = (
    "What would you like to know?", "Which part interests you?", "Just ask.", "Go ahead.",
    "Is there something specific?",
    "Shall I go on?", "", "", "", "", "", "", "", "What do you need it for?", "Do you want an overview or details?",
)  # fmt: skip
AGREE = (
    "Yes, as far as I know that is the case, although I have not looked at every source.",
    "Yes, that is what the sources I have seen say, more or less.", "It seems so, yes.", "Yes.",
    "So it is usually told, and I have no reason to doubt it.", "As far as I can tell, yes, that is right.",
    "That appears to be so, though the details would need another look.",
)  # fmt: skip
ANSWERED_OTHER = (
    "I looked that up a moment ago and can send you the page if you want it.",
    "There is a clear answer to that in the sources, and I have noted it for you.",
    "That one is easy to look up, and I have put the link in your notes.",
    "I have that in my notes, so let me know if you want to go deeper into it.",
)
LEAD_INS = (
    "Okay, and", "Alright,", "One more thing:", "Another question:", "And now,", "By the way,", "Also,", "So,",
    "Okay so",
    "Next question:", "Now tell me,", "Then please tell me:",
)  # fmt: skip
SWITCHES = (
    "Something else:", "Different topic:", "Let's change the subject:", "On another note,", "Forget that,", "Anyway,",
    "New question:", "That's enough of that;", "Okay, moving on:", "Completely different question:",
)  # fmt: skip
FOLLOW_UPS = ("What about {x}?", "And {x}?", "How about {x}?", "And what about {x}?", "And for {x}?", "Same for {x}?")
AFTER_TRUE: dict[str, tuple[str, ...]] = {
    "when": ("When?", "When was that?", "When did that happen?", "And when was it?", "In what year was that?",
             "Do you know when that was?"),
    "where": ("Where?", "Where was that?", "Where did that happen?", "And where?", "Do you know where?"),
    "why": ("Why?", "Why was that?", "What was the reason for that?", "And why?", "Do you know why?"),
    "how": ("How?", "How so?", "How did that happen?", "And how?", "In what way?"),
}  # fmt: skip

GREETINGS = ("Hi", "Hello!", "Good morning", "Hey there", "Hi, how are you?", "Good evening!", "Hello, are you there?",
             "hey", "Nice to meet you.", "How are you today?")  # fmt: skip
THANKS = ("Thanks!", "Thank you very much.", "Thanks, that was helpful", "Great, thank you", "Perfect, thanks a lot!",
          "ok thanks", "That is all, thank you.", "Cheers, that's what I needed", "Thank you, goodbye!", "bye",
          "Good night.", "Okay, great.", "That's very kind of you", "Awesome",
          "No, that is all for today.")  # fmt: skip
ABOUT_TALK = (
    "What did I ask you before?",
    "Can you repeat that?",
    "Please say that again in simpler words.",
    "What was my first question?",
    "Can you summarise what we talked about?",
    "Could you make that shorter?",
    "Are you a human?",
    "What did you just say?",
    "How many questions have I asked so far?",
    "Who are you?",
    "Can you write that as a list?",
    "Please answer in one sentence next time.",
    "Did you understand my question?",
    "Why do you repeat yourself?",
    "Translate your last answer into French, please.",
    "Let me think about it.",
    "Sorry, I did not get that.",
    "You already said that.",
    "Can you remember this for later?",
    "I don't believe you.",
)
REPLIES_TO_GREETING = ("Hello! How can I help you today?", "Hi there, what can I do for you?", "Good day! Just ask.")
OWN_QUESTIONS = (
    "What foods are highest in vitamin K2?", "When was the company that makes the Leopard 2 tank founded?",
    "How deep is Lake Baikal?", "Who designed the Sydney Opera House?", "What are the side effects of ibuprofen?",
    "How long does it take to train for a marathon?", "Why did the Hanseatic League decline?",
    "Where was Marie Curie born?", "what is the difference between a frog and a toad", "Who wrote the opera Tosca?",
    "How do I get coffee stains out of a cotton shirt?", "When did Iceland join NATO?",
)  # fmt: skip
"""Written for this project, for examples that are made without any questions of the user's."""
