"""``models.config``: which versions of which models a server loads, and their labels.

The file stands beside the folders of the models, one for the server, in the text form of
``tensorflow.serving.ModelServerConfig``. A reload replaces the whole of a server's config, so all
models are in it; an edit changes the policy and the labels of one model and leaves every other byte
as it was, comments included. Imports no TensorFlow.
"""

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from google.protobuf import message, text_format

from export.wire import serving_pb2

from .addresses import as_named, is_address, model_name
from .durable_files import explain, lock_file, write_atomically
from .errors import InvalidModelsConfig
from .reading_rights import find_unreadable

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
# A field of older configs, whose value is a word and no message.
_MODEL_TYPE: Final = re.compile(r"model_type\s*:\s*\w+[ \t,;]*")


_Message = TypeVar("_Message", bound=message.Message)


class _Field(NamedTuple):
    """A field in a text, with the spans of the field and of the inside of its brackets.

    A field without brackets has an empty inside; a message in a list has no name.
    """

    name: str
    start: int
    end: int
    inside: tuple[int, int]


@dataclass(frozen=True)
class Entry:
    """One model in the config: its folder as the server sees it, loaded versions, labels."""

    base_path: str
    versions: tuple[int, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)

    @property
    def stable(self) -> int | None:
        """The version of the label ``stable``; without this label, the highest version."""
        return self.labels.get(STABLE, max(self.versions, default=None))


@dataclass(frozen=True)
class ModelsConfig:
    """The text of the config that the model in ``base`` is in, to read and edit its entry.

    The entry is that of ``name``, the name that the model is served under; else that of the
    folder's name; else the one whose ``base_path`` is the folder.
    """

    base: Path
    text: str
    name: str | None = None

    @classmethod
    def read(cls, base: Path, name: str | None = None) -> "ModelsConfig":
        """Read the config file; without a file, the config has no models.

        Raises InvalidModelsConfig if the file is unreadable or invalid.
        """
        path = path_of(base)
        text = _read(path)
        if text is None:
            return cls(base, _HEAD, name)
        _check(path, text)
        return cls(base, text, name)

    @property
    def path(self) -> Path:
        return path_of(self.base)

    @property
    def model(self) -> str:
        """The name of the entry of the model, also of a future entry."""
        config = self._config
        return config.name if config is not None else self.name or model_name(self.base)

    @property
    def entry(self) -> Entry | None:
        """The entry of the model, or None.

        Raises InvalidModelsConfig for an entry without the policy ``specific``.
        """
        config = self._config
        if config is None:
            return None
        if not _lists_versions(config):
            raise InvalidModelsConfig(
                f"{self.path}: the entry of {self.model} does not load `specific` versions, so no "
                "label can be moved; write model_version_policy { specific { versions: N } } there"
            )
        return _entry_of(config)

    @property
    def has_entry(self) -> bool:
        """Whether the model has an entry, with any policy."""
        return self._config is not None

    @property
    def lists_versions(self) -> bool:
        """Whether the model has an entry with the policy ``specific``."""
        return self._config is not None and _lists_versions(self._config)

    @property
    def labels(self) -> Mapping[str, int]:
        """The labels of the entry, with any policy; none without an entry."""
        return {} if self._config is None else dict(self._config.version_labels)

    @property
    def versions_in_use(self) -> set[int]:
        """The versions that any entry of the folder lists or labels."""
        return {
            version
            for each in self._own_configs
            for version in (
                *each.model_version_policy.specific.versions,
                *each.version_labels.values(),
            )
        }

    def live_version(self, there: Collection[int]) -> int | None:
        """The live version according to the entry, for a model with the versions ``there``.

        None without an entry, and for an entry with another policy than ``specific`` that does not
        load the version with the label ``stable``; the highest version is live then.
        """
        config = self._config
        if config is None:
            return None
        if _lists_versions(config):
            return _entry_of(config).stable
        policy = config.model_version_policy
        # A server takes 0 for 1.
        latest = sorted(there)[-(policy.latest.num_versions or 1) :]
        loaded = there if policy.WhichOneof("policy_choice") == "all" else latest
        stable: int | None = config.version_labels.get(STABLE)
        return stable if stable in loaded else None

    @cached_property
    def _configs(self) -> list[serving_pb2.ModelConfig]:
        """Return the configs of all models in the file."""
        return list(_parse(self.text, serving_pb2.ModelServerConfig()).model_config_list.config)

    @property
    def _config(self) -> serving_pb2.ModelConfig | None:
        """Return the config of this model. Raises InvalidModelsConfig as ``check_one_entry``."""
        by_name = {each.name: each for each in self._own_configs}
        for name in (self.name, model_name(self.base)):
            if name in by_name:
                return by_name[name]
        self.check_one_entry()
        return next(iter(self._own_configs), None)

    @cached_property
    def _own_configs(self) -> list[serving_pb2.ModelConfig]:
        """The entries that may be the model's: by its folder, by that one's name, or by ``name``.

        A ``base_path`` that is not here is a container's, and may be any folder; the name alone
        makes it this one only where no other entry is.
        """
        own = model_name(self.base)
        found = [
            each
            for each in self._configs
            if each.name == own or _is_folder(each.base_path, self.base)
        ]
        named = [
            each
            for each in self._configs
            if each.name == self.name
            and each not in found
            and not os.path.isdir(each.base_path)
            and (not found or model_name(each.base_path) == own)
        ]
        return [*found, *named]

    def check_one_entry(self) -> None:
        """Raise InvalidModelsConfig if several entries match the model, and no name selects one."""
        names = [each.name for each in self._own_configs]
        if len(names) > 1 and self.name not in names:
            raise InvalidModelsConfig(
                f"{self.path}: the entries {' and '.join(names)} are all of {self.base}; choose "
                "one with --name NAME, or keep only one"
            )

    def find_lost_model(self) -> str | None:
        """Return a message about another model with a missing folder; None if all exist.

        A server that misses one folder loads and unloads nothing, of no model. Folders are looked
        for where this model's own ``base_path`` leads to ``base``; others are the server's alone.
        """
        own = next((each.base_path for each in self._configs if each.name == self.model), "")
        if not own.startswith("/"):
            return None
        for model in self._configs:
            place = Path(model.base_path)
            if model.name == self.model or place.exists():
                continue
            if place.is_relative_to(Path(own).parent):
                place = self.base.absolute().parent / place.relative_to(Path(own).parent)
            elif not Path(own).exists() or not place.is_absolute():
                continue
            if not place.exists():
                return (
                    f"{self.path} also lists the model {model.name}, whose folder {place} does not "
                    "exist: until the folder is restored or the entry removed, a server changes "
                    "no model at all"
                )
        return None

    def entry_at(self, served_at: str | None) -> Entry:
        """The entry, or an empty one for the folder of the model as the server sees it.

        That is ``served_at``, or else its absolute path. Raises InvalidModelsConfig where the entry
        has another one, and for what no server takes.
        """
        if served_at is not None and not is_servable(served_at):
            raise InvalidModelsConfig(
                f"{served_at}: not an absolute path or an address; give the folder of the model as "
                "the server sees it"
            )
        if self.name not in (None, self.model):
            raise InvalidModelsConfig(
                f"{self.path}: {self.base} is served as {self.model}, not as {self.name}; give "
                "that name, or change the file"
            )
        entry = self.entry
        if entry is None:
            if taken := next((each for each in self._configs if each.name == self.model), None):
                raise InvalidModelsConfig(
                    f"{self.path}: {self.model} is the model in {taken.base_path}; give another "
                    "name"
                )
            return Entry(served_at or str(as_named(self.base)))
        if served_at not in (None, entry.base_path):
            raise InvalidModelsConfig(
                f"{self.path}: the entry of {self.model} has base_path {entry.base_path}, not "
                f"{served_at}; edit base_path there if the folder has moved"
            )
        return entry

    def with_entry(self, new: Entry) -> "ModelsConfig":
        """The config with the entry of the model edited, or added at the end."""
        text = self.text
        line_end = "\r\n" if "\r\n" in text else "\n"
        if not any(_fields(text)):
            text = f"{text.rstrip()}{line_end}{_LIST} {{{line_end}}}{line_end}".lstrip()
        (models,) = _fields(text)
        spans = _entry_spans(text, models)
        if self.model in spans:
            edits = _edits(text, *spans[self.model], new)
        else:
            end = models.inside[1]
            start = len(text[:end].rstrip(" "))
            gap = "" if text[:start].endswith("\n") else "\n"
            entry = _to_text(
                name=self.model,
                base_path=new.base_path,
                model_platform="tensorflow",
                model_version_policy=_policy(new),
                version_labels=new.labels,
            )
            edits = [(start, end, f"{gap}  config {{\n    {entry}\n  }}\n")]
        for start, end, replacement in reversed(edits):
            text = text[:start] + replacement.replace("\n", line_end) + text[end:]
        return replace(self, text=text)

    def message(self) -> serving_pb2.ModelServerConfig:
        """The config as a message, to be sent to a server.

        Raises InvalidModelsConfig for a field that this package cannot send.
        """
        config = serving_pb2.ModelServerConfig()
        try:
            text_format.Parse(self.text, config)
        except text_format.ParseError as error:
            raise InvalidModelsConfig(
                f"{self.path}: contains fields that tfkmeans cannot send to a server: {error}; "
                "leave out --server, so that the server reads the file"
            ) from None
        return config

    def write(self, tell: Callable[[str], None] = lambda _said: None) -> None:
        """Replace the file: a server finds the old one or the new one. Raises OSError.

        ``tell`` is told when this makes it one that a server of another user cannot read.
        """
        path = self.path
        before = _reading_rights(path)
        write_atomically(path, self.text)
        unreadable = find_unreadable([Path(os.path.realpath(path)), path.parent])
        if unreadable and _reading_rights(path) != before:
            tell(
                f"warning: a server that runs as another user cannot read {unreadable}; correct it "
                f"with: chmod a+rX {path.parent} {path}"
            )


def _reading_rights(path: Path) -> tuple[int, int, int] | None:
    """Mode, owner and group of a file; None if it does not exist."""
    if not path.exists():
        return None
    now = path.stat()
    return now.st_mode, now.st_uid, now.st_gid


def path_of(base: Path) -> Path:
    """The config file of the model in ``base``: next to the folder, by the given path.

    If ``base`` is a link without a config next to it, the file next to the target of the link.
    """
    beside = as_named(base).parent / CONFIG_FILE
    beside_target = Path(os.path.realpath(base)).parent / CONFIG_FILE
    return beside_target if beside_target.exists() and not beside.exists() else beside


def is_servable(folder: str) -> bool:
    """Whether a server accepts the folder of a model: an absolute path or an address."""
    return folder.startswith("/") or is_address(folder)


def _is_folder(base_path: str, base: Path) -> bool:
    """Whether the folder of an entry, as the server sees it, is this local folder."""
    is_path = base_path.startswith("/")
    return is_path and os.path.realpath(base_path) == os.path.realpath(base)


def _lists_versions(config: serving_pb2.ModelConfig) -> bool:
    policy: str | None = config.model_version_policy.WhichOneof("policy_choice")
    return policy == "specific"


def _entry_of(config: serving_pb2.ModelConfig) -> Entry:
    listed = tuple(config.model_version_policy.specific.versions)
    return Entry(config.base_path, listed, dict(config.version_labels))


@contextmanager
def edit_lock(
    base: Path, tell: Callable[[str], None] = lambda _said: None, *, name: str | None = None
) -> Iterator[ModelsConfig]:
    """Lock the config of a model against edits by others; yield the config.

    ``tell`` is told that somebody else does so just now. Raises InvalidModelsConfig when the folder
    does not take the lock, and as ``ModelsConfig.read``.
    """
    path = path_of(base)
    lock = path.with_name(_LOCK_FILE)
    with _lock(lock, f"edits {path}", f"{path}: cannot be edited", tell):
        yield ModelsConfig.read(base, name)


def move_lock(
    base: Path, tell: Callable[[str], None] = lambda _said: None
) -> AbstractContextManager[None]:
    """Lock the labels of a model against moves by others; other entries stay editable.

    To be taken before ``edit_lock``. Raises as that does.
    """
    trouble = f"{base}: no label can be moved"
    return _lock(base / _MOVE_LOCK, f"moves labels of {base}", trouble, tell)


@contextmanager
def _lock(path: Path, purpose: str, trouble: str, tell: Callable[[str], None]) -> Iterator[None]:
    try:
        with lock_file(path, lambda: tell(f"waiting for another command that {purpose}")):
            yield
    except OSError as error:
        raise InvalidModelsConfig(f"{trouble}: {explain(error)}") from error


def _parse(text: str, config: _Message) -> _Message:
    """Parse a text into ``config``, without the fields that this package does not know.

    These stay in the text.
    """
    return text_format.Parse(text, config, allow_unknown_field=True)


def _without_server_fields(text: str) -> str:
    """The text with spaces in place of the fields of entries that only servers know.

    All other positions stay the same, so that an error message has the right line.
    """
    lists = [each for each in _fields(text) if each.name == _LIST]
    for start, end in (span for models in lists for span in _message_spans(text, models)):
        for each in _fields(text, start, end):
            last = each.start
            if each.name == "logging_config":
                _, last = _full_span(text, each)
            elif each.name == "model_type" and (value := _MODEL_TYPE.match(text, each.start)):
                last = value.end()
            blank = re.sub(r"[^\n]", " ", text[each.start : last])
            text = text[: each.start] + blank + text[last:]
    return text


def _find_mistake(model: serving_pb2.ModelConfig) -> str | None:
    """Return why servers refuse an entry, and the correction; None if it is valid."""
    if not model.name:
        return f"the entry with base_path {model.base_path!r} has no name; write name: there"
    if not model.base_path:
        return f"the entry of {model.name} has no base_path; write base_path: there"
    listed = model.model_version_policy.specific.versions
    for label, version in model.version_labels.items():
        if version < 0 or (version == 0 and 0 not in listed):
            return (
                f"the entry of {model.name} has label {label!r} on version {version}, which is not "
                "valid; write value: and a version there, or remove the label"
            )
    return None


def _read(path: Path) -> str | None:
    """The text of a config; None without a file. Raises InvalidModelsConfig."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise InvalidModelsConfig(f"{path}: is not a file; replace it by one")
    try:
        with path.open(encoding="utf-8", newline="") as file:  # line ends stay as they are
            text = file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModelsConfig(f"{path}: cannot be read: {error}") from None
    if text.startswith("\ufeff"):
        raise InvalidModelsConfig(
            f"{path}: begins with a byte order mark; save it as UTF-8 without one"
        )
    return text


def _check(path: Path, text: str) -> None:
    """Raise InvalidModelsConfig for a config that cannot be edited, or that servers refuse."""
    try:
        config = _parse(text, serving_pb2.ModelServerConfig())
        for other in _fields(text):
            if other.name != _LIST:
                raise InvalidModelsConfig(
                    f"{path}: contains {other.name}; only a config with just a {_LIST} can be "
                    "edited"
                )
        text_format.Parse(_without_server_fields(text), serving_pb2.ModelServerConfig())
    except text_format.ParseError as error:
        raise InvalidModelsConfig(f"{path}:{error}; correct the file there") from None
    except RecursionError:
        raise InvalidModelsConfig(f"{path}: is nested too deeply; correct the file") from None
    models = config.model_config_list.config
    names = Counter(model.name for model in models)
    for twice in (each for each, times in names.items() if times > 1):
        raise InvalidModelsConfig(
            f"{path}: lists the model {twice} more than once, which every server refuses; keep one"
        )
    for mistake in filter(None, map(_find_mistake, models)):
        raise InvalidModelsConfig(f"{path}: {mistake}")


def _to_text(**fields: Any) -> str:
    """The fields of an entry, behind the indent of the first line."""
    config = serving_pb2.ModelConfig(**fields)
    return text_format.MessageToString(config, as_utf8=True, indent=4).strip()


def _policy(entry: Entry) -> dict[str, Any]:
    return {"specific": {"versions": sorted(entry.versions)}}


def _edits(text: str, start: int, end: int, new: Entry) -> list[tuple[int, int, str]]:
    """Return the edits inside an entry, in order: start, end and new text.

    What says the same as before stays as it is written.
    """
    edits = []
    missing = dict(new.labels)
    last = end
    for each in _fields(text, start, end):
        if each.name not in ("model_version_policy", "version_labels"):
            continue
        last = each.end
        said = _parse(text[each.start : each.end], serving_pb2.ModelConfig())
        if each.name == "model_version_policy":
            if {*said.model_version_policy.specific.versions} != {*new.versions}:
                edits.append((each.start, each.end, _to_text(model_version_policy=_policy(new))))
            continue
        here = dict(said.version_labels)
        now = {label: missing.pop(label) for label in here if label in missing}
        if not now:
            edits.append((*_full_span(text, each), ""))
        elif now != here:
            edits.append((each.start, each.end, _to_text(version_labels=now)))
    if missing:
        rest_of_line = _REST_OF_LINE.match(text, last)
        last = rest_of_line.end() if rest_of_line else last
        edits.append((last, last, f"\n    {_to_text(version_labels=missing)}"))
    return edits


def _full_span(text: str, field: _Field) -> tuple[int, int]:
    """The span of a field with its separator, and the whole line if nothing else is on it."""
    start, end = field.start, len(text) - len(text[field.end :].lstrip(" \t,;"))
    if text[end:].startswith(("\n", "\r\n")):
        start = len(text[:start].rstrip())
    return start, end


def _entry_spans(text: str, models: _Field) -> dict[str, tuple[int, int]]:
    """Return the span of the inside of each model's entry in the text, by the model's name."""
    return {
        _parse(text[start:end], serving_pb2.ModelConfig()).name: (start, end)
        for start, end in _message_spans(text, models)
    }


def _message_spans(text: str, models: _Field) -> Iterator[tuple[int, int]]:
    """Yield the span of the inside of each entry in the text."""
    for each in _fields(text, *models.inside):
        if each.name == "config":
            is_list = text[each.inside[0] - 1] == "["
            yield from (one.inside for one in (_fields(text, *each.inside) if is_list else [each]))


def _fields(text: str, start: int = 0, end: int = sys.maxsize) -> Iterator[_Field]:
    """The fields of the message, or the messages of the list, between two places of a text."""
    depth, name = 0, ""
    begin = opened = start
    for token in _TOKEN.finditer(text, start, end):
        word = token.group()
        if word in ("{", "<", "["):
            opened = opened if depth else token.end()
            depth += 1
        elif word in ("}", ">", "]"):
            depth -= 1
            if depth == 0:
                yield _Field(name, begin, token.end(), (opened, token.start()))
                name = ""
        elif depth == 0 and word[0].isalpha():
            if name:
                yield _Field(name, begin, begin, (begin, begin))
            name, begin = word, token.start()
    if name:
        yield _Field(name, begin, begin, (begin, begin))
