import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import binary_cross_entropy_with_logits

from stages.models import nasm
from stages.models.base import split_rows
from stages.settings import InputError, configure


def made(**settings):
    torch.manual_seed(0)
    given = {"latent": 3, "embedding": 4, "hidden": 5, "dropout": 0.0, **settings}
    model = nasm.Model(configure(nasm.Config, given, "model"), {"words": 9}).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.0)
    model.begin(pairs(), 0)
    return model


def pairs():
    data = {}
    questions, answers = [[1, 2], [3, 4, 4], [0, 5]], [[2, 6, 1, 1], [7], [0, 8, 6]]
    for split in ("train", "valid"):
        for side, rows in (("question", questions), ("answer", answers)):
            data[f"{split}.{side}.tokens"] = np.concatenate(rows).astype(np.int32)
            data[f"{split}.{side}.offsets"] = np.cumsum([0, *map(len, rows)]).astype(np.int64)
        data[f"{split}.labels"] = np.array([1, 0, 0], np.int32)
    return data


def batch_of(model, rows):
    return split_rows(model, pairs(), "valid", np.asarray(rows))


GENERATIVE = {"attention": "none", "overlap": False}


@pytest.mark.parametrize("settings", [{"attention": "stochastic"}, {"attention": "mean"}, {"attention": "none"},
                                      {**GENERATIVE, "ranks_by": "likelihood"}, {**GENERATIVE, "ranks_by": "information"}], ids=str)
@torch.no_grad()
def test_each_pair_has_the_score_it_has_alone(settings):
    model = made(**settings)
    together = model.scores(batch_of(model, [0, 1, 2]))
    assert torch.allclose(together, torch.cat([model.scores(batch_of(model, [i])) for i in range(3)]), atol=1e-5)


@torch.no_grad()
def test_the_score_is_the_papers_formula_word_by_word():
    model, batch = made(overlap=False), batch_of(made(), [0])
    _, asked, _ = model.read(batch["question.tokens"], batch["question.offsets"])
    states, last = model.reader.net(model.embedding(batch["answer.tokens"])[:, None])
    h = model.prior_net(asked)[:, :3]
    energies = [model.energy.weight[0] @ torch.tanh(model.of_latent.weight @ h[0] + model.of_word.weight @ s[0]) for s in states]
    alpha = torch.stack(energies).softmax(0)
    context = sum(a * s[0] for a, s in zip(alpha, states, strict=True))
    z = torch.tanh(model.of_context.weight @ context + model.of_last.weight @ last[0][0, 0])
    assert torch.allclose(model.scores(batch), asked @ model.match.weight @ z + model.bias, atol=1e-5)


def test_the_loss_is_the_cross_entropy_under_q_and_its_divergence_from_the_prior():
    model, batch = made(), batch_of(made(), [0, 1, 2])
    torch.manual_seed(4)
    loss, terms = model.loss(batch, "main", 0)
    _, asked, _ = model.read(batch["question.tokens"], batch["question.offsets"])
    _, answered, _ = model.read(batch["answer.tokens"], batch["answer.offsets"])
    mean, own = model.posterior_net(torch.cat([asked, answered, model.label.weight[batch["labels"]]], 1)).chunk(2, 1)
    prior, other = model.prior_net(asked).chunk(2, 1)
    kl = kl_divergence(Normal(mean, torch.exp(own / 2)), Normal(prior, torch.exp(other / 2))).sum(1).mean()
    assert torch.allclose(terms["kl"], kl, atol=1e-4) and torch.allclose(loss, terms["cross_entropy"] + kl, atol=1e-4)
    torch.manual_seed(4)
    assert torch.allclose(terms["cross_entropy"], binary_cross_entropy_with_logits(model.logits(batch, True)[0], batch["labels"].float()))


@torch.no_grad()
def test_attention_sums_to_one_and_overlap_counts_each_shared_word_once():
    model = made()
    words, _, layout = model.read(torch.tensor([2, 6, 1, 1, 7]), torch.tensor([0, 4, 5]))
    context, alpha = model.context(torch.randn(2, 3), words, layout)
    assert torch.allclose(layout.total(alpha), torch.ones(2)) and torch.allclose(context[1], words[layout.row == 1][0])
    assert model.overlap(batch_of(model, [0, 1, 2])).tolist() == pytest.approx(
        torch.tensor([[2.0, 2 * np.log(3.0)], [0.0, 0.0], [0.0, 0.0]]), abs=1e-5)


def test_the_generative_ranker_learns_right_answers_alone_and_scores_them_word_by_word():
    model, batch = made(**GENERATIVE, ranks_by="information"), batch_of(made(), [0, 1, 2])

    def spelt(question, answer):
        """-log p(answer and its end) by a plain loop; question None: the code is 0."""
        code = torch.zeros(5)
        if question is not None:
            code = model.reader.net(model.embedding(torch.tensor(question))[:, None])[1][0][0, 0]
        state = tuple(t[None, None] for t in (torch.tanh(model.decoder.start(code)), torch.zeros(5)))
        total, word = 0.0, model.size
        for target in [*answer, model.size]:
            x = torch.cat([model.decoder.embedding(torch.tensor(word)), code])[None, None]
            out, state = model.decoder.reader.net(x, state)
            total, word = total - torch.log_softmax(model.decoder.output(out[0, 0]), 0)[target], target
        return total

    right = spelt([1, 2], [2, 6, 1, 1]), spelt(None, [2, 6, 1, 1])
    loss, _ = model.loss(batch, "main", 0)
    assert loss.item() == pytest.approx(0.5 * sum(right).item(), rel=1e-5), "rows 1 and 2 are wrong answers"
    assert model.scores(batch)[1].item() == pytest.approx((spelt(None, [7]) - spelt([3, 4, 4], [7])).item(), abs=1e-5)
    assert made(**GENERATIVE, ranks_by="likelihood").scores(batch)[1].item() == pytest.approx(-spelt([3, 4, 4], [7]).item(), rel=1e-5)
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    none, _ = model.loss({**batch, "labels": torch.zeros(3, dtype=torch.long)}, "main", 0)
    assert none.item() == 0.0, "a batch without a right answer"
    with pytest.raises(InputError, match="model.ranks_by: likelihood scores by a language model alone, but model.attention is stochastic"):
        made(ranks_by="likelihood")
