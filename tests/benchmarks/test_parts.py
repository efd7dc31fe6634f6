from __future__ import annotations

import numpy as np
import pytest
import torch
from contest import Entry, Machine, race
from one_activation import alone
from parts import kernels, memory, ranking, resnet20
from plain_loop import COMPOSITE, SWISH
from profile_step import ACT, ADD, CONV, HEAD, NODE, NORM, PREFIX, REST, by_group

from hybridsearch.config import make_config
from hybridsearch.errors import UserError
from hybridsearch.pools.base import InlinePool
from hybridsearch.types import Evaluation, Status


class Inline(Machine):
    """Everything in this process."""

    def __init__(self) -> None:
        self.workers, self.pool = 1, InlinePool()

    def plain(self, function, job):
        return function(job)


def test_a_race_counts_the_steps_of_every_round():
    config = make_config(
        {
            "data": {"name": "digits", "train": 100, "validation": 50},
            "network": {"name": "digits_mlp", "width": 2},
            "training": {"batch_size": 16},
        }
    )
    entries = [Entry("plain", SWISH, config, plain=True), Entry("here", SWISH, config)]
    ticks = []
    results, problems = race(Inline(), entries, 3, 0.01, lambda: ticks.append(1))
    assert problems == {}
    assert len(ticks) == 2 + 2 * 3
    assert [len(r.rates) for r in results.values()] == [3, 3]
    assert all(rate > 0 for r in results.values() for rate in r.rates)


def test_an_entry_that_cannot_run_is_left_out_with_its_reason():
    config = make_config(
        {"data": {"name": "digits", "train": 100, "validation": 50}, "network": "digits_mlp"}
    )
    broken = config.model_copy(update={"network": resnet20.NetworkConfig(name="digits_mpl")})
    entries = [Entry("here", SWISH, config), Entry("broken", SWISH, broken)]
    results, problems = race(Inline(), entries, 1, 0.01)
    assert set(results) == {"here"}
    assert "digits_mpl" in problems["broken"]


@pytest.mark.parametrize("shape", [(8, 4, 6, 6), (8, 12)])
@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_an_activation_alone_has_the_input_of_a_training(shape, precision, dtype):
    found = alone(SWISH, shape, precision, "cpu")
    assert found.x.shape == found.grad.shape == shape
    assert found.x.dtype == found.grad.dtype == dtype
    if len(shape) == 4:
        assert found.x.is_contiguous(memory_format=torch.channels_last)
        assert found.grad.is_contiguous(memory_format=torch.channels_last)
    assert abs(float(found.x.detach().float().std()) - 1) < 0.1  # BatchNorm's output
    found.step()


def test_a_kernel_is_timed_against_the_module_without_it():
    found = alone(SWISH, (4, 3), "fp32", "cpu")
    used = []

    def kernel(x, betas, axis):
        used.append(axis)
        return x * torch.sigmoid(x * betas[0])

    kernel.formats = (torch.float32,)
    case = kernels.Case(SWISH, (4, 3), "fp32", 2, "cpu")
    assert kernels.compare(case, found).bound == 1  # eager is never slower than itself
    found.activation.kernel = kernel
    pair = kernels.compare(case, found)
    assert set(used) == {-1}
    assert len(pair.eager) == len(pair.chosen) == 2
    assert pair.kernel == "function"


def test_the_upper_end_counts_of_what_was_measured_again():
    slow = [1.0, 1.02, 1.04, 1.06, 1.08, 1.1, 1.12, 1.14, 1.16, 1.18]
    once = kernels.Pair(kernels.Case(SWISH, (1, 1), "fp32", 3, "cpu"), "k", (1.0,) * 3, (1.1,) * 3)
    again = kernels.Pair(kernels.Case(SWISH, (1, 1), "fp32", 10, "cpu"), "k", (1.0,) * 10, (*slow,))
    assert once.bound == pytest.approx(1 / 1.1)
    assert again.ratio.value == pytest.approx(1 / 1.09, rel=1e-3)
    assert again.bound == pytest.approx(1 / 1.02)  # the second largest of ten


def test_random_functions_of_one_and_two_units_are_distinct():
    found = kernels.functions(10, 5)
    assert len(set(found)) == 15
    assert sum("|" in text for text in found) == 5


def test_memory_counts_what_the_backward_pass_keeps():
    x = torch.randn(1000, requires_grad=True)
    size = x.untyped_storage().nbytes()
    module = torch.nn.Identity()
    cases = {
        torch.relu: (1, 1),  # keeps its output
        lambda x: x.exp().exp(): (2, 2),  # both outputs
        lambda x: x.sin().sin(): (2, 2),  # two inputs, one of them x itself; the result lives too
        lambda x: torch.utils.checkpoint.checkpoint(
            lambda y: y.exp().exp(), x, use_reentrant=False, preserve_rng_state=False
        ): (None, 1),  # hooks do not see it, the allocator does
    }
    for forward, (saved, live) in cases.items():
        if saved is not None:
            assert memory.saved_bytes(lambda f=forward: f(x), module) == saved * size
        assert memory.live_bytes(lambda f=forward: f(x), "cpu") == pytest.approx(
            live * size, abs=64
        )


def test_parameters_are_no_activation_memory():
    layer = torch.nn.Linear(64, 64)
    x = torch.randn(4, 64)
    assert memory.saved_bytes(lambda: layer(x), layer) == 4 * 64 * 4  # the input alone


def test_eager_composite_keeps_more_than_one_input():
    found, kernel = memory.activation_memory((COMPOSITE, (4, 3, 8, 8), "cpu"))
    assert found >= 1
    assert found > 2 or kernel != "eager"


def noisy(quality, deviation, replicates, seed):
    rng = np.random.default_rng(seed)
    return quality[:, None] + deviation * rng.normal(size=(len(quality), replicates))


def test_equal_noise_gives_no_difference_and_more_noise_gives_one():
    quality = np.random.default_rng(0).normal(size=300)
    fp32 = noisy(quality, 0.3, 2, 1)
    alike = ranking.correlations(fp32, noisy(quality, 0.3, 2, 2), np.random.default_rng(0))
    worse = ranking.correlations(fp32, noisy(quality, 1.5, 2, 2), np.random.default_rng(0))
    assert abs(alike.difference.value) < 0.03
    assert alike.difference.low < 0 < alike.difference.high
    assert alike.difference.low > -0.05
    assert worse.difference.high < -0.1
    assert worse.difference.value == pytest.approx(worse.across.value - worse.within.value)


def test_rank_correlation_is_spearmans():
    rng = np.random.default_rng(3)
    fp32, bf16 = rng.normal(size=(40, 2)), rng.normal(size=(40, 1))
    found = ranking.correlations(fp32, bf16, rng)
    from scipy.stats import spearmanr

    assert found.within.value == pytest.approx(spearmanr(*fp32.T).statistic)
    pairs = [spearmanr(fp32[:, n], bf16[:, 0]).statistic for n in (0, 1)]
    assert found.across.value == pytest.approx(np.mean(pairs))


def test_two_functions_have_no_rank_correlation():
    with pytest.raises(UserError, match="3 functions"):
        ranking.correlations(np.zeros((2, 2)), np.zeros((2, 2)), np.random.default_rng(0))


def test_functions_near_chance_are_left_out():
    def row(*accuracies):
        return [
            Evaluation("t", Status.OK, 1.0, a) if a else Evaluation("t", Status.DIVERGED)
            for a in accuracies
        ]

    tables = {
        "fp32": [row(0.16, 0.16), row(0.14, 0.14), row(0.3, None)],
        "bf16": [row(0.16, 0.16), row(0.15, 0.15), row(0.3, 0.3)],
    }
    assert ranking.able(tables, 10).tolist() == [True, False, True]


class Event:
    """What `by_group` reads of a profiler's event; microseconds."""

    def __init__(self, name, time, parent=None, number=-1):
        self.name, self.cpu_time_total, self.cpu_parent, self.sequence_nr = (
            name,
            time,
            parent,
            number,
        )


def test_time_goes_to_the_group_that_spent_it():
    network = Event(PREFIX + ADD, 100)
    conv = Event(PREFIX + CONV, 50, network)
    norm = Event(PREFIX + NORM, 20, network)
    events = [
        network,
        conv,
        Event("aten::detach", 1, conv, 7),  # shows the number of the node that comes next
        Event("aten::convolution", 40, conv, 7),
        norm,
        Event("aten::empty", 1, norm, 8),
        Event("aten::native_batch_norm", 15, norm, 8),
        Event("aten::add", 5, network, 9),
        Event("aten::cross_entropy_loss", 3, None, 10),
        Event(NODE + "NllLossBackward0", 2, None, 10),
        Event(NODE + "AddBackward0", 4, None, 9),
        Event(NODE + "NativeBatchNormBackward0", 30, None, 8),
        Event(NODE + "ConvolutionBackward0", 80, None, 7),
        Event(NODE + "torch::autograd::AccumulateGrad", 6, None, -1),
    ]
    seconds = {k: round(1e6 * v) for k, v in by_group(events).items()}
    assert seconds[CONV] == 50 + 80
    assert seconds[NORM] == 20 + 30
    assert seconds[ADD] == 100 - 50 - 20 + 4
    assert seconds[HEAD] == 3 + 2
    assert seconds[REST] == 6
    assert seconds[ACT] == 0


def test_what_is_computed_again_in_the_backward_pass_counts_once():
    node = Event(NODE + "_RecomputedBackward", 100, None, 3)
    act = Event(PREFIX + ACT, 60, node)
    forward = Event(PREFIX + NORM, 10)
    events = [
        forward,
        Event("_Recomputed", 9, forward, 3),
        node,
        act,
        Event("aten::exp", 5, act, 4),
    ]
    seconds = {k: round(1e6 * v) for k, v in by_group(events).items()}
    assert (seconds[ACT], seconds[NORM]) == (60, 50)
