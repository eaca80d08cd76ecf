import numpy as np
import pytest
import torch

from stages.models import language_model
from stages.settings import InputError, configure

WORDS = 7


def model_of(seed=0, words=WORDS, **settings):
    torch.manual_seed(seed)
    model = language_model.Model(configure(language_model.Config, {"dimension": 4, "hidden": 6, "words": 2, **settings}, "model"),
                                 {"kind": "documents", "words": words})
    for name in ("output", "bias", "shift"):  # zeros at the start would hide mistakes
        getattr(model, name).normal_()
    return model


def written_out(model, contexts, targets, kept=1.0):
    """Equation 1 of the paper, in torch's own operations."""
    c = model.config
    x = model.input[contexts].reshape(len(contexts), -1)
    h = torch.tanh(model.shift + x @ model.weight) * kept
    logits = model.bias + h @ model.output[:, : c.hidden].T
    if c.direct:
        logits = logits + x @ model.output[:, c.hidden :].T
    return -torch.log_softmax(logits, 1)[torch.arange(len(targets)), targets].sum()


@pytest.mark.parametrize("settings", [{}, {"context": "both"}, {"context": "nearby"}, {"direct": True}, {"direct": True, "dropout": 0.5}])
def test_gradients_are_those_of_the_written_out_loss(settings):
    model = model_of(**settings)
    reads = model.weight.shape[0] // model.config.dimension
    contexts, targets = torch.randint(0, WORDS + 1, (5, reads)), torch.randint(0, WORDS, (5,))
    kept = (torch.rand(5, 6) >= 0.5) * 2.0 if "dropout" in settings else 1.0
    loss, found, words = model.gradients(contexts, targets, kept)
    for p in model.parameters():
        p.requires_grad_()
    wanted = written_out(model, contexts, targets, kept)
    wanted.backward()
    assert loss == pytest.approx(float(wanted.detach()), rel=1e-5)
    full = torch.zeros_like(model.input)
    full[words] = found.pop("input")
    torch.testing.assert_close(full, model.input.grad, atol=1e-5, rtol=1e-4)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, getattr(model, name).grad, atol=1e-5, rtol=1e-4)


TOKENS, OFFSETS = np.array([3, 0, 1, 5, 2, 6, 4], np.int32), np.array([0, 4, 6, 7])
DATA = {f"{s}.{k}": v for s in ("train", "valid") for k, v in (("tokens", TOKENS), ("offsets", OFFSETS))} | {
    "counts": np.bincount(TOKENS, minlength=WORDS)}


def test_contexts_end_at_the_document_and_hold_unknown_words():
    model, pad = model_of(), WORDS
    document = language_model.whole(DATA, "valid")[1]
    places = np.arange(7)
    left = model.contexts(TOKENS, document, places, model.reach())
    assert left.tolist() == [[pad, pad], [pad, 3], [3, 0], [0, 1], [pad, pad], [pad, 2], [pad, pad]]
    both = model_of(context="both")
    assert both.reach().tolist() == [-2, -1, 1, 2]
    assert both.contexts(TOKENS, document, places[[1, 5]], both.reach()).tolist() == [[pad, 3, 1, 5], [pad, 2, pad, pad]]


def slow_losses(model):
    """One place at a time, in float64: every word of the split is predicted, <unk> too."""
    p = {name: tensor.detach().double().numpy() for name, tensor in model.named_parameters()}
    losses = []
    for start, stop in zip(OFFSETS[:-1], OFFSETS[1:], strict=True):
        document = TOKENS[start:stop].tolist()
        for i, target in enumerate(document):
            word = lambda j: document[j] if 0 <= j < len(document) else WORDS  # noqa: B023, E731
            around = [word(i + r) for r in model.reach()]
            if model.config.context == "nearby":
                contexts = [[w] for w in around if w != WORDS] or [[WORDS]]
            else:
                contexts = [around]
            found = []
            for context in contexts:
                x = np.concatenate([p["input"][w] for w in context])
                logits = p["bias"] + p["output"] @ np.tanh(p["shift"] + x @ p["weight"])
                found.append(np.log(np.exp(logits).sum()) - logits[target])
            losses.append(np.mean(found))
    return losses


@pytest.mark.parametrize("context", ["left", "both", "nearby"])
def test_losses_equal_the_slow_ones(context, monkeypatch):
    model = model_of(context=context)
    for scored in (4096, 3):
        monkeypatch.setattr(language_model, "SCORED", scored)
        words, losses = (np.concatenate(x) for x in zip(*model.losses(DATA, "valid"), strict=True))
        assert words.tolist() == TOKENS.tolist()
        np.testing.assert_allclose(losses, slow_losses(model), rtol=1e-5)
    assert model.heldout_loss(DATA, "valid") == pytest.approx(np.mean(slow_losses(model)), rel=1e-5)


def test_the_nearby_word_is_drawn_evenly_from_those_of_the_document():
    model, rng = model_of(context="nearby"), np.random.default_rng(0)
    document = language_model.whole(DATA, "valid")[1]
    for place, wanted in ((1, [-1, 1, 2]), (0, [1, 2]), (4, [1])):
        drawn = model.drawn(document, np.full(3000, place), model.reach(), rng)[:, 0]
        values, times = np.unique(drawn, return_counts=True)
        assert values.tolist() == wanted and np.abs(times / 3000 - 1 / len(wanted)).max() < 0.04


def language(n=400, length=20, words=13):
    """The word after next is the next number: the last word says nothing, the last two say all."""
    start = np.random.default_rng(0).integers(0, words - 1, (n, 2))
    steps = np.arange(length)
    tokens = 1 + (start[:, steps % 2] + steps // 2) % (words - 1)
    data = {}
    for split, part in (("train", tokens[: n // 2]), ("valid", tokens[n // 2 :])):
        data |= {f"{split}.tokens": part.ravel().astype(np.int32), f"{split}.offsets": np.arange(len(part) + 1) * length}
    return data | {"counts": np.bincount(data["train.tokens"], minlength=words)}


@pytest.mark.parametrize(("settings", "low", "high"), [({"words": 2}, 1.0, 2.5), ({"words": 1}, 11.0, 14.0),
                                                       ({"words": 2, "context": "both", "dropout": 0.1}, 1.0, 2.0),
                                                       ({"words": 2, "context": "nearby"}, 3.0, 9.0)])
def test_perplexity_falls_as_far_as_the_context_allows(settings, low, high):
    data, epochs = language(), 6
    torch.manual_seed(0)
    model = language_model.Model(configure(language_model.Config, {"dimension": 16, "hidden": 32, "lr": 0.3, "batch": 64, **settings}, "m"),
                                 {"kind": "documents", "words": 13})
    model.begin(data, 0)
    assert np.exp(model.validate(data)["loss"]) == pytest.approx(12, abs=1)  # the unigram model
    for epoch in range(epochs):
        model.epoch(data, 0, epoch, epochs, 1)
    assert low <= np.exp(model.validate(data)["loss"]) <= high


@pytest.mark.parametrize("wrong", [{"words": 0}, {"context": "right"}, {"dropout": 1.0}])
def test_a_wrong_setting_is_one_line(wrong):
    with pytest.raises(InputError, match=f"model.{next(iter(wrong))}: .*allowed"):
        configure(language_model.Config, wrong, "model")
