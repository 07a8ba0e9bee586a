"""Data and configurations of a cross-validation: `python create.py DIRECTORY`.

A curve with noise in data.npz, in configs/ one file for each degree of a polynomial that is to be fitted to it.
"""

import json
import sys
from pathlib import Path

import numpy as np

DEGREES = range(1, 13)
TRUE = (0.5, -1.0, 0.0, 2.0)
"""The curve's own coefficients, from the constant on: it is of the third degree."""

place = Path(sys.argv[1])
(place / "configs").mkdir(parents=True)
chance = np.random.default_rng(2)
x = chance.uniform(-1, 1, 60)
np.savez(place / "data.npz", x=x, y=np.polynomial.polynomial.polyval(x, TRUE) + chance.normal(0, 0.2, x.size))
for degree in DEGREES:
    (place / "configs" / f"degree-{degree:02}.json").write_text(json.dumps({"degree": degree, "folds": 5}))
