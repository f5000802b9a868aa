"""The commands `gmadet-nb label`, `labels` and `stamps`."""

import argparse
from pathlib import Path

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.files.rundir import RunDir, check_name


def add_label_commands(add):
    """Add the commands to a parser.

    Parameters
    ----------
    add : callable
        ``add(name, command, text)`` returns the parser of a new command.
    """
    label = add("label", _label, "label the candidates of a run on a page of its own")
    label.add_argument("run_dir", help="the run folder")
    label.add_argument(
        "--labeler",
        type=_labeler,
        default="",
        help="who labels; else the login name",
    )
    label.add_argument(
        "--port",
        type=_port,
        default=8866,
        help="first port to try, 1024 to 65535; 0 for any free one",
    )
    label.add_argument(
        "--no-browser", action="store_true", help="print the address, open no browser"
    )
    label.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a parameter of 06_label, such as label_order=score",
    )
    label.add_argument("--notebooks", help="folder of the notebooks")
    labels = add("labels", _labels, "bring labels into a run or out of it")
    labels.add_argument("way", choices=("import", "export"))
    labels.add_argument("run_dir", help="the run folder")
    labels.add_argument(
        "path", help="a .csv file, or a folder with gmadet's true/ and false/"
    )
    labels.add_argument(
        "--labeler",
        type=_labeler,
        default="",
        help="import: who has moved files in the folders, and whose labels come in "
        "where they do not say so, else the login name; export: whose labels go out, "
        "all of them and no others",
    )
    stamps = add("stamps", _stamps, "make a run folder out of cutouts from elsewhere")
    stamps.add_argument(
        "path", help="an .npz of gmadet, O'TRAIN or a survey, or true/ and false/"
    )
    stamps.add_argument("run_dir", help="the new run folder")


def _port(text):
    """Return the port that an argument names."""
    port = int(text) if text.isdecimal() else -1
    if port and not 1024 <= port <= 65535:
        raise argparse.ArgumentTypeError(
            f"a port must be 1024 to 65535, or 0 for any free one, got {text!r}."
        )
    return port


def _labeler(text):
    """Return the name that an argument gives, if it can be that of a file."""
    try:
        return check_name(text, what="labeler") if text else ""
    except BadInputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _label(arguments):
    """Serve the label grid of a run as a page of its own."""
    from gmadet_nb.campaign.checks import open_run
    from gmadet_nb.campaign.plan import open_campaign
    from gmadet_nb.campaign.serve import serve_labels

    campaign = open_campaign(
        open_run(arguments.run_dir).root,
        assignments=arguments.set,
        notebooks=arguments.notebooks,
    )
    _check_assignments(arguments.set, campaign.schemas["06_label"])
    serve_labels(
        campaign,
        labeler=arguments.labeler,
        port=arguments.port,
        browser=not arguments.no_browser,
    )


def _check_assignments(assignments, schema):
    """Refuse to set what the page has not, or has from the call itself."""
    from gmadet_nb.campaign.parameters import parse_assignments

    for name in parse_assignments(assignments):
        if name not in schema:
            raise BadParameterError(
                f"--set: {name} is no parameter of 06_label, and would change nothing "
                f"here. It has {', '.join(schema)}."
            )
        if name == "run_dir":
            raise BadParameterError(
                "--set: run_dir is the run folder that the command names. Name another "
                "one there."
            )


def _labels(arguments):
    """Bring labels into a run or out of it: CSV, or gmadet's true/ and false/."""
    from gmadet_nb.campaign.checks import open_run

    run, path = open_run(arguments.run_dir), Path(arguments.path)
    is_csv = path.suffix.lower() == ".csv"
    if path.suffix and not is_csv and not path.is_dir():
        raise BadParameterError(
            f"Labels are in a .csv file, or in a folder with true/ and false/, and "
            f"'{path}' is neither. Name one of these."
        )
    if arguments.way == "import":
        text = _import_labels(run, path, is_csv, arguments.labeler)
    else:
        text = _export_labels(run, path, is_csv, arguments.labeler)
    print(text, flush=True)


def _import_labels(run, path, is_csv, labeler):
    """Take labels into a run, and say how many of which kind.

    Raises
    ------
    BadInputError
        If there are labels, and not one of them is of use here.
    """
    from gmadet_nb.learning.label_csv import read_csv
    from gmadet_nb.learning.label_exchange import read_folders
    from gmadet_nb.learning.label_import import take_labels

    if not path.exists():
        raise BadInputError(f"There is no file or folder '{path}'.")
    said = read_csv(path, labeler=labeler) if is_csv else read_folders(path)
    n = take_labels(
        run.labels_dir,
        said,
        run.read_table("candidates")["candidate_id"],
        labeler=labeler,
        origin=f"imported from {path.name}",
    )
    left = {
        "said already": n["there"],
        "automatic, in the folder where they were": n["automatic"],
        "where they were, and otherwise by an earlier move (name who made it with "
        "--labeler if it was taken back)": n["back"],
        f"of candidates that {run.root} does not have": n["unknown"],
    }
    why = ", ".join(f"{count} {reason}" for reason, count in left.items() if count)
    if said and not n["taken"] + n["there"]:
        raise BadInputError(f"None of the {len(said)} labels was taken: {why}.")
    moved = f" ({n['moved']} of files that were moved)" if n["moved"] else ""
    text = f"{n['taken']} labels taken{moved} from {path}"
    if not said:
        return f"{text}, which holds none."
    return f"{text}; left out: {why}." if why else f"{text}."


def _export_labels(run, path, is_csv, labeler):
    """Write a run's labels, or one labeler's, and say how many went where.

    Raises
    ------
    BadParameterError
        If there are none of this labeler.
    """
    known = sorted(each.stem for each in run.labels_dir.glob("*.jsonl"))
    if labeler and labeler not in known:
        raise BadParameterError(
            f"{run.root} has no labels of {labeler}, only of "
            f"{', '.join(known) or 'nobody'}. With --labeler name one who has labelled."
        )
    what = f"labels of {labeler}" if labeler else "labels"
    if is_csv:
        from gmadet_nb.learning.label_csv import write_csv

        n = write_csv(path, run.labels_dir, labeler=labeler)
        text = f"{n} {what} written to {path}."
    else:
        text = _export_folders(run, path, labeler)
    return text if labeler else text + _say_what_stays(run.labels_dir)


def _export_folders(run, path, labeler):
    """Write labelled candidates as folders; of one labeler, hers alone."""
    import numpy as np

    from gmadet_nb.learning.cutouts import CutoutStore
    from gmadet_nb.learning.label_exchange import FOLDERS, write_folders
    from gmadet_nb.learning.labeling import label_table
    from gmadet_nb.learning.labels import read_labels

    human = read_labels(run.labels_dir, labeler=labeler)
    labels = label_table(run.read_table("crossmatch"), human)
    if labeler:
        labels = labels[np.isin(labels["candidate_id"], human["candidate_id"])]
    candidates, store = run.read_table("candidates"), CutoutStore(run.cutouts_path)
    n = write_folders(path, labels, candidates, store, human)
    return ", ".join(f"{n[word]} in {path / FOLDERS[word]}" for word in n) + "."


def _say_what_stays(folder):
    """Say that of several labels the one in force goes out, and who disagrees."""
    from gmadet_nb.learning.label_quality import find_disagreements

    table = find_disagreements(folder)
    who = [name[3:] for name in table.colnames[1:] if any(w for w in table[name])]
    text = " Of each candidate only the label in force goes out, the latest"
    if not who:
        return f"{text}."
    return (
        f"{text}: on {len(table)} of them {len(who)} labelers disagree "
        f"({', '.join(who)}). --labeler NAME writes all labels of one."
    )


def _stamps(arguments):
    """Make a run folder out of cutouts from elsewhere."""
    from gmadet_nb.learning.stamp_run import make_stamp_run
    from gmadet_nb.learning.stamps import read_stamps

    stamps, run = read_stamps(arguments.path), RunDir(arguments.run_dir)
    make_stamp_run(run, stamps, source=Path(arguments.path).name)
    n = len(stamps.table)
    print(f"{n} stamps in {run.root}: gmadet-nb label {run.root}", flush=True)
