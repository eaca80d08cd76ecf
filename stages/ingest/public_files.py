"""Public datasets: where their files are, what they must hash to, on what terms. Data alone: `states` reads it without heavy imports.

A file is looked up as `folder/name` under BAZNAMA_MIRROR first. `sha256` is that of the file, `content` that of its decompressed
bytes: a mirror that compressed the same bytes anew passes by the second. Where both are None nobody published a checksum; then the
one that was found stands in source.json.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class File:
    name: str
    url: str | None  # None: only from a mirror
    sha256: str | None = None
    content: str | None = None
    optional: bool = False  # the loader does without it


@dataclass(frozen=True)
class Public:
    domain: str
    module: str  # of stages.ingest; its function of the dataset's name reads the files
    folder: str
    licence: str
    address: str
    files: tuple[File, ...]


def _idx(base: str, *sums: tuple[str | None, str | None]) -> tuple[File, ...]:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple(File(f"{n}-ubyte.gz", f"{base}/{n}-ubyte.gz", *s) for n, s in zip(names, sums, strict=True))


def _plain(base: str | None, *files: tuple[str, str | None]) -> tuple[File, ...]:
    return tuple(File(name, base and f"{base}/{name}", total) for name, total in files)


_KODAK = (
    "a56e27cbf5f843c048b6af1d6e090760e9c92fadba88b7dee0205918a37523bd", "4f4b74a79237e311d72cad958237b5f7088d8bce1c82305ebefe1a70e3022dfd",
    "e25ca1ff2f0c0cb5fdfd5f9b0a0bb21ac4c3de3c84a67f35b09a85d3306249db", "e3b946107c5d3441c022f678d0c3caf1e224d81b1604ba840a4f88e562de61aa",
    "10349e963c5c813d327852f82c1795fa4148d69fedffc4c589bee458e3ac3d53", "363510303b715d4cbc384e1ce227e466b613a09e1b71ae985882bf8e7fbd9b18",
    "b77d3f006f42414bb242222e0482e750c0fb9e5ee8d4bed2f6f11c5605fe54a4", "ba23983c76b4832ee0e8af0592664756841a16779acd69f792e268fb6d13d6e7",
)
_COUNTRIES = {
    "S1": "5256bf3fc4181d7e87d819571e3acfa5425fc5af365b9ebe5c113740534ca561",
    "S2": "84c8f310fa076f902760f0909716b13bc0853a105ab9e0145e4e5135d855f68a",
    "S3": "80a8e3a26aff58b78fd5a453ec2a37591466bad621df8d05185f26763b663a0c",
}
_COUNTRIES_REST = {"valid": "f4b27648148a44f87e627140ec3a02ca4c884c32d348591147ca72f1d6fff5b0",
                   "test": "262ca5ae5ed3aa1927026e0f258cc52b10830185b93465b93b9360727e719158"}
_QA_PARTS = ("a.toks", "b.toks", "sim.txt", "id.txt")
_MULTI30K = tuple(f"{part}.{language}.gz" for part in ("train", "val", "test_2016_flickr") for language in ("en", "de"))

# not a dataset: tests that a corpus takes along (option word_tests)
WORD_TESTS = Public(
    "corpora", "word_tests", "word_eval", "Apache-2.0 (analogies); CC BY 4.0 (WordSim-353)", "https://github.com/tmikolov/word2vec",
    (File("questions-words.txt", "https://raw.githubusercontent.com/tmikolov/word2vec/master/questions-words.txt", 
          "8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36"),
     File("EN-WS-353-ALL.txt", None, "ce12919b240af45bdf46d243601eaca2b6212b159b5e7e9b435ee7ee40c5619c")))

PUBLIC: dict[str, Public] = {
    # receipts
    "groceries": Public(
        "receipts", "public_receipts", "groceries", "GPL-3", "https://cran.r-project.org/package=arules",
        (File("groceries_stedy.csv", "https://raw.githubusercontent.com/stedy/Machine-Learning-with-R-datasets/master/groceries.csv",
              "ff1be892fd6b9b57d1a7bc50de067798963dda607619645988b21789bf23ae3b"),
         File("groceries_items_levels_from_rda.csv", None, "b11226b06cdc077e4c62c1e13402aaf51c5c58aa2a69f5cb446dc56a288917fc",
              optional=True))),
    "complete_journey": Public(
        "receipts", "public_receipts", "completejourney", "CC0", "https://github.com/bradleyboehmke/completejourney",
        (File("transactions_sample.csv.gz", None, "f8f8937dd3ea9be118d3ad7cb71f2a221e5711e1480a0d6af1d092d6df29d474",
              "8d6c374e2a6effdd07888fc6341743d048289e6be26ffeb74fec5eddc10caab8"),
         File("products.csv.gz", None, "4c2152032b9b89b25b8d74aaff2ec068df09b09c8d6317c777a238f567a59e76",
              "ffebe0a1251d3ab769aceb8d6898dc6ef70dd0cd52a1421bfc239ff2fd084c5a"))),
    "online_retail": Public(
        "receipts", "public_receipts", "online_retail", "CC BY 4.0", "https://archive.ics.uci.edu/dataset/352",
        (File("online_retail_by_day_concat.csv.gz", None, "cb4e3ffbe9551afe0cc900bd0b6ede493b7f9ae437b8ea2f9637319d9c2e0eca",
              "c35975c40d0e1e105090fbb11188a409393055f873841bd012915475fc84e69f"),)),
    # graphs
    "wn18": Public(
        "graphs", "public_graphs", "wn18", "WordNet licence", "https://everest.hds.utc.fr", _plain(
            None, ("train2id.txt", "1bcaff005ba0a5cdd9f9f9982812ac9a0750a84989b4335a50e4c93e13d158c0"),
            ("valid2id.txt", "86cf1437161c5982b9a9ef26d5f8400161a700aa4b3350a6c347d508369a9cc6"),
            ("test2id.txt", "ab06e417090ba904b98796d72fa72c3a5d00241639a849859b2b458074e16ba6"),
            ("entity2id.txt", "a0e127ef59529a4662dbf5f12b1278efbcab9d4636eb80e5828a75311ebbb427"),
            ("relation2id.txt", "b0f326f55f4c4ca403e97e97c495e93627bea3fb8f08b9592afd31ef5bcf9752"))),
    "wn18rr": Public(
        "graphs", "public_graphs", "wn18rr", "WordNet licence", "https://github.com/TimDettmers/ConvE", _plain(
            "https://raw.githubusercontent.com/TimDettmers/ConvE/master",
            ("WN18RR.tar.gz", "1eb9152f804c140d163462c0d49f65e5a0b30ab5fbb375c5e3353c11a6249060"))),
    "fb15k_237": Public(
        "graphs", "public_graphs", "fb15k-237", "Microsoft Research Data License: research, not commercial",
        "https://www.microsoft.com/en-us/download/details.aspx?id=52312",
        (File("FB15k-237.tar.gz", "https://raw.githubusercontent.com/TimDettmers/ConvE/master/FB15k-237.tar.gz",
              "311df7930f842a02979eaa7a802484a6afe62303c07f915f1e6edbc30cbe05e8"),
         File("entity2wikidata.json.gz", None, "31ef9cba395a98e96b9d5a6241c52ed6cd31166ece760e9378d1208d732f6346", optional=True))),
    "fb15k": Public("graphs", "public_graphs", "fb15k", "CC BY 2.5", "https://everest.hds.utc.fr",
                    (File("fb15k.tgz", "https://everest.hds.utc.fr/lib/exe/fetch.php?media=en:fb15k.tgz"),)),
    "countries": Public(
        "graphs", "public_graphs", "countries", "ODbL", "https://github.com/mledoze/countries",
        tuple(File(f"countries_{task}/{part}.txt", None, total)
              for task, train in _COUNTRIES.items() for part, total in {"train": train, **_COUNTRIES_REST}.items())),
    "cora": Public("graphs", "public_graphs", "cora", "widely redistributed, no explicit licence", "https://github.com/kimiyoung/planetoid",
                   _plain(None, ("cora_planetoid.npz", "163a624df3239677e161e04640389a16ad9f076fa04bbc97a549128a40ee4cab"))),
    "blogcatalog": Public("graphs", "public_graphs", "blogcatalog", "no explicit licence; research use",
                          "https://github.com/phanein/deepwalk/tree/master/example_graphs",
                          _plain("https://raw.githubusercontent.com/phanein/deepwalk/master/example_graphs", ("blogcatalog.mat", None))),
    # corpora
    "newsgroups": Public(
        "corpora", "public_corpora", "20news", "counts only; texts belong to their writers", "http://qwone.com/~jason/20Newsgroups", _plain(
            None, ("train.feat.gz", "073a5890a6c851901634e9f9b1b936181628790a063d3c37acf94b011ad58329"),
            ("test.feat.gz", "02855c6ba4b45190d8d654e4b74a0686de6c0a77ec065de37d709fe7693bf07c"),
            ("vocab.new", "75594f361e317a8c8fafca9846e903143ff25bb57ac4207ff850ef4245eb94bb"))),
    "newsgroups_nvdm": Public(
        "corpora", "public_corpora", "20news_nvdm", "counts only; texts belong to their writers", "https://github.com/ysmiao/nvdm",
        _plain("https://raw.githubusercontent.com/ysmiao/nvdm/master/data/20news",
               ("train.feat", None), ("test.feat", None), ("vocab.new", None))),
    "wikitext2": Public(
        "corpora", "public_corpora", "wikitext2", "CC BY-SA 3.0", "https://huggingface.co/datasets/Salesforce/wikitext",
        (File("train.parquet",
              "https://huggingface.co/datasets/Salesforce/wikitext/resolve/main/wikitext-2-v1/train-00000-of-00001.parquet", optional=True),
         File("valid.txt", None, "f0737ed31fc1329026e95cb8b98e19c2a182c39c240ab909dc31abf2f8af58e8"),
         File("test.txt", None, "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0"))),
    "tiny_shakespeare": Public(
        "corpora", "public_corpora", "tinyshakespeare", "public domain", "https://github.com/karpathy/char-rnn",
        _plain("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare",
               ("input.txt", "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"))),
    "ud_english_ewt": Public(
        "corpora", "public_corpora", "ud_english_ewt", "CC BY-SA 4.0 (annotations)", "https://universaldependencies.org", _plain(
            None, ("en_ewt-ud-train.rebuilt.conllu.gz", "20a2586d53dccf79b4510f999b9aaff4de05f9e963a22f18cb6bc565e1da7748"),
            ("en_ewt-ud-dev.conllu.gz", "41086e3afc9ae572f899c9123f874d6d04a52e374a3d2ac7a6667ce48e3bf3e3"),
            ("en_ewt-ud-test.conllu.gz", "29c151eee8846d3f3ef7806c126ecac9932af2317c008c6d6b076c5e14950dbe"))),
    "tatoeba_eng_pes": Public("corpora", "public_corpora", "tatoeba", "CC BY 2.0 FR", "http://www.manythings.org/anki", _plain(
        None, ("pes.txt", "99bc22aeeee7ac57285411062c68b0e89c8cb827411157a17c29de5fe4fd1635"))),
    "tatoeba_eng_fra": Public("corpora", "public_corpora", "tatoeba", "CC BY 2.0 FR", "http://www.manythings.org/anki", _plain(
        None, ("fra-eng.zip", "16c4f7d0df9e7c5e6c54cdb0447f3f4a18a55052ff5e2e0b27dd4a06c0e49d04"))),
    "text8": Public("corpora", "public_corpora", "text8", "CC BY-SA 3.0 (Wikipedia)", "http://mattmahoney.net/dc/textdata.html",
                    _plain("http://mattmahoney.net/dc", ("text8.zip", None))),
    "multi30k": Public("corpora", "public_corpora", "multi30k", "CC BY-NC-SA 4.0", "https://github.com/multi30k/dataset",
                       _plain("https://raw.githubusercontent.com/multi30k/dataset/master/data/task1/raw", *((n, None) for n in _MULTI30K))),
    "wikiqa": Public("corpora", "public_corpora", "wikiqa", "Microsoft Research Data License: research, not commercial",
                     "https://github.com/castorini/data",
                     _plain("https://raw.githubusercontent.com/castorini/data/master/WikiQA",
                            *((f"{part}/{n}", None) for part in ("train", "dev", "test") for n in _QA_PARTS))),
    "trec_qa": Public("corpora", "public_corpora", "trec_qa", "NIST TREC, research use", "https://github.com/castorini/data",
                      _plain(None,  # written by the parse.py beside them there
                             *((f"{part}/{n}", None) for part in ("train-all", "raw-dev", "raw-test") for n in _QA_PARTS))),
    # images
    "mnist": Public("images", "public_images", "mnist", "CC BY-SA 3.0", "http://yann.lecun.com/exdb/mnist", _idx(
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        (None, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        (None, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        (None, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        (None, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"))),
    "fashion_mnist": Public("images", "public_images", "fashion_mnist", "MIT", "https://github.com/zalandoresearch/fashion-mnist", _idx(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        ("3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", None),
        ("a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", None),
        ("346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", None),
        ("67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", None))),
    "usps": Public("images", "public_images", "usps", "no explicit licence; research use",
                   "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps",
                   _plain("https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass", ("usps.bz2", None), ("usps.t.bz2", None))),
    "kodak": Public("images", "public_images", "kodak", "released by Kodak for unrestricted use", "https://r0k.us/graphics/kodak",
                    tuple(File(f"{i:02d}.png", f"https://r0k.us/graphics/kodak/kodak/kodim{i:02d}.png", total)
                          for i, total in enumerate(_KODAK, 1))),
}
