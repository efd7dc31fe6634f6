"""Which tables a search has for experience."""

import numpy as np
import pytest

from hybridsearch import past
from hybridsearch.config import make_config
from hybridsearch.errors import UserError
from hybridsearch.past import experience_of, settled
from hybridsearch.session import make_proposer
from hybridsearch.tables.table import load_table


def config(experience="auto", data="digits", use="on", strategy="random"):
    screen = {"use": use, "experience": experience}
    return make_config({"strategy": strategy, "screen": screen, "data": {"name": data}})


def names(config):
    return [part.partition("@")[0] for part in settled(config).screen.experience.split(",")]


def test_none_and_unscreened():
    assert settled(config("none")) == config("none")
    assert settled(config(use="off")) == config(use="off")
    assert len(experience_of(config("none"))) == 0


def test_auto_is_every_table_that_ships_but_of_other_data():
    assert "digits" in names(config(data="fashion_mnist"))
    assert "digits" not in names(config(data="digits"))
    assert "cifar10" not in names(config(data="cifar10"))


def test_a_run_says_which_table_by_its_content():
    once = settled(config("digits"))
    digest = load_table("digits").digest
    assert once.screen.experience == f"digits@{digest[:8]}"
    assert settled(once) == once
    assert len(experience_of(once)) == 1 and experience_of(once) is experience_of(config("digits"))
    with pytest.raises(UserError, match=r"^screen\.experience: expected the table digits with di"):
        settled(config("digits@00000000"))


def test_a_file_is_a_table_and_what_is_neither_is_one_line(tmp_path):
    file = tmp_path / "mine@home.safetensors"
    load_table("digits").save(file)
    assert settled(config(f"{file}, digits")).screen.experience.count("@") == 3
    with pytest.raises(UserError, match=r"^screen\.experience: no recorded table 'digitss'; did"):
        make_proposer(config("digitss"))


def test_an_experienced_search_begins_with_what_was_good_elsewhere():
    table = load_table("digits")
    proposer = make_proposer(config("digits"))
    best = {table.keys[row] for row in np.argsort(-table.truth)[: len(table.keys) // 20]}
    asked = [p.genome.key for p in proposer.ask(8)]
    assert sum(key in best for key in asked) >= 6


def test_experience_is_made_once(monkeypatch):
    experience_of(config("digits"))
    monkeypatch.setattr(past, "load_table", None)
    experience_of(config("digits"))


def test_labels():
    assert config("none", use="auto", strategy="hybrid").label == "hybrid-experience"
    assert config("none").label == "random+screen-experience"
    assert config("none", use="off").label == "random-screen"
    one = config().labelled("hybrid-experience")
    assert one.screen.experience == "none" and one.strategy == "hybrid"
    both = config().labelled("rl+screen-experience")
    assert (both.strategy, both.screen.use, both.screen.experience) == ("rl", "on", "none")
