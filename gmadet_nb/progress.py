"""Progress of a long loop: a bar in JupyterLab, a few plain lines elsewhere."""

import os
import time

QUIET_SECONDS = 2.0  # a loop that ends sooner prints nothing
LINE_SECONDS = 5.0
LINE_SHARE = 0.05
STILL_ALIVE_SECONDS = 60.0


def progress(iterable, *, total=None, label=""):
    """Yield the items of an iterable and show how far the loop has come.

    Parameters
    ----------
    iterable : iterable
        What to loop over.
    total : int, optional
        Number of items, where ``len(iterable)`` does not tell it.
    label : str
        What is counted, in front of each line.

    Yields
    ------
    object
        The items, unchanged.
    """
    if total is None and hasattr(iterable, "__len__"):
        total = len(iterable)
    ticker = Ticker(total, label)
    try:
        for item in iterable:
            yield item
            ticker.tick()
    finally:
        ticker.close()


class Ticker:
    """Count steps from a callback, where no loop can be wrapped.

    In JupyterLab it is a bar. Elsewhere it prints a line at most every 5 s and
    5 % (or every minute), and nothing where all is done within 2 s: a notebook
    run without a person keeps each line that is printed.

    Parameters
    ----------
    total : int or None
        Number of steps, None where it is not known.
    label : str
        What is counted, in front of each line.
    """

    def __init__(self, total=None, label=""):
        self.total, self.label, self.done = total, label, 0
        self._start = self._last_time = time.monotonic()
        self._last_done = 0
        self._bar = _lab_bar(total, label)

    def tick(self, n=1, note=""):
        """Count ``n`` more steps; ``note`` is shown behind the count."""
        self.done += n
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(n)
        elif self._line_is_due():
            self._print_line(note)

    def close(self):
        """Show the last count."""
        if self._bar is not None:
            self._bar.close()
        elif (
            self.done > self._last_done
            and time.monotonic() - self._start >= QUIET_SECONDS
        ):
            self._print_line("")

    def _line_is_due(self):
        waited = time.monotonic() - self._last_time
        if self.done == self.total:
            return time.monotonic() - self._start >= QUIET_SECONDS
        share = (self.done - self._last_done) / self.total if self.total else 1.0
        enough = waited >= LINE_SECONDS and share >= LINE_SHARE
        return enough or waited >= STILL_ALIVE_SECONDS

    def _print_line(self, note):
        now = time.monotonic()
        rate = self.done / max(now - self._start, 1e-9)
        parts = [f"{self.done} of {self.total}" if self.total else f"{self.done}"]
        if rate >= 1:
            parts.append(f"{rate:.0f}/s" if rate >= 100 else f"{rate:.3g}/s")
        else:
            parts.append(f"{1 / rate:.3g} s each")
        if self.total and self.done < self.total:
            parts.append(f"{format_seconds((self.total - self.done) / rate)} left")
        else:
            parts.append(format_seconds(now - self._start))
        parts += [note] if note else []
        print(f"{self.label}: " * bool(self.label) + ", ".join(parts), flush=True)
        self._last_time, self._last_done = now, self.done


def format_seconds(seconds):
    """Write a duration [s] as a person says it: ``8.2 s``, ``3 min 05 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _lab_bar(total, label):
    """Return a notebook bar where a person looks on, None elsewhere."""
    # Set by jupyter-server for its own kernels, not by papermill.
    if "JPY_SESSION_NAME" not in os.environ:
        return None
    from tqdm.notebook import tqdm

    return tqdm(total=total, desc=label)
