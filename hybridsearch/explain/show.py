"""What is known of a function, on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from hybridsearch.explain.growth import number
from hybridsearch.types import Json, fitness_words


def show(answer: dict[str, Json], console: Console) -> None:
    """Print an answer of `ask.explain`."""
    console.print(f"[bold]{escape(answer['label'])}[/bold]", highlight=False, soft_wrap=True)
    _lines(_written(answer), console)
    console.print()
    _lines(_does(answer), console)
    if answer["parameters"]:
        console.print(_parameters(answer["parameters"]))
    if not answer["nowhere"]:
        console.print()
        _lines(_near(answer), console)
    if answer["run"]:
        _run(answer["run"], console)
    if answer["picture"]:
        console.print(f"Picture: {escape(answer['picture'])}", highlight=False, soft_wrap=True)


def _lines(rows: list[tuple[str, str]], console: Console) -> None:
    """What and how, apart by a column; long ones are not cut where there is no terminal."""
    wide = max(len(what) for what, _ in rows)
    for what, how in rows:
        text = f"[dim]{what:<{wide}}[/dim]  {escape(how)}"
        console.print(text, highlight=False, soft_wrap=True)


def _written(answer: dict[str, Json]) -> list[tuple[str, str]]:
    rows = [("formula", answer["formula"])]
    if answer["tokens"]:
        rows += [("tokens", answer["tokens"]), ("LaTeX", answer["latex"])]
    rows.append(("key", answer["key"]))
    about = answer["preflight"]
    if not about["searched"]:
        said = "not asked: a baseline that no search proposes"
    else:
        said = f"rejected: {about['rejected']}" if about["rejected"] else "accepted"
    rows.append(("preflight", said))
    return rows


def _does(answer: dict[str, Json]) -> list[tuple[str, str]]:
    if answer["nowhere"]:
        return [("range", "not defined anywhere"), ("computed", answer["method"])]
    normal = answer["normal"]
    undefined = normal["second"] is None
    rows = [
        ("range", said_range(answer["low"], answer["high"])),
        ("x -> -infinity", _end(answer["left"])),
        ("x -> +infinity", _end(answer["right"])),
        ("monotone", _stretches(answer)),
        ("extremes", _extremes(answer)),
        ("zeros", _zeros(answer)),
        ("at 0", f"f = {_num(answer['at_zero'])}, f' = {_slope_at_zero(answer)}"),
        ("kinks", _kinks(answer)),
        ("symmetry", answer["symmetry"] or "none"),
        ("smoothness", answer["smooth"]),
        (
            "under N(0,1)",
            "not defined everywhere"
            if undefined
            else f"mean {_num(normal['mean'])}, second moment {_num(normal['second'])}, "
            f"E f'^2 (gain) {_num(normal['gain'])}",
        ),
    ]
    return [*rows, ("computed", answer["method"])]


def said_range(low: dict[str, Json], high: dict[str, Json]) -> str:
    """The range as an interval: a round bracket where the end is not reached."""
    left = "(-infinity" if low["value"] is None else ("[" if low["reached"] else "(")
    left += "" if low["value"] is None else _num(low["value"])
    right = "infinity)" if high["value"] is None else _num(high["value"])
    right += "" if high["value"] is None else ("]" if high["reached"] else ")")
    sure = low["certain"] and high["certain"]
    return f"{left}, {right}" + ("" if sure else ", as far as it could be seen")


def _end(tail: dict[str, Json]) -> str:
    if tail["kind"] in ("limit", "line"):
        return f"-> {tail['says']}" + (", and is that all the way" if tail["constant"] else "")
    return str(tail["says"])


def _num(value: float | str | None) -> str:
    if value is None:
        return "not defined"
    return value if isinstance(value, str) else number(value)


def _slope_at_zero(answer: dict[str, Json]) -> str:
    for kink in answer["kinks"]:
        if kink["x"] == 0 and kink["kind"] == "kink":
            return f"{_num(kink['left'])} on the left, {_num(kink['right'])} on the right"
    return _num(answer["slope_at_zero"])


def _stretches(answer: dict[str, Json]) -> str:
    parts = []
    for part in answer["stretches"]:
        if (part["low"], part["high"]) == ("-infinity", "infinity"):
            parts.append(f"{part['does']} everywhere")
        elif part["low"] == "-infinity":
            parts.append(f"{part['does']} up to x = {_num(part['high'])}")
        elif part["high"] == "infinity":
            parts.append(f"{part['does']} from x = {_num(part['low'])} on")
        else:
            parts.append(f"{part['does']} from {_num(part['low'])} to {_num(part['high'])}")
    return ", ".join(parts) + _more(answer, "stretches")


def _extremes(answer: dict[str, Json]) -> str:
    parts = [f"{t['kind']} {_num(t['value'])} at x = {_num(t['x'])}" for t in answer["turns"]]
    return ", ".join(parts) + _more(answer, "turns") if parts else "none"


def _zeros(answer: dict[str, Json]) -> str:
    parts = [f"x = {_num(z)}" for z in answer["zeros"]]
    parts += [f"all from {_num(a)} to {_num(b)}" for a, b in answer["zero_from"]]
    return ", ".join(parts) + _more(answer, "zeros") if parts else "none"


def _kinks(answer: dict[str, Json]) -> str:
    return ", ".join(map(_kink, answer["kinks"])) + _more(answer, "kinks") or "none"


def _more(answer: dict[str, Json], what: str) -> str:
    """What to say after a list that has not all."""
    return ", and so on" if what in answer["goes_on"] else ""


def _kink(kink: dict[str, Json]) -> str:
    place = f"x = {_num(kink['x'])}"
    if kink["kind"] == "edge":
        return f"defined from {place} on, on one side"
    if kink["kind"] == "pole":
        return f"a pole at {place}"
    if kink["kind"] == "jump":
        return f"a jump at {place} from {_num(kink['left'])} to {_num(kink['right'])}"
    return f"{place} (slope {_num(kink['left'])} to {_num(kink['right'])})"


def _parameters(rows: list[dict[str, Json]]) -> Table:
    table = Table(title="Its trainable parameters, one set per channel", title_justify="left")
    table.add_column("which")
    for heading in ("value", *(f"f({x.removesuffix('.0')})" for x in rows[0]["at"]), "E f'^2"):
        table.add_column(heading, justify="right")
    table.add_column("x -> -infinity")
    table.add_column("x -> +infinity")
    for row in rows:
        numbers = [_short(v) for v in (row["value"], *row["at"].values(), row["gain"])]
        table.add_row(row["which"], *numbers, escape(row["left"]), escape(row["right"]))
    return table


def _short(value: float | str | None) -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:.4g}"


def _near(answer: dict[str, Json]) -> list[tuple[str, str]]:
    """What it is like, and where it stands in the tables that ship."""
    near = ", ".join(f"{n['name']} ({n['distance']:.2f})" for n in answer["near"])
    rows = [("like", f"{near}; of two functions of one unit, half are more than 0.96 apart")]
    for table in answer["tables"]:
        what = f"on {table['table']}"
        if table["rank"] is None:
            said = "not in the recorded table"
        else:
            said = f"number {table['rank']:,} of {table['count']:,} by true score"
            said += f" ({_short(table['score'])}, {_scale(table['fitness'])})"
        if table["images"]:
            said += f"; {table['images']} others are mirror images or rescaled"
        rows.append((what, said))
        close = ", ".join(
            f"{n['name']} ({n['distance']:.2f}, number {n['rank']:,}, {_short(n['score'])})"
            for n in table["near"]
        )
        rows.append(("", f"like {close}"))
    return rows


def _scale(fitness: str) -> str:
    return "minus test loss, nats" if fitness == "loss" else "test accuracy"


# Of a run ------------------------------------------------------------------------------------


def _run(run: dict[str, Json], console: Console) -> None:
    console.print()
    console.print(f"[bold]In {escape(run['folder'])}[/bold]", highlight=False, soft_wrap=True)
    if run["outcome"]:
        _lines(_outcome(run), console)
        console.print(_lineage(run["lineage"]), highlight=False, soft_wrap=True)
    else:
        console.print("not proposed in this run", highlight=False)
    if run["evaluations"]:
        console.print(_evaluations(run["evaluations"]))
    if run["cache"]:
        console.print(escape(run["cache"]), highlight=False, soft_wrap=True)


def _outcome(run: dict[str, Json]) -> list[tuple[str, str]]:
    outcome = run["outcome"]
    said = str(outcome["status"]) + (f" ({outcome['message']})" if outcome["message"] else "")
    rows = [
        ("proposal", f"{outcome['id']} of batch {outcome['batch']}, by {outcome['proposer']}"),
        ("became", f"{said}, fitness {_short(outcome['fitness'])}, rung {outcome['rung'] + 1}"),
    ]
    if outcome["order"]:
        rows.append(("order", f"function {outcome['order']:,} of the run"))
    again = [str(p["id"]) for p in run["proposed"] if p["id"] != outcome["id"]]
    if again:
        rows.append(("also proposed", "as " + ", ".join(again)))
    if run["chances"]:
        drawn = "  ".join(f"{token} {chance:.2g}" for token, chance in run["chances"])
        rows.append(("drawn with", f"{drawn} (the controller's probability of every token)"))
    if run["equivalents"]:
        rows.append(("equivalents", "; ".join(run["equivalents"])))
    return rows


def _lineage(node: dict[str, Json]) -> Tree:
    tree = Tree(_ancestor(node), guide_style="dim", highlight=False)
    _grow(tree, node)
    return tree


def _grow(tree: Tree, node: dict[str, Json]) -> None:
    for parent in node["parents"]:
        _grow(tree.add(_ancestor(parent)), parent)
    if node["left_out"]:
        ids = ", ".join(f"#{p}" for p in node["left_out"])
        tree.add(f"[dim]further back: {ids}[/dim]")


def _ancestor(node: dict[str, Json]) -> str:
    by = f"{node['proposer']}, {node['how']}" if node["how"] else node["proposer"]
    score = "not scored" if node["fitness"] is None else fitness_words(node["fitness"])
    again = " (its parents stand above)" if node["again"] else ""
    text = f"#{node['id']} {node['formula']}  {score}, {node['status']}, by {by}{again}"
    return escape(text)


def _evaluations(rows: list[dict[str, Json]]) -> Table:
    table = Table(title="Its evaluations in the log and the cache", title_justify="left")
    for heading in ("for", "split"):
        table.add_column(heading)
    for heading in ("rung", "steps", "seed", "loss", "metric", "seconds"):
        table.add_column(heading, justify="right")
    for heading in ("status", "in"):
        table.add_column(heading)
    for row in rows:
        where = [w for w, there in (("log", row["logged"]), ("cache", row["cached"])) if there]
        table.add_row(
            row["purpose"],
            row["split"].partition("-")[0],  # of a test split the digest follows
            "" if row["rung"] is None else str(row["rung"]),
            str(row["steps"]),
            str(row["seed"]),
            _short(row["loss"]),
            _short(row["metric"]),
            f"{row['seconds']:.2f}",
            row["status"],
            ", ".join(where),
        )
    return table
