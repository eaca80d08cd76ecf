"""The one list of metric names (names.json), and docs/metrics.md made from it: `python -m stages.evaluate.names`."""

from __future__ import annotations

from pathlib import Path

from stages.files import read_json, replacing

FILE = Path(__file__).with_name("names.json")
NOT_METRICS = ("headline", "baselines", "parameters", "reproducible", "features", "inception", "split")

HEAD = """# Metrics

Generated from `stages/evaluate/names.json` by `python -m stages.evaluate.names`; edit that file, not this one.

Every number is measured on the test split, which nothing else reads. Over several seeds a number is the mean, with the standard deviation
(n - 1) beside it, and in the report the median. Likelihood-like numbers are in nats, those of -log p, lower is better. Ranks break ties
by the mean ("realistic" rank).

## FID as published

`fid` is measured in the features of a net of the pipeline's own, whose hash stands in every metrics file. For figures in the features that
papers use, give an images or translation run the weights that PyTorch's FID tools share, `pt_inception-2015-12-05-6726825d.pth` (of the
releases of github.com/mseitzer/pytorch-fid), once turned into safetensors (nothing here unpickles):

```sh
python -c "import torch; from safetensors.torch import save_file; \\
  given = torch.load('pt_inception-2015-12-05-6726825d.pth', weights_only=True); \\
  save_file({name: tensor.contiguous() for name, tensor in given.items()}, 'inception.safetensors')"
sha256sum inception.safetensors
```

and write `evaluate: {inception: /path/to/inception.safetensors, inception_sha256: ...}`. The run then has `fid_inception` too, beside its
floor and the Gaussian. 1,000 images take some three minutes of a core, and test images, floor, Gaussian and each seed's samples are seen
once: lower `samples` without a GPU. FID falls with the number of samples and depends on the real images: hold it beside a published figure
only of as many samples and the same reference set. No stage depends on the file, so the hash is asked for: another file is refused.

## All metrics

| name | metric | better | unit | meaning |
|---|---|---|---|---|
"""


BASELINES = """
## Baselines

What a baseline may choose it chooses as the model does: on the validation split or inside the labels it is given, never on the test split.

| baseline | what it is | chosen |
|---|---|---|
| `popularity` | items by training receipts | – |
| `co_counts` | training receipts that hold both items near one another | reach: 1, 2, 3 positions or the receipt, by NDCG@10 on valid |
| `svd` | truncated SVD of log(1 + the same co-counts), U Σᵖ (V Σᵖ)ᵀ | width 16, 32, 40, 64 and p 0.5, 0.7, 1, likewise |
| `category_back_off` | co-counts + weight × the co-count that both categories let expect | field and weight, likewise |
| `unigram` | an output bias alone, at its optimum | – |
| `kneser_ney` | interpolated modified Kneser-Ney 5-grams, three discounts an order, on the same words | – |
| `lda` | batch variational LDA (scikit-learn), the model's document bound; of answers the topics' cosine | topics and prior, on valid |
| `tf_idf` | documents by their counts × log(N / n) of n of N training documents with the word: what a code is to find better | – |
| `most_frequent_tag` | the commonest tag of each word in train; the commonest of all where it is new | – |
| `nearest_pair` | the target of the training source with the most similar counts of neighbouring words | – |
| `uniform_attention` | the alignment of a reader that attends to each word of the source as often | – |
| `naive_forecast`, `seasonal_naive` | the last value again; the value a season ago, where its length is known | – |
| `mean` | the mean sum of the training series | – |
| `overlap` | log(N / n) of the question's words that the answer has, n of N training answers with the word, summed | – |
| `query_likelihood` | log p(question given answer), a smoothed unigram model of each | smoothing of 10, 100, 1,000 words, by MAP on valid |
| `equal_scores` | every order of the answers as likely | – |
| `random_by_frequency` | how often an entity is head (tail) of the relation | – |
| `rules` | duplicate and inverse relations mined on train: what leaks | – |
| `neighbours` | entities with similar facts (idf-weighted cosine to a power) vote with their answers | power 1 to 4, by MRR on valid |
| `spectral` | eigenvectors of the normalised graph, as wide as the model's vectors; links by the cosine of these × 1 / (1 − 0.95 λ) | – |
| `label_propagation` | propagation or spreading (0.9), edges weighted or equal | the best across two halves of the labelled nodes |
| `majority` | the commonest label | – |
| `common_neighbours`, `adamic_adar`, `preferential_attachment` | scores of a pair of nodes from the training graph | – |
| `floor` | real data in place of samples or translations: not a method; of translations of these a lower FID is possible | – |
| `bicubic` | the source, enlarged as MATLAB's imresize does | – |
| `unchanged` | the source as it is, in place of its translation | – |
| `chance` | labels at random in place of those that a classifier reads, mean of 20 shuffles | – |
| `supervised` | the feature net, trained on all labels of train: a ceiling, not a rival | – |
| `gaussian` | full-covariance Gaussian fitted to train: samples, exact likelihood | ridge of the likelihood, on valid |
| `pca` | codes: principal components as wide as the model's, and k-means on them; likelihood of probabilistic PCA | – |
| `raw_pixels`, `untrained` | codes: the pixels, the same encoder at its start (and k-means on these) | – |
| `kmeans` | clusters of the pixels | – |
"""


def names() -> dict[str, dict]:
    """{metric: {title, better: higher | lower | none, unit, meaning}}."""
    return read_json(FILE)


def check_names(metrics: dict) -> None:
    """ValueError for a metric of a metrics file that names.json does not explain: a fault of the program, not of its user."""
    known = names()
    used = {*metrics} - {*NOT_METRICS} | {name for values in metrics["baselines"].values() for name in values} | {metrics["headline"]}
    if unknown := sorted(used - {*known}):
        raise ValueError(f"metrics without an entry in {FILE.name}: {', '.join(unknown)}")


def markdown() -> str:
    """The text of docs/metrics.md."""
    words = {"higher": "higher", "lower": "lower", "none": "neither"}
    rows = (f"| `{name}` | {e['title']} | {words[e['better']]} | {e['unit'] or '–'} | {e['meaning']} |\n" for name, e in names().items())
    return HEAD + "".join(rows) + BASELINES


if __name__ == "__main__":
    with replacing(Path("docs/metrics.md")) as _temporary:
        _temporary.write_text(markdown(), encoding="utf-8")
