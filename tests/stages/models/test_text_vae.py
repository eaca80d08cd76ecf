import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from stages.models import text_vae
from stages.models.base import split_rows
from stages.models.parts.ragged import packing
from stages.settings import InputError, configure

SMALL = {"latent": 3, "embedding": 5, "hidden": 7, "dropout": 0.0}


def made(**settings):
    torch.manual_seed(0)
    model = text_vae.Model(configure(text_vae.Config, {**SMALL, **settings}, "model"), {"words": 9}).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3.0)
    return model


def texts(lengths=(4, 1, 6, 3)):
    rng = np.random.default_rng(0)
    offsets = np.cumsum([0, *lengths]).astype(np.int64)
    return {"valid.tokens": rng.integers(0, 9, offsets[-1]).astype(np.int32), "valid.offsets": offsets}


def batch_of(model, data, rows):
    return split_rows(model, data, "valid", np.asarray(rows))


def test_packing_visits_every_place_once_and_the_longest_first():
    found = packing(torch.tensor([2, 5, 1, 5]))
    every = [(r, s) for r, n in enumerate((2, 5, 1, 5)) for s in range(n)]
    assert sorted(zip(found.row.tolist(), found.step.tolist(), strict=True)) == every
    assert found.batch_sizes.tolist() == [4, 3, 2, 2, 2] and found.order.tolist()[:2] == [1, 3]
    assert found.total(torch.ones(13)).tolist() == [2, 5, 1, 5]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@torch.no_grad()
def test_a_batch_gives_each_text_the_loss_it_has_alone_and_that_of_a_plain_loop(cell):
    model, data = made(cell=cell), texts()
    z, batch = torch.randn(4, 3), batch_of(model, data, range(4))
    together = model.distortion(batch, z)
    for i in range(4):
        alone = model.distortion(batch_of(model, data, [i]), z[i : i + 1])
        assert torch.allclose(together[i], alone[0], atol=1e-5)
        words = data["valid.tokens"][data["valid.offsets"][i] : data["valid.offsets"][i + 1]].tolist()
        d, loss = model.decoder, 0.0
        state = torch.tanh(d.start(z[i]))[None, None]
        state = (state, torch.zeros_like(state)) if cell == "lstm" else state
        for read, target in zip([9, *words], [*words, 9], strict=True):
            out, state = d.reader.net(torch.cat([d.embedding.weight[read], z[i]])[None, None], state)
            loss += cross_entropy(d.output(out[0]), torch.tensor([target]))
        assert torch.allclose(together[i], loss, atol=1e-5)


@torch.no_grad()
def test_codes_of_a_batch_are_those_of_each_text_alone():
    for read in ("last", "mean", "sum"):
        model, data = made(regularise="mean", read=read), texts()
        together = model.posterior(batch_of(model, data, range(4)))
        alone = [model.posterior(batch_of(model, data, [i])) for i in range(4)]
        for part, single in zip(together, zip(*alone, strict=True), strict=True):
            assert torch.allclose(part, torch.cat(single), atol=1e-5)


def test_twr_with_one_step_is_the_plain_vae():
    data, losses = texts((1, 1, 1)), {}
    for regularise in ("last", "mean", "sum"):
        model = made(regularise=regularise)
        torch.manual_seed(5)
        losses[regularise] = model.loss(batch_of(model, data, range(3)), "main", 0)[0].item()
    assert losses["last"] == pytest.approx(losses["mean"], abs=1e-5) and losses["last"] == pytest.approx(losses["sum"], abs=1e-5)


@torch.no_grad()
def test_the_kl_over_time_is_the_mean_of_the_prefixes_kl():
    model, data = made(regularise="mean"), texts()
    over_time, last = model.kl_over_time(batch_of(model, data, range(4)))
    for i in range(4):
        a, b = data["valid.offsets"][i : i + 2]
        rates = []
        for end in range(a + 1, b + 1):
            prefix = {"valid.tokens": data["valid.tokens"][a:end], "valid.offsets": np.array([0, end - a])}
            mean, log_variance, _ = model.posterior(batch_of(model, prefix, [0]))
            q = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
            rates.append(torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0)).sum().item())
        assert over_time[i].item() == pytest.approx(np.mean(rates), rel=1e-4) and last[i].item() == pytest.approx(rates[-1], rel=1e-4)


def test_each_switch_weighs_the_kl_as_it_says():
    data, found = texts((4, 2)), {}
    for name, settings in (("one", {}), ("length", {"weight": "length"}), ("bits", {"free_bits": 2.0}), ("linear", {"anneal": "linear"})):
        model = made(**settings)
        batch = batch_of(model, data, range(2))
        torch.manual_seed(1)
        loss, terms = model.loss(batch, "main", 250)
        found[name] = (loss - terms["distortion"]).item()
        rate = model.divergence(*model.posterior(batch)).detach()
    assert found["one"] == pytest.approx(rate.sum(1).mean().item(), rel=1e-4)
    assert found["length"] == pytest.approx((rate.sum(1) / torch.tensor([4.0, 2.0])).mean().item(), rel=1e-4)
    assert found["bits"] == pytest.approx(rate.mean(0).clamp(min=2.0).sum().item(), rel=1e-4)
    assert found["linear"] == pytest.approx(0.25 * found["one"], rel=1e-4)
    assert [text_vae.annealed("cyclic", s, 400) for s in (0, 25, 50, 99, 100, 125, 400)] == [0, 0.5, 1, 1, 0, 0.5, 1]


@torch.no_grad()
def test_the_bounds_are_in_order_and_the_mean_of_codes_has_its_own_prior():
    model, data = made(), texts()
    batch, generator = batch_of(model, data, range(4)), torch.Generator().manual_seed(0)
    elbo = -torch.stack([sum((d, r.sum(1))) for d, r in (model.bound(batch, generator) for _ in range(300))]).mean(0)
    assert (model.log_likelihood(batch, 300, generator) > elbo).all()
    model = made(read="mean", regularise="mean")
    mean, log_variance, prior = model.posterior(batch)
    p = torch.distributions.Normal(0.0, torch.exp(0.5 * prior))
    q = torch.distributions.Normal(mean, torch.exp(0.5 * log_variance))
    assert torch.allclose(prior[:, 0].exp(), 1 / torch.tensor([4.0, 1.0, 6.0, 3.0]))
    assert torch.allclose(model.divergence(mean, log_variance, prior), torch.distributions.kl_divergence(q, p), atol=1e-5)


@torch.no_grad()
def test_a_conditional_model_reads_its_label_and_writes_what_is_asked():
    torch.manual_seed(0)
    config = configure(text_vae.Config, {**SMALL, "latent": 0, "condition": True}, "model")
    model = text_vae.Model(config, {"words": 9, "classes": 3}).eval()
    data = texts() | {"valid.labels": np.array([0, 2, -1, 1], np.int32)}
    batch = batch_of(model, data, range(4))
    assert model.label(batch).tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0]]
    other = model.distortion({**batch, "labels": torch.tensor([1, 2, -1, 1])}, None)
    same = model.distortion(batch, None) == other
    assert same.tolist() == [False, True, True, True]
    assert len(model.write(5, torch.Generator().manual_seed(0))) == 5 and model.sample_of == ("class", 3)
    with pytest.raises(InputError, match="model.condition: true needs labels"):
        text_vae.Model(config, {"words": 9, "classes": 0})


@torch.no_grad()
def test_a_language_model_gives_a_distribution_over_texts():
    model = made(latent=0)
    with pytest.raises(InputError, match="model.anneal: linear is of a latent code, but model.latent is 0"):
        made(latent=0, anneal="linear")
    with pytest.raises(InputError, match="model.free_bits: 1.0 is of the last step's KL, but model.regularise is mean"):
        made(regularise="mean", free_bits=1.0)
    total, lists = 0.0, [[a] for a in range(9)] + [[a, b] for a in range(9) for b in range(9)]
    offsets = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    data = {"valid.tokens": np.concatenate(lists).astype(np.int32), "valid.offsets": offsets}
    total = model.distortion(batch_of(model, data, range(len(lists))), None).neg().exp().sum()
    drawn = model.decoder.write(3000, None, 3, torch.Generator().manual_seed(0))[0]
    short = np.mean([1 <= len(t) <= 2 for t in drawn])
    assert total.item() == pytest.approx(short, abs=0.03)
