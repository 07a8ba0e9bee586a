"""How good the merged model is: accuracies under skew, poisoning, few bytes and long rounds, five seeds each.

    python -m benchmarks.quality [NAME ...] [--seeds 5] [--json]

Used by `benchmarks/page.py`, which makes docs/BENCHMARKS.md of it, and by tests. The peers' training is simulated (many
small networks at once, `network`); what happens to their weights is not: `rounds` puts them through the product's own
merging, distances, wire forms, outer steps and digests. Guarantee: the same seed gives the same models, bit for bit, on
one machine, whichever other seeds and experiments run beside it.
"""
