import json
import re

import fake_chain
import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure
from PIL import Image as Picture

from gmadet_nb.campaign import html
from gmadet_nb.campaign.manifest import Manifest
from gmadet_nb.campaign.plan import open_campaign
from gmadet_nb.campaign.report import write_report
from gmadet_nb.campaign.stages import WORKFLOWS
from gmadet_nb.campaign.summary import in_words, key_figures, summary
from gmadet_nb.files.rundir import RunDir
from gmadet_nb.learning.completeness import rate
from gmadet_nb.learning.cutouts import create_store
from gmadet_nb.views.style import draw_none

NASTY = '<script>alert("x")</script> & Co.'


def entry(seconds):
    return {
        "seconds": seconds,
        "finished": "2026-11-23T15:00:00+00:00",
        "versions": {"numpy": "2.4"},
    }


@pytest.fixture
def campaign(tmp_path, monkeypatch):
    """Return a campaign whose run folder holds tables with a hostile header text."""
    monkeypatch.chdir(tmp_path)
    fake_chain.write_chain(tmp_path / "notebooks")
    (tmp_path / "x.yaml").write_text("detection_threshold: 5\n")
    campaign = open_campaign("x.yaml", notebooks=tmp_path / "notebooks")
    run = campaign.run
    exposures = Table(
        {
            "exposure_id": ["a", "b"],
            "filter": [NASTY, "r"],
            "fwhm": [2.5, np.nan],
            "used": [True, False],
            "reason": ["", "It must be round and is trailed."],
        }
    )
    exposures["fwhm"].unit = "pix"
    run.write_table("exposures", exposures)
    run.write_table("candidates", Table({"candidate_id": ["a_c1", "a_c2", "a_c3"]}))
    run.write_table("split", Table({"label": ["real", "bogus", "bogus"]}))
    Manifest(run).record("01_images", entry(3.25))
    run.figures_dir.mkdir()
    Picture.new("RGB", (20, 10), "white").save(run.figures_dir / "01_psf_grid.png")
    return campaign


@pytest.fixture
def applied(campaign):
    """Return the campaign as if it were of the workflow "apply"."""
    run = campaign.run
    object.__setattr__(campaign, "workflow", "apply")
    object.__setattr__(campaign, "stages", WORKFLOWS["apply"])
    ranked = Table(
        {
            "candidate_id": [f"a_c{number:02d}" for number in range(30)],
            "score": np.linspace(1, 0, 30),
            "kept": np.arange(30) < 4,
            "rank": np.arange(1, 31),
        }
    )
    run.write_table("ranked", ranked)
    with create_store(run.cutouts_path, size=5) as writer:
        ids = list(ranked["candidate_id"][:10])
        writer.append(ids, "a", np.ones((10, 5, 5, 3), np.float32))
    truth = {
        "n_transients": 3,
        "n_occurrences": 5,
        "n_detected": 2,
        "n_kept": 1,
        "ranks": [1, 7],
    }
    metrics = {
        "workflow": "apply",
        "threshold": 0.9,
        "n_candidates": 30,
        "n_kept": 4,
        "parts": {},
        "truth": truth,
    }
    run.write_json(run.metrics_path, metrics)
    return campaign


def page(campaign):
    return write_report(campaign).read_text()


def test_what_came_from_a_header_is_shown_and_not_run(campaign):
    text = page(campaign)
    assert "<script" not in text
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; Co." in text


def test_the_page_needs_no_other_file_and_no_network(campaign):
    text = page(campaign)
    assert re.findall(r"https?://|url\(|@import|<link|<script", text) == []
    sources = re.findall(r'src="([^"]{0,22})', text)
    assert sources
    assert set(sources) == {"data:image/png;base64,"}
    assert "default-src 'none'" in text


def test_links_lead_to_the_executed_notebooks_beside_the_page(campaign):
    links = set(re.findall(r'href="([^#"]+)"', page(campaign)))
    assert "notebooks/01_images.ipynb" in links
    assert all(link.startswith("notebooks/") for link in links)


def test_exposures_set_aside_stand_there_with_their_reason(campaign):
    text = page(campaign)
    assert "It must be round and is trailed." in text
    assert "1 of 2" in text
    assert "fwhm [pix]" in text


def test_parameters_that_differ_from_the_defaults_are_listed(campaign):
    text = page(campaign)
    section = text.split("Parameters that differ from the defaults</h2>")[1]
    section = section.split("</section>")[0]
    assert "detection_threshold" in section
    assert "min_stars" not in section


def test_the_best_ranked_candidates_come_with_their_cutouts(applied):
    text = page(applied)
    assert text.count('class="cutout"') == 10
    assert "a_c19" in text
    assert "a_c20" not in text


def test_the_report_of_a_run_that_has_just_begun_is_written_too(campaign):
    for path in campaign.run.root.glob("*.ecsv"):
        path.unlink()
    assert "1 of 10 stages" in page(campaign)


def test_the_summary_says_what_was_set_aside_and_what_it_took(campaign):
    lines = summary(campaign)
    text = "\n".join(lines)
    assert lines[0] == "run (train)"
    assert re.search(r"exposures used +1 of 2 +\(1 set aside\)", text)
    assert "b set aside: It must be round and is trailed." in text
    assert re.search(r"labeled cutouts +1 real, 2 bogus", text)
    assert re.search(r"seconds +3 in all\n +01_images 3\.2", text)
    assert re.search(r"report +run/report\.html\n +notebooks +run/notebooks", text)


def test_the_summary_of_a_new_night_says_where_the_hidden_ones_stand(applied):
    text = "\n".join(summary(applied))
    assert re.search(r"after the filter +4 of 30", text)
    assert re.search(r"hidden transients +1 of 5 kept .*2 detected", text)
    assert re.search(r"\n +at ranks 1, 7\n", text)


def test_a_rate_comes_with_its_interval(campaign):
    run = campaign.run
    by_snr = [
        {"low": low, "tpr": rate(k, n)}
        for low, k, n in ((5, 1, 2), (10, 3, 3), (20, 5, 5))
    ]
    figures = {"tpr": rate(9, 10), "fpr": rate(0, 0), "auc": None, "by_snr": by_snr}
    folds = {key: value for key, value in figures.items() if key != "fpr"}
    parts = {"out_of_fold": {"all": folds}}
    parts["test"] = {"headline": figures, "all": figures}
    run.write_json(run.metrics_path, {"workflow": "train", "parts": parts})
    run.model_dir.mkdir()
    run.write_json(run.model_dir / "model.json", {"target_fpr": 0.01})
    text = "\n".join(summary(campaign))
    # Clopper-Pearson of 9 in 10: 0.5550 to 0.9975.
    wanted = (
        r"TPR at FPR 1 % +90\.0 % +\(55\.5 to 99\.7 % at 95 % confidence, 9 of 10\)"
    )
    assert re.search(wanted, text)
    # 3 of 3 and 5 of 5: the low bin does not count.
    assert re.search(r"TPR, S/N above 10 +100\.0 % .*8 of 8", text)
    assert re.search(r"FPR on the test part +unknown +\(none to count\)", text)
    text = page(campaign)
    assert "new places" in text
    assert "exposures differ among each other by more than they say" in text
    assert "none: the bogus of these folds chose the threshold" in text


def test_without_a_new_place_the_headline_is_unknown_and_all_places_are_shown(campaign):
    run = campaign.run
    none = {"tpr": rate(0, 0), "fpr": rate(0, 0), "auc": None, "by_snr": []}
    every = none | {"tpr": rate(9, 10), "fpr": rate(1, 20)}
    parts = {"test": {"headline": none, "all": every}}
    run.write_json(run.metrics_path, {"workflow": "train", "parts": parts})
    run.model_dir.mkdir()
    run.write_json(run.model_dir / "model.json", {"target_fpr": 0.01})
    text = "\n".join(summary(campaign))
    assert re.search(r"TPR at FPR 1 % +unknown +\(none to count\)", text)
    assert re.search(r"TPR at FPR 1 %, all places +90\.0 % .*9 of 10", text)
    assert re.search(r"FPR on the test part, all places +5\.0 % .*1 of 20", text)
    assert "unknown (none to count)" in page(campaign)


def test_nothing_to_count_is_unknown():
    assert in_words(rate(0, 0)) == ("unknown", "none to count")


def test_the_caption_is_the_prose_behind_the_figure():
    def cell(kind, text):
        return {"cell_type": kind, "source": text.splitlines(keepends=True)}

    cells = [
        cell("markdown", "# Title"),
        cell("markdown", "## Step\n\nLeads to `it`, and\nmore.\n\nSecond paragraph."),
        cell("code", 'run.save_figure(fig, "01_a")'),
        cell("markdown", "**Look** for [this](that.md)."),
        cell("code", 'run.save_figure(fig, "01_b")'),
        cell("markdown", "## Next step\n\nOther."),
    ]
    assert html.first_heading(cells) == "Title"
    assert html.markdown_near(cells, "01_a") == "Look for this."
    assert html.markdown_near(cells, "01_b") == "Look for this."
    assert html.markdown_near(cells[:3], "01_a") == "Leads to it, and more."
    assert html.markdown_near(cells, "01_c") == ""
    assert html.figure_title("01_psf_grid") == "PSF grid"


def test_numbers_in_tables_are_short_and_missing_ones_blank():
    text = html.html_table(Table({"mag": [20.123456, np.nan], "n": [3, 4]}))
    assert re.findall(r"<td[^>]*>([^<]*)</td>", text) == ["20.12", "3", "", "4"]
    assert html.html_table(Table({"n": []})) == ""


def test_a_figure_with_nothing_in_it_is_named_and_left_out(campaign):
    run = campaign.run
    full, empty = Figure(), Figure()
    draw_none(full.add_subplot(1, 2, 1))
    full.add_subplot(1, 2, 2).plot([0, 1])
    draw_none(empty.add_subplot())
    before = page(campaign).count("<figure>")
    run.save_figure(full, "01_half_full")
    run.save_figure(empty, "01_hollow")
    text = page(campaign)
    assert text.count("<figure>") == before + 1
    assert "<b>Half full.</b>" in text
    assert "there was nothing to draw: Hollow." in text


def test_of_many_exposures_a_few_are_shown_and_all_that_were_set_aside(campaign):
    n = 478
    exposures = Table({"exposure_id": [f"e{i:03d}" for i in range(n)]})
    exposures["used"] = np.arange(n) != 477
    exposures["reason"] = np.where(exposures["used"], "", "Trailed.")
    campaign.run.write_table("exposures", exposures)
    section = page(campaign).split("<h2>Exposures</h2>")[1].split("</section>")[0]
    assert section.count("<tr>") == 1 + 40
    assert "40 of 478" in section
    assert "Trailed." in section


def test_what_is_simpler_stands_in_the_report_with_a_verdict(campaign):
    run = campaign.run
    rows = []
    for judge, k in (("trees alone", 95), ("networks alone", 86), ("fused", 93)):
        row = {"judge": judge, "auc": 0.99}
        for name in ("tpr", "fpr", "snr_5_10", "snr_above_10"):
            found = rate(k, 100)
            row |= {name: found["value"], f"{name}_low": found["low"]}
            row |= {f"{name}_high": found["high"]}
        rows.append(row)
    assert "Beside what is simpler" not in page(campaign)
    run.model_dir.mkdir()
    run.write_json(run.model_dir / "model.json", {"baselines": rows})
    section = page(campaign).split("<h2>Classifier</h2>")[1].split("</section>")[0]
    assert "Beside what is simpler" in section
    assert "this may be chance" in section
    assert "0.950 (0.89 to 0.98)" in section


def test_how_many_are_expected_to_be_bogus_is_in_the_summary(applied):
    run = applied.run
    words = "about 8 of the 57 kept: the threshold lets 1.0% of bogus pass"
    metrics = run.read_json(run.metrics_path) | {"expected_false": {"words": words}}
    run.write_json(run.metrics_path, metrics)
    text = "\n".join(summary(applied))
    assert re.search(r"expected to be bogus +about 8 of the 57 kept  \(the thr", text)


def test_the_manifest_is_plain_json(campaign):
    stages = json.loads(campaign.run.manifest_path.read_text())["stages"]
    assert stages["01_images"]["seconds"] == 3.25


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("GAIN", ["exposures used"]),
        ("measured on 8 pairs of exposures, not GAIN", ["exposures used", "gain"]),
    ],
)
def test_gain_that_was_replaced_is_a_figure_of_its_own(tmp_path, source, names):
    run = RunDir(tmp_path / "run")
    run.write_table(
        "exposures",
        Table(
            {
                "exposure_id": ["a", "b"],
                "used": [True, True],
                "reason": ["", ""],
                "gain": [1.19, 1.19],
                "gain_source": [source, source],
            }
        ),
    )
    figures = key_figures(run)

    assert [figure.name for figure in figures] == names
    if len(names) > 1:
        assert figures[1].value == "1.19 electron/adu"
        assert "not GAIN: please look at 01_gain" in figures[1].note


def test_warnings_of_the_last_notebook_stand_behind_the_key_figures(applied):
    run = applied.run
    metrics = run.read_json(run.metrics_path)
    assert "<h2>Warnings</h2>" not in page(applied)
    run.write_json(run.metrics_path, metrics | {"warnings": [f"Rates: {NASTY}"]})
    text = page(applied)
    section = text.split("<h2>Warnings</h2>")[1].split("</section>")[0]
    assert "Rates: &lt;script&gt;" in section
    assert text.index("<h2>Warnings</h2>") < text.index("<h2>Ranked candidates</h2>")
