"""Least squares for a kernel that varies over the field, in little memory.

An unknown is a basis function times a term of the polynomial over the field. Written
out, all of them at all pixels would take more memory than the images: the normal
equations are built term by term from the basis functions alone.
"""

from dataclasses import dataclass

import numpy as np

# Share of what two columns have in common that must be light, not noise.
_LEAST_SIGNAL = 0.3
_CHUNK = 1000  # pixels


@dataclass(frozen=True, kw_only=True)
class Design:
    """What the unknowns are multiplied with at n pixels.

    Attributes
    ----------
    basis : (n_basis, n) float32 array
        The source image convolved with each basis function.
    varying : (n_terms, n) float32 array
        The polynomial's terms over the field. Unknowns run over the basis functions
        within a term.
    level : (n_level, n) float32 array
        Terms of the background, the last unknowns.
    """

    basis: np.ndarray
    varying: np.ndarray
    level: np.ndarray

    @property
    def n_kernel(self):
        """Unknowns of the kernel."""
        return len(self.basis) * len(self.varying)

    def normal(self, weight):
        """Return the normal equations' matrix with each pixel times its weight."""
        size = self.n_kernel + len(self.level)
        normal = np.zeros((size, size))
        for start in range(0, len(weight), _CHUNK):
            at = slice(start, start + _CHUNK)
            varying = self.varying[:, None, at] * self.basis[None, :, at]
            of_kernel = varying.reshape(self.n_kernel, -1)
            part = np.concatenate([of_kernel, self.level[:, at]]) * weight[at]
            normal += part @ part.T
        return normal

    def project(self, values):
        """Return each unknown's column times ``values`` (n,)."""
        of_kernel = (self.varying * values) @ self.basis.T
        return np.concatenate([of_kernel.ravel(), self.level @ values])

    def predict(self, solution):
        """Return the model (n,) of a solution."""
        shape = len(self.varying), len(self.basis)
        coefficients = solution[: self.n_kernel].reshape(shape).astype(np.float32)
        made = np.einsum("tn,tn->n", coefficients @ self.basis, self.varying)
        return made + solution[self.n_kernel :].astype(np.float32) @ self.level


def solve_ridge(normal, wanted, noise, ridge):
    """Solve normal equations less the noise in them, with a ridge.

    Where next to nothing but noise is left of a
    combination of columns, it is not taken off: that combination is drawn to 0, as a
    plain fit would have it.

    Parameters
    ----------
    normal : (m, m) float array
    wanted : (m,) float array
    noise : (m, m) float array
        What noise alone adds to ``normal``.
    ridge : (m,) float array
        How strongly each unknown is drawn to 0, in units of its column.

    Returns
    -------
    solution : (m,) float array
    """
    # In units that make the ridge the same for all.
    scale = np.sqrt(np.diag(normal) * ridge / ridge.min()) + 1e-12
    normal = normal / (scale[:, None] * scale[None, :])
    noise = noise / scale[:, None] / scale[None, :]
    size, axes = np.linalg.eigh(normal - noise)
    plain = np.einsum("ij,ij->j", axes, normal @ axes)
    size = np.where(size > _LEAST_SIGNAL * plain, size, plain) + ridge.min()
    return axes @ ((axes.T @ (wanted / scale)) / size) / scale
