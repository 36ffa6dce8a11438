"""A conditional variational autoencoder that fills gaps or draws values for them; the networks are in `vae_net`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .cohort import Array, Column
from .joint_net import one_thread
from .vae_net import LATENT, MEMBERS, Layout, decode, prior, train

#: Training rows, and different ones among them, below which there is too little to learn and to hold out.
MIN_ROWS, MIN_DIFFERENT = 40, 20
#: Standardised numbers are cut here: a typing error must not shout all else down.
_LIMIT = 6.0
#: Draws of the hidden numbers per member in a mean, and rows that are done at once, which bounds the memory.
_DRAWS, _CHUNK = 16, 1024


@dataclass(frozen=True, eq=False)
class Vae:
    """Trained networks.

    Attributes
    ----------
    weights : mapping
        Name -> ``(members, ...)`` float32 (`vae_net`).
    choices : numpy.ndarray
        ``(columns,)`` int64 number of choices of a word, 0 of a number.
    ends : numpy.ndarray
        ``(columns, 2)`` the two values of a number that had no others in training; NaN of all others.
    learned : numpy.ndarray
        ``(columns,)`` bool: false where training rows had no value, or one only.
    """

    weights: Mapping[str, Array]
    choices: Array
    ends: Array
    learned: Array

    @classmethod
    def fit(cls, z: Array, columns: Sequence[Column], seed: int = 0) -> Vae | None:
        """Fit on standardised training rows; None where these are too few.

        Parameters
        ----------
        z : numpy.ndarray
            ``(rows, columns)``, NaN where unknown; words as the place of their choice. The order of the rows does not
            matter.
        columns : sequence of Column
        seed : int
        """
        choices = np.array([len(c.choices) if c.kind == "choice" else 0 for c in columns], dtype=np.int64)
        ends = np.full((len(columns), 2), np.nan)
        learned = np.zeros(len(columns), dtype=bool)
        for j in range(len(columns)):
            distinct = np.unique(z[np.isfinite(z[:, j]), j])
            learned[j] = len(distinct) > (0 if choices[j] else 1)
            if not choices[j] and len(distinct) == 2:
                ends[j] = distinct
        # each row once, in an order of its values: equal rows of a bootstrap sample are not held out from themselves
        _, first, counts = np.unique(np.where(np.isfinite(z), z, np.inf), axis=0, return_index=True, return_counts=True)
        if len(z) < MIN_ROWS or len(first) < MIN_DIFFERENT:
            return None
        made = cls({}, choices, ends, learned)
        x, known = made._slots(z[first])
        return cls(train(made.layout, x, known, learned, counts, seed), choices, ends, learned)

    @property
    def layout(self) -> Layout:
        return Layout.of(self.choices, np.isfinite(self.ends[:, 0]))

    def check(self, columns: Sequence[Column]) -> None:
        """Raise ValueError where the arrays are not those of a network for these columns."""
        n = len(columns)
        choices = [len(c.choices) if c.kind == "choice" else 0 for c in columns]
        fits = self.ends.shape == (n, 2) and self.learned.shape == (n,) and self.choices.tolist() == choices
        shapes = {name: (MEMBERS, *shape) for name, shape in self.layout.shapes.items()} if fits else {}
        if not fits or shapes != {name: array.shape for name, array in self.weights.items()}:
            raise ValueError("the weights of the autoencoder do not fit its columns")

    def state(self) -> dict[str, Array]:
        """Everything as arrays."""
        own = {"choices": self.choices, "ends": self.ends, "learned": self.learned}
        return own | {f"net.{name}": array for name, array in self.weights.items()}

    @classmethod
    def of_state(cls, state: Mapping[str, Array], columns: Sequence[Column]) -> Vae:
        """What `state` gave; ValueError where it does not fit the columns."""
        weights = {name.removeprefix("net."): array for name, array in state.items() if name.startswith("net.")}
        made = cls(weights, state["choices"], state["ends"], state["learned"])
        made.check(columns)
        return made

    def expected(self, z: Array) -> Array:
        """Conditional means of the gaps.

        Parameters
        ----------
        z : numpy.ndarray
            ``(rows, columns)`` as in `fit`.

        Returns
        -------
        numpy.ndarray
            ``(rows, slots)``: numbers in units of `z`, words as probabilities of their choices; what was known as it
            was. NaN where a gap is in a column that was not learned. The same draws serve every row, so that what is
            said of a row does not depend on the others.
        """
        import torch

        noise = torch.as_tensor(np.random.default_rng(0).standard_normal((_DRAWS // 2, MEMBERS, 1, LATENT)))
        found = self._known(z)
        for rows, gaps, w, x, known in self._gappy(z):
            mean, log_sd = prior(w, x, known)
            total = np.zeros(gaps.shape)
            for one in torch.cat([noise, -noise]):
                place, _ = decode(w, mean + log_sd.exp() * one, x, known)
                total = total + self._said(place.numpy()).mean(axis=0)
            found[rows] = np.where(gaps, self._unlearned(total / _DRAWS), found[rows])
        return found

    def draw(self, z: Array, rng: np.random.Generator, alike: bool = False) -> Array:
        """As `expected`, with a value drawn for every gap: numbers, one of the two values, one choice.

        Parameters
        ----------
        z : numpy.ndarray
            ``(rows, columns)``.
        rng : numpy.random.Generator
        alike : bool
            The same random numbers for every row, so that a row's draw does not depend on the others.
        """
        import torch

        found, layout = self._known(z), self.layout
        shared = _noise(rng, 1, layout) if alike else None
        for rows, gaps, w, x, known in self._gappy(z):
            n = len(rows)
            member, hidden, normal, uniform = shared if shared is not None else _noise(rng, n, layout)
            member = np.broadcast_to(member, n)
            mean, log_sd = prior(w, x, known)
            place, spread = decode(w, mean + log_sd.exp() * torch.as_tensor(hidden), x, known)
            own = place.numpy()[member, np.arange(n)]
            sd = np.exp(spread.numpy()[member, np.arange(n)])
            drawn = own + sd * normal
            p = self._shares(own)
            for j in np.flatnonzero(layout.pair):
                slot = layout.owner == j
                drawn[:, slot] = np.where(uniform[:, [j]] < p[:, slot], self.ends[j, 1], self.ends[j, 0])
            for slots in layout.words:
                u = uniform[:, layout.owner[slots[0]], None]
                place_of = (u >= p[:, slots].cumsum(axis=1)[:, :-1]).sum(axis=1)
                drawn[:, slots] = np.eye(len(slots))[place_of]
            found[rows] = np.where(gaps, self._unlearned(drawn), found[rows])
        return found

    # -- between columns and slots ------------------------------------------------------------------------------------
    def _slots(self, z: Array) -> tuple[Array, Array]:
        """What the networks see: ``(rows, slots)``, 0 where unknown, and ``(rows, columns)`` what is known."""
        known = np.isfinite(z)
        x = np.clip(self._known(z), -_LIMIT, _LIMIT)
        for j in np.flatnonzero(np.isfinite(self.ends[:, 0])):
            slot = self.layout.owner == j
            # a value that training did not have counts as the nearer of the two
            x[:, slot] = np.where(z[:, [j]] > self.ends[j].mean(), 1.0, -1.0)
        return np.where(known[:, self.layout.owner], x, 0.0), known

    def _known(self, z: Array) -> Array:
        """``(rows, slots)`` of the values themselves, NaN where unknown."""
        parts = []
        for j, k in enumerate(self.choices.tolist()):
            own = z[:, [j]]
            parts.append(np.where(np.isfinite(own), own == np.arange(k), np.nan) if k else own)
        return np.hstack(parts) if parts else np.zeros((len(z), 0))

    def _gappy(self, z: Array) -> Iterator[tuple[Array, Array, dict[str, Any], Any, Any]]:
        """Rows with gaps, some at a time: their numbers, gaps in slots, weights, and what the networks see."""
        import torch

        w = {name: torch.as_tensor(array, dtype=torch.float64) for name, array in self.weights.items()}
        todo = np.flatnonzero(~np.isfinite(z).all(axis=1))
        with torch.no_grad(), one_thread():
            for start in range(0, len(todo), _CHUNK):
                rows = todo[start : start + _CHUNK]
                x, known = self._slots(z[rows])
                gaps = ~known[:, self.layout.owner]
                seen = [torch.as_tensor(a).expand(MEMBERS, -1, -1) for a in (x, known.astype(np.float64))]
                yield rows, gaps, w, seen[0], seen[1]

    def _shares(self, place: Array) -> Array:
        """``(..., slots)`` probabilities of the second of two values and of choices; of numbers what was given."""
        p, layout = place.copy(), self.layout
        pairs = layout.pair[layout.owner]
        p[..., pairs] = 1 / (1 + np.exp(-place[..., pairs]))
        for slots in layout.words:
            e = np.exp(place[..., slots] - place[..., slots].max(axis=-1, keepdims=True))
            p[..., slots] = e / e.sum(axis=-1, keepdims=True)
        return p

    def _said(self, place: Array) -> Array:
        """Means of slots in units of `z`."""
        said = self._shares(place)
        for j in np.flatnonzero(self.layout.pair):
            slot = self.layout.owner == j
            said[..., slot] = self.ends[j, 0] + said[..., slot] * (self.ends[j, 1] - self.ends[j, 0])
        return said

    def _unlearned(self, found: Array) -> Array:
        return np.where(self.learned[self.layout.owner], found, np.nan)


def _noise(rng: np.random.Generator, rows: int, layout: Layout) -> tuple[Array, Array, Array, Array]:
    """Member, hidden numbers, and what each slot and column needs, of every row."""
    slots, columns = len(layout.owner), len(layout.number)
    return (
        rng.integers(0, MEMBERS, rows),
        rng.standard_normal((rows, LATENT)),
        rng.standard_normal((rows, slots)),
        rng.random((rows, columns)),
    )
