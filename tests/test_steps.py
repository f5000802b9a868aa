import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table, vstack

from gmadet_nb.campaign.demo import make_demo
from gmadet_nb.campaign.steps import crossmatch, difference, examine, inject, products
from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.files.images import MASK_BITS, open_exposure
from gmadet_nb.files.rundir import RunDir

SHAPE = (224, 288)  # (ny, nx), not square
SETTINGS = {
    "gain": "auto",
    "read_noise": "auto",
    "saturation": "auto",
    "zero_point": 25.5,
    "psf_degree": 0,
    "psf_source": "image",
    "extension": "auto",
    "clean_cosmic_rays": False,
    "subtract_background": False,
    "background_box": 64,
    "max_elongation": 1.6,
    "min_stars": 5,
}


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps") / "nights"
    make_demo(folder, seed=2, shape=SHAPE, n_exposures=(5, 1))
    images = folder / "night1/images"
    (images / "broken.fits").write_text("no FITS file")
    cut = (images / "night1_01.fits").read_bytes()[:40000]
    (images / "cut.fits").write_bytes(cut)
    fits.writeto(images / "constant.fits", np.full(SHAPE, 300, np.uint16))
    with fits.open(images / "night1_01.fits") as hdus:
        header, data = hdus[0].header.copy(), hdus[0].data
        for keyword in ("GAIN", "EGAIN"):
            header.remove(keyword, ignore_missing=True)
        fits.writeto(images / "without_gain.fits", data, header)
    return folder


def examine_night(nights, run_dir, **changes):
    rows = [
        examine.examine_exposure(
            exposure,
            run_dir=str(run_dir),
            telescope="generic",
            settings=SETTINGS | changes,
        )
        for exposure in examine.list_exposures(nights / "night1/images")
    ]
    return examine.exposures_table(rows)


@pytest.fixture(scope="module")
def run(nights, tmp_path_factory):
    run = RunDir(tmp_path_factory.mktemp("steps") / "run")
    run.write_table("exposures", examine_night(nights, run.root))
    return run


def simulate(run, exposure_id, *, seed=1, snr=(5.0, 60.0)):
    return inject.simulate_exposure(
        exposure_id,
        run_dir=str(run.root),
        n_sources=40,
        brightness=inject.choose_brightness([14, 23], list(snr)),
        galaxy_fraction=0.2,
        separation=5.0,
        seed=seed,
    )


@pytest.fixture(scope="module")
def exposures(run):
    return run.read_table("exposures")


@pytest.fixture(scope="module")
def used(exposures):
    return [str(name) for name in exposures["exposure_id"][exposures["used"]]]


@pytest.fixture(scope="module")
def simulated(run, used):
    run.write_table("simulated_objects", vstack([simulate(run, name) for name in used]))
    return run.read_table("simulated_objects")


def detect(run, exposure_id, *, workflow="train", reference="stack", **changes):
    return difference.detect_on_exposure(
        exposure_id,
        run_dir=str(run.root),
        workflow=workflow,
        subtraction=changes.pop("subtraction", "auto"),
        reference=reference,
        reference_gain=changes.pop("reference_gain", "auto"),
        n_stack=8,
        kernel_degree=0,
        threshold=changes.pop("threshold", 4.0),
    )


def of_search(found):
    return found.row, found.candidates


def of_search_by(*args, **changes):
    return of_search(detect(*args, **changes))


@pytest.fixture(scope="module")
def detected(run, used, simulated):
    results = [detect(run, name) for name in used]
    run.write_table("subtractions", difference.subtractions_table(results))
    run.write_table(
        "candidates", difference.candidates_table(results, run.read_table("exposures"))
    )
    return results


@pytest.fixture
def scratch(run, simulated, tmp_path):
    """Copy the run, for a test that writes other differences into it."""
    shutil.copytree(run.root, tmp_path / "copy")
    return RunDir(tmp_path / "copy")


@pytest.fixture(scope="module")
def matched(run, used, detected):
    return vstack(
        [
            crossmatch.match_exposure(
                name, run_dir=str(run.root), workflow="train", match_radius=1.0
            )
            for name in used
        ]
    )


def row_of(exposures, exposure_id):
    return products.row_of(exposures, exposure_id)


@pytest.mark.parametrize(
    ("exposure_id", "reason"),
    [
        ("broken", "must be a whole FITS file"),
        ("cut", "must be a whole FITS file"),
        ("constant", "gain"),
        ("without_gain", "Set the parameter 'gain'"),
        ("night1_04", "elongation of at most max_elongation, 1.6, got"),
    ],
)
def test_bad_exposure_is_a_row_with_its_reason(exposures, exposure_id, reason):
    row = row_of(exposures, exposure_id)

    assert not row["used"]
    assert reason in row["reason"]


def test_other_exposures_go_on(run, exposures, used):
    assert used == ["night1_01", "night1_02", "night1_03", "night1_05"]
    assert set(exposures["reason"][exposures["used"]]) == {""}
    for name in used:
        psf, sources = products.read_psf_and_sources(run, name)
        assert psf.shape == SHAPE
        assert sources["is_star"].sum() >= 5
    assert not run.psf_path("night1_04").exists()


def test_exposures_are_measured_as_they_were_taken(nights, exposures, used):
    truth = Table.read(nights / "night1/truth_exposures.ecsv")
    for name in used:
        row, true = row_of(exposures, name), row_of(truth, name)
        # The pixel adds to the Moffat's width: sqrt(3^2 + 0.9^2) = 3.13.
        assert row["fwhm"] == pytest.approx(true["fwhm"] * 1.04, rel=0.05)
        assert row["background"] == pytest.approx(true["sky"], rel=0.1)
        assert row["gain"] == pytest.approx(true["gain"])
        assert row["mjd"] == pytest.approx(true["mjd"], abs=1e-5)
        photons = (true["sky"] / true["gain"] + (8 / 1.6) ** 2) ** 0.5
        assert row["noise"] == pytest.approx(photons, rel=0.08)
        assert row["noise_model"] == "photons"
        assert (row["nx"], row["ny"]) == (288, 224)
        assert row["pixel_scale"] == pytest.approx(0.9, rel=1e-4)


def test_gain_is_found_under_its_other_name(exposures):
    # The demo's second exposure has EGAIN in place of GAIN.
    row = row_of(exposures, "night1_02")

    assert row["gain_source"] == "EGAIN"
    assert row["gain"] == pytest.approx(1.6)


def test_gain_of_the_parameters_wins(nights, tmp_path):
    table = examine_night(nights, tmp_path, gain=2.0)

    assert set(table["gain"][table["used"]]) == {2.0}
    assert set(table["gain_source"][table["used"]]) == {"parameter"}
    assert row_of(table, "without_gain")["used"]


def test_too_few_stars_set_an_exposure_aside(nights, tmp_path):
    row = examine.examine_exposure(
        ("a", str(nights / "night1/images/night1_01.fits")),
        run_dir=str(tmp_path),
        telescope="generic",
        settings=SETTINGS | {"min_stars": 5000},
    )

    assert "at least 5000 stars" in row["reason"]


def test_zero_point_of_the_header_is_taken_where_it_is_asked_for(nights, tmp_path):
    path = tmp_path / "a.fits"
    with fits.open(nights / "night1/images/night1_01.fits") as hdus:
        hdus[0].header["MAGZPT"] = 24.25
        hdus.writeto(path)
    row, silent = (
        examine.examine_exposure(
            ("a", str(image)),
            run_dir=str(tmp_path),
            telescope="generic",
            settings=SETTINGS | {"zero_point": "auto"},
        )
        for image in (path, nights / "night1/images/night1_03.fits")
    )

    assert (row["zero_point"], row["zero_point_source"]) == (24.25, "MAGZPT")
    assert silent["zero_point_source"] == "none: magnitudes are relative"


def test_check_of_the_exposures_names_the_reasons(exposures):
    examine.check_exposures(exposures, n_least=4)
    with pytest.raises(BadInputError, match=r"At least 9 .* got 4 of 9.*broken: "):
        examine.check_exposures(exposures, n_least=9)


def test_same_seed_gives_the_same_sources_and_image(run, used, simulated):
    before = run.simulated_path(used[0]).read_bytes()
    again = simulate(run, used[0])
    first = simulated[simulated["exposure_id"] == used[0]]

    for name in ("x", "y", "flux", "snr"):
        np.testing.assert_allclose(again[name], first[name], rtol=1e-12)
    assert run.simulated_path(used[0]).read_bytes() == before


def test_exposures_get_sources_of_their_own(used, simulated):
    first, second = (simulated[simulated["exposure_id"] == name] for name in used[:2])

    assert not np.any(np.isin(first["x"], second["x"]))
    assert len(set(simulated["source_id"])) == len(simulated)


def test_injected_flux_is_what_the_table_says(run, exposures, used, simulated):
    row = row_of(exposures, used[0])
    before, after = open_exposure(row), open_exposure(row, run.simulated_path(used[0]))
    sources = simulated[simulated["exposure_id"] == used[0]]
    whole = sources["injected"] & ~sources["saturated"]
    inside = (np.abs(sources["x"] - 144) < 120) & (np.abs(sources["y"] - 112) < 90)
    light = after.data.astype(float) - before.data

    # All of it, less what the edge and full pixels cut off.
    total = np.nansum(light)
    assert 0.8 * np.sum(sources["flux"]) < total < 1.05 * np.sum(sources["flux"])
    assert np.all((after.mask & MASK_BITS["injected"])[light > 50] > 0)
    assert (whole & inside).sum() > 10
    np.testing.assert_array_equal(np.isnan(after.data), np.isnan(before.data))


@pytest.mark.parametrize("limits", [[5.0], [1.0, 2.0, 3.0], [9.0, 4.0], [-1.0, 4.0]])
def test_impossible_range_is_refused_before_anything_runs(limits):
    with pytest.raises(BadParameterError, match="range must be"):
        inject.choose_brightness([14.0, 23.0], limits)


def test_magnitudes_serve_where_no_signal_to_noise_is_given():
    assert inject.choose_brightness([14.0, 23.0], []) == ("mag", 14.0, 23.0)


@pytest.mark.parametrize("workflow", ["train", "apply"])
def test_workflow_chooses_its_image(run, exposures, used, simulated, workflow):
    row = row_of(exposures, used[0])
    image = products.open_science(run, row, workflow)
    path = run.simulated_path(used[0]) if workflow == "train" else Path(row["path"])

    np.testing.assert_array_equal(image.data, fits.getdata(path).astype(np.float32))
    assert bool(np.any(image.mask & MASK_BITS["injected"])) is (workflow == "train")


def test_unknown_workflow_and_missing_simulation_are_refused(tmp_path, exposures, used):
    row = row_of(exposures, used[0])
    with pytest.raises(BadParameterError, match="'train' or 'apply', got 'tain'"):
        products.open_science(RunDir(tmp_path), row, "tain")
    with pytest.raises(BadInputError, match="Run 02_simulate first"):
        products.open_science(RunDir(tmp_path), row, "train")


def test_differences_are_as_noisy_as_expected(detected):
    for row, candidates in map(of_search, detected):
        assert row["good"], row["reason"]
        assert row["method"] in ("kernel", "zogy")
        assert row["noise_width"] == pytest.approx(1, abs=0.15)
        assert row["n_candidates"] == len(candidates)
        assert row["alignment_rms"] < 0.2


def test_reference_never_holds_its_own_exposure(scratch, used, detected):
    for row, _ in map(of_search, detected):
        assert row["exposure_id"] not in row["reference"]
        assert row["n_reference"] == len(used) - 1
        assert "night1_04" not in row["reference"]  # trailed, and set aside
    best, _ = of_search_by(scratch, used[0], reference="best")

    assert best["n_reference"] == 1
    assert used[0] not in best["reference"]
    assert any(name in best["reference"] for name in used[1:])


def test_deep_reference_gives_the_transparency(nights, scratch, used, detected):
    truth = Table.read(nights / "night1/truth_exposures.ecsv")
    path = nights / "reference/reference.fits"
    for name, before in zip(used, detected, strict=True):
        row, candidates = of_search_by(scratch, name, reference=str(path))

        assert row["good"], row["reason"]
        assert row["reference"] == "file reference.fits"
        # The kernel lacks 1 to 2 % of the light, as in test_subtract; injected sources
        # near the few stars of this small field pull it by as much.
        assert row["kernel_sum"] == pytest.approx(
            row_of(truth, name)["transparency"], rel=0.05
        )
        assert row["alignment_rms"] < before.row["alignment_rms"]
        assert len(candidates) > 5


@pytest.mark.parametrize(
    ("band", "text"),
    [("R", "file other.fits"), ("V", "file other.fits, in the filter V")],
)
def test_reference_in_another_filter_is_said_once(
    nights, scratch, used, tmp_path, caplog, band, text
):
    with fits.open(nights / "reference/reference.fits") as hdus:
        hdus[0].header["FILTER"] = band
        del hdus[0].header["GAIN"]
        hdus.writeto(tmp_path / "other.fits")
    path = str(tmp_path / "other.fits")
    for name in used[:2]:
        row, _ = of_search_by(scratch, name, reference=path, reference_gain=1.5)

        assert row["good"], row["reason"]
        assert row["reference"] == text
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == (band == "V")
    assert all("in the filter V and the exposures in R" in one for one in warnings)


def test_without_subtraction_stars_are_candidates(scratch, used):
    row, candidates = of_search_by(
        scratch, used[2], workflow="apply", subtraction="none"
    )
    _, sources = products.read_psf_and_sources(scratch, used[2])
    stars = sources[sources["is_star"]]
    distance = np.hypot(
        candidates["x"] - np.asarray(stars["x"])[:, None],
        candidates["y"] - np.asarray(stars["y"])[:, None],
    )

    assert row["method"] == "none"
    assert np.mean(distance.min(axis=1) < 1) > 0.9


def test_reference_of_another_field_gives_a_row_with_its_reason(
    scratch, used, tmp_path, rng
):
    from star_fields import expose, moffat, scatter_stars

    stars = scatter_stars(SHAPE, rng, cell=24)
    hdu = fits.PrimaryHDU(expose(moffat(SHAPE, 3.0), stars, rng=rng))
    hdu.header["GAIN"] = 2.0
    hdu.writeto(tmp_path / "other.fits")
    row, candidates = of_search_by(
        scratch, used[0], reference=str(tmp_path / "other.fits")
    )

    assert candidates is None
    assert not row["good"]
    assert "same stars" in row["reason"]
    with pytest.raises(BadInputError, match=r"none could.*same stars"):
        difference.candidates_table([difference.Search(row=row)], Table())


def test_bright_injected_sources_are_found_again(matched):
    bright = matched[
        (matched["source_id"] != "")
        & matched["usable"]
        & (matched["difference_snr"] > 10)
    ]

    assert len(bright) > 30
    # At 10 sigma a threshold of 4 loses none to noise; crowding takes a few.
    assert np.mean(bright["match"] != "missed") > 0.9


def test_recovered_fluxes_are_the_injected_ones(run, matched):
    candidates = run.read_table("candidates")
    flux = dict(zip(candidates["candidate_id"], candidates["flux"], strict=True))
    error = dict(zip(candidates["candidate_id"], candidates["flux_err"], strict=True))
    good = matched[(matched["match"] == "matched") & matched["usable"]]
    good = good[good["difference_snr"] > 8]
    pulls = np.array(
        [
            (flux[row["candidate_id"]] - row["source_flux"])
            / error[row["candidate_id"]]
            for row in good
        ]
    )

    # Some 80 pulls; the PSF and the kernel add their own errors on bright sources.
    assert len(pulls) > 40
    assert abs(np.median(pulls)) < 0.5
    assert 1.4826 * np.median(np.abs(pulls - np.median(pulls))) < 1.6


def test_matches_stay_within_their_exposure(run, used, matched):
    for row in matched:
        for name in ("source_id", "candidate_id"):
            assert not row[name] or row[name].startswith(row["exposure_id"])
    candidates = run.read_table("candidates")
    ids = [name for name in matched["candidate_id"] if name]
    assert sorted(ids) == sorted(candidates["candidate_id"])


def test_nothing_is_injected_in_the_apply_workflow(run, used, detected):
    matches = crossmatch.match_exposure(
        used[0], run_dir=str(run.root), workflow="apply", match_radius=1.0
    )

    assert set(matches["match"]) == {"unmatched"}
    assert set(matches["source_id"]) == {""}
    assert np.isnan(matches["difference_snr"]).all()


def test_difference_comes_back_from_its_file(run, used, detected):
    back = products.read_difference(run.difference_path(used[0]))

    assert back.data.shape == back.noise.shape == back.mask.shape == SHAPE
    assert np.isfinite(back.reference[back.usable]).all()
    assert back.quality.noise_width == pytest.approx(detected[0].row["noise_width"])
    assert back.kernel_sum == pytest.approx(detected[0].row["kernel_sum"])
    assert back.method == detected[0].row["method"]
    assert back.psf(50.3, 60.1).sum() == pytest.approx(1)


def test_examples_are_cut_out_of_their_own_exposures(run, exposures, used, detected):
    examples = Table({"exposure_id": [used[1], used[0], used[1]]})
    examples["x"], examples["y"] = [100.2, 50.0, 150.4], [80.0, 60.6, 120.0]
    pixels = products.cut_examples(run, exposures, examples, workflow="train", size=11)

    assert pixels.shape == (3, 11, 11, 3)
    for row, cutout in zip(examples, pixels, strict=True):
        place = round(row["y"]), round(row["x"])
        name = str(row["exposure_id"])
        difference = products.read_difference(run.difference_path(name))
        science = products.open_science(run, row_of(exposures, name), "train")
        planes = science.data, difference.reference, difference.data
        assert difference.usable[place]
        assert cutout[5, 5].tolist() == [plane[place] for plane in planes]


def test_absent_difference_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="written by 03_detect"):
        products.read_difference(tmp_path / "a.fits")


def test_cutouts_show_the_candidate_in_their_middle(run, matched):
    from gmadet_nb.learning.cutouts import CutoutStore

    candidates = run.read_table("candidates")
    edge = crossmatch.write_cutouts(
        str(run.root), candidates, workflow="train", size=21
    )
    found = matched["candidate_id"][(matched["match"] == "matched") & matched["usable"]]
    bright = candidates[(candidates["snr"] > 15) & ~edge]
    bright = bright[np.isin(bright["candidate_id"], found)]
    with CutoutStore(run.cutouts_path) as store:
        pixels = store.read(list(bright["candidate_id"]))
        assert store.candidate_ids == list(candidates["candidate_id"])

    brightest = np.nanargmax(pixels[..., 2].reshape(len(bright), -1), axis=1)
    y, x = np.divmod(brightest, 21)

    assert len(bright) > 10
    # A brighter neighbour may hold the peak of some, of no more than half.
    assert (np.median(x), np.median(y)) == (10, 10)


def test_what_is_written_stays_unmatched_without_a_person(run, exposures, matched):
    candidates = run.read_table("candidates")
    quiet, told = (
        crossmatch.crossmatch_table(
            [matched],
            candidates,
            exposures,
            run.read_table("subtractions"),
            label_unmatched_as_bogus=told,
        )
        for told in (False, True)
    )
    unmatched = np.asarray(matched["match"]) == "unmatched"

    assert set(quiet["auto_label"][unmatched]) == {""}
    assert set(told["auto_label"][unmatched]) <= {"bogus", "recurrent"}
    assert set(quiet["auto_label"][matched["match"] == "matched"]) == {"real"}
    crossmatch.check_matches(matched)
    with pytest.raises(BadInputError, match="injected sources must be found again"):
        crossmatch.check_matches(matched[matched["match"] == "missed"])


def test_reference_that_is_the_exposure_itself_is_refused(scratch, used, exposures):
    path = row_of(exposures, used[0])["path"]
    row, candidates = of_search_by(scratch, used[0], reference=path, workflow="apply")

    assert candidates is None
    assert "another image than the exposure" in row["reason"]


def test_sources_of_an_exposure_without_a_difference_are_missed(scratch, used):
    scratch.difference_path(used[0]).unlink()
    candidates = scratch.read_table("candidates")
    left = candidates[candidates["exposure_id"] != used[0]]
    scratch.write_table("candidates", left)
    rows = crossmatch.match_exposure(
        used[0], run_dir=str(scratch.root), workflow="train", match_radius=1.0
    )

    sources = scratch.read_table("simulated_objects")
    assert len(rows) == np.sum(sources["exposure_id"] == used[0])
    assert set(rows["match"]) == {"missed"}
    assert np.isnan(rows["difference_snr"]).all()
    assert not rows["usable"].any()
