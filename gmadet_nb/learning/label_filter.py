"""Which candidates a person is shown to label."""

from dataclasses import dataclass, field

import numpy as np

from gmadet_nb.errors import BadParameterError

LABEL_WORDS = ("real", "bogus", "unsure", "ambiguous", "recurrent", "known", "")
ORIGINS = ("human", "injected", "unmatched", "recurrent", "moving", "catalog")
ORIGINS += ("imported", "")


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which candidates are shown; what is empty filters nothing.

    Attributes
    ----------
    exposures : list of str
    mag_range : list of two float
        [mag]
    labels : list of str
        Words of `LABEL_WORDS` that are in force, "" for none.
    origins : list of str
        Where labels are from: words of `ORIGINS`.
    """

    exposures: list = field(default_factory=list)
    mag_range: list = field(default_factory=list)
    labels: list = field(default_factory=list)
    origins: list = field(default_factory=list)

    def keep(self, candidates, labels):
        """Return the candidates that pass.

        Parameters
        ----------
        candidates : astropy.table.Table
        labels : astropy.table.Table
            From `label_table`.

        Returns
        -------
        candidates : astropy.table.Table

        Raises
        ------
        BadParameterError
            If the range is no two numbers, or a word is none of the known.
        """
        self._check()
        good = np.ones(len(candidates), dtype=bool)
        if self.exposures:
            good &= np.isin(candidates["exposure_id"], self.exposures)
        if self.mag_range:
            mag = np.asarray(candidates["mag"], dtype=float)
            good &= (mag >= min(self.mag_range)) & (mag <= max(self.mag_range))
        by_id = {row["candidate_id"]: row for row in labels}
        for column, wanted in (("label", self.labels), ("origin", self.origins)):
            if not wanted:
                continue
            words = [
                str(by_id[key][column]).split(":")[0] if key in by_id else ""
                for key in candidates["candidate_id"]
            ]
            good &= np.isin(words, wanted)
        return candidates[good]

    def _check(self):
        """Refuse what no candidate can have."""
        numbers = all(isinstance(mag, int | float) for mag in self.mag_range)
        if len(self.mag_range) not in (0, 2) or not numbers:
            raise BadParameterError(
                f"show_mag_range must be two numbers [mag], got {self.mag_range}."
            )
        for name, words, known in (
            ("show_labels", self.labels, LABEL_WORDS),
            ("show_origins", self.origins, ORIGINS),
        ):
            unknown = sorted(set(words) - set(known))
            if unknown:
                raise BadParameterError(
                    f"{name} must be of {known}, got {unknown[0]!r}."
                )
