"""Run what is out of date in a campaign, say why, and record what it ran with."""

import fcntl
import logging
import os
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from gmadet_nb.campaign.checks import check_paths, check_same_run, check_stamps
from gmadet_nb.campaign.manifest import (
    Manifest,
    describe_contents,
    describe_inputs,
    describe_outputs,
    versions,
    why_to_run,
    written_files,
)
from gmadet_nb.campaign.plan import write_resolved
from gmadet_nb.campaign.source_code import SourceCode
from gmadet_nb.campaign.stages import producers, select_stages
from gmadet_nb.errors import BadInputError, StageError
from gmadet_nb.progress import format_seconds

TERMINATED = 143  # exit code of a process that SIGTERM ended: 128 + 15


@dataclass(frozen=True, kw_only=True)
class StageStatus:
    """Whether a stage's result still holds.

    Attributes
    ----------
    name : str
    reason : str
        Why it must run; "" where it is up to date.
    seconds : float or None
        What it took when it last finished.
    """

    name: str
    reason: str
    seconds: float | None


def run_campaign(campaign, *, first=None, last=None, force=False, echo=print):
    """Run the stages of a campaign that are out of date.

    Parameters
    ----------
    campaign : gmadet_nb.campaign.plan.Campaign
    first, last : str, optional
        Stages to begin and end with.
    force : bool
        Also run what is up to date, and in a folder that holds another run, but not
        in place of stamps from elsewhere.
    echo : callable
        Takes each line meant for the terminal.

    Returns
    -------
    list of str
        Names of the stages that ran.

    Raises
    ------
    BadParameterError
        If something outside the run folder that a parameter names is absent, or
        the folder holds a run of another workflow or of other images, or stamps.
    BadInputError
        If an earlier stage has not finished, or another runner holds the folder.
    StageError
        If a cell failed.
    """
    stages = select_stages(campaign.stages, first=first, last=last)
    check_stamps(campaign)
    check_paths(campaign, stages)
    if not force:
        check_same_run(campaign)
    campaign.run.root.mkdir(parents=True, exist_ok=True)
    with _sole_runner(campaign.run) as lock_fd, _stop_on_sigterm():
        write_resolved(campaign)
        _warn_of_stages_before(campaign, stages, echo)
        sources, ran = SourceCode(), []
        for stage in stages:
            if _run_stage(campaign, stage, sources, force, lock_fd, echo):
                ran.append(stage.name)
        return ran


def campaign_status(campaign):
    """Say of each stage whether its result still holds.

    Returns
    -------
    list of StageStatus
        In the order of the stages.
    """
    manifest, sources = Manifest(campaign.run), SourceCode()
    statuses, waiting = [], set()
    for stage in campaign.stages:
        entry = manifest.entries.get(stage.name)
        needs = [n for n in producers(stage, campaign.stages) if n in waiting]
        reason = why_to_run(
            campaign.run, stage, entry, _inputs_now(campaign, stage, sources)
        )
        if needs and not reason:
            reason = f"{needs[-1]} runs before it"
        if reason:
            waiting.add(stage.name)
        seconds = entry["seconds"] if entry else None
        statuses.append(StageStatus(name=stage.name, reason=reason, seconds=seconds))
    return statuses


def _run_stage(campaign, stage, sources, force, lock_fd, echo):
    """Run one stage if it must; return whether it ran."""
    run, manifest = campaign.run, Manifest(campaign.run)
    _check_stages_it_needs(campaign, stage, manifest)
    now = _inputs_now(campaign, stage, sources)
    reason = why_to_run(run, stage, manifest.entries.get(stage.name), now)
    if not (reason or force):
        echo(f"{stage.name} is up to date")
        return False
    echo(f"{stage.name} runs: {reason or 'forced'}")
    # Whole seconds: the clock of a file system may be coarser than ours.
    started, start = int(time.time()), time.monotonic()
    _run_notebook(campaign, stage, manifest, lock_fd, echo)
    seconds = time.monotonic() - start
    try:
        outputs = describe_outputs(run, stage)
    except BadInputError as error:
        raise StageError(str(error)) from error
    contents = describe_contents(run, stage, now["inputs"] | outputs, manifest.entries)
    _remove_old_figures(run, stage, started)
    manifest.record(
        stage.name,
        now
        | {
            "outputs": outputs,
            "contents": contents,
            "versions": versions(),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 2),
        },
    )
    echo(f"{stage.name} done in {format_seconds(seconds)}")
    return True


def _run_notebook(campaign, stage, manifest, lock_fd, echo):
    """Run a notebook; the entry of an earlier run goes, unless nothing was written."""
    # Imported here: papermill takes a second, and a typo is to be told at once.
    from gmadet_nb.campaign.kernels import run_notebook

    run, entry = campaign.run, manifest.entries.get(stage.name)
    files = written_files(run)
    manifest.forget(stage.name)
    try:
        run_notebook(
            campaign.notebook(stage.name),
            run.notebooks_dir / f"{stage.name}.ipynb",
            campaign.parameters[stage.name],
            lock_fd=lock_fd,
            echo=echo,
        )
    except StageError:
        if entry and written_files(run) == files:
            manifest.record(stage.name, entry)
        raise


def _inputs_now(campaign, stage, sources):
    return describe_inputs(
        campaign.run,
        stage,
        campaign.parameters[stage.name],
        campaign.notebook(stage.name),
        sources,
    )


def _check_stages_it_needs(campaign, stage, manifest):
    for name in producers(stage, campaign.stages):
        if name not in manifest.entries:
            raise BadInputError(
                f"{stage.name} needs {name}, which has not finished in "
                f"{campaign.run.root}. Run again with --from {name}."
            )


def _warn_of_stages_before(campaign, stages, echo):
    """Say which stages before the first one chosen would run if they were asked."""
    for status in campaign_status(campaign):
        if status.name == stages[0].name:
            return
        if status.reason:
            echo(f"{status.name} is out of date ({status.reason}), but left as it is")


def _remove_old_figures(run, stage, started):
    """Remove figures of this stage that its last run did not draw."""
    for path in run.figures_dir.glob(f"{stage.name.split('_')[0]}_*.png"):
        if path.stat().st_mtime < started - 1:
            path.unlink()


@contextmanager
def _sole_runner(run):
    """Hold the lock of a run folder; give its file descriptor."""
    path = run.root / ".lock"
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise BadInputError(
                f"{run.root} is in use by another runner (process "
                f"{lock.read().strip() or 'unknown'}). Wait until it has ended."
            ) from None
        lock.seek(0)
        lock.truncate()
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield lock.fileno()


@contextmanager
def _stop_on_sigterm():
    """Turn SIGTERM, by which batch systems end a job, into an orderly end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number, frame):
        # What waits for the kernel would report, each on a page of its own, that it
        # waits in vain.
        logging.disable(logging.CRITICAL)
        raise SystemExit(TERMINATED)

    silenced = logging.root.manager.disable
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        logging.disable(silenced)
