"""``models.config``: which versions of which models a server loads, and their labels.

The file stands beside the folders of the models, one for the server, in the text form of
``tensorflow.serving.ModelServerConfig``. A reload replaces the whole of a server's config, so all
models are in it; an edit changes the policy and the labels of one model and leaves every other byte
as it was, comments included. Imports no TensorFlow.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from google.protobuf import text_format

from export.wire import serving_pb2

from .addresses import is_address, model_name
from .durable_files import locked, why, write_atomically
from .errors import InvalidModelsConfig

CONFIG_FILE: Final = "models.config"
_LOCK_FILE: Final = ".models.config.lock"
_MOVE_LOCK: Final = ".move.lock"

STABLE: Final = "stable"
CANARY: Final = "canary"

_LIST: Final = "model_config_list"
_HEAD: Final = """\
# Which versions of which models a server loads: tensorflow.serving.ModelServerConfig.
# tfkmeans edits the entry of its model and nothing else.
model_config_list {
}
"""

# A comment, a string, a bracket, or a word; what is between them does not matter.
_TOKEN: Final = re.compile(
    r"""\#[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | [{}<>\[\]] | [A-Za-z_]\w*""",
    re.VERBOSE,
)
# What may stand behind a field on its line and belong to it: a separator, a comment.
_REST_OF_LINE: Final = re.compile(r"[ \t,;]*(\#[^\r\n]*)?(?=\r?\n)")


@dataclass(frozen=True)
class Entry:
    """One model in the config: the folder as the server sees it, what is loaded, the labels."""

    base_path: str
    versions: tuple[int, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)

    @property
    def stable(self) -> int | None:
        """The version of the label ``stable``; of a hand-made entry without, the highest."""
        return self.labels.get(STABLE, max(self.versions, default=None))


def path_of(base: Path) -> Path:
    """The config that the model in ``base`` is in."""
    return base.absolute().resolve().parent / CONFIG_FILE


def base_path(base: Path, served_at: str | None, present: Entry | None) -> str:
    """The folder of a model as the server sees it: ``served_at``, or else its absolute path.

    ``present`` is the model's entry, whose folder stays. Raises InvalidModelsConfig for another
    one, and for what no server takes.
    """
    if served_at is not None and not is_servable(served_at):
        raise InvalidModelsConfig(
            f"{served_at}: a server takes an absolute path or an address only; name the folder of "
            "the model as the server sees it"
        )
    if present is None:
        return served_at or str(path_of(base).with_name(model_name(base)))
    if served_at not in (None, present.base_path):
        raise InvalidModelsConfig(
            f"{path_of(base)}: the entry of {model_name(base)} has base_path {present.base_path}, "
            f"not {served_at}; edit base_path there if the folder has moved"
        )
    return present.base_path


def is_servable(folder: str) -> bool:
    """Whether a server takes it for the folder of a model: an absolute path or an address."""
    return folder.startswith("/") or is_address(folder)


@contextmanager
def edit_lock(base: Path, tell: Callable[[str], None] = lambda _said: None) -> Iterator[Path]:
    """Keep everybody else from editing the config of a model; gives its path.

    ``tell`` is told that somebody else does so just now. Raises InvalidModelsConfig when the folder
    does not take the lock.
    """
    path = path_of(base)

    def waiting() -> None:
        tell(f"waiting for another command that edits {path}")

    try:
        with locked(path.with_name(_LOCK_FILE), waiting):
            yield path
    except OSError as error:
        raise InvalidModelsConfig(f"{path}: cannot be edited: {why(error)}") from error


@contextmanager
def move_lock(base: Path, tell: Callable[[str], None] = lambda _said: None) -> Iterator[None]:
    """Keep everybody else from moving labels of a model, but not from editing other entries.

    To be taken before ``edit_lock``. Raises as that does.
    """

    def waiting() -> None:
        tell(f"waiting for another command that moves labels of {base}")

    try:
        with locked(base / _MOVE_LOCK, waiting):
            yield
    except OSError as error:
        raise InvalidModelsConfig(f"{base}: no label can be moved: {why(error)}") from error


def read_text(path: Path) -> str:
    """The text of the config; one without models when there is no file.

    Raises InvalidModelsConfig when it cannot be read or is none.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:  # line ends stay as they are
            text = file.read()
    except FileNotFoundError:
        return _HEAD
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModelsConfig(f"{path}: cannot be read: {error}") from None
    if text.startswith("\ufeff"):
        raise InvalidModelsConfig(
            f"{path}: begins with a byte order mark; save it as UTF-8 without one"
        )
    config = serving_pb2.ModelServerConfig()
    try:
        # A field that this package does not know is the server's to judge.
        text_format.Parse(text, config, allow_unknown_field=True)
    except text_format.ParseError as error:
        raise InvalidModelsConfig(f"{path}:{error}; mend the file there") from None
    for field_name in _top_fields(text):
        if field_name != _LIST:
            raise InvalidModelsConfig(
                f"{path}: holds {field_name}; only a config with nothing but a {_LIST} is edited"
            )
    names = Counter(model.name for model in config.model_config_list.config)
    for name, times in names.items():
        if times > 1:
            raise InvalidModelsConfig(
                f"{path}: lists the model {name} more than once, which no server takes; leave one"
            )
    return text


def entry(text: str, name: str, *, origin: Path) -> Entry | None:
    """The entry of a model, or None. Raises InvalidModelsConfig for one that is not ours to edit.

    ``origin`` is the file that errors name.
    """
    span = _models(text).get(name)
    if span is None:
        return None
    config = _parse_entry(text[slice(*span)])
    policy = config.model_version_policy
    if policy.WhichOneof("policy_choice") != "specific":
        raise InvalidModelsConfig(
            f"{origin}: the entry of {name} does not load `specific` versions, so no label can be "
            "moved; write model_version_policy { specific { versions: N } } there"
        )
    return Entry(config.base_path, tuple(policy.specific.versions), dict(config.version_labels))


def with_entry(text: str, name: str, new: Entry) -> str:
    """The text with the entry of a model edited, or added at the end."""
    line_end = "\r\n" if "\r\n" in text else "\n"
    spans = _models(text)
    if name in spans:
        start, end = spans[name]
        body = text[start:end]
        for at, to, replacement in reversed(_edits(body, new)):
            body = body[:at] + replacement.replace("\n", line_end) + body[to:]
        return f"{text[:start]}{body}{text[end:]}"
    if not _top_fields(text):
        text = f"{text.rstrip()}{line_end}{_LIST} {{{line_end}}}{line_end}".lstrip()
    end = _list_end(text)
    before = text[:end].rstrip(" ")
    gap = "" if before.endswith("\n") else line_end
    added = f"  config {{\n{_body(name, new)}  }}\n".replace("\n", line_end)
    return f"{before}{gap}{added}{text[end:]}"


def _edits(body: str, new: Entry) -> list[tuple[int, int, str]]:
    """What to put where in the inside of an entry: from, to and by what, in their order.

    What says the same as before stays as it is written.
    """
    edits = []
    missing = dict(new.labels)
    last = len(body)
    for name, start, end in _message_fields(body):
        if name not in ("model_version_policy", "version_labels"):
            continue
        last = end
        said = _parse_entry(body[start:end])
        if name == "model_version_policy":
            if {*said.model_version_policy.specific.versions} != {*new.versions}:
                edits.append((start, end, _policy(new.versions)))
            continue
        here = dict(said.version_labels)
        now = {label: missing.pop(label) for label in here if label in missing}
        if not now:
            edits.append((*_with_its_gap(body, start, end), ""))
        elif now != here:
            edits.append((start, end, _labels(now)))
    if missing:
        rest_of_line = _REST_OF_LINE.match(body, last)
        last = rest_of_line.end() if rest_of_line else last
        edits.append((last, last, f"\n    {_labels(missing)}"))
    return edits


def _with_its_gap(body: str, start: int, end: int) -> tuple[int, int]:
    """The span of a field with the separator behind it, and the line if it has that to itself."""
    end += len(body[end:]) - len(body[end:].lstrip(" \t,;"))
    if body[end:].startswith(("\n", "\r\n")):
        start = len(body[:start].rstrip())
    return start, end


def _policy(versions: Sequence[int]) -> str:
    config = serving_pb2.ModelConfig()
    config.model_version_policy.specific.versions.extend(sorted(versions))
    return _to_text(config)


def _labels(labels: Mapping[str, int]) -> str:
    return _to_text(serving_pb2.ModelConfig(version_labels=labels))


def _to_text(config: serving_pb2.ModelConfig) -> str:
    """As text that stands in an entry, behind the indent of its first line."""
    return text_format.MessageToString(config, as_utf8=True, indent=4).strip()


def write(path: Path, text: str) -> None:
    """Replace the config: a server finds the old one or the new one. Raises OSError."""
    write_atomically(path, text)


def message(text: str, *, origin: Path) -> serving_pb2.ModelServerConfig:
    """The config as a message, to be sent to a server.

    Raises InvalidModelsConfig for a field that this package cannot send.
    """
    config = serving_pb2.ModelServerConfig()
    try:
        text_format.Parse(text, config)
    except text_format.ParseError as error:
        raise InvalidModelsConfig(
            f"{origin}: holds what tfkmeans cannot send to a server: {error}; leave out --server, "
            "and let the server read the file"
        ) from None
    return config


def _body(name: str, entry: Entry) -> str:
    config = serving_pb2.ModelConfig(
        name=name,
        base_path=entry.base_path,
        model_platform="tensorflow",
        version_labels=entry.labels,
    )
    config.model_version_policy.specific.versions.extend(sorted(entry.versions))
    return text_format.MessageToString(config, as_utf8=True, indent=4)


def _models(text: str) -> dict[str, tuple[int, int]]:
    """Where in the text the inside of each model's entry begins and ends, by the model's name."""
    spans = {}
    depth, opened, words = 0, 0, [""]
    for token in _TOKEN.finditer(text):
        word = token.group()
        if word in ("{", "<"):
            depth += 1
            if depth == 2 and words[-1] == "config":
                opened = token.end()
            words.append("")
        elif word in ("}", ">"):
            depth -= 1
            words.pop()
            if depth == 1 and words[-1] == "config":
                spans[_parse_entry(text[opened : token.start()]).name] = (opened, token.start())
        elif word[0].isalpha():
            words[-1] = word
    return spans


def _message_fields(body: str) -> Iterator[tuple[str, int, int]]:
    """The fields of an entry that hold messages: name, where it begins and where it ends."""
    depth, name, start = 0, "", 0
    for token in _TOKEN.finditer(body):
        word = token.group()
        if word in ("{", "<", "["):
            depth += 1
        elif word in ("}", ">", "]"):
            depth -= 1
            if depth == 0:
                yield name, start, token.end()
        elif depth == 0 and word[0].isalpha():
            name, start = word, token.start()


def _parse_entry(body: str) -> serving_pb2.ModelConfig:
    """An entry as a message, without the fields that this package does not know: they stay."""
    config: serving_pb2.ModelConfig = text_format.Parse(
        body, serving_pb2.ModelConfig(), allow_unknown_field=True
    )
    return config


def _top_fields(text: str) -> list[str]:
    """The names of the outermost fields."""
    names, depth = [], 0
    for token in _TOKEN.finditer(text):
        word = token.group()
        depth += (word in ("{", "<")) - (word in ("}", ">"))
        if depth == 0 and word[0].isalpha():
            names.append(word)
    return names


def _list_end(text: str) -> int:
    """Where the list of the models is closed."""
    end = len(text)
    for token in _TOKEN.finditer(text):
        if token.group() in ("}", ">"):
            end = token.start()
    return end
