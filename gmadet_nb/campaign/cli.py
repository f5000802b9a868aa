"""The command `gmadet-nb`."""

import argparse
import logging
import sys
from pathlib import Path

from gmadet_nb import __version__
from gmadet_nb.campaign.label_commands import add_label_commands
from gmadet_nb.errors import BadParameterError, GmadetError
from gmadet_nb.progress import format_seconds

USAGE_ERROR, FAILURE = 2, 1
DEMO_NIGHTS = "runs/demo_nights"
DEMO_CAMPAIGNS = ("demo.yaml", "demo_apply.yaml")


def main(argv=None):
    """Run the command and return its exit code.

    0: all is well; 1: a cell or an input failed; 2: the call or a parameter is
    wrong and nothing has started; 143: SIGTERM ended it.
    """
    arguments = _parser().parse_args(argv)
    try:
        return arguments.command(arguments) or 0
    except BadParameterError as error:
        return _complain(error, USAGE_ERROR)
    except GmadetError as error:
        return _complain(error, FAILURE)
    except KeyboardInterrupt:
        return _complain("stopped; the same command goes on from here.", 130)
    except SystemExit as ended:
        from gmadet_nb.campaign.runner import TERMINATED

        if ended.code != TERMINATED:
            raise
        # What waited for the kernel would still report that it waits in vain.
        logging.disable(logging.CRITICAL)
        return _complain("ended by SIGTERM; the same command goes on from here.", 143)


def _complain(error, code):
    print(f"gmadet-nb: {error}", file=sys.stderr, flush=True)
    return code


def _run(arguments):
    from gmadet_nb.campaign.plan import open_campaign

    campaign = open_campaign(
        arguments.params, assignments=arguments.set, notebooks=arguments.notebooks
    )
    ran = _run_and_report(
        campaign,
        first=arguments.first,
        last=arguments.last,
        force=arguments.force,
    )
    if not ran:
        _say(f"Everything is up to date in {campaign.run.root}.")
    _say(f"Report: {campaign.run.report_path}")


def _run_and_report(campaign, **choices):
    """Run a campaign and write its report where something ran."""
    from gmadet_nb.campaign.report import write_report
    from gmadet_nb.campaign.runner import run_campaign

    _say(f"{campaign.source} ({campaign.workflow}) in {campaign.run.root}")
    ran = run_campaign(campaign, echo=_say, **choices)
    stale = _stale(campaign)
    if ran or not campaign.run.report_path.is_file():
        write_report(campaign, stale=stale)
    if stale:
        _say(f"Out of date now, and shown as it was: {', '.join(stale)}.")
    return ran


def _stale(campaign):
    """Return the stages that have run and would run again: theirs are older figures."""
    from gmadet_nb.campaign.runner import campaign_status

    return [
        status.name
        for status in campaign_status(campaign)
        if status.reason and status.seconds is not None
    ]


def _status(arguments):
    from gmadet_nb.campaign.plan import open_campaign
    from gmadet_nb.campaign.runner import campaign_status

    for path in [arguments.params] if arguments.params else _runs_here():
        campaign = open_campaign(
            path, assignments=arguments.set, notebooks=arguments.notebooks
        )
        _say(f"{campaign.source} ({campaign.workflow}) in {campaign.run.root}")
        for each in campaign_status(campaign):
            took = "" if each.seconds is None else f" ({format_seconds(each.seconds)})"
            now = f"out of date: {each.reason}" if each.reason else f"up to date{took}"
            _say(f"  {each.name:20} {now}")


def _runs_here():
    """Return the run folders in runs/, where campaigns put them by custom.

    Raises
    ------
    BadParameterError
        If there is none.
    """
    found = sorted(path.parent for path in Path("runs").glob("*/params.yaml"))
    if not found:
        raise BadParameterError(
            "There is no run folder in runs/: name a campaign file or a run folder."
        )
    return found


def _report(arguments):
    from gmadet_nb.campaign.checks import open_run
    from gmadet_nb.campaign.plan import open_campaign
    from gmadet_nb.campaign.report import write_report

    for path in [arguments.run_dir] if arguments.run_dir else _runs_here():
        campaign = open_campaign(open_run(path).root)
        _say(f"Report: {write_report(campaign, stale=_stale(campaign))}")


def _new(arguments):
    from gmadet_nb.campaign.new import new_campaign

    params_dir = Path(arguments.params_dir)
    _say(new_campaign(arguments.name, arguments.folder, params_dir=params_dir))


def _demo(arguments):
    from gmadet_nb.campaign.demo import make_demo
    from gmadet_nb.campaign.plan import default_notebooks, open_campaign
    from gmadet_nb.campaign.runner import campaign_status
    from gmadet_nb.campaign.summary import summary

    nights = make_demo(DEMO_NIGHTS)
    if nights.made:
        _say(f"Made {sum(nights.n_exposures)} exposures of two nights in {DEMO_NIGHTS}")
    params = default_notebooks().parent / "params"
    campaigns = [open_campaign(params / name) for name in DEMO_CAMPAIGNS]
    statuses = [status for each in campaigns for status in campaign_status(each)]
    if arguments.force or any(status.reason for status in statuses):
        for campaign in campaigns:
            _run_and_report(campaign, force=arguments.force)
        for campaign in campaigns:
            _say("\n" + "\n".join(summary(campaign)))
    else:
        _say("Everything is up to date: nothing to do.")
        for campaign in campaigns:
            _say(f"Report: {campaign.run.report_path}")


def _say(text):
    print(text, flush=True)


def _parser():
    parser = argparse.ArgumentParser(
        prog="gmadet-nb",
        description="Train a real/bogus classifier on sources injected into your own "
        "images, and rank the candidates of new nights with it.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name, command, text, params=False):
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        if params:
            sub.add_argument("params", help="campaign file, or a run folder")
            sub.add_argument("--notebooks", help="folder of the notebooks")
        return sub

    run = add("run", _run, "run the notebooks that are out of date", params=True)
    run.add_argument("--from", dest="first", metavar="STAGE", help="first stage")
    run.add_argument("--to", dest="last", metavar="STAGE", help="last stage")
    run.add_argument(
        "--force",
        action="store_true",
        help="run what is up to date, too, and overwrite another campaign's run",
    )
    status = add("status", _status, "say what is out of date and why")
    status.add_argument(
        "params", nargs="?", help="campaign file, or a run folder; else all in runs/"
    )
    status.add_argument("--notebooks", help="folder of the notebooks")
    for sub in (run, status):
        sub.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="set a parameter for this call; goes before the campaign file",
        )
    report = add("report", _report, "write the report of a run again")
    report.add_argument("run_dir", nargs="?", help="the run folder; else all in runs/")
    new = add("new", _new, "look at a folder of images and write a campaign file")
    new.add_argument("name", help="name of the campaign")
    new.add_argument("folder", help="folder of FITS files")
    new.add_argument("--params-dir", default="params", help="where the file goes")
    add_label_commands(add)
    demo = add("demo", _demo, "make two nights, train on one, apply to the other")
    demo.add_argument(
        "--force", action="store_true", help="run what is up to date, too"
    )
    return parser
