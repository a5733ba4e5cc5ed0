"""The tables of docs/lecture.md, each made from what was measured."""

from collections.abc import Callable, Mapping
from math import inf, sqrt
from statistics import mean, stdev

from lecture_results import Results, Values
from lecture_training import BASE, TARGET, VARIANTS
from report import spread, table

from training.networks.architectures import AlexNetConfig

PARTS = {
    "random crops": (BASE, "no crops"),
    "mirror images": (BASE, "no mirror images"),
    "crops and mirror images": (BASE, "neither"),
    "dropout of a half": (BASE, "no dropout"),
    "local response normalisation": ("response norm", BASE),
    "overlapping pooling": (BASE, "no overlap"),
}
"""By name of a part: the variant with it, and the one without."""

STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
"""By number of differences: how many standard errors a mean must lie from nothing, to be significant at 95 %."""

MISSING = "Not measured yet."


def verdict(differences: list[float], *, helps: str = "helps", hurts: str = "harms") -> str:
    """Return whether paired differences are significant (Student's t, 95 %)."""
    n = len(differences)
    if n not in STUDENT:
        return "not known: too few trainings"
    margin = STUDENT[n] * stdev(differences) / sqrt(n)
    if abs(mean(differences)) <= margin:
        return "no significant difference"
    return helps if mean(differences) > 0 else hurts


def percent(share: float, digits: int = 0) -> str:
    """Return a share as "25 %"."""
    return f"{100 * share:.{digits}f} %"


def relu(results: Results) -> str:
    """Return the epochs to the training error by activation and rate."""
    rows = [
        [activation, rate, len(epochs), ", ".join(f"{n:.1f}" if n else "never" for n in epochs)]
        for activation in ("relu", "tanh")
        for rate, epochs in _epochs(results, activation).items()
    ]
    if not rows:
        return MISSING
    found = table(("activation", "learning rate", "n", f"epochs to {percent(TARGET)} training error"), rows)
    fast, slow = fastest(results, "relu"), fastest(results, "tanh")
    if not fast or not slow:
        return found
    made = results.settings("relu/")[0]
    recipe = made["recipe"]
    return "\n".join(
        (
            f"{found}\n",
            f"Each at its fastest rate, tanh took {mean(slow) / mean(fast):.1f} times the epochs of ReLU: the claim is "
            f"{reproduced(fast, slow)}.",
            f"Measured on {made['pictures'][0]:,} pictures of {len(made['classes'])} classes;",
            f"{network_words(made['network'])};",
            f"batches of {recipe['batch_size']}, SGD with {momentum_words(recipe)}, "
            f"{recipe['warmup']:g} epoch of warm-up.",
        )
    )


def reproduced(relu: list[float], tanh: list[float]) -> str:
    """Return what becomes of the claim that tanh takes six times the epochs of ReLU."""
    times = mean(tanh) / mean(relu)
    return "reproduced here" if times >= 6 else "not reproduced here" if times <= 1 else "reproduced here in part"


def _epochs(results: Results, activation: str) -> dict[str, list[float | None]]:
    found: dict[str, list[float | None]] = {}
    for name, values in results.named(f"relu/{activation}/").items():
        found.setdefault(name.partition("/")[0], []).append(values["epochs"])
    return dict(sorted(found.items(), key=lambda item: float(item[0])))


def fastest(results: Results, activation: str) -> list[float]:
    """Return the epochs at the rate that was chosen: the one measured with most seeds, of these the fastest."""
    tried = [[inf if n is None else n for n in epochs] for epochs in _epochs(results, activation).values()]
    best = max(tried, key=lambda epochs: (len(epochs), -epochs[0]), default=[])
    return best if inf not in best else []


def parts(results: Results) -> str:
    """Return top-1 with and without each part, and how much of the training pictures is learned by heart."""
    top1, learned, rows = top1_by_variant(results), top1_by_variant(results, "train_top1"), []
    for name, (one, other) in PARTS.items():
        seeds = sorted(top1[one].keys() & top1[other].keys())
        if seeds:
            found, without = ([100 * top1[variant][seed] for seed in seeds] for variant in (one, other))
            differences = [a - b for a, b in zip(found, without, strict=True)]
            cells = (spread(values, ".1f") for values in (found, without))
            training = (f"{100 * mean(learned[variant].values()):.0f}" for variant in (one, other))
            row = [name, *cells, spread(differences, "+.1f"), len(seeds), verdict(differences), *training]
            rows.append(row)
    heads = ("part", "top-1 with, %", "without, %", "difference", "n", "at 95 %", "in training with, %", "without, %")
    return table(heads, rows) if rows else MISSING


def top1_by_variant(results: Results, measure: str = "top1") -> dict[str, dict[str, float]]:
    """Return for each variant the share of pictures that is named rightly, by seed; of `train_top1` in training."""
    return {
        variant: {seed: values[measure] for seed, values in results.named(f"parts/{variant}/").items()}
        for variant in VARIANTS
    }


def averaged(results: Results) -> str:
    """Return top-1 of networks alone and averaged, on one crop and on ten."""
    found = results.get("averaged")
    if found is None:
        return MISSING
    rows = [
        [
            "the middle" if crops == "1" else "ten",
            spread([100 * top1 for top1 in values["alone"]], ".1f"),
            f"{100 * values['together']:.1f}",
        ]
        for crops, values in found.items()
    ]
    n = len(found["1"]["alone"])
    return table(("crops", f"one network (mean of {n}), top-1 %", f"{n} networks averaged, top-1 %"), rows)


def handmade(results: Results) -> str:
    """Return the errors of hand-crafted descriptors and of the network."""
    linear, network = results.get("handmade/linear"), results.get("handmade/network")
    if linear is None or network is None:
        return MISSING
    rows = [
        (f"HOG and colour, {linear['values']} values, logistic regression", *errors(linear)),
        (f"the network ({network['name']})", *errors(network)),
        ("ratio", *(f"{(1 - network[k]) / (1 - linear[k]):.3f}" for k in ("top1", "top5"))),
        ("the challenge of 2012", "", f"{0.15315 / 0.26172:.3f} (15.32 % to 26.17 %)"),
    ]
    return table(("", "top-1 error", "top-5 error"), rows)


def errors(values: Values) -> tuple[str, str]:
    return percent(1 - values["top1"], 1), percent(1 - values["top5"], 1)


def neighbours(results: Results) -> str:
    """Return P@1, P@10 and mAP of each descriptor."""
    rows = []
    for kind, values in results.named("neighbours/").items():
        title = f"{values['classes']} classes, {seen(kind, values)}"
        for name, scores in values["scores"].items():
            rows.append([title, name, values["pictures"], *(f"{score:.3f}" for score in scores)])
        ratios = (a / b for a, b in zip(values["scores"]["embedding"], values["scores"]["HOG"], strict=True))
        rows.append([title, "embedding ÷ HOG", values["pictures"], *(f"{ratio:.2f}" for ratio in ratios)])
    return table(("classes", "descriptor", "pictures", "P@1", "P@10", "mAP"), rows) if rows else MISSING


def seen(kind: str, values: Values) -> str:
    """Return what a network has to do with the classes that neighbours were looked for in."""
    known = values.get("known", values["classes"])
    if kind == "unseen":
        return "never seen"
    if known == values["classes"]:
        return "which it learned"
    return f"of which it learned {known}"


def cost(results: Results) -> str:
    """Return the layers of the network of 2012."""
    found = results.get("cost")
    if found is None:
        return MISSING
    rows = [
        (
            layer["name"],
            "×".join(map(str, layer["output"])),
            *(f"{layer[name]:,}" if layer[name] else "" for name in ("neurons", "parameters", "forward", "backward")),
            f"{layer['milliseconds']:.2f}",
        )
        for layer in found["layers"]
        if layer["name"] != "embedding"
    ]
    heads = ("layer", "output", "neurons", "parameters", "multiply-adds forward", "backward", "ms")
    return f"{table(heads, rows)}\n\nms: the fastest of {found['runs']} runs; threads: {found['threads']}."


def maps(results: Results) -> str:
    """Return how far the maps of a shifted picture are from the shifted maps."""
    found = results.get("moved")
    if found is None:
        return MISSING
    rows = [
        [layer, values["stride"], kind, *(f"{100 * share:.2g} %" for share in values[kind])]
        for layer, values in found["maps"].items()
        for kind in ("inside", "borders")
    ]
    heads = ["layer", "pixels a place", "places", *(f"shift {shift}" for shift in found["shifts"])]
    return table(heads, [[*row[:2], "inside" if row[2] == "inside" else "all", *row[3:]] for row in rows])


def responses(results: Results) -> str:
    """Return what becomes of embedding and label when a photo is shifted, turned or scaled."""
    found = results.get("moved")
    if found is None:
        return MISSING
    forms: Mapping[str, Callable[[float], str]] = {
        "shift": lambda share: f"shifted by {percent(share)} of its side",
        "angle": lambda degrees: f"turned by {degrees:.0f}°",
        "scale": lambda factor: f"{factor:g} times as large",
        "mirror": lambda _: "mirrored",
        "other photo": lambda _: "another photo",
    }
    rows = [
        [forms[kind](amount), f"{cosine:.3f}", percent(kept)]
        for kind, answers in found["responses"].items()
        for amount, cosine, kept in answers
    ]
    return table(("the photo is", "cosine of the embedding", "same label"), rows)


def setting(results: Results) -> str:
    """Return the network, the recipe and the data of the trainings, as they were."""
    made = next(iter(results.settings(f"parts/{BASE}/")), None)
    if made is None:
        return MISSING
    learn, check = made["pictures"]
    recipe = made["recipe"]
    return (
        f"{learn:,} training pictures and {check:,} validation pictures, of {len(made['classes'])} classes;\n"
        f"{network_words(made['network'])};\n"
        f"{recipe['epochs']} epochs in batches of {recipe['batch_size']}, SGD with {momentum_words(recipe)}, "
        f"rate {recipe['lr']}\nlowered by a cosine after {recipe['warmup']:g} epoch of warm-up, "
        f"weight decay {recipe['weight_decay']:g}."
    )


def network_words(network: Values) -> str:
    """Return the size of a network, how it is normalised, and what its weights start from."""
    config = AlexNetConfig.from_dict(network)
    filters = "-".join(str(conv.filters) for conv in config.convs)
    norm = "no" if config.shape.norm == "none" else config.shape.norm
    start = {"he": "He initialisation", "gaussian": "weights that start from N(0, 0.01)"}[config.init]
    return (
        f"{filters} filters, two hidden layers of {config.hidden[0]}, {norm} normalisation, {start}, "
        f"crops of {config.crop} from {config.resize} pixels"
    )


def momentum_words(recipe: Values) -> str:
    """Return the momentum of a recipe."""
    return f"{'Nesterov ' if recipe['nesterov'] else ''}momentum {recipe['momentum']}"


def machines(results: Results) -> str:
    """Return what everything was measured on."""
    return "\n".join(f"- {machine}" for machine in results.machines()) or MISSING
