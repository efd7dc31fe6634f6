"""The command line as a user meets it: one clear line, exit status 2, and nothing lost."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from hybridsearch.cli import main
from hybridsearch.config import load_config, packaged_configs


@pytest.fixture
def at_home(tmp_path, monkeypatch, tiny_settings):
    """A working directory with tiny.yaml in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_settings()))
    return tmp_path


def test_search_prints_a_table_and_ends_with_0(at_home, capsys):
    assert main(["--config", "tiny.yaml", "--budget", "6", "--out", "runs/a"]) == 0
    out = capsys.readouterr().out
    for words in ("Searching", "Retest on fresh seeds", "Swish-1", "Verdict: ", "runs/a"):
        assert words in out
    summary = json.loads((at_home / "runs/a/summary.json").read_text())
    assert summary["budgets"]["distinct"] == 6  # the command line wins over the file
    assert (at_home / "runs/cache.sqlite").exists()
    assert main(["resume", "runs/a"]) == 0
    assert "Verdict: " in capsys.readouterr().out


def test_settings_of_all_kinds_reach_the_run(at_home):
    words = ["--strategy", "random", "--seed", "3", "--training.lr", "0.02", "--out", "runs/b"]
    words += ["--space.unary", "id", "--space.unary", "tanh", "--network", "digits_mlp"]
    words += ["--fidelity.rungs", "0.5", "--fidelity.rungs", "1", "--network.width", "4"]
    assert main(["--config=tiny.yaml", *words]) == 0
    saved = yaml.safe_load((at_home / "runs/b/config.yaml").read_text())
    assert saved["strategy"] == "random"
    assert saved["seed"] == 3
    assert saved["training"]["lr"] == 0.02
    assert saved["training"]["steps"] == 20  # from the file
    assert saved["space"]["unary"] == ["id", "tanh"]
    assert saved["fidelity"]["rungs"] == [0.5, 1.0]


@pytest.mark.parametrize("name", sorted(p.stem for p in packaged_configs().glob("*.yaml")))
def test_every_setting_of_a_file_reaches_the_run(at_home, name, monkeypatch):
    """The command line and the Python API make the same config of the same file."""
    seen = []
    monkeypatch.setattr("hybridsearch.session.search", lambda config, *rest: seen.append(config))
    monkeypatch.setattr("hybridsearch.analysis.tables.show_summary", lambda *rest: None)
    monkeypatch.setattr("hybridsearch.analysis.tables.verdict_lines", lambda *rest: [])
    assert main(["--config", name, "--out", "runs/z"]) == 0
    assert seen == [load_config(name)]
    assert main(["--config", "tiny.yaml"]) == 0
    assert seen[1] == load_config("tiny.yaml")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--budgt", "3"], "did you mean --budget"),
        (["--controller.lrr", "3"], "did you mean --controller.lr"),
        (["--training.lr", "-1"], "training.lr: input should be greater than 0"),
        (["--time-limit", "nan"], "time_limit: input should be a finite number"),
        (["--metric.perfect", "inf"], "metric.perfect: expected a finite number"),
        (["--budget", "many"], "budget: input should be a valid integer"),
        (["--strategy", "evoluton"], "'evoluton'"),
        (["--config", "nope.yaml"], "no config file 'nope.yaml'"),
        (["--config", "digit"], "did you mean 'digits'"),
        (["--config"], "--config: expected"),
        (["--config", ""], "no config file ''"),
        (["--config="], "no config file ''"),
        (["--config", "."], "no config file '.'"),
        (["--config", "./"], "no config file './'"),
        (["--config", "/"], "no config file '/'"),
        (["--config", "mien/cifar10_small.yaml"], "no config file 'mien/cifar10_small.yaml'"),
        (["--config", "./digits.yaml"], "no config file './digits.yaml'"),
        (["--config", "digits.yml"], "no config file 'digits.yml'; did you mean 'digits'"),
        (["--out", ""], "--out: expected a folder or a file, got nothing"),
        (["compare", "--out="], "--out: expected a folder or a file, got nothing"),
        (["--config", "broken.yaml"], "did you mean 'training'"),
        (["--network", "resnet9"], "the nearest is resnet8"),
        (["--data", "digit"], "did you mean 'digits'"),
        (["--data", "cifar10", "--data.folder", "nowhere"], "nowhere"),
        (["--data.train", "5000"], "5,000"),
        (["--device", "gpu"], "device"),
        (["--space.unary", "tanhh"], "did you mean 'tanh'"),
        (["resum", "x"], "did you mean 'resume'"),
        (["resume"], "requires an argument"),
        (["resume", "nowhere"], "holds no run"),
        (["data", "cifr10"], "did you mean 'cifar10'"),
        (["--cache", "broken.yaml"], "cannot be used"),
    ],
)
def test_mistakes_end_in_one_line_and_status_2(at_home, capsys, words, expected):
    (at_home / "broken.yaml").write_text("trainng: {lr: 1}\n" + "#" * 5000)
    assert main([*words]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert expected.lower() in captured.err.lower()
    assert "Traceback" not in captured.err + captured.out


def test_a_full_disk_is_one_line_where_nobody_names_the_file(capsys, monkeypatch):
    """As a library that draws a picture leaves it; other errors are not hidden."""

    def fail(*rest):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("hybridsearch.evaluate.data.fetch", fail)
    number = errno.ENOSPC
    assert main(["data", "cifar10"]) == 2
    line = capsys.readouterr().err
    assert "a file cannot be written: No space left on device" in line and line.count("\n") == 1
    number = errno.EPERM
    with pytest.raises(PermissionError):
        main(["data", "cifar10"])


@pytest.mark.parametrize("place", ["evaluate.data.fetch", "cli.read_settings"])
def test_ctrl_c_outside_of_what_goes_on_is_one_line(at_home, capsys, monkeypatch, place):
    def stop(*rest):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"hybridsearch.{place}", stop)
    words = ["data", "cifar10"] if place.endswith("fetch") else ["--config", "tiny.yaml"]
    assert main(words) == 130
    told = capsys.readouterr()
    assert told.err == "\nhybridsearch: stopped; the same command begins again\n"
    assert told.out == ""


def test_help_all_explains_every_setting_with_its_default(capsys):
    assert main(["--help-all"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in ("--strategy", "--budget", "--controller.entropy", "--retest.seeds", "default:"):
        assert words in out


def test_ctrl_c_says_how_to_go_on_and_loses_nothing(at_home, tiny_settings):
    settings = tiny_settings(budget=400, pool="loky", workers=1, batch=4)
    (at_home / "long.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "hybridsearch", "--config", "long.yaml", "--out", "runs/c"]
    # SIGINT reaches the whole group, as Ctrl-C on a terminal does; a shell's background job
    # would ignore it, so the default is set again.
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    log = at_home / "runs/c/trials.jsonl"
    give_up = time.monotonic() + 120
    while not (log.exists() and log.read_bytes().count(b"\n") > 8):
        assert time.monotonic() < give_up
        assert process.poll() is None
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "python -m hybridsearch resume runs/c" in out
    assert "Traceback" not in out + err
    records = log.read_bytes().count(b"\n")
    settings = yaml.safe_load((at_home / "runs/c/config.yaml").read_text())
    settings["budget"] = 16
    (at_home / "runs/c/config.yaml").write_text(yaml.safe_dump(settings))
    assert main(["resume", "runs/c"]) == 0
    assert log.read_bytes().count(b"\n") >= records
