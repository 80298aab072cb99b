"""Fetching a base model from a Hub on this machine: the real huggingface_hub, real HTTP, every way to go wrong."""

import hashlib

import pytest
from hub_standin import OTHER_TOKEN, TOKEN, Repository, reached
from safetensors.torch import load_file, save

from harness.benchmarks.remote import SourceError
from harness.frozen import checkpoint
from harness.tracks import rules
from harness.tracks.fetch import fetch
from harness.tracks.schema import Base
from harness.tracks.track import TrackError, load

REVISION = "0123456789abcdef0123456789abcdef01234567"
REAL = load("cpu-logic")
FILES = {name: (REAL.base_folder / name).read_bytes() for name in REAL.base.files}


def sha(data):
    return hashlib.sha256(data).hexdigest()


def named(files, **unknown):
    """cpu-logic with its base on the Hub."""
    base = Base(
        repo="owner/name", revision=REVISION, template=REAL.base.template, end_token=REAL.base.end_token,
        files={**{name: sha(data) for name, data in files.items()}, **unknown},
    )  # fmt: skip
    return REAL.model_copy(update={"base": base, "status": "provisional"})


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with reached(monkeypatch, tmp_path) as standin:
        standin.repositories["owner/name"] = Repository({REVISION: dict(FILES)})
        yield standin


def refused(track):
    with pytest.raises(SourceError) as caught:
        fetch(track)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(track.name)
    folder = track.base_folder
    assert not folder.exists() and not (folder.parent.exists() and list(folder.parent.iterdir()))
    return message


def test_a_fetched_base_is_a_folder_of_plain_files_that_a_run_can_use(hub):
    track = named(FILES)
    with pytest.raises(TrackError, match=r"is missing: download it with `nano-r1 tracks fetch cpu-logic`"):
        track.check_base()
    assert fetch(track) == {}
    track.check_base()
    folder = track.base_folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert all(path.is_file() and not path.is_symlink() for path in folder.iterdir())
    assert [path.name for path in folder.parent.iterdir()] == [REVISION]
    assert rules.grader(track).end_id == rules.grader(REAL).end_id
    before = list(hub.requests)
    assert fetch(track) == {} and hub.requests == before  # there already


def test_only_what_is_listed_is_fetched(hub):
    hub.repositories["owner/name"].commits[REVISION]["pytorch_model.bin"] = b"x" * 100
    fetch(named(FILES))
    assert not any("pytorch_model" in request for request in hub.requests)


def test_shards_become_one_file(hub):
    tensors = load_file(REAL.base_folder / "model.safetensors")
    order = sorted(tensors)
    parts = {
        f"model-0000{number}-of-00002.safetensors": save({name: tensors[name] for name in some}, {"format": "pt"})
        for number, some in ((1, order[:7]), (2, order[7:]))
    }
    files = {name: data for name, data in FILES.items() if name != "model.safetensors"} | parts
    hub.repositories["owner/name"].commits[REVISION] = files
    track = named(files)
    fetch(track)
    track.check_base()
    whole = track.base_folder / "model.safetensors"
    # What a submission writes is compared with its header: the base model itself passes.
    assert checkpoint.read(REAL.base_folder / "model.safetensors", whole).data == FILES["model.safetensors"]
    data = bytearray(whole.read_bytes())
    data[-1] ^= 1
    whole.write_bytes(data)
    with pytest.raises(TrackError, match=r"is not its shards in one file: delete it and download it with"):
        track.check_base()
    whole.unlink()
    with pytest.raises(TrackError, match=r"model\.safetensors is missing"):
        track.check_base()
    fetch(track)
    track.check_base()


def test_a_file_without_a_listed_hash_is_taken_and_its_hash_is_told(hub):
    track = named(FILES, **{"config.json": None})
    heard = []
    assert fetch(track, heard.append) == {"config.json": sha(FILES["config.json"])}
    (line,) = [line for line in heard if "config.json" in line and "generation" not in line and "tokenizer" not in line]
    assert "not listed" in line and sha(FILES["config.json"]) in line


def test_a_damaged_base_is_fetched_again(hub):
    track = named(FILES)
    fetch(track)
    (track.base_folder / "config.json").unlink()
    (track.base_folder / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(
        TrackError, match=r"config\.json is not that of cpu-logic.*its SHA-256 is 44136fa3.*tracks fetch"
    ):
        track.check_base()
    fetch(track)
    track.check_base()


def test_an_edited_file_is_refused(hub):
    track = named(FILES)
    hub.repositories["owner/name"].commits[REVISION]["tokenizer.json"] = b'{"version": "1.0"}'
    message = refused(track)
    assert "tokenizer.json of owner/name" in message and sha(FILES["tokenizer.json"]) in message
    assert "HF_ENDPOINT serves something else" in message


def test_offline_uses_the_cache_and_says_what_is_not_there(hub, monkeypatch):
    track = named(FILES)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "is not in the cache and HF_HUB_OFFLINE is set" in refused(track)
    monkeypatch.delenv("HF_HUB_OFFLINE")
    fetch(track)
    for path in track.base_folder.iterdir():
        path.unlink()
    track.base_folder.rmdir()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    fetch(track)
    track.check_base()


@pytest.mark.parametrize("token", [None, OTHER_TOKEN])
def test_a_gated_model_says_how_to_get_in(hub, monkeypatch, token):
    hub.repositories["owner/name"].gated = True
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    assert "owner/name is gated" in refused(named(FILES))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    fetch(named(FILES))


def test_what_is_not_there_is_named(hub):
    assert f"no longer has the commit {'f' * 40}" in refused(_at("f" * 40))
    assert "has no file config.txt" in refused(named({"config.txt": b"", **FILES}))  # before any is in the cache
    del hub.repositories["owner/name"]
    assert "there is no owner/name" in refused(named(FILES))


def _at(revision):
    track = named(FILES)
    return track.model_copy(update={"base": track.base.model_copy(update={"revision": revision})})


def test_a_hub_that_is_unwell_or_hangs_up_leaves_nothing(hub):
    hub.status = 503
    assert "does not hand it out" in refused(named(FILES))
    hub.status, hub.cut = None, 10
    assert "does not hand it out" in refused(named(FILES))


def test_a_base_of_this_repository_needs_no_fetching():
    with pytest.raises(TrackError, match="part of this repository: harness/models/logic-base"):
        fetch(REAL)
