"""A value of a JSON file, as text: `python look.py FILE slots.0.state`.

A * stands for every one (`slots.*.state`), # for how many there are (`slots.#`).
"""

import json
import sys


def at(value, steps):
    if not steps:
        return value
    first, *rest = steps
    if first == "*":
        return [at(each, rest) for each in value]
    if first == "#":
        return len(value)
    return at(value[int(first)] if isinstance(value, list) else value[first], rest)


with open(sys.argv[1]) as file:
    found = at(json.load(file), sys.argv[2].split("."))
print(found if isinstance(found, str) else json.dumps(found))
