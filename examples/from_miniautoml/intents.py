"""Sentences with what people want by them, in a directory a month: `python intents.py DIRECTORY`.

January and February are of the same three intents; March has a fourth.
"""

import csv
import itertools
import sys
from pathlib import Path

PARTS = {
    "balance": (["what is", "show me", "tell me"], ["my balance", "the balance of my account", "how much I have"]),
    "transfer": (["send", "transfer", "move"], ["ten euro to Ada", "money to my savings", "fifty to my landlord"]),
    "card": (["block", "I lost", "someone stole"], ["my card", "the card of my wife", "my credit card"]),
    "hours": (["when do you", "until when do you"], ["open", "close", "answer calls"]),
}
MONTHS = {
    "january": ("balance", "transfer", "card"),
    "february": ("balance", "transfer", "card"),
    "march": ("hours",),
}

for number, (month, labels) in enumerate(MONTHS.items()):
    rows = [(f"{first} {then}{' please' * number}", label)
            for label in labels for first, then in itertools.product(*PARTS[label])]
    directory = Path(sys.argv[1], month)
    directory.mkdir(parents=True)
    with (directory / f"{month}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
