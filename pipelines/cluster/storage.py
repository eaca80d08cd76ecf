"""The DVC remote through which a cluster's workers and the coordinator hand data to each other."""

from __future__ import annotations

import configparser
import importlib.util
import io
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlparse

from pipelines.cluster.workers import INSTALL
from stages.settings import InputError, nearest

# what of a remote's settings workers are told; keys and passwords never travel: each worker has its own, in its environment or its own
# DVC configuration (`dvc config --global remote.NAME.access_key_id ...`)
TOLD = ("url", "endpointurl", "region", "use_ssl", "ssl_verify", "allow_anonymous_login", "account_name", "projectname", "oss_endpoint",
        "port", "timeout", "connect_timeout", "read_timeout")
NEEDED = {"s3": "dvc_s3"}  # scheme: module
BUCKETS = ("s3", "gs", "azure", "oss")
PATIENCE = 10  # seconds an answer may take


def choose(root: Path, name: str | None) -> tuple[str, dict]:
    """(name, settings) of the remote called `name`, or of the default one. Raises InputError where there is none."""
    from dvc.config import Config

    config = Config(str(root / ".dvc"))
    remotes = config["remote"]
    shown = ", ".join(sorted(remotes)) or "none; dvc remote add NAME URL adds one"
    if name is None:
        name = config["core"].get("remote")
        if name is None:
            raise InputError(f"--runner needs a DVC remote, and {root} has no default one; name one with --remote (configured: {shown})")
    if name not in remotes:
        raise InputError(f"--remote {name}: no such DVC remote; configured: {shown}{nearest(name, remotes)}")
    settings = dict(remotes[name])
    scheme = urlparse(settings["url"]).scheme
    if scheme in NEEDED and importlib.util.find_spec(NEEDED[scheme]) is None:
        raise InputError(f"remote {name} ({settings['url']}): needs the package {NEEDED[scheme]}; install it here and on every worker: "
                         f"{INSTALL}")
    return name, settings


def told(name: str, settings: dict) -> str:
    """The lines of a worker's .dvc/config.local that make this remote its default one."""
    config = configparser.ConfigParser(interpolation=None)
    config["core"] = {"remote": name, "analytics": "false"}
    config[f'\'remote "{name}"\''] = {key: str(settings[key]).lower() if isinstance(settings[key], bool) else str(settings[key])
                                     for key in TOLD if key in settings}
    text = io.StringIO()
    config.write(text)
    return text.getvalue()


def answers(root: Path, name: str, settings: dict) -> None:
    """Raise InputError unless the remote is there and lets itself be read."""
    from dvc.repo import Repo

    where = f"remote {name} ({settings['url']})"
    parsed = urlparse(str(settings.get("endpointurl") or ""))
    if parsed.hostname:  # libraries try for a minute
        try:
            socket.create_connection((parsed.hostname, parsed.port or {"https": 443}.get(parsed.scheme, 80)), PATIENCE).close()
        except OSError as error:
            raise InputError(f"{where}: {settings['endpointurl']} does not answer ({error}); start it, or mend the address with dvc remote "
                             f"modify {name} endpointurl") from None
    if not urlparse(settings["url"]).scheme and not Path(settings["url"]).is_dir():
        raise InputError(f"{where}: no such folder; workers must find it under the same path (mkdir it, or mount the share)")
    try:
        with Repo(str(root)) as repo:
            remote = repo.cloud.get_remote(name)
            if remote.fs.protocol in BUCKETS:  # a prefix without objects does not exist, a bucket does
                remote.fs.ls(remote.path.partition("/")[0])
            else:
                remote.fs.exists(remote.path)
    except Exception as error:  # of whichever library the remote needs
        raise InputError(f"{where}: cannot be read from here: {' '.join(str(error).split()) or type(error).__name__}") from None


def push(root: Path, name: str, targets: Iterable[str]) -> None:
    """Let the remote have what workers will read and no worker writes. Raises InputError for what is nowhere."""
    targets = list(targets)
    if not targets:
        return
    done = subprocess.run([sys.executable, "-m", "dvc", "--wait-for-lock", "push", "--remote", name, *targets], cwd=root,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode or "Missing cache files" in done.stderr:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ") or "Missing cache" in line]
        raise InputError(f"cannot push to remote {name} what the stages read ({', '.join(targets[:3])}): "
                         f"{(said or done.stderr.splitlines() or ['failed'])[-1].removeprefix('ERROR: ')}")
