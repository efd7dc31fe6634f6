"""What a reader of a run's answer should know beside its verdict, in plain sentences."""

from __future__ import annotations

from hybridsearch.types import Json, Measure

BOTH = "winner and best baseline"  # what a baseline that was found again may be
HARDLY = 0.05  # of the way from chance to a network that makes no error


def is_beaten(summary: dict[str, Json]) -> bool:
    """Whether the best function found is no better on validation than the best baseline."""
    winner, best = summary.get("winner"), summary.get("best_baseline")
    if not winner or not best or "validation" not in winner or "validation" not in best:
        return False
    return winner["key"] != best["key"] and bool(winner["validation"] <= best["validation"])


def all_fell_out(summary: dict[str, Json]) -> bool:
    """Whether functions were found, and the machine failed all that were to be raced or retested:
    nothing else leaves a search without an answer that has found something.
    """
    if summary["verdict"] != "nothing trained":
        return False
    return bool(summary.get("incumbent") and summary.get("faults"))


def named(summary: dict[str, Json]) -> str:
    """What the function that was named on validation is called: who is beaten has not won."""
    return "best found" if is_beaten(summary) else "winner"


def retested(summary: dict[str, Json]) -> list[tuple[str, dict[str, Json]]]:
    """Every function of the retest, once, with what it is: "winner" ("best found" where it is
    beaten), "best baseline", BOTH, "finalist" or "baseline"; the finalists first.
    """
    winner, best = summary["winner"]["key"], summary["best_baseline"]["key"]
    marks = {best: "best baseline", winner: BOTH if winner == best else named(summary)}
    found: dict[str, tuple[str, dict[str, Json]]] = {}
    for group in ("finalists", "baselines"):
        for row in summary[group]:
            found.setdefault(row["key"], (marks.get(row["key"], group[:-1]), row))
    return list(found.values())


def remarks(summary: dict[str, Json]) -> list[str]:
    """Every remark there is on a finished run."""
    found = [failed(summary)]
    if summary["verdict"] != "nothing trained":
        found += [beaten(summary), disguised(summary), near_chance(summary)]
    elif all_fell_out(summary):
        found.append(
            f"The best of the search was {summary['incumbent']}: mend what failed and search again "
            "with another --out; what was trained comes from the cache"
        )
    elif summary["budgets"]["distinct"]:
        found.append("See first that the network trains with the activation it has (--training.lr)")
    return [line for line in found if line]


def failed(summary: dict[str, Json]) -> str:
    """That the machine failed functions, which are missing; "" where it failed none."""
    count = summary.get("faults", 0)
    if not count:
        return ""
    times = "once" if count == 1 else f"{count:,} times"
    return f"A training failed by the machine's fault {times}, lastly with {summary['fault']}"


def beaten(summary: dict[str, Json]) -> str:
    """That nothing better than a baseline was found, and what to do; "" where something was."""
    if not is_beaten(summary):
        return ""
    best = summary["best_baseline"]["label"]
    line = f"No function found is better on validation than {best}"
    if summary["verdict"] == "better":
        return f"{line}, but on test: the two disagree, retest with more seeds (--retest.seeds)"
    return f"{line}: keep {best}"


def disguised(summary: dict[str, Json]) -> str:
    """That the winner is a baseline times a number, or its mirror image; "" where it is not."""
    if not (kin := summary.get("winner_is")):
        return ""
    name, scale, shift = kin["baseline"], float(kin["scale"]), float(kin["shift"])
    factor = {1.0: "", -1.0: "-"}.get(scale, f"{scale:.4g}*")
    formula = f"{factor}{name}{'(-x)' if kin['mirrored'] else ''}{f'{shift:+.4g}' if shift else ''}"
    line = f"{summary['winner']['expression']} is {formula}"
    what = {"scale": abs(scale) != 1, "sign": scale < 0, "direction": kin["mirrored"]}
    differs = [word for word, so in {**what, "shift": bool(shift)}.items() if so]
    if not differs:
        return f"{line} in another spelling"
    words = " and ".join([*filter(None, [", ".join(differs[:-1])]), differs[-1]])
    if "scale" not in differs:
        return f"{line}: it differs in {words}, which the weights around it undo; keep {name}"
    advice = "" if is_beaten(summary) else f"; try {name} with those"
    return (
        f"{line}: it differs in {words}, which acts like another learning rate or initialisation"
        f"{advice}"
    )


def near_chance(summary: dict[str, Json]) -> str:
    """That most baselines have hardly learned; "" where they have. Where classes differ in number,
    chance is to know how frequent they are.
    """
    measure = Measure(**summary["metric"])
    chance = float(max(summary["chance"], summary.get("prior") or summary["chance"]))
    perfect = 0.0 if summary["fitness"] == "loss" else measure.sign * measure.perfect
    scores = [float(row["validation"]) for row in summary["baselines"]]
    hardly = sum(score - chance <= HARDLY * (perfect - chance) for score in scores)
    if 2 * hardly <= len(scores):
        return ""
    return (
        f"{hardly} of {len(scores)} baselines are hardly better than chance on validation: see "
        "first that the network trains well with the activation it has (--training.lr, "
        "--training.steps)"
    )
