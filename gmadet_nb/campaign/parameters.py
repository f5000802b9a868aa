"""Campaign parameters: the tagged cells of the notebooks are their only schema."""

import ast
import difflib
import io
import json
import math
import tokenize
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from gmadet_nb.errors import BadParameterError

TYPES = {"int": int, "float": float, "str": str, "bool": bool, "list": list}
# Lists that are empty by default show nothing of what may be in them.
EXAMPLES = {
    "known_objects": '["variables.csv"]',
    "show_exposures": '["night_00"]',
    "show_mag_range": "[16.0, 18.0]",
    "show_labels": '["real"]',
    "show_origins": '["human"]',
}


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One line of a parameters cell.

    Attributes
    ----------
    name, type : str
        As annotated; the type is one of `TYPES`.
    default : object
        Value of the literal.
    help : str
        The comment behind it: unit and meaning.
    notebook : str
        Name of the notebook, such as ``03_detect``.
    """

    name: str
    type: str
    default: object
    help: str
    notebook: str

    @property
    def takes_auto(self):
        """True where the text "auto" stands for a value read from the data."""
        return "or auto" in self.help


def read_schema(path):
    """Read the parameters of a notebook from its tagged cell.

    Parameters
    ----------
    path : str or Path
        The notebook.

    Returns
    -------
    dict
        `Parameter` by name, in the order of the cell.

    Raises
    ------
    BadParameterError
        If there is not exactly one tagged cell, or a line of it is no
        ``name: type = literal  # help``.
    """
    path = Path(path)
    cells = [
        "".join(cell["source"])
        for cell in json.loads(path.read_text())["cells"]
        if "parameters" in cell["metadata"].get("tags", [])
    ]
    if len(cells) != 1:
        raise BadParameterError(
            f"{path} must have one cell tagged 'parameters', and has {len(cells)}."
        )
    comments = _comments(cells[0])
    schema = {}
    for statement in ast.parse(cells[0]).body:
        try:
            name, kind = statement.target.id, statement.annotation.id
            default = ast.literal_eval(statement.value)
        except (AttributeError, ValueError):
            kind = None
        if kind not in TYPES:
            raise BadParameterError(
                f"{path}: each line of the parameters cell must be 'name: type = "
                f"literal  # unit and meaning' with a type of {', '.join(TYPES)}, got "
                f"{ast.unparse(statement)!r}."
            )
        schema[name] = Parameter(
            name=name,
            type=kind,
            default=default,
            help=comments.get(statement.lineno, ""),
            notebook=path.stem,
        )
    return schema


def read_campaign(path):
    """Read a campaign file as YAML 1.2: a flat mapping of parameter names.

    Raises
    ------
    BadParameterError
        If it is absent, is no YAML, or is no mapping of names.
    """
    path = Path(path)
    if not path.is_file():
        raise BadParameterError(
            f"{path}: no such campaign file. Give the path of a YAML file, such as "
            "params/demo.yaml."
        )
    content = _load_yaml(path.read_text(encoding="utf-8"), path)
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise BadParameterError(
            f"{path}: a campaign file must hold 'name: value' lines, got "
            f"{_kind(content)}."
        )
    return {str(name): value for name, value in content.items()}


def parse_assignments(texts):
    """Turn ``name=value`` texts of the command line into a dict.

    The value is read as in a campaign file, so ``mag_range=[14, 20]`` is a list.
    """
    values = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not (separator and name.strip()):
            raise BadParameterError(f"--set takes name=value, got {text!r}.")
        values[name.strip()] = _load_yaml(value, f"--set {text}")
    return values


def check_values(values, schemas, *, source):
    """Return the values with the types that the notebooks want.

    Parameters
    ----------
    values : dict
        What a campaign sets.
    schemas : dict
        `read_schema` of each notebook, by notebook name.
    source : str
        Where the values came from, for the message.

    Raises
    ------
    BadParameterError
        If a name is unknown or a value has a wrong type.
    """
    known = {}
    for schema in schemas.values():
        for parameter in schema.values():
            known.setdefault(parameter.name, parameter)
    checked = {}
    for name, value in values.items():
        if name not in known:
            raise BadParameterError(_unknown_message(name, known, source))
        checked[name] = _typed(value, known[name], source)
    return checked


def nearest(name, known):
    """Return the name in ``known`` that looks most like ``name``, or None."""
    close = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    return close[0] if close else None


def _unknown_message(name, known, source):
    close = nearest(name, known)
    if close is None:
        hint = "The parameters cells of the notebooks name all there are."
    else:
        hint = f"The nearest known name is {close!r} (of {known[close].notebook})."
    return f"{source}: unknown parameter {name!r}. {hint}"


def _typed(value, parameter, source):
    """Return ``value`` as the parameter's type, or raise."""
    wanted = TYPES[parameter.type]
    if parameter.takes_auto and value == "auto":
        return value
    if wanted is float and type(value) is int:
        return float(value)
    # type(), since a bool is an int and must not pass for a number.
    if type(value) is wanted and _is_usable(value, parameter.default):
        return value
    expected = parameter.type + (" or auto" if parameter.takes_auto else "")
    if wanted is list:
        example = EXAMPLES.get(parameter.name) or json.dumps(parameter.default)
        expected = f"a list like {example}"
        if source == "--set":
            expected = f"a list, such as --set '{parameter.name}={example}'"
    raise BadParameterError(
        f"{source}: {parameter.name} must be {expected}, got {_kind(value)}. "
        f"{parameter.notebook} says: {parameter.help}."
    )


def _is_usable(value, default):
    """Refuse NaN, infinity and lists whose items are unlike the default's."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list):
        number = (int, float)
        # Without a default to be like: all numbers or all texts.
        like = default or value
        wanted = number if like and type(like[0]) in number else (str,)
        return all(type(item) in wanted and _is_usable(item, None) for item in value)
    return True


def _kind(value):
    """Name a value and its type as a person wrote it."""
    if value is None:
        return "nothing"
    kind = {"CommentedSeq": "list", "dict": "mapping"}.get(
        type(value).__name__, type(value).__name__
    )
    return f"{value!r} ({kind})"


def _load_yaml(text, source):
    # YAML 1.1 would read 12:30:00 as 45000, 1e-3 as text and "no" as False.
    try:
        return YAML(typ="safe", pure=True).load(io.StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        line = f" line {mark.line + 1}" if mark else ""
        raise BadParameterError(
            f"{source}:{line} is no valid YAML: {_first_line(error.problem)}."
        ) from None
    except (YAMLError, ValueError) as error:
        raise BadParameterError(
            f"{source} is no valid YAML: {_first_line(error)}."
        ) from None


def _first_line(text):
    return str(text).strip().splitlines()[0].rstrip(".")


def _comments(source):
    """Return the comment of each line, by line number."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokens
        if token.type == tokenize.COMMENT
    }
