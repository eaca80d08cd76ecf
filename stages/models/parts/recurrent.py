"""Recurrent nets over sequences of unequal length, nothing computed on padding: cells, a decoder of words, and words drawn from it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import PackedSequence

from stages.models.parts.ragged import Packing, packing

CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def last(state: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    """Hidden state [B, hidden], of an LSTM without its cell; those of both directions joined."""
    return torch.cat(list(state[0] if isinstance(state, tuple) else state), -1)


class Reader(nn.Module):
    """A recurrent net over ragged sequences of vectors; with `both_ways` a second one from the end, states joined [.., 2 hidden]."""

    def __init__(self, cell: str, inputs: int, hidden: int, both_ways: bool = False):
        super().__init__()
        self.net = CELLS[cell](inputs, hidden, bidirectional=both_ways)

    def forward(self, x: Tensor, layout: Packing, start: Tensor | None = None, window: int = 0) -> tuple[Tensor, Tensor]:
        """(state after every element [N, hidden], last state of each sequence [B, hidden]); x [N, D] as `layout`; start [B, hidden].

        window: the gradient goes no further back than to the first step of the window of so many steps (truncated BPTT); 0: to the start.
        """
        if start is not None:
            start = start[layout.order][None].contiguous()
            start = (start, torch.zeros_like(start)) if isinstance(self.net, nn.LSTM) else start
        if not window or window >= len(layout.batch_sizes):
            out, state = self.net(layout.packed(x), start)
            return out.data, layout.unsorted(last(state))
        outs, ends, state, at = [], [], start, 0
        for sizes in layout.batch_sizes.split(window):  # those that go on are the first: the longest
            going, n = int(sizes[0]), int(sizes.sum())
            if state is not None:
                ends.append(last(state)[going:])
                state = tuple(s[:, :going].detach() for s in state) if isinstance(state, tuple) else state[:, :going].detach()
            out, state = self.net(PackedSequence(x[at : at + n], sizes), state)
            outs.append(out.data)
            at += n
        return torch.cat(outs), layout.unsorted(torch.cat([last(state), *reversed(ends)]))


class WordDecoder(nn.Module):
    """p(words, end | code): a recurrent net that reads <s> and the words before, and the code as its first state and at every step.

    Words are 0 .. V - 1; V stands for <s> where it is read; `ends` further symbols V, V + 1, ... can be predicted, the first ends a
    sequence. `code` 0: no code is read, a language model.
    """

    def __init__(self, cell: str, words: int, embedding: int, hidden: int, code: int, dropout: float, ends: int = 1):
        super().__init__()
        self.words, self.code = words, code
        self.embedding = nn.Embedding(words + 1, embedding)
        nn.init.normal_(self.embedding.weight, std=0.1)
        if code:
            self.start = nn.Linear(code, hidden)
        self.reader = Reader(cell, embedding + code, hidden)
        self.dropout, self.output = nn.Dropout(dropout), nn.Linear(hidden, words + ends)

    def losses(self, tokens: Tensor, offsets: Tensor, code: Tensor | None, end: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """-log p of each sequence and its end in nats: [B]. tokens end to end, offsets [B + 1], code [B, code].

        end: the symbol each ends with, int64 [B], default V. keep: bool of the tokens; others are read as <unk> (word dropout).
        """
        return self.losses_of_draws(tokens, offsets, None if code is None else code[None], end, keep)[0]

    def losses_of_draws(self, tokens: Tensor, offsets: Tensor, codes: Tensor | None, end: Tensor | None = None,
                        keep: Tensor | None = None) -> Tensor:
        """As `losses`, of k codes a sequence: codes [k, B, code] -> [k, B]."""
        k, lengths = 1 if codes is None else len(codes), offsets.diff()
        layout = packing((lengths + 1).repeat(k))
        row = layout.row % len(lengths)
        at = offsets[row] + layout.step
        first, final = layout.step == 0, layout.step == lengths[row]
        padded = torch.cat([tokens, tokens.new_full((1,), self.words)])
        read = padded if keep is None else torch.cat([torch.where(keep, tokens, 0), padded[-1:]])
        inputs = torch.where(first, self.words, read[(at - 1).clamp_(min=0)])
        ends = torch.full_like(lengths, self.words) if end is None else end
        targets = torch.where(final, ends[row], padded[at])
        hidden = self.states(self.embedding(inputs), layout, None if codes is None else codes.flatten(0, 1))
        found = cross_entropy(self.output(self.dropout(hidden)).float(), targets, reduction="none")
        return layout.total(found).view(k, -1)

    def states(self, x: Tensor, layout: Packing, code: Tensor | None) -> Tensor:
        x = self.dropout(x)
        if code is None:
            return self.reader(x, layout)[0]
        return self.reader(torch.cat([x, code[layout.row]], 1), layout, torch.tanh(self.start(code)))[0]

    @torch.no_grad()
    def write(self, n: int, code: Tensor | None, limit: int, generator: torch.Generator | None = None) -> tuple[list[list[int]], Tensor]:
        """n sequences word by word, drawn where there is a generator, else the likeliest word each time, and the symbol that ended each

        (int64 [n]; V where `limit` did). <unk> may be written; it is word 0.
        """
        device = self.output.bias.device
        state = torch.tanh(self.start(code))[None] if self.code else torch.zeros(1, n, self.output.in_features, device=device)
        state = (state, torch.zeros_like(state)) if isinstance(self.reader.net, nn.LSTM) else state
        word, going = torch.full((n,), self.words, device=device), torch.ones(n, dtype=torch.bool, device=device)
        ended, texts = torch.full((n,), self.words, device=device), [[] for _ in range(n)]
        for _ in range(limit):
            x = self.embedding(word.clamp(max=self.words))
            x = x if code is None else torch.cat([x, code], 1)
            out, state = self.reader.net(x[None], state)
            logits = self.output(out[0]).float()
            word = logits.argmax(1) if generator is None else torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
            over = going & (word >= self.words)
            ended = torch.where(over, word, ended)
            going = going & ~over
            for i in going.nonzero()[:, 0].tolist():
                texts[i].append(int(word[i]))
            if not going.any():
                break
        return texts, ended
