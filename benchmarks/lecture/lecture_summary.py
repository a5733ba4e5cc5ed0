"""The first table of docs/lecture.md: one row a claim."""

from statistics import mean

from lecture_results import Results, Values
from lecture_tables import MISSING, PARTS, errors, fastest, percent, reproduced, seen, top1_by_variant, verdict
from lecture_training import BASE
from report import spread, table

COMMAND = "`python benchmarks/lecture/lecture.py {}`"
UNSEEN = "neighbours DATA --unseen benchmarks/unseen-classes.txt -m RUN/model.onnx"
AVERAGED = "averaged DATA"
"""After `parts`, whose networks it takes."""
MOVED = "moved DATA --photos PHOTOS"


def summary(results: Results) -> str:
    """Return one row a claim."""
    rows = []

    def row(claim: str, command: str, measured: str, n: object, names: str) -> None:
        seconds, used = results.times(names)
        time = f"{seconds / 60:.1f} min, {used / 60:.1f} of the processor"
        rows.append((claim, COMMAND.format(command), measured, n, time))

    fast, slow = fastest(results, "relu"), fastest(results, "tanh")
    if fast and slow:
        times = f"{mean(slow) / mean(fast):.1f} times ({spread(fast, '.1f')} and {spread(slow, '.1f')} epochs)"
        measured = f"{times}: {reproduced(fast, slow)}"
        row("ReLU reaches 25 % training error six times faster than tanh", "relu DATA", measured, len(fast), "relu/")
    linear, network = results.get("handmade/linear"), results.get("handmade/network")
    if linear and network:
        measured = f"{(1 - network['top5']) / (1 - linear['top5']):.3f} ({errors(network)[1]} to {errors(linear)[1]})"
        claim = "The network's top-5 error is 0.585 times that of hand-crafted features"
        row(claim, "handmade DATA", measured, "1 training of each", "handmade/")
    for kind, values in results.named("neighbours/").items():
        scores = values["scores"]
        classes = f"classes {seen(kind, values).replace('never seen', 'it never saw').removeprefix('which ')}"
        measured = f"{scores['embedding'][2] / scores['HOG'][2]:.1f} times the mAP of HOG, {classes}"
        claim = "The accuracy of the visual search engine doubled"
        row(
            claim,
            UNSEEN if kind == "unseen" else "neighbours DATA",
            measured,
            f"{values['pictures']:,} queries",
            f"neighbours/{kind}",
        )
    top1 = top1_by_variant(results)
    for name, (one, other) in PARTS.items():
        seeds = sorted(top1[one].keys() & top1[other].keys())
        if seeds:
            differences = [100 * (top1[one][seed] - top1[other][seed]) for seed in seeds]
            measured = f"{spread(differences, '+.1f')} points of top-1: {verdict(differences)}"
            claim, names = f"{name.capitalize()}: better with than without", f"parts/{other if one == BASE else one}/"
            row(claim, "parts DATA", measured, len(seeds), names)
    if found := results.get("averaged"):
        one, ten = found["1"], found["10"]
        gains = [100 * (b - a) for a, b in zip(one["alone"], ten["alone"], strict=True)]
        measured = f"{spread(gains, '+.1f')} points of top-1: {verdict(gains)}"
        row("The mean of ten crops is better than the middle", AVERAGED, measured, len(gains), "averaged")
        gain = 100 * (one["together"] - mean(one["alone"]))
        claim = "Several networks averaged are better than one"
        row(claim, AVERAGED, f"{gain:+.1f} points of top-1 by {len(gains)} networks", 1, "averaged")
    if found := results.get("cost"):
        total = found["layers"][-1]
        millions = f"{total['parameters'] / 1e6:.2f} million parameters, {total['neurons']:,} neurons"
        measured = f"{millions}, {total['forward'] / 1e6:.0f} million multiply-adds"
        row("60 million parameters, 650,000 neurons", "cost DATA", measured, "exact", "cost")
    if found := results.get("moved"):
        conv5 = found["maps"]["conv5"]
        exact, shifts = max(_at_whole_places(conv5, found["shifts"])), found["shifts"]
        between = max(share for share, shift in zip(conv5["inside"], shifts, strict=True) if shift % conv5["stride"])
        measured = f"conv5, inside: {100 * exact:.2g} % off by whole places, up to {percent(between)} between them"
        row("Convolution is equivariant to translation", MOVED, measured, f"{found['large']} photos", "moved")
        turned = next(kept for degrees, _, kept in found["responses"]["angle"] if degrees == 30)
        half = next(kept for factor, _, kept in found["responses"]["scale"] if factor == 0.5)
        measured = f"turned by 30° {percent(turned)} keep their label, at half the size {percent(half)}"
        row("Nothing of the kind for rotation and scale", MOVED, measured, f"{found['photos']} photos", "moved")
    return table(("claim", "command", "measured here", "n", "time"), rows) if rows else MISSING


def _at_whole_places(values: Values, shifts: list[int]) -> list[float]:
    return [share for share, shift in zip(values["inside"], shifts, strict=True) if shift % values["stride"] == 0]
