"""The list that a new night ends with: what helps there, and what it means."""

from gmadet_nb.learning.labels import join_labels

#: Column -> its meaning; those that come first, in this order.
FIRST = {
    "rank": "1 is the highest score",
    "candidate_id": "exposure and pixel of the peak",
    "exposure_id": "file that it was found in",
    "score": "probability that it is a real source, 0 to 1",
    "score_scatter": "standard deviation of the models, one a fold",
    "kept": "at or above the threshold, and its width within the limits",
    "label": "what a person says of it; empty where nobody has",
    "label_origin": "human: and who said so",
}
#: Column -> its meaning; of the others those that are there, in the table's order.
OTHERS = {
    "x": "0-based, the middle of the first pixel is 0",
    "y": "0-based, the middle of the first pixel is 0",
    "x_err": "standard deviation",
    "y_err": "standard deviation",
    "ra": "ICRS",
    "dec": "ICRS",
    "flux": "in the difference, by the PSF",
    "flux_err": "standard deviation",
    "snr": "signal over noise of the matched filter",
    "mag": "by the zero point of the exposure",
    "mag_err": "standard deviation",
    "filter": "of the exposure",
    "fwhm": "full width at half maximum",
    "psf_fwhm": "that of the stars at its place",
    "fwhm_ratio": "fwhm over psf_fwhm",
    "elongation": "long over short axis",
    "psf_chi2": "reduced chi2 of the PSF fit in the core",
    "peak_to_flux": "brightest pixel over the flux",
    "n_negative": "pixels below -2 sigma in the core",
    "dipole": "strongest peak of the other sign beside it, over its own",
    "reference_snr": "signal over noise of the reference at its place",
    "reference_distance": "to the nearest source of the reference",
    "flags": "sum of 1 masked core, 2 saturated near, 4 edge, 8 fit failed, 16 dipole, "
    "32 repeats",
    "edge": "its stamp reaches over the edge",
    "n_same_pixel": "other exposures that show something at this pixel",
    "known_kind": "of the known object at its place; empty for none",
    "known_name": "of that object; empty where the table has none",
    "known_separation": "from that object; empty for none",
    "galaxy_distance": "to the nearest galaxy",
    "galaxy_radii": "distance to the galaxy in its half-light radii",
    "on_galaxy": "1 within one half-light radius, 0 farther out",
    "above_threshold": "whether the score is",
    "fwhm_ok": "whether the width is within the limits, or was not measured",
}
# They tell who trained, who judges and what was injected: nothing of such a night.
_OF_TRAINING = ("injected", "mag_injected", "part", "place_in_training", "used", "seen")


def ranked_list(ranked, human_labels):
    """Return the ranked candidates of a new night with what people say of them.

    Parameters
    ----------
    ranked : astropy.table.Table
        From `gmadet_nb.learning.check_ranking.rank_candidates`.
    human_labels : astropy.table.Table
        From `gmadet_nb.learning.labels.read_labels`.

    Returns
    -------
    astropy.table.Table
        The same rows; the columns of `FIRST` first, none about training, and a
        description of each in the file.
    """
    table = join_labels(ranked, human_labels)
    table.remove_columns([name for name in _OF_TRAINING if name in table.colnames])
    first = [name for name in FIRST if name in table.colnames]
    table = table[first + [name for name in table.colnames if name not in first]]
    for name, text in (FIRST | OTHERS).items():
        if name in table.colnames:
            table[name].description = text
    return table
