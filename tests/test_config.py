from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from hybridsearch.config import (
    Config,
    config_path,
    load_config,
    make_config,
    packaged_configs,
    read_settings,
)
from hybridsearch.errors import UserError


def described(model, path=""):
    for name, field in model.model_fields.items():
        yield path + name, field
        if hasattr(field.annotation, "model_fields"):
            yield from described(field.annotation, f"{path}{name}.")


def test_every_setting_is_explained():
    missing = [name for name, field in described(Config) if not field.description]
    assert missing == []


def test_every_packaged_config_is_valid_and_digits_is_the_default():
    names = {p.stem for p in packaged_configs().glob("*.yaml")}
    assert {"digits", "fashion_mnist", "cifar10_small"} <= names
    for name in names:
        assert load_config(name) == make_config(read_settings(name))
    assert load_config("digits") == Config()


def test_settings_survive_yaml():
    config = make_config({"space": {"unary": ["id", "tanh"]}, "fidelity": {"rungs": [0.5, 1]}})
    assert make_config(yaml.safe_load(yaml.safe_dump(config.model_dump(mode="json")))) == config


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"budgt": 3}, ["budgt", "did you mean 'budget'"]),
        ({"training": {"lrr": 1}}, ["training", "lrr", "did you mean 'lr'"]),
        ({"training": {"lr": -1}}, ["training.lr", "greater than 0", "-1"]),
        ({"training": {"lr": "fast"}}, ["training.lr", "number", "fast"]),
        ({"strategy": "evoluton"}, ["strategy", "evoluton", "'rl'"]),
        ({"space": {"unary": ["tanhh"]}}, ["space.unary", "tanhh", "did you mean 'tanh'"]),
        ({"space": {"unary": ["id", "id"]}}, ["space.unary", "twice"]),
        ({"space": {"min_units": 3}}, ["min_units", "max_units"]),
        ({"fidelity": {"rungs": [0.5, 0.2]}}, ["fidelity.rungs", "rise"]),
        ({"endgame": 200}, ["endgame", "less than the budget of 200", "learn nothing"]),
        ({"training": {"drops": [0.5, 1.0]}}, ["training.drops", "rise between 0 and 1"]),
        ({"training": {"lr": math.nan}}, ["training.lr", "a finite number", "got nan"]),
        ({"time_limit": math.nan}, ["time_limit", "a finite number", "got nan"]),
        ({"fidelity": {"rungs": [math.nan, 1]}}, ["fidelity.rungs", "a finite number"]),
        ({"metric": {"perfect": math.inf}}, ["metric.perfect", "got inf", "100 for a PSNR"]),
        ({"metric": {"perfect": math.nan}}, ["metric.perfect", "got nan", "fitness is loss"]),
    ],
)
def test_bad_settings_are_refused_in_one_line(settings, words):
    with pytest.raises(UserError) as caught:
        make_config(settings, "file.yaml")
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("file.yaml: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "line 1"),
        ("- 3", "key: value"),
        ("budget: many", "budget"),
        ("training:\n  lr: 0.1\nseed: 1\ntraining: {steps: 9}", r"line 4: 'training' stands twice"),
        ('training: {lr: 0.1,\n steps: 9, "lr": 0.2}', r"line 2: 'lr' stands twice"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path, text, words):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        read_settings(path)
    assert "\n" not in str(caught.value)


def test_what_a_merge_key_brings_may_be_stated_anew(tmp_path):
    """Also where the merged mapping has merged another one."""
    path = tmp_path / "c.yaml"
    path.write_text(
        "race: &b {<<: &a {seeds: 3}, seeds: 4}\nretest: {<<: *b, first: 9, seeds: 5}\n"
    )
    made = load_config(path)
    assert (made.race.seeds, made.retest.seeds, made.retest.first) == (4, 5, 9)
    path.write_text("training: {lr: 0.1, <<: {lr: 0.2, steps: 9}, <<: {warmup: 3}}")
    made = load_config(path)
    assert (made.training.lr, made.training.steps, made.training.warmup) == (0.1, 9, 3)


@pytest.mark.parametrize("stated", ["", "budget: 300"])
def test_the_last_of_a_budget_are_compared_with_the_budget_that_is_asked_for(tmp_path, stated):
    path = tmp_path / "c.yaml"
    path.write_text(f"{stated}\nendgame: 512")
    assert load_config(path, budget=4096).endgame == 512
    with pytest.raises(UserError, match="less than the budget of"):
        load_config(path)


def test_a_missing_file_names_the_nearest_packaged_one():
    with pytest.raises(UserError, match="did you mean 'digits'"):
        load_config("digit")


def test_a_packaged_config_is_meant_by_its_name_alone_or_as_in_the_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "digits.yaml", "configs/digits.yaml", Path("configs", "digits")):
        assert config_path(name) == packaged_configs() / "digits.yaml"
    (tmp_path / "digits.yaml").write_text("budget: 3")
    assert load_config("digits.yaml").budget == 3  # a file that is there comes first


@pytest.mark.parametrize("name", ["mine/digits.yaml", "./digits", "digits.yml", "", ".", "/", ".."])
def test_another_path_never_runs_a_packaged_config(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no config file"):
        config_path(name)


def test_a_name_stands_for_its_section():
    assert make_config({"network": "resnet8"}).network.name == "resnet8"
    assert make_config({"data": "cifar10"}).data.name == "cifar10"
