from itertools import product

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from stages.models import seq2seq
from stages.models.base import split_rows
from stages.settings import InputError, configure
from stages.train.loop import train
from stages.train.settings import TrainSettings

KINDS = ["none", "additive", "multiplicative"]


def made(**settings):
    torch.manual_seed(0)
    given = {"embedding": 5, "hidden": 8, "longest": 6, **settings}
    model = seq2seq.Model(configure(seq2seq.Config, given, "model"), {"source_words": 9, "target_words": 7}).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.0)
    return model


def pairs(n=40, seed=0, split="valid"):
    """The target is the source backwards."""
    rng = np.random.default_rng(seed)
    rows = [rng.integers(3, 7, rng.integers(1, 5)) for _ in range(n)]
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int64)
    return {f"{split}.source.tokens": np.concatenate(rows).astype(np.int32), f"{split}.source.offsets": offsets,
            f"{split}.target.tokens": np.concatenate([r[::-1] for r in rows]).astype(np.int32), f"{split}.target.offsets": offsets}


@pytest.mark.parametrize("attention", KINDS)
@torch.no_grad()
def test_each_pair_has_the_loss_it_has_alone_word_by_word(attention):
    model, data = made(attention=attention), pairs()
    rows = np.array([3, 11, 7, 20])
    losses, right, row = model.forced(split_rows(model, data, "valid", rows))
    for i, r in enumerate(rows):
        alone = model.forced(split_rows(model, data, "valid", np.array([r])))[0]
        assert torch.allclose(losses[row == i], alone, atol=1e-5)
        a, b = data["valid.target.offsets"][r : r + 2]
        batch = split_rows(model, data, "valid", np.array([r]))
        first, memory, nothing = model.read(batch["source.tokens"], batch["source.offsets"])
        state, word, wanted = (first, torch.zeros_like(first)), seq2seq.START, []
        for target in [*data["valid.target.tokens"][a:b].tolist(), seq2seq.END]:
            logits, state, _ = model.step(torch.tensor([word]), state, memory, model.keys(memory), nothing)
            wanted.append(cross_entropy(logits, torch.tensor([target])).item())
            word = target
        assert alone.tolist() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("attention", KINDS[1:])
@torch.no_grad()
def test_attention_sums_to_one_is_zero_on_padding_and_scores_as_its_formula(attention):
    model = made(attention=attention)
    first, memory, nothing = model.read(torch.tensor([3, 4, 5, 6, 3]), torch.tensor([0, 4, 5]))
    context, weights = model.attend(first, memory, model.keys(memory), nothing)
    assert torch.allclose(weights.sum(1), torch.ones(2)) and (weights[1, 1:] == 0).all() and (weights[0] > 0).all()
    scores = []
    for h in memory[0]:
        if attention == "additive":
            scores.append(model.energy.weight[0] @ torch.tanh(model.query.weight @ first[0] + model.key.weight @ h))
        else:
            scores.append(first[0] @ model.key.weight @ h)
    assert torch.allclose(weights[0], torch.stack(scores).softmax(0), atol=1e-5)
    assert torch.allclose(context[0], weights[0] @ memory[0], atol=1e-5)


@pytest.mark.parametrize("attention", KINDS)
@torch.no_grad()
def test_a_beam_of_one_is_greedy_and_a_wide_one_finds_the_best_of_all(attention):
    model, data = made(attention=attention, longest=2), pairs()
    batch = split_rows(model, data, "valid", np.arange(6))
    source = batch["source.tokens"], batch["source.offsets"]
    greedy, maps = model.search(*source)
    first, memory, nothing = model.read(*source)
    keys = model.keys(memory)
    for i in range(6):
        own = slice(i, i + 1)
        keyed, state, word, text = None if keys is None else keys[own], (first[own], torch.zeros_like(first[own])), seq2seq.START, []
        for _ in range(2):
            logits, state, _ = model.step(torch.tensor([word]), state, memory[own], keyed, nothing[own])
            word = int(logits.argmax())
            if word == seq2seq.END:
                break
            text.append(word)
        assert greedy[i] == text
        assert len(maps[i]) == (0 if attention == "none" else min(len(text) + 1, 3))
        best = (-np.inf, None)
        for length in range(3):  # every text of at most two words; the third symbol ends it, whatever it is
            for words in product([w for w in range(7) if w != seq2seq.END], repeat=length):
                state, word, total = (first[own], torch.zeros_like(first[own])), seq2seq.START, 0.0
                for target in [*words, None]:
                    logits, state, _ = model.step(torch.tensor([word]), state, memory[own], keyed, nothing[own])
                    found = torch.log_softmax(logits[0], 0)
                    if target is None:
                        total += float(found[seq2seq.END] if length < 2 else found.max())
                    else:
                        total, word = total + float(found[target]), target
                best = max(best, (total / (length + 1), list(words)))
        assert model.search(*source, beam=49)[0][i] == best[1]


def test_the_schedules_by_value_and_what_cannot_be():
    p = seq2seq.true_word_probability
    assert [p("linear", i, 10, 0.25) for i in (0, 5, 10)] == [1.0, 0.5, 0.25]
    assert p("exponential", 3, 0.5, 0.0) == 0.125
    assert p("inverse_sigmoid", 0, 50, 0.0) == pytest.approx(50 / 51) and p("inverse_sigmoid", 10**9, 50, 0.0) < 1e-9
    assert p("none", 10**6, 1, 0.0) == 1.0
    with pytest.raises(InputError, match="model.k: 1000.* is the base of exponential decay"):
        made(sampling="exponential")


@torch.no_grad()
def test_sampled_words_are_read_as_often_as_the_schedule_says(monkeypatch):
    model, data, read = made(), pairs(), []
    batch, whole = split_rows(model, data, "valid", np.arange(40)), model.step
    monkeypatch.setattr(model, "step", lambda word, *rest: read.append(word.clone()) or whole(word, *rest))
    torch.manual_seed(0)
    model.forced(batch)
    true, read[:] = list(read), []
    model.forced(batch, 0.0)
    assert torch.equal(true[0], read[0]) and not all(torch.equal(a, b) for a, b in zip(true, read, strict=True))


@torch.no_grad()
def test_three_in_ten_words_are_the_true_ones(monkeypatch):
    """The model always writes word 5, which no target has: what is read in its place is a true word."""
    model, data, read = made(), pairs(), []
    batch, whole = split_rows(model, data, "valid", np.arange(40)), model.step
    batch["target.tokens"][batch["target.tokens"] == 5] = 4

    def step(word, *rest):
        read.append(word.clone())
        logits, state, weights = whole(word, *rest)
        return torch.full_like(logits, -1e4).index_fill(1, torch.tensor([5]), 0.0), state, weights

    monkeypatch.setattr(model, "step", step)
    torch.manual_seed(0)
    later = []
    for _ in range(30):
        read.clear()
        model.forced(batch, 0.3)
        later += [word != 5 for word in read[1:]]
    assert torch.cat(later).float().mean().item() == pytest.approx(0.3, abs=0.03)


def test_the_loss_reads_by_its_schedule(monkeypatch):
    model, data, asked = made(sampling="linear", k=10, floor=0.25), pairs(), []
    batch, whole = split_rows(model, data, "valid", np.arange(4)), model.forced
    monkeypatch.setattr(model, "forced", lambda batch, eps=1.0: asked.append(eps) or whole(batch, eps))
    for i in (0, 5, 50):
        model.loss(batch, "main", i)
    assert asked == [1.0, 0.5, 0.25]


def test_short_words_are_learnt_backwards():
    model, data = made(attention="additive", hidden=32, embedding=16), pairs(300, 1, "train") | pairs(60, 2)
    train(model, data, TrainSettings(**{**model.train_defaults, "steps": 250, "lr": 0.01}), 0, torch.device("cpu"))
    model.eval()
    batch = split_rows(model, data, "valid", np.arange(60))
    made_, _ = model.search(batch["source.tokens"], batch["source.offsets"])
    offsets = data["valid.target.offsets"]
    assert np.mean([m == data["valid.target.tokens"][a:b].tolist() for m, a, b in zip(made_, offsets[:-1], offsets[1:], strict=True)]) > 0.9
