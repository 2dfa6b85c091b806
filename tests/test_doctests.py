"""Each public name is documented: its sections are there, and its examples give what they show.

The examples ask for the model ``models/customers`` and a server of it, on ports that stand for 8500
and 8501.
"""

import dataclasses
import doctest
import inspect
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, is_typeddict

import numpy as np
import pytest
import tfkmeans

from export import publish_fit
from kmeans_module import fit
from serving import CallOptions, ClientOptions
from serving.embedded import EmbeddedServer

pytestmark = pytest.mark.slow

#: What stands in the examples, and has no signature or no example of its own.
CONSTANTS = {"SIGNATURES"}
NAMES = sorted(set(dir(tfkmeans)) - CONSTANTS)
#: What has arguments, and no error of its own.
RAISE_NOTHING = {"Comparison.beyond", "KMeans.get_params", "Limits.rows_per_message"}
#: The workers of the examples that need some.
ONE_WORKER = {
    "cluster": {"worker": ["localhost:2222"]},
    "task": {"type": "worker", "index": 0},
}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(scope="module")
def customers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder with a model, and what stands for the addresses of its server."""
    folder = tmp_path_factory.mktemp("doctests")
    base = folder / "models" / "customers"
    centres = np.repeat([[20.0, 1.0], [40.0, 5.0], [60.0, 9.0]], 50, axis=0)
    rows = (centres + np.random.default_rng(0).normal(size=(150, 2))).astype(np.float32)
    publish_fit(fit(rows, 3, seed=0), rows, base, feature_names=["age", "income"])
    with EmbeddedServer(model_name="customers", model_base_path=base) as server:
        assert server.grpc_address is not None
        assert server.rest_address is not None
        rest = server.rest_address.removeprefix("http://")
        yield folder, {"localhost:8500": server.grpc_address, "localhost:8501": rest}


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_name_give_what_they_show(
    name: str,
    customers: tuple[Path, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    folder, addresses = customers
    (tmp_path / "models").symlink_to(folder / "models")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TF_CONFIG", json.dumps(ONE_WORKER))
    value = getattr(tfkmeans, name)
    module = import_module(value.__module__)
    finder = doctest.DocTestFinder()
    tests = finder.find(value, name, module=module, globs={})
    for base in _unnamed_bases(value):
        tests += finder.find(base, name, module=import_module(base.__module__), globs={})
    examples = [example for test in tests for example in test.examples]
    assert examples, f"{name} has no example"
    for test in tests:
        for example in test.examples:
            for place, here in addresses.items():
                example.source = example.source.replace(place, here)
        said: list[str] = []
        failed, _ = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
        assert not failed, "".join(said)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_has_the_sections_that_its_signature_asks_for(name: str) -> None:
    value = getattr(tfkmeans, name)
    text = inspect.getdoc(value) or ""
    assert text
    if inspect.isclass(value):
        text += "\n" + (inspect.getdoc(value.__init__) or "")
    if inspect.isfunction(value):
        missing = _missing_sections(value, text)
    else:
        missing = [] if "Example:\n" in text else ["Example"]
        fields = [each for each in _fields(value) if f"{each}:" not in _sections(text)]
        missing += [f"{each} in Args or Attributes" for each in fields]
    assert missing == [], f"{name} does not document {', '.join(missing)}"


def _methods() -> Iterator[Any]:
    """The public methods of the public classes, those of bases without a public name too."""
    for name in NAMES:
        value = getattr(tfkmeans, name)
        if inspect.isclass(value) and not issubclass(value, Exception):
            for kind in (value, *_unnamed_bases(value)):
                for method, member in vars(kind).items():
                    function = getattr(member, "__func__", member)
                    if inspect.isfunction(function) and not method.startswith("_"):
                        yield pytest.param(function, id=f"{name}.{method}")


def _unnamed_bases(value: Any) -> list[type]:
    """The classes of this project, without a public name, from which a class has methods."""
    bases = value.__mro__[1:] if inspect.isclass(value) else ()
    own = [base for base in bases if base.__module__.startswith(("kmeans", "export", "serving"))]
    return [base for base in own if base.__name__ not in NAMES]


@pytest.mark.parametrize("method", list(_methods()))
def test_a_method_has_the_sections_that_its_signature_asks_for(method: Any) -> None:
    text = inspect.getdoc(method) or ""
    missing = _missing_sections(method, text)
    if method.__qualname__ in RAISE_NOTHING:
        missing.remove("Raises:")
    assert missing == []


def _missing_sections(function: Any, text: str) -> list[str]:
    signature = inspect.signature(function)
    given = [each for each in signature.parameters if each not in ("self", "cls")]
    parameters = [each for each in given if f"{each}" not in _sections(text)]
    sections = ["Args:\n", "Raises:\n", "Example:\n"] if given else ["Example:\n"]
    if signature.return_annotation not in (None, "None"):
        is_generator = "Iterator" in str(signature.return_annotation)
        sections.append("Yields:\n" if is_generator else "Returns:\n")
    return parameters + [each.strip() for each in sections if each not in text]


def _fields(kind: type) -> list[str]:
    """What a caller gives to a class, or reads from it."""
    if issubclass(kind, Exception):
        return []
    if dataclasses.is_dataclass(kind):
        return [field.name for field in dataclasses.fields(kind)]
    if is_typeddict(kind):
        own = set(kind.__annotations__)
        others = (set(each.__annotations__) for each in (CallOptions, ClientOptions))
        return sorted(own.difference(*(each for each in others if each < own)))
    return [name for name in inspect.signature(kind).parameters if name not in ("args", "kwargs")]


def _sections(text: str) -> str:
    """The text from its first section on."""
    places = [text.find(head) for head in ("Args:\n", "Attributes:\n", "Keys:\n") if head in text]
    return text[min(places) :] if places else ""
