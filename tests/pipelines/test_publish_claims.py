"""Records of claims that only a profile has are copied when they are finished, and no others."""

import hashlib
import json

import yaml

from pipelines.publish import publish_claims


class Source:
    def __init__(self, files):
        self.files = files

    def read(self, path):
        return self.files.get(path)


def lock(**stages):
    return {"stages": {name: {"outs": [{"path": f"reports/claims/{name.split('@')[1]}.json", "md5": hashlib.md5(text).hexdigest()}]}
                       for name, text in stages.items()}}


def test_only_finished_records_of_the_profile_alone_are_copied(tmp_path):
    (tmp_path / "params.yaml").write_text("split: {salt: s}\nvalidate: {}\ndatasets: {}\ntrain: {}\nruns: {}\nclaims: {c01: {theme: a}}\n")
    profile = {"claims": {"c01": {}, "c12": {}, "c26": {}}, "comparisons": {"c08": {}, "c17": {}, "c31": {}}}
    record = json.dumps({"claim": "c"}).encode()
    finished = {f"{section}@{claim}": record for section, claims in profile.items() for claim in claims}
    files = {f"reports/claims/{name.split('@')[1]}.json": text for name, text in finished.items()}
    files["reports/claims/c31.json"] = b"of other settings"
    del files["reports/claims/c26.json"]
    source = Source({**files, "params.yaml": yaml.safe_dump(profile).encode(), "dvc.lock": yaml.safe_dump(lock(**finished)).encode()})
    assert publish_claims(tmp_path, source, {"comparisons@c17"}) == (["c12", "c08"], ["c26", "c17", "c31"])
    assert sorted(p.name for p in (tmp_path / "reports/claims").iterdir()) == ["c08.json", "c12.json"]
    assert (tmp_path / "reports/claims/c08.json").read_bytes() == record
