"""The demo's own transients, on many fields that the model has never seen."""

import numpy as np
from astropy.table import Table, vstack

from benchmarks.classifier_sets import FOLDER
from gmadet_nb.campaign.demo.nights import make_demo
from gmadet_nb.campaign.plan import open_campaign
from gmadet_nb.campaign.runner import run_campaign
from gmadet_nb.learning import check_truth, infer
from gmadet_nb.learning.completeness import rate
from gmadet_nb.learning.cutouts import CutoutStore
from gmadet_nb.learning.scorer import load_model

N_FIELDS = 20
_BRIGHT = 10.0  # S/N


def find_transients():
    """Search one exposure of each night of each field, and return the transients.

    Each transient is there once: its binomial interval is an honest one.

    Returns
    -------
    list of (run folder, table of its transients)
    """
    found = []
    for seed in range(101, 101 + N_FIELDS):
        nights = FOLDER / "fields" / f"nights_{seed}"
        make_demo(nights, seed=seed, n_exposures=(1, 1))
        for night in ("night1", "night2"):
            campaign = open_campaign(
                "params/demo_apply.yaml",
                assignments=[
                    f"run_dir={FOLDER / 'fields' / f'{seed}_{night}'}",
                    f"images_dir={nights / night / 'images'}",
                    f"reference={nights / 'reference' / 'reference.fits'}",
                    f"known_objects=[{nights / night / 'known_objects.ecsv'}]",
                    f"model={FOLDER / 'models' / 'demo_1'}",
                    f"truth={nights / night / 'truth_transients.ecsv'}",
                ],
            )
            run_campaign(campaign, last="04_cutouts")
            truth = Table.read(nights / night / "truth_transients.ecsv")
            found.append((campaign.run, truth))
    return found


def keep_transients(found, model_dir):
    """Return what a model keeps of the transients that were detected.

    Parameters
    ----------
    found : list
        From `find_transients`.
    model_dir : pathlib.Path
        A saved model, with its threshold.

    Returns
    -------
    dict
        "empty sky", "on a galaxy" -> a rate, of those brighter than S/N 10.
    """
    scorer, parts = load_model(model_dir), []
    for run, truth in found:
        candidates = run.read_table("candidates")
        scores = infer.score_store(
            CutoutStore(run.cutouts_path),
            scorer,
            candidates=candidates,
            batch_size=512,
        )
        table = infer.keep_above(scores, scorer.threshold)
        rows = candidates["candidate_id", "exposure_id", "x", "y"]
        known = dict(zip(table["candidate_id"], table["kept"], strict=True))
        rows["kept"] = [bool(known.get(key, False)) for key in rows["candidate_id"]]
        rows["rank"] = np.arange(1, len(rows) + 1)
        parts.append(check_truth.find_truth(truth, rows, run.read_table("exposures")))
    table = vstack(parts, metadata_conflicts="silent")
    table = table[np.asarray(table["detected"]) & (np.asarray(table["snr"]) > _BRIGHT)]
    places = {"empty sky": ~np.asarray(table["on_galaxy"], bool)}
    places["on a galaxy"] = ~places["empty sky"]
    return {
        place: rate(int(np.sum(table["kept"][some])), int(some.sum()))
        for place, some in places.items()
    }
