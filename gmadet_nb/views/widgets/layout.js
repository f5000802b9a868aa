// How large the tiles are, and where the large view stands: all of a page is to be seen
// at once where the window allows it, with what surrounds a candidate. In CSS pixels.
const RIM = 10; // padding and border of a tile, both sides
const BETWEEN = 6; // tiles
const CAPTION = 26; // height of its two lines
const SAID = 130; // width of a tile in which they are read whole
const PANEL = 340; // least width of the large view beside the grid
const LOWER = 126; // least height of the large view below it
const COLUMNS = 600; // width of the words in two columns, beside the pictures below
const BESIDE = 0.95; // beside, unless that makes the tiles smaller than by this factor
const LEAST = { 1: 56, 3: 36 }; // side of a plane; a page that is too large is scrolled

// Two, two and a half, three times the pixels of a cutout; below that as it fits.
function snap(side, pixels) {
  const scale = side / pixels;
  return scale >= 2 ? (Math.floor(2 * scale) / 2) * pixels : side;
}

// `width` and `height` are those of the room for the grid and the large view, `pixels`
// is the side of a plane in the atlas; `around` says whether surroundings are shown.
function layOut({ width, height, columns, rows, planes, pixels, captions, around }) {
  const caption = captions ? CAPTION : 0;
  const column = (w) => (w + BETWEEN) / columns - BETWEEN;
  const high = (h) => (h + BETWEEN) / rows - BETWEEN - RIM - caption;
  const fitted = (w, h) =>
    Math.min((column(w) - RIM) / planes, Math.max(high(h), LEAST[planes]));
  const aside = fitted(width - PANEL, height);
  const under = fitted(width, height - LOWER);
  const beside = aside >= BESIDE * under;
  const side = Math.max(snap(beside ? aside : under, pixels), planes === 1 ? 48 : 26);
  const picture = Math.floor(side * planes);
  const said = captions ? Math.min(SAID, column(beside ? width - PANEL : width)) : 0;
  const tile = Math.max(picture + RIM, Math.floor(said));
  // What is left is for the large view.
  const panel = width - columns * (tile + BETWEEN) - 16;
  const lower = height - rows * (side + RIM + BETWEEN + caption) - 10;
  const low = LOWER - 16;
  const most = around ? Math.max(low, (width - COLUMNS) / 6) : Math.min(240, (width - 16) / 3);
  const large = beside
    ? Math.min(panel / 3, 200)
    : Math.max(Math.min(lower, most), Math.min(low, (width - 16) / 3));
  const shown = planes === 1 ? (beside ? 1.5 : 1) * large : planes * large;
  return { beside, picture, tile, large, shown, scale: side / pixels };
}
