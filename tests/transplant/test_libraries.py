"""swap on models of torchvision, timm and transformers: small, random weights, nothing fetched."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from hybridsearch.genome.activation import Activation
from hybridsearch.transplant.swap import swap

pytestmark = [
    pytest.mark.extras,
    # What the libraries themselves warn of is not ours to mend.
    pytest.mark.filterwarnings("default"),
]
SWISH = "x*sigmoid(beta*x)"
KEPT: list[torch.library.Library] = []  # what is defined ends with its library


@pytest.fixture(scope="module")
def torchvision():
    """torchvision. Its wheel beside a CPU build of torch finds no operators of its own, and then it
    cannot be imported; its networks do not use them, so it is told that they exist.
    """
    try:
        return pytest.importorskip("torchvision")
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        KEPT.append(library)
        return pytest.importorskip("torchvision")


def value(model, x):
    torch.manual_seed(0)
    with torch.no_grad():
        out = model(**x) if isinstance(x, dict) else model(x)
    return out if isinstance(out, torch.Tensor) else next(iter(out.values()))


def same_with_its_own_function(build, x, function, tolerance=0.0):
    """The model computes what it did when each activation is replaced by the same function."""
    model = build().eval()
    want = value(model, x)
    answer = swap(model, function, x)
    torch.testing.assert_close(value(model, x), want, rtol=tolerance, atol=tolerance)
    assert want.abs().max() > 0 and not answer.could_not
    return answer


def trainable(build, x):
    """With betas per channel: every site is there, has an axis that is not guessed, and learns."""
    model = build().train()
    answer = swap(model, SWISH, x)
    out = model(**x) if isinstance(x, dict) else model(x)
    out = out if isinstance(out, torch.Tensor) else next(iter(out.values()))
    out.square().mean().backward()
    acts = [module for module in model.modules() if isinstance(module, Activation)]
    assert len(acts) == len(answer.replaced) and not answer.could_not
    for act in acts:
        assert act.betas.grad is not None and act.betas.grad.isfinite().all()
        assert act.betas.grad.abs().sum() > 0
    assert not any(site.note for site in answer.replaced)
    return answer


def widths(answer):
    return Counter((site.channels, site.axis) for site in answer.replaced)


IMAGES = torch.randn(2, 3, 64, 64, generator=torch.manual_seed(0))


def test_resnet18(torchvision):
    build = torchvision.models.resnet18
    assert len(same_with_its_own_function(build, IMAGES, "max(x, 0)").replaced) == 9
    found = widths(trainable(build, IMAGES))
    assert found == {(64, 1): 5, (128, 1): 4, (256, 1): 4, (512, 1): 4}


def test_resnet50_has_one_relu_at_two_widths(torchvision):
    build = torchvision.models.resnet50
    same_with_its_own_function(build, IMAGES, "max(x, 0)")
    answer = trainable(build, IMAGES)
    # conv1, then in each stage two narrow ones and a wide one in every block.
    want = Counter({(64, 1): 1})
    for width, blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        want += Counter({(width, 1): 2 * blocks, (4 * width, 1): blocks})
    assert widths(answer) == want
    assert {s.name: s.channels for s in answer.replaced if s.name.startswith("layer1.0")} == {
        "layer1.0.relu.0": 64,
        "layer1.0.relu.1": 64,
        "layer1.0.relu.2": 256,
    }


def test_functional_calls_of_googlenet_and_densenet(torchvision):
    def google():
        return torchvision.models.googlenet(init_weights=False, aux_logits=False)

    answer = same_with_its_own_function(google, IMAGES, "max(x, 0)")
    assert len(answer.replaced) == 57 and {site.was for site in answer.replaced} == {"relu()"}

    def dense():
        return torchvision.models.DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8)

    same_with_its_own_function(dense, IMAGES, "max(x, 0)")
    answer = trainable(dense, IMAGES)
    assert [site.name for site in answer.replaced if site.was == "relu()"] == ["functional.0"]


@pytest.mark.parametrize(
    ("name", "settings", "axis", "function"),
    [
        ("resnet10t", {"zero_init_last": False}, 1, "max(x, 0)"),
        ("convnext_atto", {}, 1, "GELU"),
        ("vit_tiny_patch16_224", {"img_size": 64, "depth": 2}, -1, "GELU"),
        ("mobilenetv3_small_050", {}, 1, None),
    ],
)
def test_timm(torchvision, name, settings, axis, function):
    timm = pytest.importorskip("timm")

    def build():
        return timm.create_model(name, pretrained=False, num_classes=10, **settings)

    if function:
        same_with_its_own_function(build, IMAGES, function, 1e-5)
    answer = trainable(build, IMAGES)
    assert {site.axis for site in answer.replaced} == {axis}
    if name.startswith("mobilenet"):
        assert {site.was for site in answer.replaced} == {"ReLU", "Hardswish"}
        assert {site.was for site in answer.kept} == {"Hardsigmoid"}


def sizes(**changes):
    return {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2} | changes


@pytest.mark.parametrize("kind", ["Bert", "GPT2", "ViT", "T5"])
def test_transformers(torchvision, kind):
    transformers = pytest.importorskip("transformers")
    tokens = {"input_ids": torch.arange(14).reshape(2, 7)}
    config, x, function = {
        "Bert": (sizes(vocab_size=50, intermediate_size=24), tokens, "GELU"),
        "GPT2": ({"vocab_size": 50, "n_embd": 16, "n_layer": 2, "n_head": 2}, tokens, None),
        "ViT": (
            sizes(intermediate_size=24, image_size=32, patch_size=8),
            {"pixel_values": IMAGES[:, :, :32, :32]},
            "GELU",
        ),
        "T5": (
            {"vocab_size": 50, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1}
            | {"num_heads": 2},
            tokens | {"decoder_input_ids": tokens["input_ids"]},
            "max(x, 0)",
        ),
    }[kind]

    def build():
        torch.manual_seed(0)
        made = getattr(transformers, f"{kind}Config")(**config)
        return getattr(transformers, f"{kind}Model")(made)

    if function:
        same_with_its_own_function(build, x, function, 1e-5)
    answer = trainable(build, x)
    width = 64 if kind == "GPT2" else 24
    assert widths(answer) == {(width, -1): 2}
    assert all(site.was == "Tanh" for site in answer.kept)  # the pooler's
