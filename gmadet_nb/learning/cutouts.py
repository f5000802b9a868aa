"""The cutout store: small science, reference and difference images of candidates."""

from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from gmadet_nb.errors import BadInputError, BadParameterError
from gmadet_nb.files.rundir import atomic_path

PLANES = ("science", "reference", "difference")
FORMAT_VERSION = 1
MAX_CHUNK = 64


def cut(planes, x, y, *, size):
    """Cut squares out of aligned images around positions.

    The pixel nearest to (x, y) comes to stand in pixel ``size // 2`` of the
    cutout (0-based): in the middle of an odd size, right of and above the
    middle by half a pixel in an even one. What lies off the image is NaN.

    Parameters
    ----------
    planes : sequence of (ny, nx) arrays
        Science, reference, difference on one pixel grid [adu]; NaN where there
        is no measurement.
    x, y : (n,) arrays
        Positions [pixel, 0-based].
    size : int
        Side of the cutouts [pixel].

    Returns
    -------
    pixels : (n, size, size, n_planes) float32 array
        Cutouts in the order of the positions [adu].
    edge : (n,) bool array
        True where the cutout reaches over the edge of the image.
    """
    shapes = {np.shape(plane) for plane in planes}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise BadInputError(
            f"Planes must be images of one shape (ny, nx), got {sorted(shapes)}."
        )
    if not size >= 1:
        raise BadParameterError(f"The cutout size must be >= 1 pixel, got {size}.")
    x, y = np.atleast_1d(np.asarray(x, float)), np.atleast_1d(np.asarray(y, float))
    if x.shape != y.shape or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise BadInputError("Positions must be finite, one y for each x.")
    ny, nx = next(iter(shapes))
    # floor(v + 0.5), not round(): halves to even would shift every other column.
    left = np.floor(x + 0.5).astype(int) - size // 2
    bottom = np.floor(y + 0.5).astype(int) - size // 2
    edge = (left < 0) | (bottom < 0) | (left + size > nx) | (bottom + size > ny)
    pixels = np.full((len(x), size, size, len(planes)), np.nan, np.float32)
    for out, i, j in zip(pixels, bottom, left, strict=True):
        rows = slice(max(i, 0), max(min(i + size, ny), 0))
        columns = slice(max(j, 0), max(min(j + size, nx), 0))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        to_rows = slice(rows.start - i, rows.stop - i)
        to_columns = slice(columns.start - j, columns.stop - j)
        for k, plane in enumerate(planes):
            out[to_rows, to_columns, k] = plane[rows, columns]
    return pixels, edge


class StoreWriter:
    """What `create_store` hands out: append cutouts of one exposure after another."""

    def __init__(self, file, size):
        self._file, self.size, self._seen = file, size, set()

    def append(self, candidate_ids, exposure_id, pixels):
        """Add the cutouts of one exposure.

        Parameters
        ----------
        candidate_ids : sequence of str
            Names, new to the store.
        exposure_id : str
            The exposure that they are from.
        pixels : (n, size, size, 3) array
            Science, reference and difference [adu].

        Raises
        ------
        BadInputError
            If a name was there before, or the shape is not the store's.
        """
        ids = [str(key) for key in candidate_ids]
        shape = (len(ids), self.size, self.size, len(PLANES))
        if np.shape(pixels) != shape:
            raise BadInputError(
                f"Cutouts of exposure {exposure_id!r} must have the shape {shape}, "
                f"got {np.shape(pixels)}."
            )
        if len(set(ids)) != len(ids) or not self._seen.isdisjoint(ids):
            raise BadInputError(
                f"A candidate_id of exposure {exposure_id!r} is in the store already."
            )
        self._seen.update(ids)
        columns = (
            ("pixels", np.asarray(pixels, np.float32)),
            ("candidate_id", ids),
            ("exposure_id", [str(exposure_id)] * len(ids)),
        )
        for name, values in columns:
            dataset = self._file[name]
            start = dataset.shape[0]
            dataset.resize(start + len(ids), axis=0)
            if ids:
                dataset[start:] = values


@contextmanager
def create_store(path, *, size):
    """Write a cutout store; it appears under its name only when it is whole.

    Parameters
    ----------
    path : str or pathlib.Path
        The store, HDF5; one that is there is replaced at the end.
    size : int
        Side of the cutouts [pixel].

    Yields
    ------
    StoreWriter
        With ``append(candidate_ids, exposure_id, pixels)``.
    """
    if not (isinstance(size, int | np.integer) and size >= 1):
        raise BadParameterError(
            f"The cutout size must be a whole number of pixels >= 1, got {size!r}."
        )
    shape = (size, size, len(PLANES))
    # A chunk of about 1 MB at most: a few cutouts are read without many others.
    chunk = int(np.clip(2**20 // (4 * np.prod(shape)), 1, MAX_CHUNK))
    text = h5py.string_dtype("utf-8")
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update(
            size=int(size), planes=list(PLANES), format_version=FORMAT_VERSION
        )
        file.create_dataset(
            "pixels",
            (0, *shape),
            np.float32,
            maxshape=(None, *shape),
            chunks=(chunk, *shape),
        )
        for name in ("candidate_id", "exposure_id"):
            file.create_dataset(name, (0,), text, maxshape=(None,), chunks=(1024,))
        yield StoreWriter(file, int(size))


class CutoutStore:
    """A cutout store opened for reading; its pixels stay on disk until asked for.

    Parameters
    ----------
    path : str or pathlib.Path
        ``cutouts.h5`` of a run folder.

    Attributes
    ----------
    size : int
        Side of the cutouts [pixel].
    candidate_ids, exposure_ids : list of str
        One a cutout, in the order of the store.
    """

    def __init__(self, path):
        self.path = Path(path)
        if not self.path.is_file():
            raise BadInputError(
                f"There is no cutout store {self.path.name!r} in "
                f"'{self.path.parent}'. Run 04_cutouts first."
            )
        try:
            self._file = h5py.File(self.path, "r")
            self.size = int(self._file.attrs["size"])
            planes = tuple(self._file.attrs["planes"])
            self._pixels = self._file["pixels"]
            self.candidate_ids = list(self._file["candidate_id"].asstr()[:])
            self.exposure_ids = list(self._file["exposure_id"].asstr()[:])
        except (OSError, KeyError) as error:
            raise BadInputError(
                f"'{self.path}' is not a whole cutout store ({error}). Run 04_cutouts "
                "again."
            ) from error
        if planes != PLANES or self._pixels.shape[0] != len(self.candidate_ids):
            raise BadInputError(
                f"'{self.path}' must hold the planes {PLANES}, one name a cutout; it "
                f"has {planes}, {self._pixels.shape[0]} cutouts and "
                f"{len(self.candidate_ids)} names. Run 04_cutouts again."
            )
        self._row = {key: i for i, key in enumerate(self.candidate_ids)}

    def __len__(self):
        return len(self.candidate_ids)

    def __contains__(self, candidate_id):
        return candidate_id in self._row

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def close(self):
        """Close the file."""
        self._file.close()

    def read(self, candidate_ids):
        """Read some cutouts, in the order asked for (a name may come twice).

        Parameters
        ----------
        candidate_ids : sequence of str
            Which.

        Returns
        -------
        (n, size, size, 3) float32 array
            Science, reference, difference [adu]; NaN where nothing is measured.

        Raises
        ------
        BadInputError
            If the store has no such candidate.
        """
        ids = [str(key) for key in candidate_ids]
        missing = [key for key in ids if key not in self._row]
        if missing:
            raise BadInputError(
                f"{len(missing)} of {len(ids)} candidates are not in "
                f"'{self.path}', the first is {missing[0]!r}. Run 04_cutouts again."
            )
        if not ids:
            return np.empty((0, self.size, self.size, len(PLANES)), np.float32)
        # h5py wants rising row numbers, each once.
        rows, back = np.unique([self._row[key] for key in ids], return_inverse=True)
        first, last = rows[0], rows[-1] + 1
        if last - first <= 4 * len(rows):
            # One slice is many times faster than a list of rows.
            return self._pixels[first:last][rows - first][back]
        return self._pixels[rows][back]

    def iterate(self, batch_size):
        """Yield ``(candidate_ids, pixels)`` in the order of the store, in batches."""
        for start in range(0, len(self), batch_size):
            stop = start + batch_size
            yield self.candidate_ids[start:stop], self._pixels[start:stop]
