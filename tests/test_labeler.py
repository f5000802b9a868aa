import base64
import io
import itertools
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gmadet_nb.learning.label_log import LabelLog
from gmadet_nb.learning.label_order import Known
from gmadet_nb.learning.label_session import LabelSession
from gmadet_nb.views.stretch import GAP, NO_MEASUREMENT, WHITE
from gmadet_nb.views.widgets import labeler as labeler_module
from gmadet_nb.views.widgets.atlas import LOOKS, draw_atlas, picture_bytes
from gmadet_nb.views.widgets.labeler import CutoutLabeler

IDS = [f"e1_c{i:05d}" for i in range(10)]


class Store:
    """Cutout number i has a source of 100 (i + 1) adu in its middle."""

    def read(self, candidate_ids):
        pixels = np.random.default_rng(0).normal(0, 5, (len(candidate_ids), 8, 8, 3))
        for cutout, candidate_id in zip(pixels, candidate_ids, strict=True):
            cutout[4, 4, [0, 2]] += 100 * (int(candidate_id[-5:]) + 1)
        return pixels


@pytest.fixture
def make_labeler(tmp_path):
    def make(ids=IDS, page_size=6, auto_labels=None, context=None, blind=False):
        log = LabelLog(tmp_path / "anna.jsonl")
        session = LabelSession(
            ids, log, page_size=page_size, known=Known(auto_labels=auto_labels or {})
        )
        labeler = CutoutLabeler(
            session,
            Store(),
            n_columns=3,
            captions={key: "S/N 7" for key in ids},
            context=context,
            blind=blind,
        )
        labeler.answers = []
        labeler.pictures = []
        labeler.numbers = itertools.count(1)

        def send(message, buffers=()):
            labeler.answers.append(message)
            labeler.pictures.append(list(buffers))

        labeler.send = send
        return labeler

    return make


class Around:
    """Surroundings that are the candidate's name; those of the third are gone."""

    def describe(self, candidate_id):
        if candidate_id == IDS[2]:
            raise OSError("no such frame")
        history = [
            {
                "mjd": 60000.0 + i,
                "flux": 10.0 * i,
                "flux_err": 1.0,
                "exposure_id": f"e{i}",
            }
            for i in range(3)
        ]
        return {
            "id": candidate_id,
            "exposure_id": "e1",
            "lines": [f"about {candidate_id}"],
            "link": "https://example.org/sky",
            "history": history,
            "neighbours": [{"candidate_id": "<b>other</b>", "distance": 3.5}],
        }

    def pixels(self, candidate_id):
        return np.random.default_rng(0).normal(0, 5, (32, 32, 3))


def say(labeler, *acts, view="v"):
    numbered = [{"seq": next(labeler.numbers), **act} for act in acts]
    labeler._handle_custom_msg({"view": view, "acts": numbered}, [])


def lines_of(tmp_path):
    text = (tmp_path / "anna.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def label(candidate_id, value):
    return {"do": "label", "id": candidate_id, "label": value}


def test_each_act_is_one_line_in_the_order_made(make_labeler, tmp_path):
    labeler = make_labeler()
    say(labeler, label(IDS[0], "real"), label(IDS[1], "bogus"), label(IDS[0], None))

    lines = lines_of(tmp_path)
    assert [(line["candidate_id"], line["label"]) for line in lines] == [
        (IDS[0], "real"),
        (IDS[1], "bogus"),
        (IDS[0], None),
    ]
    assert lines[0]["shown"] == {
        "page": 0,
        "caption": "S/N 7",
        "stretch": "middle",
        "colors": "gray",
        "planes": "all",
    }
    assert labeler.answers == [
        {
            "view": "v",
            "results": [
                {"seq": 1, "ids": [IDS[0]], "error": ""},
                {"seq": 2, "ids": [IDS[1]], "error": ""},
                {"seq": 3, "ids": [IDS[0]], "error": ""},
            ],
        }
    ]
    assert [tile["label"] for tile in labeler.page_state["tiles"][:2]] == [
        None,
        "bogus",
    ]
    assert labeler.page_state["counts"]["bogus"] == 1


def test_undo_goes_back_to_the_page_of_the_label(make_labeler):
    labeler = make_labeler()
    say(labeler, label(IDS[2], "real"), {"do": "page", "page": 1}, {"do": "undo"})
    assert labeler.page_state["page"] == 0
    assert labeler.page_state["tiles"][2]["label"] is None
    say(labeler, {"do": "undo"})
    assert labeler.answers[-1]["results"][0] == {"seq": 4, "ids": [], "error": ""}


def test_a_page_turn_changes_picture_and_tiles_together(make_labeler):
    labeler = make_labeler()
    first = labeler.atlas
    say(labeler, {"do": "page", "page": 1})
    assert [tile["id"] for tile in labeler.page_state["tiles"]] == IDS[6:]
    assert labeler.atlas != first
    say(labeler, {"do": "page", "page": 99})
    assert labeler.page_state["page"] == 1


def test_a_label_that_cannot_be_saved_comes_back_as_an_error(
    make_labeler, monkeypatch, caplog
):
    labeler = make_labeler()

    def full(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(labeler.session.log, "record", full)
    say(labeler, label(IDS[0], "real"))
    assert "No space left" in labeler.answers[-1]["results"][0]["error"]
    assert labeler.page_state["tiles"][0]["label"] is None
    say(labeler, label("nobody", "real"))
    assert "not in this session" in labeler.answers[-1]["results"][0]["error"]


def test_automatic_labels_show_as_such_and_a_flip_overrules_them(make_labeler):
    labeler = make_labeler(auto_labels={IDS[0]: "real"})
    tiles = {tile["id"]: tile for tile in labeler.page_state["tiles"]}
    assert not any(tile["human"] for tile in tiles.values())
    labeler.turn_to(1)
    last = labeler.page_state["tiles"][-1]
    assert (last["id"], last["label"], last["human"]) == (IDS[0], "real", False)


def test_labels_from_several_threads_are_all_recorded(make_labeler, tmp_path):
    labeler = make_labeler()
    threads = [
        threading.Thread(
            target=say, args=(labeler, label(key, "bogus")), kwargs={"view": key}
        )
        for key in IDS
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line["candidate_id"] for line in lines_of(tmp_path)) == IDS
    assert labeler.page_state["counts"]["bogus"] == len(IDS)


def test_look_goes_round_and_changes_the_picture(make_labeler):
    labeler = make_labeler()
    pictures = [labeler.atlas]
    for _ in LOOKS["stretch"]:
        say(labeler, {"do": "look", "part": "stretch"})
        pictures.append(labeler.atlas)
    assert pictures[-1] == pictures[0]
    assert len(set(pictures)) == len(LOOKS["stretch"])
    say(labeler, {"do": "look", "part": "colors"})
    assert labeler.page_state["look"]["colors"] == "gray_r"
    say(labeler, {"do": "look", "part": "planes"})
    assert labeler.page_state["n_planes"] == 1
    # 3 columns of one plane of 8 + 2 pixels.
    assert Image.open(io.BytesIO(labeler.atlas)).size == (30, 20)


def test_blind_labelling_hides_the_automatic_labels(make_labeler):
    session = make_labeler(auto_labels={IDS[9]: "real"}).session
    labeler = CutoutLabeler(session, Store(), n_columns=3, blind=True)
    labeler.turn_to(1)

    assert all(tile["label"] is None for tile in labeler.page_state["tiles"])


def test_blind_labelling_hides_the_numbers_of_the_surroundings(make_labeler):
    labeler = make_labeler(context=Around())
    labeler._handle_custom_msg({"view": "v", "ask": IDS[0]}, [])
    labeler._blind = True
    labeler._handle_custom_msg({"view": "v", "ask": IDS[0]}, [])

    seen, blind = (answer["about"]["lines"] for answer in labeler.answers)
    assert (seen, blind) == ([f"about {IDS[0]}"], [])


def test_acts_that_come_twice_are_done_once_and_answered_twice(make_labeler, tmp_path):
    labeler = make_labeler()
    first = [{"seq": 1, **label(IDS[0], "real")}, {"seq": 2, **label(IDS[1], "bogus")}]
    for acts in (first, first, [{"seq": 3, "do": "undo"}], [{"seq": 3, "do": "undo"}]):
        labeler._handle_custom_msg({"view": "v", "acts": acts}, [])

    assert [line["label"] for line in lines_of(tmp_path)] == ["real", "bogus", None]
    once, twice, undo, undo_again = (answer["results"] for answer in labeler.answers)
    assert once == twice
    assert [result["seq"] for result in once] == [1, 2]
    assert undo == undo_again == [{"seq": 3, "ids": [IDS[1]], "error": ""}]
    # One that was on its way for long is not done after later ones either.
    labeler._handle_custom_msg({"view": "v", "acts": first}, [])
    assert len(lines_of(tmp_path)) == 3
    # Another page counts from 1 as well.
    say(labeler, label(IDS[3], "real"), view="w")
    assert len(lines_of(tmp_path)) == 4


def test_second_showing_looks_like_any_other(tmp_path):
    session = LabelSession(
        IDS,
        LabelLog(tmp_path / "anna.jsonl"),
        page_size=2,
        rng=np.random.default_rng(0),
        repeat_fraction=0.5,
    )
    labeler = CutoutLabeler(session, Store(), n_columns=2)
    labeler.send, labeler.numbers = [].append, itertools.count(1)
    again = next(tile for tile in session.ids if "#" in tile)
    say(labeler, label(session.candidate_of(again), "real"))
    labeler.turn_to(session.page_of(again))
    [tile] = [t for t in labeler.page_state["tiles"] if t["id"] == again]
    assert (tile["name"], tile["label"]) == (session.candidate_of(again), None)
    say(labeler, label(again, "bogus"))

    assert lines_of(tmp_path)[-1]["shown"]["repeat"]
    assert session.log.labels() == {session.candidate_of(again): "real"}


def test_atlas_holds_each_plane_at_its_place_with_y_upwards():
    pixels = np.zeros((3, 4, 4, 3))
    pixels[2, 0, 1, 2] = 50.0  # third cutout, difference: y 0, x 1
    pixels[1, 3, 3, 0] = np.nan  # second cutout, science: y 3, x 3
    atlas = draw_atlas(pixels, n_columns=2)

    assert atlas.shape == (2 * 6, 2 * 18)
    # One pixel of gap around each plane.
    assert atlas[6 + 1 + 3, 2 * 6 + 1 + 1] == WHITE
    assert atlas[1, 18 + 1 + 3] == NO_MEASUREMENT
    assert (atlas[:, 5:7] == GAP).all()
    assert (atlas[:, [0, -1]] == GAP).all()
    assert (atlas[6:, 18:] == GAP).all()


def test_picture_is_a_png_with_transparent_gaps():
    picture = Image.open(
        io.BytesIO(picture_bytes(np.array([[0, WHITE], [GAP, NO_MEASUREMENT]], "u1")))
    ).convert("RGBA")
    assert picture.getpixel((0, 0)) == (0, 0, 0, 255)
    assert picture.getpixel((1, 0)) == (255, 255, 255, 255)
    assert picture.getpixel((0, 1))[3] == 0
    assert picture.getpixel((1, 1)) == (77, 66, 117, 255)


def test_display_carries_a_still_picture(make_labeler):
    data, _ = make_labeler()._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    still = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    # 3 columns of 3 planes of 8 + 2 pixels, 2 rows, twice the size.
    assert still.size == (2 * 90, 2 * 20)


def test_page_whose_pixels_cannot_be_read_leaves_the_old_one(make_labeler):
    labeler = make_labeler()
    before = labeler.atlas, dict(labeler.page_state)

    def read(candidate_ids):
        raise OSError("the disk is gone")

    labeler._store.read = read
    say(labeler, {"do": "page", "page": 1}, {"do": "look", "part": "planes"})

    results = labeler.answers[-1]["results"]
    assert ["the disk is gone" in result["error"] for result in results] == [True, True]
    assert (labeler.atlas, dict(labeler.page_state)) == before


def test_blind_counts_tell_nothing_of_automatic_labels(make_labeler):
    labeler = make_labeler(auto_labels=dict.fromkeys(IDS, "real"), blind=True)
    say(labeler, label(IDS[0], "bogus"))

    counts = labeler.page_state["counts"]
    assert (counts["real"], counts["bogus"], counts["unlabeled"]) == (0, 1, 9)
    assert [tile["label"] for tile in labeler.page_state["tiles"][1:]] == [None] * 5


def test_session_is_opened_where_something_is_left_to_label(make_labeler):
    session = make_labeler().session
    for key in IDS[:6]:
        session.set_label(key, "real")

    labeler = CutoutLabeler(session, Store(), n_columns=3)
    assert labeler.page_state["page"] == 1


def test_no_candidates_make_an_empty_page(make_labeler):
    class Empty:
        def read(self, candidate_ids):
            return np.empty((0, 8, 8, 3))

    labeler = CutoutLabeler(make_labeler(ids=[]).session, Empty(), n_columns=3)
    assert labeler.page_state["tiles"] == []
    assert labeler.page_state["n_pages"] == 0


# The front end in a bare page: a model of ten lines in place of Jupyter's.
MOCK = """async ([source, css, state, png, before]) => {
  const url = URL.createObjectURL(new Blob([source], {type: 'text/javascript'}));
  const module = await import(url);
  const style = document.createElement('style');
  style.textContent = css;
  document.head.append(style);
  const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
  const held = {page_state: state, atlas: new DataView(bytes.buffer), fresh: true};
  const calls = {};
  window.sent = [];
  window.escaped = [];
  window.statusCalls = [];
  window.model = {
    get: (name) => held[name],
    set: (name, value) => {
      held[name] = value;
      (calls['change:' + name] || []).forEach((call) => call());
    },
    on: (name, call) => { (calls[name] = calls[name] || []).push(call); },
    off: () => {},
    widget_manager: {kernel: {statusChanged: {
      connect: (call) => window.statusCalls.push(call), disconnect: () => {}}}},
    save_changes: () => {},
    send: (message) => window.sent.push(message),
    answer: (message, pictures = []) => {
      const buffers = pictures.map((text) =>
        new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer));
      (calls['msg:custom'] || []).forEach((call) => call(message, buffers));
    },
  };
  document.addEventListener('keydown', (event) => window.escaped.push(event.key));
  document.body.innerHTML = before;
  document.querySelector('[autofocus]')?.focus();
  const el = document.createElement('div');
  document.body.append(el);
  module.default.render({model: window.model, el});
}"""


MALFORMED = [
    None,
    [],
    {},
    {"view": "v"},
    {"view": "v", "acts": {"seq": 1}},
    {"view": "v", "acts": [None]},
    {"view": "v", "acts": [{"do": "undo"}]},
    {"view": "v", "acts": [{"seq": 1, "do": "redo"}]},
    {"view": "v", "acts": [{"seq": 1, "do": "page"}]},
    {"view": "v", "acts": [{"seq": 1, "do": "label", "id": 7, "label": "real"}]},
    {"view": "v", "ask": 7},
]


@pytest.mark.parametrize("content", MALFORMED)
def test_message_that_is_none_is_answered_by_an_error_and_not_done(
    make_labeler, content, caplog
):
    labeler = make_labeler(context=Around())
    before = dict(labeler.page_state)
    labeler._handle_custom_msg(content, [])

    [answer] = labeler.answers
    assert "A message of the page must" in answer["error"]
    assert answer["view"] == (content["view"] if content else None)
    assert dict(labeler.page_state) == before
    assert not labeler.session.log.size


def test_message_that_fails_within_is_answered_too(make_labeler, monkeypatch, caplog):
    labeler = make_labeler()

    def broken(*args):
        raise OSError("the disk is gone")

    monkeypatch.setattr(labeler, "_describe", broken)
    say(labeler, label(IDS[0], "real"))
    assert labeler.answers == [{"view": "v", "acts": True, "error": "the disk is gone"}]


@pytest.mark.parametrize("order", ["unlabeled", "score"])
def test_session_that_goes_on_says_where_the_labelled_ones_are(tmp_path, order):
    def open_again():
        session = LabelSession(
            IDS, LabelLog(tmp_path / "anna.jsonl"), order=order, page_size=3
        )
        return CutoutLabeler(session, Store(), n_columns=3)

    first = open_again()
    assert first.page_state["opening"] == ""
    for key in IDS[:4]:
        first.session.set_label(key, "real")
    state = open_again().page_state

    place = {"unlabeled": "they come last now", "score": "the first page with open"}
    assert state["opening"].startswith("4 labelled before: ")
    assert place[order] in state["opening"]
    assert state["page"] == {"unlabeled": 0, "score": 1}[order]


@pytest.fixture
def open_page(browser, make_labeler):
    """Return a function that shows a grid in a page, after what else it holds."""
    pages = []

    def open_page(before="", labelled=()):
        labeler = make_labeler(auto_labels={IDS[0]: "real"}, context=Around())
        if labelled:
            for key in labelled:
                labeler.session.set_label(key, "real")
            labeler = make_labeler(context=Around())
        page = browser.new_page(viewport={"width": 900, "height": 500})
        pages.append(page)
        page.set_content("<html><body></body></html>")
        png = base64.b64encode(labeler.atlas).decode()
        parts = [str(part) for part in (labeler._esm, labeler._css)]
        page.evaluate(MOCK, [*parts, labeler.page_state, png, before])
        page.labeler = labeler
        return page

    yield open_page
    for page in pages:
        page.close()


@pytest.fixture
def page(open_page):
    return open_page()


def answer(page):
    """Let Python answer the acts that the page has sent since the last answer."""
    labeler = page.labeler
    for message in page.evaluate(
        "() => window.sent.splice(0).filter((message) => message.acts)"
    ):
        labeler._handle_custom_msg(message, [])
        png = base64.b64encode(labeler.atlas).decode()
        page.evaluate(
            """([state, png, answer]) => {
              const bytes = Uint8Array.from(atob(png), (c) => c.charCodeAt(0));
              window.model.set('atlas', new DataView(bytes.buffer));
              window.model.set('page_state', state);
              window.model.answer(answer);
            }""",
            [labeler.page_state, png, labeler.answers[-1]],
        )


def wait_focus(page, selector):
    page.wait_for_function(
        "(selector) => document.activeElement.matches(selector)", arg=selector
    )


def test_grid_takes_the_focus_when_it_is_shown_first(page, tmp_path):
    wait_focus(page, ".gnl")
    assert not page.locator(".gnl-hint").is_visible()
    page.keyboard.press("b")
    settle(page)
    assert page.labeler.session.log.labels() == {IDS[1]: "bogus"}


@pytest.mark.parametrize(
    "editor",
    [
        "<textarea autofocus></textarea>",
        "<input autofocus>",
        "<div contenteditable autofocus></div>",
        # A cell of the notebook that is not the one that was run.
        "<div class=jp-Cell tabindex=0 autofocus></div>",
    ],
)
def test_grid_takes_no_key_from_where_somebody_types(open_page, editor):
    page = open_page(editor)
    page.wait_for_function("() => window.model.get('fresh') === false")
    wait_focus(page, "[autofocus]")
    page.keyboard.press("b")
    assert page.locator(".gnl-hint").is_visible()
    assert not page.evaluate("() => window.sent.some((message) => message.acts)")


@pytest.mark.parametrize(
    "part", [".gnl-hint", ".gnl-counts", ".gnl-where", ".gnl-words", ".gnl"]
)
def test_click_beside_the_tiles_gives_the_focus_and_labels_nothing(open_page, part):
    page = open_page("<input autofocus>")
    page.wait_for_function("() => window.model.get('fresh') === false")
    # The outermost part has its margin there.
    page.locator(part).click(position={"x": 3, "y": 3})
    wait_focus(page, ".gnl")
    assert not page.locator(".gnl-hint").is_visible()
    assert not page.evaluate("() => window.sent.some((message) => message.acts)")
    page.keyboard.press("u")
    settle(page)
    assert page.labeler.session.log.labels() == {IDS[1]: "unsure"}


def test_clicks_faster_than_the_kernel_arrive_in_order(page, tmp_path):
    tiles = page.locator(".gnl-tile")
    for index in (0, 0, 1, 0):
        tiles.nth(index).click()
    # Only the first has been sent: the rest wait for its answer.
    sent = "() => window.sent.filter((message) => message.acts).length"
    assert page.evaluate(sent) == 1
    assert tiles.nth(0).get_attribute("data-label") == "real"
    assert tiles.nth(0).get_attribute("data-status") == "waiting"
    assert "4 not saved yet" in page.locator(".gnl-saved").inner_text()

    answer(page)
    answer(page)
    assert [(line["candidate_id"], line["label"]) for line in lines_of(tmp_path)] == [
        (IDS[1], "real"),
        (IDS[1], "bogus"),
        (IDS[2], "real"),
        (IDS[1], "real"),
    ]
    assert tiles.nth(0).get_attribute("data-status") == "saved"
    assert page.locator(".gnl-saved").inner_text() == "all saved"


def test_acts_that_got_lost_are_sent_again(page, tmp_path):
    tiles = page.locator(".gnl-tile")
    tiles.nth(0).click()
    tiles.nth(1).click()
    # Nobody answers for five seconds: the connection lost the message, or the answer.
    page.wait_for_function(
        "() => window.sent.filter((message) => message.acts).length === 2"
    )
    assert "no answer from the server" in page.locator(".gnl-saved").inner_text()
    answer(page)
    answer(page)

    # Both came in the end: once each, in order, and the answers settle their own acts.
    assert [line["candidate_id"] for line in lines_of(tmp_path)] == IDS[1:3]
    assert page.locator(".gnl-saved").inner_text() == "all saved"


def test_page_says_what_to_do_when_nobody_answers(page):
    advice = page.locator(".gnl-advice")
    page.locator(".gnl-tile").nth(0).click()
    page.wait_for_function(
        "document.querySelector('.gnl-saved').innerText.includes('no answer')"
    )
    assert "Everything shown as saved is on disk" in advice.inner_text()
    assert "what is not saved is marked …" in advice.inner_text()
    assert "…" in page.locator(".gnl-tile .gnl-badge").first.inner_text()
    # A reload of the old address asks for a token.
    assert "open its new address" in advice.inner_text()
    assert "Reload" not in advice.inner_text()
    settle(page)
    assert not advice.is_visible()


def test_page_in_a_notebook_says_at_once_that_its_kernel_is_gone(open_page):
    page = open_page()
    page.evaluate(
        """() => {
          document.body.className = 'jp-NotebookPanel';
          window.model.send = () => { throw new Error('Kernel is dead'); };
          window.statusCalls.forEach((call) => call(null, 'autorestarting'));
        }"""
    )
    status = page.locator(".gnl-saved")
    assert status.inner_text() == "the kernel is gone"
    assert "Run the cells again" in page.locator(".gnl-advice").inner_text()
    page.locator(".gnl-tile").nth(0).click()
    assert status.inner_text() == "the kernel is gone: 1 not saved"
    assert page.locator(".gnl-tile").nth(0).get_attribute("data-status") == "waiting"


def test_page_shows_that_a_message_was_refused_and_sends_it_no_more(page, caplog):
    tiles = page.locator(".gnl-tile")
    tiles.nth(0).click()
    tiles.nth(1).click()
    page.evaluate("() => { window.sent.find((m) => m.acts).acts[0].seq = 'one'; }")
    settle(page)

    assert tiles.nth(0).get_attribute("data-status") == "failed"
    assert tiles.nth(1).get_attribute("data-status") == "saved"
    assert "must hold acts with a number" in page.locator(".gnl-saved").inner_text()
    assert page.labeler.session.log.labels() == {IDS[2]: "real"}
    tiles.nth(0).click()
    settle(page)
    assert page.locator(".gnl-saved").inner_text() == "all saved"
    assert page.labeler.session.log.labels() == {IDS[1]: "real", IDS[2]: "real"}


def test_page_opens_with_where_the_labelled_ones_are(open_page):
    page = open_page(labelled=IDS[:3])
    status = page.locator(".gnl-saved")
    assert "3 labelled before: they come last now" in status.inner_text()
    page.locator(".gnl").focus()
    page.keyboard.press("u")
    settle(page)
    assert status.inner_text() == "all saved"


def test_keys_label_move_turn_and_undo_and_none_gets_out(page, tmp_path):
    page.locator(".gnl").focus()
    page.evaluate("() => { window.escaped = []; }")
    for key in ["r", "b", "ArrowRight", "u", "ArrowUp", "x", " ", "0", "0", "d", "d"]:
        page.keyboard.press(key)
        answer(page)
    labels = page.labeler.session.log.labels()
    assert labels == {IDS[1]: "real", IDS[2]: "real", IDS[4]: "unsure"}
    assert page.evaluate("() => window.escaped") == []

    page.keyboard.press("n")
    answer(page)
    assert page.locator(".gnl-tile").count() == 4
    assert page.locator(".gnl").get_attribute("data-page") == "1"
    page.keyboard.press("z")
    answer(page)
    assert page.locator(".gnl").get_attribute("data-page") == "0"
    assert "took back" in page.locator(".gnl-saved").inner_text()
    assert page.labeler.session.log.labels() == {IDS[1]: "real", IDS[4]: "unsure"}


def test_keys_wait_for_the_page_or_undo_that_they_follow(page):
    page.locator(".gnl").focus()
    for key in ["b", "n", "r", "u", "n", "z", "u"]:
        page.keyboard.press(key)
    # The first tile of the first page stands under the cursor: r is not meant for it.
    assert page.locator(".gnl-tile").nth(0).get_attribute("data-label") == "bogus"
    settle(page)

    # There is no third page, and z took back the u on the second.
    labels = page.labeler.session.log.labels()
    assert labels == {IDS[1]: "bogus", IDS[7]: "real", IDS[8]: "unsure"}
    assert page.locator(".gnl").get_attribute("data-page") == "1"


def test_keys_past_the_last_tile_label_nothing_and_say_so(page, tmp_path):
    page.locator(".gnl").focus()
    for key in ["End", "r", "b", " ", "x", "r"]:
        page.keyboard.press(key)
        settle(page)
    assert [(line["candidate_id"], line["label"]) for line in lines_of(tmp_path)] == [
        (IDS[6], "real")
    ]
    status = page.locator(".gnl-saved")
    assert status.inner_text() == "end of the page: n for the next"
    assert page.locator(".gnl-cursor").count() == 0
    assert not page.locator(".gnl-large").is_visible()

    # Another look stays there; an arrow leads back to the last tile, z as well.
    for key in ["s", "ArrowUp", "u", "z", "b", "n", "End", "b", "u"]:
        page.keyboard.press(key)
        settle(page)
    labels = page.labeler.session.log.labels()
    assert labels == {IDS[6]: "bogus", IDS[0]: "bogus"}
    assert status.inner_text() == "end of the last page"


def test_clearing_what_has_no_label_writes_nothing_and_says_so(page, tmp_path):
    page.locator(".gnl").focus()
    status = page.locator(".gnl-saved")
    page.keyboard.press("x")
    assert status.inner_text() == "nothing to clear"
    # Nothing can be cleared twice, not even before the answer.
    for key in ["u", "ArrowLeft", "x", "x"]:
        page.keyboard.press(key)
    settle(page)
    assert [line["label"] for line in lines_of(tmp_path)] == ["unsure", None]
    # Nor a label that no person gave.
    for key in ["n", "End", "x"]:
        page.keyboard.press(key)
        settle(page)
    assert page.locator(".gnl-cursor").get_attribute("data-origin") == "auto"
    assert status.inner_text() == "nothing to clear"
    for key in ["z", "x"]:
        page.keyboard.press(key)
        settle(page)
    assert [line["label"] for line in lines_of(tmp_path)] == [
        "unsure",
        None,
        "unsure",
        None,
    ]


def hold(page, key):
    """Press a key so long that it comes three times."""
    for _ in range(3):
        page.keyboard.down(key)
        settle(page)
    page.keyboard.up(key)


def test_numbers_are_hidden_on_the_tiles_and_beside_the_large_one(page):
    page.locator(".gnl").focus()
    answer_question(page)
    texts = [page.locator(name) for name in (".gnl-grid", ".gnl-words")]
    tile = page.locator(".gnl-tile").first
    for shown in (True, False, True):
        assert ["S/N 7" in text.inner_text() for text in texts] == [shown, shown]
        assert (f"about {IDS[1]}" in texts[1].inner_text()) is shown
        assert ("S/N 7" in tile.get_attribute("title")) is shown
        assert IDS[1] in texts[1].inner_text()
        page.keyboard.press("i")
    # So it is on the next page.
    page.keyboard.press("n")
    settle(page)
    assert tile.get_attribute("title") == IDS[7]


def test_key_that_is_held_labels_once_and_moves_on(page, tmp_path):
    page.locator(".gnl").focus()
    for n_lines, key in enumerate(["r", " ", "u", "z"], start=1):
        hold(page, key)
        assert len(lines_of(tmp_path)) == n_lines
    # z took u back; the arrow goes from the second tile to the fifth.
    hold(page, "ArrowRight")
    assert page.locator(".gnl-cursor").get_attribute("data-id") == IDS[5]
    assert page.labeler.session.log.labels() == {IDS[1]: "real", IDS[2]: "real"}


def test_surroundings_of_the_last_tile_come_back_with_the_cursor(page):
    page.locator(".gnl").focus()
    for key in ["End", "r", "ArrowLeft"]:
        page.keyboard.press(key)
        settle(page)
    answer_question(page)
    assert f"about {IDS[6]}" in page.locator(".gnl-around").inner_text()
    assert page.locator(".gnl-wider").is_visible()
    # The same one, after another label.
    for key in ["u", "ArrowLeft"]:
        page.keyboard.press(key)
        settle(page)
    answer_question(page)
    assert page.locator(".gnl-below").get_attribute("data-around") == "new"


def settle(page):
    """Answer until nothing waits."""
    while page.evaluate("() => window.sent.some((message) => message.acts)"):
        answer(page)


def test_shift_and_a_key_label_what_is_still_open_on_the_page(page, tmp_path):
    page.locator(".gnl").focus()
    page.keyboard.press("u")
    page.keyboard.press("Shift+B")
    settle(page)

    labels = page.labeler.session.log.labels()
    assert labels == {IDS[1]: "unsure"} | dict.fromkeys(IDS[2:7], "bogus")
    page.keyboard.press("n")
    settle(page)
    # The automatic real one, last on the second page, is labelled, by either key.
    for key in ("Shift+B", "Shift+R"):
        page.keyboard.press(key)
        settle(page)
    assert set(page.labeler.session.log.labels()) == set(IDS[1:])
    assert "nothing is unlabelled" in page.locator(".gnl-saved").inner_text()


def open_count(page):
    return page.labeler.page_state["counts"]["unlabeled"]


def test_what_one_press_labels_is_counted_and_undone_as_one(page, tmp_path):
    page.locator(".gnl").focus()
    page.keyboard.press("u")
    settle(page)
    before = open_count(page)
    page.keyboard.press("Shift+R")
    settle(page)

    saved = page.locator(".gnl-saved")
    assert "5 labelled real: z takes them back" in saved.inner_text()
    assert len(lines_of(tmp_path)) == 1 + 5
    assert before - open_count(page) == 5
    page.keyboard.press("z")
    settle(page)
    assert "took back 5 labels" in saved.inner_text()
    assert page.labeler.session.log.labels() == {IDS[1]: "unsure"}
    assert open_count(page) == before
    # The cursor is on the first of them.
    assert page.locator(".gnl-cursor").get_attribute("data-id") == IDS[2]
    page.keyboard.press("z")
    settle(page)
    assert page.labeler.session.log.labels() == {}


def test_drag_gives_the_label_of_the_first_tile_to_all_it_passes(page):
    tiles = page.locator(".gnl-tile")
    boxes = [tiles.nth(i).bounding_box() for i in range(3)]
    middles = [(b["x"] + b["width"] / 2, b["y"] + b["height"] / 2) for b in boxes]
    tiles.nth(1).click()
    settle(page)
    page.mouse.move(*middles[0])
    page.mouse.down()
    for place in middles[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()
    page.mouse.move(*middles[0])  # no button, no label
    settle(page)

    assert page.labeler.session.log.labels() == dict.fromkeys(IDS[1:4], "real")
    # One undo for the drag, that of the click before it is another.
    before = {IDS[2]: "real"}
    for labels in (before, {}):
        page.keyboard.press("z")
        settle(page)
        assert page.labeler.session.log.labels() == labels


def test_right_click_labels_nothing_be_it_a_mac_s(page):
    tile = page.locator(".gnl-tile").first
    tile.click(modifiers=["Control"])
    tile.click(button="right")
    assert not page.evaluate("() => window.sent.some((message) => message.acts)")
    assert tile.get_attribute("data-label") == ""


def answer_question(page):
    """Wait until the page asks what surrounds a candidate, and answer."""
    page.wait_for_function("() => window.sent.some((message) => message.ask)")
    [question] = page.evaluate(
        "() => window.sent.splice(0).filter((message) => message.ask).slice(-1)"
    )
    labeler = page.labeler
    labeler._handle_custom_msg(question, [])
    pictures = [base64.b64encode(part).decode() for part in labeler.pictures[-1]]
    page.evaluate(
        "([answer, pictures]) => window.model.answer(answer, pictures)",
        [labeler.answers[-1], pictures],
    )


def test_surroundings_of_the_candidate_under_the_cursor_are_shown(page):
    page.locator(".gnl").focus()
    answer_question(page)
    text = page.locator(".gnl-around")
    assert f"about {IDS[1]}" in text.inner_text()
    # What comes from a file is text, never markup.
    assert "<b>other</b>, 3.5 pixels away" in text.inner_text()
    link = text.locator("a")
    assert link.get_attribute("href") == "https://example.org/sky"
    assert link.get_attribute("rel") == "noopener noreferrer"
    page.wait_for_function("document.querySelector('.gnl-wider').naturalWidth > 90")
    places = page.locator(".gnl-light circle")
    names = [places.nth(i).get_attribute("class") for i in range(places.count())]
    assert names == ["gnl-then", "gnl-here", "gnl-then"]

    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    # Until the answer is there, what is shown is that of another candidate.
    assert page.locator(".gnl-below").get_attribute("data-around") == "old"
    answer_question(page)
    assert page.locator(".gnl-below").get_attribute("data-around") == "new"
    assert f"about {IDS[3]}" in text.inner_text()
    page.keyboard.press("ArrowLeft")
    answer_question(page)
    assert "no such frame" in text.inner_text()
    assert not page.locator(".gnl-wider").is_visible()


@pytest.mark.parametrize("pixels", [34, 65])  # of cutouts of 32, and of ZTF
@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize(("width", "height"), [(1586, 810), (1266, 630), (1148, 660)])
def test_page_of_48_fits_its_room_with_the_large_view(
    browser, width, height, planes, pixels
):
    page = browser.new_page()
    room = {"width": width, "height": height, "columns": 8, "rows": 6}
    room |= {"planes": planes, "pixels": pixels, "captions": True, "around": True}
    source = Path(labeler_module.__file__).with_name("layout.js").read_text()
    laid = page.evaluate(
        "([source, room]) => new Function(source + ';return layOut')()(room)",
        [source, room],
    )
    page.close()

    side = laid["picture"] / planes
    assert side >= {1: 56, 3: 36}[planes]
    # A tile has 10 pixels of rim, 26 of caption, and 6 to the next.
    n_across = 8 * (laid["tile"] + 6) - 6 + laid["beside"] * (laid["shown"] + 16)
    n_down = 6 * (side + 42) - 6 + (not laid["beside"]) * laid["large"]
    assert n_across <= width
    assert n_down <= height
    if laid["scale"] >= 2:
        assert 2 * laid["scale"] == pytest.approx(round(2 * laid["scale"]))


def test_keys_change_the_look_and_show_the_help(page):
    root = page.locator(".gnl")
    root.focus()
    page.keyboard.press("t")
    settle(page)
    assert page.labeler.page_state["look"]["planes"] == "science"
    shape = page.locator(".gnl-tile .gnl-picture").first.bounding_box()
    assert shape["width"] == pytest.approx(shape["height"], rel=0.02)
    assert "science" in page.locator(".gnl-large-text").inner_text()
    keys = page.locator(".gnl-keys")
    assert not keys.is_visible()
    page.keyboard.press("i")
    assert not page.locator(".gnl-caption").first.is_visible()
    page.keyboard.press("h")
    assert keys.is_visible()
    # The help lies over the grid, and goes where it came from.
    shape, over = page.locator(".gnl-grid").bounding_box(), keys.bounding_box()
    assert shape["y"] < over["y"] + over["height"]
    page.keyboard.press("Escape")
    assert not keys.is_visible()
    page.keyboard.press("h")
    keys.click()
    assert not keys.is_visible()
    assert page.locator(".gnl").evaluate("grid => grid === document.activeElement")


@pytest.mark.parametrize("key", ["r", "Shift+B", " ", "n", "z", "i", "h", "Escape"])
def test_key_takes_the_help_away_and_does_nothing_else(page, key):
    page.locator(".gnl").focus()
    page.keyboard.press("h")
    page.keyboard.press(key)
    assert not page.locator(".gnl-keys").is_visible()
    assert not page.evaluate("() => window.sent.some((message) => message.acts)")
    assert page.locator(".gnl-caption").first.is_visible()
    # Neither when it waits with others for a page.
    for name in ["n", "h", key]:
        page.keyboard.press(name)
    settle(page)
    assert page.labeler.session.log.labels() == {}
    assert page.locator(".gnl").get_attribute("data-page") == "1"
    assert not page.locator(".gnl-keys").is_visible()


def test_help_has_the_key_that_leaves_only_in_a_notebook(page):
    page.locator(".gnl").focus()
    page.keyboard.press("h")
    entry = page.get_by_text("back to the notebook")
    assert not entry.is_visible()
    page.evaluate("() => { document.body.className = 'jp-NotebookPanel'; }")
    assert entry.is_visible()


def test_a_label_that_failed_is_shown_red_and_not_as_saved(page, monkeypatch):
    def full(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(page.labeler.session.log, "record", full)
    tile = page.locator(".gnl-tile").first
    tile.click()
    answer(page)
    assert tile.get_attribute("data-status") == "failed"
    assert tile.get_attribute("data-label") == ""
    status = page.locator(".gnl-saved")
    assert "1 NOT SAVED" in status.inner_text()
    assert status.get_attribute("data-status") == "failed"
    # There is nothing else to clear.
    page.keyboard.press("x")
    assert tile.get_attribute("data-status") == "saved"
    assert status.inner_text() == "nothing to clear"


def test_labels_are_told_apart_by_letter_and_line_too(page):
    page.locator(".gnl").focus()
    for key in "rbu":
        page.keyboard.press(key)
        answer(page)
    styles = [
        page.locator(".gnl-tile")
        .nth(index)
        .evaluate(
            "tile => [getComputedStyle(tile).borderTopStyle, tile.innerText.trim()[0]]"
        )
        for index in range(3)
    ]
    assert styles == [["solid", "R"], ["dashed", "B"], ["dotted", "?"]]
