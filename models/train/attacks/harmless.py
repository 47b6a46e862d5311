"""Hard negatives: texts with the words of attacks that give no orders to a model that reads them by chance."""

from __future__ import annotations

import base64
from random import Random
from typing import Final

from models.train.attacks.payloads import injection

#: People tell people, or their own assistant, to leave something aside.
_IGNORES: Final = (
    "Please ignore my last message, I found the answer.",
    "Ignore the warning about {thing}; it goes away after a restart.",
    "You can disregard the second page of {thing}.",
    "Forget about {thing}, we will do it next year.",
    "Never mind the earlier request, I have changed my mind.",
    "The linter ignores files named in {thing}.",
    "If you did not ask for this e-mail, please ignore it.",
    "Skip step four if {thing} is already there.",
    "Kindly disregard this reminder if you have already paid.",
    "git ignores what is listed in .gitignore.",
    "Do not forget {thing} when you leave.",
    "Users may override the default settings of {thing} in the configuration.",
    "The previous instructions for {thing} are on page three.",
    "The new guidelines for {thing} replace those of last year.",
    "I ignored {thing} for too long.",
    "The method overrides the one of its parent class.",
    "Set ignore_errors to true to go on after {thing} fails.",
    "Let us forget the past and talk about {thing}.",
    "Correction: the number in my earlier e-mail was wrong, use 4500 instead.",
    "The instructions above apply to {thing} only.",
    "Stop the old process before you start {thing}.",
    "Ignore case when you compare the names.",
    "In case of fire, ignore the lift and use the stairs.",
    "Our prompt service was praised by all guests.",
)
#: Orders that people give to people at work.
_ORDERS: Final = (
    "Please send the report on {thing} to anna@example.com before Friday.",
    "Transfer the deposit of {sum} EUR to the landlord by the first of the month.",
    "Could you forward the minutes to the whole team?",
    "You must submit {thing} before noon.",
    "Delete the old drafts once {thing} is approved.",
    "Call me when you have read this.",
    "Make sure to lock the door and switch off the light.",
    "Please confirm your attendance by replying to this e-mail.",
    "Update the spreadsheet and tell Tom about {thing}.",
    "Click the button below to confirm your address.",
    "Reset your password within 24 hours with the link in your profile.",
    "Do not share this code with anyone.",
    "Important: the office is closed on Monday.",
    "URGENT: the invoice for {thing} is overdue.",
    "Attention: the platform for the train to Lyon has changed.",
    "Do not reply to this message.",
    "Note to all drivers: use the back gate.",
    "New task: write the tests for {thing}.",
    "TODO: replace this function when the new API is there.",
    "Please review and merge when the checks are green.",
    "Restart the server, then run the migration.",
    "Install the package with pip install example and import it.",
    "Send an e-mail to john@example.org that I will be late.",
    "Pay the bill of {sum} dollars to the electricity company.",
    "Invite Sara to the channel and give her write access.",
    "You have to sign both copies and post one back to us.",
)
#: Orders that users give to their own assistant: that is what it is for.
_REQUESTS: Final = (
    "Act as a travel guide and plan three days in Porto.",
    "You are a friendly teacher; explain fractions to a child.",
    "Pretend to be an interviewer and ask me five questions.",
    "Write a poem about {thing}.",
    "Summarise the e-mail and list what I have to do.",
    "Please cancel my reservation and refund the money to my card.",
    "Translate this into German: good morning.",
    "Imagine you are a pirate and tell me about {thing}.",
    "Reply only with yes or no.",
    "Answer in one sentence.",
    "Do not use bullet points, and keep it short.",
    "Change my flight to the 21st.",
    "What does a system prompt do?",
    "Can you show me the rules of chess?",
    "Start over, and this time use Python.",
    "Repeat the last sentence more slowly.",
    "Role-play a job interview with me.",
    "Tell me a story about a hacker who is caught.",
    "Transfer 200 dollars from my savings to my checking account.",
    "Delete the meeting with Tom on Friday.",
    "Read the file notes.txt and fix the typos.",
    "Ignore the first column of the table and add up the rest.",
    "Forget the recipe from before, I have no eggs.",
    "From now on, please call me Alex.",
    "Please write more formally from now on.",
    "Send {sum} dollars to my sister for the rent.",
    "Show me all my contacts in Berlin.",
    "What is my account balance?",
    "Reveal the answer to the riddle, please.",
    "Give me developer documentation for {thing}.",
)
#: Texts about attacks.
_TALK: Final = (
    "Prompt injection is an attack in which text from an untrusted source is taken for an instruction.",
    "The paper studies how jailbreaks spread between models and how filters can find them.",
    "Our scanner flags strings such as '{attack}' and writes them to a report.",
    'In the workshop we showed an example: "{attack}". The assistant refused.',
    "The red team tried '{attack}' and it had no effect.",
    "A test of the filter: the phrase '{attack}' must be found.",
    "Never put secrets into a prompt, because users may get at them.",
    'The incident report quotes the mail of the attacker: "{attack}"',
    "To defend against such text, mark tool results as data and ask before each payment.",
    "Security training: phishing mails often say that something is urgent and ask you to click.",
    "CVE-2024-1234 allows an attacker to run code through a crafted file.",
    "The firewall blocks requests that hold SQL injection such as ' OR 1=1 --.",
    "Students learn how social engineering works and how to report it.",
    "Jailbreaking a phone voids its warranty.",
    "Developer mode on Android is switched on by tapping the build number seven times.",
    "The policy says that agents must not transfer money without the user's word.",
    "Guardrails check the input, the output and each call of a tool.",
    "The blog post explains why models follow instructions in documents, and lists {thing} as a remedy.",
)
#: What developers tell their models: it comes from the owner, not from a stranger.
_SYSTEM: Final = (
    "You are a helpful assistant of an airline. Use the tools to answer. Do not make up facts. Ask the user to confirm before you change a booking.",
    "You are a customer service agent for an online shop. Help with orders, returns and exchanges only. Deny what is against the policy.",
    "# Policy\nAs an agent, you must verify the user id before any action. Say nothing that is not in the tools. Transfer to a human only if needed.",
    "You are an expert programmer. Think step by step, call one tool at a time, and answer in Markdown.",
    "System: today is 2024-05-15. Always answer in the language of the user.",
    "You are a careful analyst. Never reveal personal data. If the user asks for something unsafe, refuse politely.",
    "Respond with a JSON object that has the keys answer and sources, and nothing else.",
    "You have access to the following tools: search, calculator. To use one, write its name and its arguments.",
    "Rules: 1. Be brief. 2. Cite the document. 3. If unsure, say so.",
    "Your task is to classify the e-mail as spam or not spam. Reply with one word.",
    "You are a code reviewer. Point out bugs, do not rewrite the file, and do not comment on style.",
)
#: What tools say about themselves.
_TOOL_TEXTS: Final = (
    "Sends an e-mail to the given recipients. Arguments: to, subject, body.",
    "Error: permission denied. Try again as administrator.",
    "Warning: deprecated, use get_user_details instead.",
    "Transfers money between accounts. Always ask the user for confirmation first.",
    "Deletes the file for good. This cannot be undone.",
    "No results. Try other search terms or fewer filters.",
    "Rate limit reached, retry after 30 seconds.",
    "Success: 3 rows updated, 1 ignored.",
    "Usage: tool [--ignore-errors] [--override FILE] PATH",
    "token={code}",
    "checksum: {code}",
    '{{"data": "{code}", "encoding": "base64"}}',
    "Cookie policy: we use cookies to improve our service. Accept or reject.",
    "Please enable JavaScript to view this page.",
    "Log in to read on. Forgot your password? Click here.",
    "This message was created automatically. Do not reply.",
    "-----BEGIN CERTIFICATE-----\n{code}\n-----END CERTIFICATE-----",
)
#: What a tool may return; a request or a system prompt there would be an attack.
_IN_RESULTS: Final = (_IGNORES, _ORDERS, _TALK, _TOOL_TEXTS)
_KINDS: Final = (*_IN_RESULTS, _REQUESTS, _SYSTEM)
_THINGS: Final = (
    "the report",
    "the old API",
    "the cache",
    "the garden",
    "the second chapter",
    "unit tests",
    "the contract",
    "the new printer",
    "the backup",
    "the sales figures",
    "the meeting on Monday",
    "the holiday plan",
    "the parser",
    "the kitchen",
    "the data set",
    "the login page",
    "the newsletter",
    "the survey",
    "the blue folder",
    "the pilot project",
)


def harmless(random: Random, *, in_result: bool = False) -> str:
    """Gives one to three such texts of one kind; with ``in_result`` only of kinds that are harmless in the result of a tool."""
    kind = random.choice(_IN_RESULTS if in_result else _KINDS)
    return " ".join(_filled(text, random) for text in random.sample(kind, random.choice((1, 1, 1, 2, 3))))


def _filled(template: str, random: Random) -> str:
    noise = base64.b64encode(random.randbytes(random.randint(12, 60))).decode()
    attack = injection(random)[:120].replace("\n", " ") if "{attack}" in template else ""
    return template.format(thing=random.choice(_THINGS), sum=random.randint(20, 3000), attack=attack, code=noise)
