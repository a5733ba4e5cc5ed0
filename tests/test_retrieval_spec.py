import json
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from told import told

from index.errors import ModelError
from retrieval.models.spec import FORMAT_VERSION, KEY_PREFIX, ClassName, ModelSpec

SPEC = ModelSpec(
    name="shapes",
    arch="alexnet-64",
    classes=(ClassName("goldfish", "n01443537", ("Carassius auratus",)), ClassName("søppel")),
    resize=64,
    crop=56,
    dim=256,
    fc7_dim=1024,
    fingerprint="ab" * 32,
    arch_config={"convs": [{"filters": 64}]},
    embedding={"layers": ["pool5", "fc7"], "power": 0.5},
    training={"pictures": 100, "recipe": {"lr": 0.2, "mirror": True, "grow": ""}},
    accuracy={"top1": 0.5},
    licence="MIT",
    date="2026-07-14",
)


def read(metadata: dict[str, str]) -> ModelSpec:
    return ModelSpec.from_metadata(metadata, path="some.onnx")


def test_a_spec_survives_its_metadata() -> None:
    metadata = SPEC.to_metadata()
    assert read(metadata) == SPEC
    assert all(key.startswith("fc7.") for key in metadata)
    assert json.loads(metadata["fc7.classes"]) == [
        ["goldfish", "n01443537", ["Carassius auratus"]],
        ["søppel", None, []],
    ]


names = st.text(st.characters(), min_size=1, max_size=20)


@settings(max_examples=40)
@given(st.lists(st.builds(ClassName, names, st.none() | names, st.lists(names, max_size=2).map(tuple)), max_size=4))
def test_any_names_of_classes_survive(classes: list[ClassName]) -> None:
    spec = replace(SPEC, classes=tuple(classes))
    assert read(spec.to_metadata()) == spec


def test_a_name_that_is_no_valid_text_survives_and_can_be_stored() -> None:
    spec = replace(SPEC, classes=(ClassName(os.fsdecode(b"caf\xe9")),))
    metadata = spec.to_metadata()
    assert read({key: text.encode("utf-8").decode("utf-8") for key, text in metadata.items()}) == spec


def test_entries_of_others_and_of_later_versions_are_passed_over() -> None:
    metadata = {**SPEC.to_metadata(), "author": "somebody", KEY_PREFIX + "unheard_of": "[1, 2]"}
    assert read(metadata) == SPEC


def test_entries_with_a_default_may_be_missing() -> None:
    metadata = SPEC.to_metadata()
    for key in ("licence", "date", "accuracy", "training", "embedding", "arch_config"):
        del metadata[KEY_PREFIX + key]
    assert read(metadata).training == {}


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"author": "somebody"},
        {"fc7.format_version": "one"},
        {"fc7.format_version": "null"},
        {**SPEC.to_metadata(), "fc7.name": "no JSON"},
    ],
)
def test_a_file_of_another_program(metadata: dict[str, str]) -> None:
    with told(ModelError, match=r"some.onnx is an ONNX file, but not a model made by fc7; make one of it with"):
        read(metadata)


def test_a_file_of_a_newer_version_asks_for_an_upgrade() -> None:
    metadata = {"fc7.format_version": str(FORMAT_VERSION + 1), "fc7.classes": '"in a new way"'}
    with told(ModelError, match=r"some.onnx has model format 4, this fc7 reads up to 3; upgrade it with"):
        read(metadata)


@pytest.mark.parametrize("key", ["name", "classes", "crop", "dim", "fingerprint"])
def test_a_file_that_lacks_something(key: str) -> None:
    metadata = SPEC.to_metadata()
    del metadata[KEY_PREFIX + key]
    with told(ModelError, match=r"some.onnx has incomplete metadata \(.*\); export it again"):
        read(metadata)


@pytest.mark.parametrize("classes", ["3", '[["cat"]]', '[["cat", null, 3]]', "null"])
def test_malformed_classes(classes: str) -> None:
    with told(ModelError, match="incomplete metadata"):
        read({**SPEC.to_metadata(), "fc7.classes": classes})


@pytest.mark.parametrize(("key", "value"), [("crop", "65"), ("crop", "0"), ("resize", '"64"'), ("dim", "2.5")])
def test_sizes_that_cannot_be(key: str, value: str) -> None:
    with told(ModelError, match=r"some.onnx cannot be used as its metadata say"):
        read({**SPEC.to_metadata(), KEY_PREFIX + key: value})
