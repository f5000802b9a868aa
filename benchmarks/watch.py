"""See when lines come to the end of a file."""

import threading
import time


class LineWatch(threading.Thread):
    """Note the time at which each line that is added to a file is there to be read.

    Parameters
    ----------
    path : pathlib.Path
        The file; it need not be there yet.

    Attributes
    ----------
    times : list of float
        Of each line since the start [s since 1970].
    """

    def __init__(self, path):
        super().__init__(daemon=True)
        self._path, self._stopped, self.times = path, threading.Event(), []
        self._at = path.stat().st_size if path.exists() else 0

    def run(self):
        """Watch until `stop`."""
        while not self._stopped.wait(0.0005):
            if not self._path.exists() or self._path.stat().st_size <= self._at:
                continue
            with open(self._path, "rb") as file:
                file.seek(self._at)
                new = file.read()
            self._at += len(new)
            self.times += [time.time()] * new.count(b"\n")

    def stop(self):
        """Stop watching and return the times."""
        self._stopped.set()
        self.join()
        return self.times
