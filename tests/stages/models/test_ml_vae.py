import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from stages.models import ml_vae
from stages.models.base import split_rows
from stages.settings import configure


def made(**settings):
    torch.manual_seed(0)
    given = {"latent": 3, "upper": 2, "embedding": 4, "hidden": 6, "dropout": 0.0, **settings}
    model = ml_vae.Model(configure(ml_vae.Config, given, "model"), {"words": 8}).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(2.0)
    return model


def texts():
    """Three texts of 2, 1 and 3 sentences."""
    lines = [[[1, 2, 3], [4]], [[5, 6]], [[7], [1, 1], [2, 3, 4, 5]]]
    offsets = np.cumsum([0, *(sum(map(len, t)) for t in lines)]).astype(np.int64)
    return {"valid.tokens": np.array([w for t in lines for s in t for w in s], np.int32), "valid.offsets": offsets,
            "valid.sentences": np.array([i for t in lines for i, s in enumerate(t) for _ in s], np.int32)}, lines


def batch_of(model, rows):
    return split_rows(model, texts()[0], "valid", np.asarray(rows))


@pytest.mark.parametrize("upper", [0, 2])
@torch.no_grad()
def test_the_kl_by_value(upper):
    model = made(upper=upper)
    batch = batch_of(model, [0, 1, 2])
    torch.manual_seed(3)
    rate = model.bound(batch)[1].sum(1)
    mean, log_variance = model.posterior(batch)
    if not upper:
        assert torch.allclose(rate, kl_divergence(Normal(mean, torch.exp(log_variance / 2)), Normal(0.0, 1.0)).sum(1), atol=1e-5)
        return
    torch.manual_seed(3)
    torch.randn(1, 3, 3)  # the draw of z1 comes first
    upper_mean, upper_log_variance = model.upper_heads(model.states(batch)).chunk(2, 1)
    top = upper_mean + torch.exp(upper_log_variance / 2) * torch.randn(1, 3, 2)[0]
    prior_mean, prior_log_variance = model.prior_net(top).chunk(2, 1)
    wanted = (kl_divergence(Normal(mean, torch.exp(log_variance / 2)), Normal(prior_mean, torch.exp(prior_log_variance / 2))).sum(1)
              + kl_divergence(Normal(upper_mean, torch.exp(upper_log_variance / 2)), Normal(0.0, 1.0)).sum(1))
    assert torch.allclose(rate, wanted, atol=1e-4)


@torch.no_grad()
def test_a_convolution_of_ragged_rows_is_that_of_each_row_between_zeros():
    torch.manual_seed(0)
    lengths, x, ours = torch.tensor([4, 1, 7]), torch.randn(12, 3), ml_vae.Convolution(3, 5, 5)
    theirs = torch.nn.Conv1d(3, 5, 5, padding=2)
    theirs.weight.copy_(ours.net.weight.view(5, 5, 3).transpose(1, 2))
    theirs.bias.copy_(ours.net.bias)
    wanted = [theirs(row.T[None])[0].relu().amax(1) for row in x.split(lengths.tolist())]
    assert torch.allclose(ours(x, lengths), torch.stack(wanted), atol=1e-6)


@torch.no_grad()
def test_the_plan_is_added_to_the_states_read_whole_or_step_by_step():
    torch.manual_seed(0)
    net, plain, x = ml_vae.Planned(5, 4, 2), torch.nn.LSTM(5, 4), torch.randn(3, 1, 5)
    plain.load_state_dict({k: v for k, v in net.state_dict().items() if k != "view.weight"})
    wanted = plain(x)[0] + x[..., 3:] @ net.view.weight.T
    packed = net(torch.nn.utils.rnn.pack_padded_sequence(x, [3]))[0].data
    state, steps = None, []
    for step in x:
        out, state = net(step[None], state)
        steps.append(out[0])
    assert torch.allclose(packed, wanted[:, 0], atol=1e-6) and torch.allclose(torch.cat(steps), wanted[:, 0], atol=1e-6)


@pytest.mark.parametrize(("settings", "weights"), [({}, [1, 1, 1, 1]), ({"autoencode": 2}, [0, 0, 1, 1]),
                                                   ({"autoencode": 2, "anneal_steps": 4}, [0, 0, 0, 0.25])])
def test_the_weight_of_the_kl_begins_after_the_autoencoder_steps(settings, weights):
    model = made(upper=2, **settings)
    batch = batch_of(model, [0, 1, 2])
    for step, weight in enumerate(weights):
        torch.manual_seed(3)
        loss, terms = model.loss(batch, "main", step)
        assert loss.item() == pytest.approx((terms["distortion"] + weight * terms["kl"]).item(), rel=1e-6)


def test_free_bits_are_of_each_unit_of_both_levels_over_the_batch_and_come_after_annealing():
    model = made(upper=2, free_bits=0.3, anneal_steps=4)
    batch, losses = batch_of(model, [0, 1, 2]), []
    for step in (0, 1, 8):
        torch.manual_seed(3)
        losses.append(model.loss(batch, "main", step)[0].item())
    torch.manual_seed(3)
    distortion, units = model.bound(batch)
    counted = sum(max(0.3, unit.mean().item()) for unit in units.T)
    assert units.shape == (3, 5) and units.mean(0).min() < 0.3, "some unit costs less than its free bits"
    wanted = [distortion.mean().item() + weight * counted for weight in (0.0, 0.25, 1.0)]
    assert losses == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("hierarchy", [True, False])
@torch.no_grad()
def test_a_batch_gives_each_text_the_loss_it_has_alone_sentence_by_sentence(hierarchy):
    model, (_, lines) = made(hierarchy=hierarchy), texts()
    z = torch.randn(3, 3)
    together = model.distortion(batch_of(model, [0, 1, 2]), z)
    assert torch.allclose(model.posterior(batch_of(model, [0, 1, 2]))[0], torch.cat([model.encode(batch_of(model, [i])) for i in range(3)]),
                          atol=1e-5)
    for i, sentences in enumerate(lines):
        assert torch.allclose(together[i], model.distortion(batch_of(model, [i]), z[i : i + 1])[0], atol=1e-5)
        plans = model.planner.net(z[i].expand(len(sentences), 1, 3))[0][:, 0] if hierarchy else z[i].expand(len(sentences), -1)
        loss = 0.0
        for number, words in enumerate(sentences):
            end = torch.tensor([9 if number == len(sentences) - 1 else 8])  # the last sentence ends the text
            loss += model.decoder.losses(torch.tensor(words), torch.tensor([0, len(words)]), plans[number][None], end=end)[0]
        assert torch.allclose(together[i], loss, atol=1e-5)


@torch.no_grad()
def test_more_draws_give_a_tighter_bound_and_texts_end_where_they_say():
    model = made()
    batch, generator = batch_of(model, [0, 1, 2]), torch.Generator().manual_seed(0)
    one = torch.stack([model.log_likelihood(batch, 1, generator) for _ in range(300)]).mean(0)
    assert (model.log_likelihood(batch, 300, generator) > one).all()
    model.decoder.output.bias[9] = 60.0  # every sentence ends its text at once
    assert model.write(4, generator) == [[], [], [], []]
