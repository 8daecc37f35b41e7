"""Models in Hugging Face's format: `transformers` reads ours and we theirs; damage is named."""

import dataclasses
import errno
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tutorial_lib import hub
from tutorial_lib.albert import Albert, AlbertClassifier, AlbertConfig, AlbertPretraining
from tutorial_lib.hub import WeightsError

CONFIG = AlbertConfig(
    vocab_size=12, embedding_size=8, hidden_size=12, num_hidden_layers=4, num_hidden_groups=2,
    inner_group_num=2, num_attention_heads=3, intermediate_size=20, max_position_embeddings=16,
    hidden_act="gelu", layer_norm_eps=1e-6,
)  # fmt: skip
WORDS = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "▁", "▁good", "▁bad", "▁film", "s", "a"]
IDS = torch.tensor([[2, 8, 9, 6, 3], [2, 7, 3, 0, 0]])
MASK = IDS != 0
PAIRS = {
    Albert: "AlbertModel",
    AlbertPretraining: "AlbertForPreTraining",
    AlbertClassifier: "AlbertForSequenceClassification",
}


def a_model(kind=AlbertPretraining, config=CONFIG):
    torch.manual_seed(0)
    model = kind(config, 3) if kind is AlbertClassifier else kind(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model.eval()


def a_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram([(word, -1.0) for word in WORDS], unk_id=1))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return tokenizer


def outputs(model) -> list[torch.Tensor]:
    """Return all that a model of ours says about the two texts."""
    with torch.no_grad():
        y = model.eval()(IDS, MASK)
        if isinstance(model, Albert):
            y = [y.states[MASK], model.pool(y.states)]
        elif isinstance(model, AlbertPretraining):
            y = [y.words[MASK], y.order]
    return [y] if isinstance(y, torch.Tensor) else list(y)


def their_outputs(model) -> list[torch.Tensor]:
    with torch.no_grad():
        y = model.eval()(IDS, MASK.long())
    if "logits" in y:
        return [y.logits]
    first, second = y.to_tuple()[:2]
    return [first[MASK], second]


def close(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.fixture
def saved(tmp_path):
    """A folder with a saved model for pre-training and its tokenizer."""
    hub.save(a_model(), tmp_path, tokenizer=a_tokenizer())
    return tmp_path


@pytest.mark.parametrize("kind", PAIRS)
def test_transformers_reads_what_we_save(tmp_path, kind):
    model = a_model(kind)
    hub.save(model, tmp_path, tokenizer=a_tokenizer())
    theirs, report = getattr(transformers, PAIRS[kind]).from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    close(outputs(model), their_outputs(theirs))
    named = transformers.AutoConfig.from_pretrained(tmp_path)
    assert dataclasses.asdict(model.config if kind is Albert else model.albert.config) == {
        field.name: getattr(named, field.name) for field in dataclasses.fields(AlbertConfig)
    }
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in ("Good films", "bad, bad film"):
        assert tokenizer(text)["input_ids"] == a_tokenizer().encode(text).ids
    pair = tokenizer("good", "bad", padding="max_length", max_length=9)
    assert pair["input_ids"] == [2, 6, 3, 7, 3, 0, 0, 0, 0]
    assert pair["token_type_ids"][:5] == [0, 0, 0, 1, 1]
    assert tokenizer.mask_token_id == 4 and tokenizer.model_max_length == 16


@pytest.mark.parametrize("kind", PAIRS)
def test_we_read_what_transformers_saves(tmp_path, kind):
    facts = transformers.AlbertConfig(**dataclasses.asdict(CONFIG), num_labels=3)
    if kind is not AlbertClassifier:
        facts.num_labels = 2
    torch.manual_seed(0)
    theirs = getattr(transformers, PAIRS[kind])(facts)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    theirs.save_pretrained(tmp_path)
    loaded = hub.load(tmp_path, kind)
    assert loaded.new == () and loaded.tokenizer is None
    close(outputs(loaded.model), their_outputs(theirs))
    if kind is AlbertPretraining:
        close(outputs(hub.load(str(tmp_path)).model), their_outputs(theirs.albert))


@pytest.mark.parametrize("kind", PAIRS)
def test_saved_and_loaded_is_the_same(tmp_path, kind):
    model = a_model(kind)
    hub.save(model, tmp_path / "a" / "b", tokenizer=a_tokenizer())
    loaded = hub.load(tmp_path / "a" / "b", kind)
    for name, tensor in model.state_dict().items():
        assert loaded.model.state_dict()[name].equal(tensor)
    assert loaded.model.training and loaded.new == ()
    assert loaded.tokenizer.to_str() == a_tokenizer().to_str()
    with safe_open(tmp_path / "a" / "b" / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}  # releases of transformers up to 4 insist on it
    assert sorted(file.name for file in (tmp_path / "a" / "b").iterdir()) == [
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip


def test_transformers_answers_with_the_names_of_the_classes(tmp_path):
    model = a_model(AlbertClassifier)
    hub.save(model, tmp_path, tokenizer=a_tokenizer(), labels=["bad", "good", "neither"])
    classify = transformers.pipeline("text-classification", str(tmp_path), top_k=None)
    (answers,) = classify(["good film"])
    ids = torch.tensor([a_tokenizer().encode("good film").ids])
    chances = model.eval()(ids, torch.ones_like(ids, dtype=bool)).softmax(-1)[0].tolist()
    found = {answer["label"]: answer["score"] for answer in answers}
    assert found == pytest.approx(dict(zip(["bad", "good", "neither"], chances, strict=True)))


@pytest.mark.parametrize(
    "kind, labels",
    [(AlbertClassifier, ["a", "b"]), (AlbertClassifier, ["a", "b", "a"]), (Albert, ["a"])],
)
def test_other_than_one_name_for_each_class_is_refused(tmp_path, kind, labels):
    with pytest.raises(ValueError, match="are no [03] names of classes"):
        hub.save(a_model(kind), tmp_path / "new", labels=labels)
    assert not (tmp_path / "new").exists()


def test_a_file_in_half_precision_is_computed_in_float32(tmp_path):
    model = a_model()
    hub.save(model, tmp_path, dtype=torch.float16)
    stored = load_file(tmp_path / "model.safetensors")
    assert {t.dtype for t in stored.values()} == {torch.float16}
    loaded = hub.load(tmp_path, AlbertPretraining).model
    for name, tensor in model.state_dict().items():
        assert loaded.state_dict()[name].equal(tensor.half().float())
    theirs = transformers.AlbertForPreTraining.from_pretrained(tmp_path)
    assert theirs.dtype == torch.float32
    close(outputs(loaded), their_outputs(theirs))


def test_numbers_too_large_for_the_file_are_refused(tmp_path):
    model = a_model()
    model.albert.pooler.bias.data[0] = 1e6
    with pytest.raises(ValueError, match="albert.pooler.bias is not finite as torch.float16"):
        hub.save(model, tmp_path / "new", dtype=torch.float16)
    assert not (tmp_path / "new").exists()


def test_a_disk_that_fills_up_leaves_the_model_that_was_there(tmp_path, monkeypatch):
    hub.save(a_model(AlbertClassifier), tmp_path, tokenizer=a_tokenizer())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write = Path.write_bytes

    def full(path, content):
        if path.name.startswith("model.safetensors"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        hub.save(a_model(AlbertClassifier), tmp_path, labels=["c", "b", "a"])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_parts_that_a_file_lacks_start_afresh_and_are_named(saved):
    loaded = hub.load(saved, AlbertClassifier, classes=5)
    assert loaded.new == ("classifier",)
    assert loaded.model.output.weight.shape == (5, 12)
    assert loaded.model.output.weight.std().item() == pytest.approx(0.02, rel=0.3)
    pretrained = a_model().albert
    for name, tensor in pretrained.state_dict().items():
        assert loaded.model.albert.state_dict()[name].equal(tensor)

    # As the official files are: masked words only, decoder and buffers written out.
    tensors = load_file(saved / "model.safetensors")
    tensors = {n: t for n, t in tensors.items() if not n.startswith(("sop", "albert.pooler"))}
    tensors["predictions.decoder.weight"] = tensors[
        "albert.embeddings.word_embeddings.weight"
    ].clone()
    tensors["predictions.decoder.bias"] = tensors["predictions.bias"].clone()
    tensors["albert.embeddings.position_ids"] = torch.arange(16)[None]
    save_file(tensors, saved / "model.safetensors")
    loaded = hub.load(saved, AlbertPretraining)
    assert loaded.new == ("albert.pooler", "sop_classifier")
    close(outputs(loaded.model)[:1], outputs(a_model())[:1])
    assert hub.load(saved, AlbertClassifier, classes=2).new == ("albert.pooler", "classifier")


def test_number_of_classes(saved, tmp_path):
    with pytest.raises(ValueError, match="give classes"):
        hub.load(saved, AlbertClassifier)
    with pytest.raises(ValueError, match="AlbertPretraining does not classify"):
        hub.load(saved, AlbertPretraining, classes=2)
    with pytest.raises(ValueError, match="kind is Albert, "):
        hub.load(saved, torch.nn.Linear)
    hub.save(a_model(AlbertClassifier), tmp_path)
    assert hub.load(tmp_path, AlbertClassifier).model.output.out_features == 3
    with pytest.raises(ValueError, match="a classifier of 3 classes, not 4: .*new_head"):
        hub.load(tmp_path, AlbertClassifier, classes=4)


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_tensors(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def a_layer(i, name):
    return f"albert.encoder.albert_layer_groups.{i}.albert_layers.1.{name}"


TENSOR_FAULTS = {
    "missing": (
        lambda t: t.pop(a_layer(1, "ffn.weight")),
        r"albert_layer_groups\.1\.albert_layers\.1\.ffn\.weight is missing",
    ),
    "half a head missing": (lambda t: t.pop("predictions.bias"), r"predictions\.bias is missing"),
    "shape": (
        lambda t: t.update({a_layer(0, "attention.query.weight"): torch.zeros(12, 11)}),
        r"attention\.query\.weight is float32 \[12, 11\]; .* asks for float32 \[12, 12\]",
    ),
    "dtype": (
        lambda t: t.update({"albert.pooler.bias": torch.zeros(12, dtype=torch.int8)}),
        r"albert\.pooler\.bias is int8 \[12\]",
    ),
    "not a number": (
        lambda t: t["albert.pooler.bias"].fill_(torch.nan),
        r"albert\.pooler\.bias holds numbers that are not finite",
    ),
    "more layers": (
        lambda t: t.update({a_layer(2, "ffn.bias"): torch.zeros(20)}),
        r"albert_layer_groups\.2.* is not part of a model of this configuration",
    ),
    "untied": (
        lambda t: t.update({"predictions.decoder.weight": torch.zeros(12, 8)}),
        r"decoder\.weight differs from albert\.embeddings\.word_embeddings\.weight",
    ),
    "many": (
        lambda t: [t.pop(name) for name in list(t) if "albert_layers.0" in name],
        "and 27 more",
    ),
}


@pytest.mark.parametrize("fault", TENSOR_FAULTS)
def test_tensors_that_do_not_fit_are_named(saved, fault):
    change, message = TENSOR_FAULTS[fault]
    change_tensors(saved, change)
    with pytest.raises(WeightsError, match=message) as error:
        hub.load(saved, AlbertPretraining)
    assert "model.safetensors does not fit" in str(error.value)
    assert len(str(error.value).splitlines()) <= 7


def test_the_second_bias_of_early_releases_is_left_aside(saved):
    change_tensors(saved, lambda t: t.update({"predictions.decoder.bias": torch.zeros(12)}))
    close(outputs(hub.load(saved, AlbertPretraining).model), outputs(a_model()))
    change_tensors(saved, lambda t: t.update({"predictions.decoder.bias": torch.ones(12)}))
    with pytest.raises(WeightsError, match="decoder.bias differs from predictions.bias"):
        hub.load(saved, AlbertPretraining)
    assert hub.load(saved, AlbertClassifier, classes=2).new == ("classifier",)  # not needed


def test_a_classifier_of_something_else_is_not_taken_for_one_of_texts(tmp_path):
    hub.save(a_model(AlbertClassifier), tmp_path)
    change_config(tmp_path, architectures=["AlbertForTokenClassification"])
    loaded = hub.load(tmp_path, AlbertClassifier, classes=3)
    assert loaded.new == ("classifier",)
    with pytest.raises(ValueError, match="give classes"):
        hub.load(tmp_path, AlbertClassifier)


def test_a_folder_has_no_revisions(saved):
    for source in (saved, "mini-albert"):
        with pytest.raises(ValueError, match="is for models on the hub"):
            hub.load(source, revision="main")


def test_the_revision_that_is_named_is_the_one_that_is_fetched(saved, monkeypatch):
    asked = []

    def fetch(name, *, revision, allow_patterns):
        asked.append((name, revision))
        return str(saved)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    hub.load("owner/model", revision="v1.0")
    assert asked == [("owner/model", "v1.0")]


def test_a_bias_of_the_decoder_alone_will_do(saved):
    def rename(tensors):
        tensors["predictions.decoder.bias"] = tensors.pop("predictions.bias")

    change_tensors(saved, rename)
    close(outputs(hub.load(saved, AlbertPretraining).model), outputs(a_model()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "model_type 'bert'; only 'albert' can be loaded"),
        ({"hidden_act": "swish"}, "hidden_act is one of gelu, .*got 'swish'"),
        ({"num_attention_heads": 5}, "num_attention_heads=5 cannot share"),
        ({"hidden_size": "12"}, "hidden_size cannot be '12'"),
        ({"hidden_size": True}, "hidden_size cannot be True"),
        ({"hidden_dropout_prob": None}, "hidden_dropout_prob cannot be None"),
        ({"embedding_size": 9}, r"asks for float32 \[12, 9\]"),
    ],
)
def test_configurations_that_do_not_fit_are_named(saved, changes, message):
    change_config(saved, **changes)
    with pytest.raises(WeightsError, match=message):
        hub.load(saved)


def test_published_configurations_of_old_are_read(saved):
    # Whole numbers for shares, and entries that meant nothing then either.
    change_config(
        saved, hidden_dropout_prob=0, attention_probs_dropout_prob=0, pad_token_id=None,
        net_structure_type=0, gap_size=0, num_memory_blocks=0, down_scale_factor=1,
    )  # fmt: skip
    config = hub.load(saved).model.config
    assert config.hidden_dropout_prob == 0 and config.pad_token_id is None
    (saved / "config.json").write_text('{"model_type": "albert"}')
    assert hub.read_config(saved / "config.json") == AlbertConfig()


@pytest.mark.parametrize("part", [0.0, 0.001, 0.1, 0.5, 0.999])
def test_a_truncated_file_of_weights(saved, part):
    path = saved / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(WeightsError, match="model.safetensors is damaged or cut short"):
        hub.load(saved)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_truncated_file_of_text(saved, name):
    path = saved / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(WeightsError, match=f"{name} is damaged"):
        hub.load(saved)


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_a_pickle_is_never_loaded(saved, name, old_format):
    class Trap:
        def __reduce__(self):
            return (exec, (f"open({str(saved / 'sprung')!r}, 'w')",))

    (saved / "model.safetensors").unlink()
    torch.save(
        {"a": torch.zeros(1), "b": Trap()}, saved / name,
        _use_new_zipfile_serialization=not old_format,
    )  # fmt: skip
    with pytest.raises(WeightsError, match="a pickle") as error:
        hub.load(saved)
    if name == "pytorch_model.bin":
        assert "only pytorch_model.bin, a pickle" in str(error.value)
        (made,) = json.loads((saved / "config.json").read_text())["architectures"]
        assert f"transformers.{made}.from_pretrained" in str(error.value)  # keeps what it has
    assert not (saved / "sprung").exists()
    torch.load((saved / name).rename(saved / "pickle"), weights_only=False)
    assert (saved / "sprung").exists()  # the trap does work


def test_folders_that_hold_no_model(tmp_path):
    with pytest.raises(WeightsError, match=r"holds no config\.json"):
        hub.load(tmp_path)
    for source in (tmp_path / "none", str(tmp_path / "none"), "a/b/c", "../x"):
        with pytest.raises(WeightsError, match="there is no folder"):
            hub.load(source)


def test_a_tokenizer_of_another_model_is_refused(saved):
    tokenizer = a_tokenizer()
    tokenizer.add_tokens(["x", "y"])
    tokenizer.save(str(saved / "tokenizer.json"))
    with pytest.raises(WeightsError, match="the tokenizer has 13 ids, the model 12"):
        hub.load(saved)


def test_a_tokenizer_is_without_padding_and_truncation(saved):
    tokenizer = a_tokenizer()
    tokenizer.enable_padding(length=8)
    tokenizer.enable_truncation(2)
    tokenizer.save(str(saved / "tokenizer.json"))
    assert hub.load(saved).tokenizer.encode("good film").ids == [2, 6, 8, 3]


def test_a_tokenizer_in_its_old_form_alone_is_refused(saved):
    (saved / "tokenizer.json").rename(saved / "spiece.model")
    with pytest.raises(WeightsError, match=r"as spiece\.model only\. Write tokenizer\.json once"):
        hub.load(saved)


COMMIT = "0123456789012345678901234567890123456789"


@pytest.fixture
def a_hub(saved, tmp_path_factory):
    """A hub on loopback with one model, `albert/albert-tiny`: `load`, and the paths asked for."""
    asked, broken = [], set()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            asked.append(self.path)
            files = sorted(file.name for file in saved.iterdir())
            path, repo = self.path.split("?")[0], "albert/albert-tiny"
            name = path.rsplit("/", 1)[-1]
            listed = [
                {"type": "file", "path": f, "size": (saved / f).stat().st_size, "oid": f * 4}
                for f in files
            ]
            if path.startswith(f"/api/models/{repo}/tree/"):
                self.answer(json.dumps(listed).encode(), "application/json")
            elif path.startswith(f"/api/models/{repo}"):
                siblings = [{"rfilename": f} for f in files]
                facts = {"id": repo, "modelId": repo, "sha": COMMIT, "siblings": siblings}
                self.answer(json.dumps(facts).encode(), "application/json")
            elif path.startswith(f"/{repo}/resolve/") and name in files:
                self.answer((saved / name).read_bytes(), "application/octet-stream", etag=name)
            else:
                self.answer(b"", "text/plain", status=404)

        def answer(self, body, kind, status=200, etag="none"):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{etag}"')
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            if self.command == "GET":
                cut = len(body) // 2 if etag in broken else len(body)
                self.wfile.write(body[:cut])  # and close

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    cache = tmp_path_factory.mktemp("cache")

    def load(name: str, *, offline: bool = False) -> str:
        """Load a model in another process, as the client reads its settings at its start.

        Return the message of the error, or where what was loaded is saved again.
        """
        target = tmp_path_factory.mktemp("loaded")
        script = (
            "import sys; from tutorial_lib import albert, hub\n"
            "name, target = sys.argv[1:]\n"
            "try: model, tokenizer, _ = hub.load(name, albert.AlbertPretraining)\n"
            "except hub.WeightsError as error: print(error)\n"
            "else: hub.save(model, target, tokenizer=tokenizer); print(target)\n"
        )
        settings = {
            "HF_ENDPOINT": url, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_OFFLINE": str(int(offline)),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", script, name, target], env=os.environ | settings,
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    yield SimpleNamespace(load=load, asked=asked, broken=broken)
    server.shutdown()
    server.server_close()


def test_a_model_is_loaded_by_its_name_on_the_hub(a_hub, saved):
    (saved / "pytorch_model.bin").write_bytes(b"never asked for")
    loaded = hub.load(a_hub.load("albert-tiny"), AlbertPretraining)
    close(outputs(loaded.model), outputs(a_model()))
    assert loaded.tokenizer.to_str() == a_tokenizer().to_str()
    assert any("resolve" in path and "model.safetensors" in path for path in a_hub.asked)
    assert not any(".bin" in path for path in a_hub.asked)

    asked = len(a_hub.asked)
    again = hub.load(a_hub.load("albert/albert-tiny", offline=True), AlbertPretraining)
    close(outputs(again.model), outputs(a_model()))  # from the client's cache
    assert len(a_hub.asked) == asked


def test_models_that_cannot_be_had_from_the_hub(a_hub, saved):
    message = "there is no folder albert-huge, and albert/albert-huge cannot be had from the hub"
    assert message in a_hub.load("albert-huge")
    assert message in a_hub.load("albert-huge", offline=True)
    (saved / "model.safetensors").rename(saved / "pytorch_model.bin")
    assert "A pickle is never loaded" in a_hub.load("albert-tiny")
    assert not any(".bin" in path for path in a_hub.asked)


def test_a_connection_that_breaks_is_named_and_the_next_try_goes_on(a_hub, saved):
    a_hub.broken.add("model.safetensors")
    assert "albert/albert-tiny cannot be had from the hub" in a_hub.load("albert-tiny")
    a_hub.broken.clear()
    loaded = hub.load(a_hub.load("albert-tiny"), AlbertPretraining)
    close(outputs(loaded.model), outputs(a_model()))
