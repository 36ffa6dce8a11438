"""From columns with gaps to features without: fitted on training rows only, missingness kept visible."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from .cohort import Array, Column
from .leakage import fingerprint
from .threads import one_thread_for
from .vae import Vae

Impute = Literal["median", "chained", "vae"]
#: Rounds of the chained equations, and the penalty of their regressions in units of one row.
_ROUNDS, _PENALTY = 10, 1.0
#: Of a standard deviation: when no gap moves further, the equations of the training rows have settled.
_SETTLED = 1e-2
_STATE = ("center", "scale", "fill", "coefficients", "gaps", "typical", "mean")


@dataclass(frozen=True, eq=False)
class Preprocessor:
    """A fitted preparation.

    Numbers are standardised and filled in; a word becomes one feature per choice, all 0 where unknown (``vae``: their
    probabilities). Every pattern of gaps in training rows becomes a feature ``NAME is missing``, one for columns that
    are always missing together.

    Attributes
    ----------
    columns : tuple of Column
        Of the values that it takes.
    center, scale : numpy.ndarray
        ``(columns,)``; 0 and 1 for words.
    fill : numpy.ndarray
        ``(columns,)`` of the standardised column.
    coefficients : numpy.ndarray
        ``(columns, columns + 1)`` of the chained equations, intercept last; all 0 for the median.
    gaps : numpy.ndarray
        ``(indicators,)`` int64, the column whose gaps an indicator shows.
    typical : numpy.ndarray
        ``(columns,)`` mean of the known numbers, most frequent word.
    mean : numpy.ndarray
        ``(features,)`` of the prepared training rows.
    fitted_on : str
        `leakage.fingerprint` of the training values.
    residual : numpy.ndarray
        ``(columns,)`` standard deviation that the chained equations leave; all 0 for the others.
    vae : Vae or None
        Of ``vae``.
    draw : int or None
        Seed of draws that take the place of conditional means, for one of several imputations.
    """

    columns: tuple[Column, ...]
    center: Array
    scale: Array
    fill: Array
    coefficients: Array
    gaps: Array
    typical: Array
    mean: Array
    fitted_on: str
    residual: Array = field(default_factory=lambda: np.zeros(0))
    vae: Vae | None = None
    draw: int | None = None

    @classmethod
    def fit(
        cls, values: Array, columns: Sequence[Column], impute: Impute = "median", draw: int | None = None
    ) -> Preprocessor:
        """Fit on training rows.

        Parameters
        ----------
        values : numpy.ndarray
            ``(rows, columns)``, NaN where unknown.
        columns : sequence of Column
        impute : {"median", "chained", "vae"}
            ``chained``: each number is regressed on all others (ridge), gaps filled in turn until it settles: the
            conditional mean of multiple imputation by chained equations (van Buuren 2018), as a single imputation. What
            a filled-in mean lacks in spread is added where it explains others, as in the EM algorithm (Dempster, Laird
            and Rubin 1977).
            ``vae``: the conditional mean of a conditional variational autoencoder; ``chained`` where it finds too few
            rows, which `imputed_by` tells.
        draw : int or None
            Seed: gaps are drawn, not filled with their mean. Of ``median`` there are no draws.
        """
        numeric = np.array([column.kind != "choice" for column in columns], dtype=bool)
        known = np.isfinite(values)
        filled = np.where(known, values, 0.0)
        count = np.maximum(known.sum(axis=0), 1)
        center = np.where(numeric, filled.sum(axis=0) / count, 0.0)
        spread = np.sqrt(np.where(known, (values - center) ** 2, 0.0).sum(axis=0) / count)
        scale = np.where(numeric & (spread > 0), spread, 1.0)
        z = (values - center) / scale
        fill = np.array(
            [np.median(z[known[:, j], j]) if numeric[j] and known[:, j].any() else 0.0 for j in range(len(columns))]
        )
        patterns: dict[bytes, int] = {}
        for j in np.flatnonzero(~known.all(axis=0)):
            patterns.setdefault(known[:, j].tobytes(), int(j))
        coefficients, residual = np.zeros((len(columns), len(columns) + 1)), np.zeros(len(columns))
        vae = Vae.fit(z, columns) if impute == "vae" else None
        if impute != "median" and vae is None:
            coefficients, residual = _chain(z, known, fill, numeric)
        typical = center.copy()
        for j in np.flatnonzero(~numeric):
            words = values[known[:, j], j].astype(np.int64)
            typical[j] = np.bincount(words).argmax() if len(words) else np.nan
        made = cls(
            tuple(columns), center, scale, fill, coefficients,
            np.array(list(patterns.values()), dtype=np.int64), typical, np.zeros(0), fingerprint(values),
            residual, vae, draw if impute != "median" else None,
        )  # fmt: skip
        return replace(made, mean=made.prepare(values).mean(axis=0))

    @property
    def imputed_by(self) -> Impute:
        """What fills the gaps, which is not what was asked for where there were too few rows."""
        if self.vae is not None:
            return "vae"
        return "chained" if self.coefficients.any() or self.residual.any() else "median"

    @property
    def features(self) -> tuple[str, ...]:
        """Names of what `transform` gives."""
        names: list[str] = []
        for column in self.columns:
            names += [f"{column.name}={c}" for c in column.choices] if column.kind == "choice" else [column.name]
        return (*names, *(f"{self.columns[j].name} is missing" for j in self.gaps))

    @property
    def owners(self) -> Array:
        """``(features,)`` int64: the column that each feature belongs to."""
        width = [len(column.choices) if column.kind == "choice" else 1 for column in self.columns]
        return np.r_[np.repeat(np.arange(len(self.columns)), width), self.gaps].astype(np.int64)

    def transform(self, values: Array) -> Array:
        """``(rows, features)`` without gaps; what is said of a row does not depend on the others."""
        return self._features(values, self._rng(0), alike=True)

    def prepare(self, values: Array) -> Array:
        """Training rows as `transform`, but where gaps are drawn, every row has draws of its own."""
        return self._features(values, self._rng(1))

    def slots(self, values: Array, rng: np.random.Generator | None = None, alike: bool = False) -> Array:
        """The features of the columns without those that say what is missing.

        Parameters
        ----------
        values : numpy.ndarray
            ``(rows, columns)``.
        rng : numpy.random.Generator, optional
            Gaps are drawn from it, not filled with their conditional mean.
        alike : bool
            The same random numbers for every row.
        """
        joined = len(self.owners) - len(self.gaps)
        return self._fill_slots(np.empty((len(values), joined)), values, rng, alike)

    def _features(self, values: Array, rng: np.random.Generator | None, alike: bool = False) -> Array:
        owners, joined = self.owners, len(self.owners) - len(self.gaps)
        # a table that comes column by column is kept so
        out = np.empty((len(values), len(owners)), order="F" if values.flags.fnc else "C")
        self._fill_slots(out[:, :joined], values, rng, alike)
        out[:, joined:] = ~np.isfinite(values[:, self.gaps])
        return out

    def _fill_slots(self, out: Array, values: Array, rng: np.random.Generator | None, alike: bool) -> Array:
        z = (values - self.center) / self.scale
        owners = self.owners[: out.shape[1]]
        if self.vae is not None:
            found = self.vae.expected(z) if rng is None else self.vae.draw(z, rng, alike)
            # of a column of which training says nothing: as the median does it
            spare = np.where([c.kind == "choice" for c in self.columns], 0.0, self.fill)[owners]
            out[:] = np.where(np.isfinite(found), found, spare)
            return out
        z = self._filled(z, np.isfinite(values), rng, alike)
        numeric = np.array([self.columns[j].kind != "choice" for j in owners], dtype=bool)
        if numeric.all():
            out[:] = z
            return out
        out[:, np.flatnonzero(numeric)] = z[:, owners[numeric]]
        for j, column in enumerate(self.columns):
            if column.kind == "choice":
                out[:, np.flatnonzero(owners == j)] = values[:, [j]] == np.arange(len(column.choices))
        return out

    def _rng(self, stream: int) -> np.random.Generator | None:
        if self.draw is None:
            return None
        # other numbers for other columns: the parts of a model must not draw alike
        names = zlib.crc32("|".join(column.name for column in self.columns).encode())
        return np.random.default_rng((self.draw, names, stream))

    def unforeseen(self, values: Array) -> Array:
        """``(rows,)`` number of columns that are missing here and were in no training row: filled in, not shown."""
        shown = np.zeros(len(self.columns), dtype=bool)
        shown[self.gaps] = True
        return (~np.isfinite(values) & ~shown).sum(axis=1)

    def _filled(self, z: Array, known: Array, rng: np.random.Generator | None, alike: bool) -> Array:
        numeric = np.array([column.kind != "choice" for column in self.columns], dtype=bool)
        z = np.where(known & numeric, z, self.fill)
        z[:, ~numeric] = 0.0
        if self.imputed_by == "median":
            return z
        gaps = ~known & numeric
        # draws begin at the means, so that few rounds are enough
        for round_ in range(_ROUNDS if rng is None else 2 * _ROUNDS):
            noise = (
                None if rng is None or round_ < _ROUNDS else rng.standard_normal((1 if alike else len(z), z.shape[1]))
            )
            for j in np.flatnonzero(gaps.any(axis=0)).tolist():
                rows = gaps[:, j]
                said = z[rows] @ self.coefficients[j, :-1] + self.coefficients[j, -1]
                if noise is not None:
                    said = self._drawn(j, said, noise[0, j] if alike else noise[rows, j])
                z[rows, j] = said
        return z

    def _drawn(self, j: int, said: Array, noise: Any) -> Array:
        """Draws around what the equation of a number says; yes or no by its probability."""
        if self.columns[j].kind != "yes_no":
            return np.asarray(said + self.residual[j] * noise)
        from scipy.special import ndtr

        no, yes = (np.array([0.0, 1.0]) - self.center[j]) / self.scale[j]
        return np.where(ndtr(noise) < (said - no) / (yes - no), yes, no)

    def state(self) -> dict[str, Array]:
        """Everything but columns and fingerprint, as arrays."""
        found = {name: getattr(self, name) for name in (*_STATE, "residual")}
        found |= {} if self.draw is None else {"draw": np.array([self.draw], dtype=np.int64)}
        return found | ({f"vae.{name}": a for name, a in self.vae.state().items()} if self.vae is not None else {})

    @classmethod
    def of_state(cls, state: Mapping[str, Any], columns: Sequence[Column], fitted_on: str) -> Preprocessor:
        """What `state` gave; that of an earlier version has no residual.

        Raises
        ------
        ValueError
            The arrays do not fit the columns.
        """
        n = len(columns)
        residual = state.get("residual", np.zeros(n))
        if state["coefficients"].shape != (n, n + 1) or residual.shape != (n,):
            raise ValueError("the equations do not fit the columns")
        own = {name.removeprefix("vae."): array for name, array in state.items() if name.startswith("vae.")}
        return cls(
            columns=tuple(columns),
            fitted_on=fitted_on,
            residual=residual,
            vae=Vae.of_state(own, columns) if own else None,
            draw=int(state["draw"][0]) if "draw" in state else None,
            **{name: state[name] for name in _STATE},
        )


def _chain(z: Array, known: Array, fill: Array, numeric: Array) -> tuple[Array, Array]:
    """Coefficients of every number on all others, from rounds of filling in, and what each leaves (SD)."""
    p = z.shape[1]
    x = np.where(known & numeric, z, fill)
    x[:, ~numeric] = 0.0
    coefficients, residual = np.zeros((p, p + 1)), np.zeros(p)

    def regress(j: int) -> float:
        """One equation, and its gaps filled in anew; the largest change."""
        rows = known[:, j]
        others = x[rows]
        others[:, j] = 0.0
        mean, target = others.mean(axis=0), x[rows, j]
        centered = others - mean
        # a filled-in mean lacks the spread of what it stands for; without it the coefficients grow too large
        penalty = _PENALTY + (~known[rows]).sum(axis=0) * residual**2
        inverse = np.linalg.inv(centered.T @ centered + np.diag(penalty))
        beta = inverse @ (centered.T @ (target - target.mean()))
        beta[j] = 0.0
        coefficients[j] = np.r_[beta, target.mean() - mean @ beta]
        left = target - target.mean() - centered @ beta
        used = 1 + p - np.diag(inverse) @ penalty  # degrees of freedom of a ridge
        residual[j] = np.sqrt((left**2).sum() / max(len(target) - used, 1.0))
        filled = x[~rows] @ beta + coefficients[j, -1]
        change = float(np.abs(filled - x[~rows, j]).max(initial=0.0))
        x[~rows, j] = filled
        return change

    # a column that is complete in training may be missing later: its equation is fitted once, at the end
    incomplete = np.flatnonzero(~known.all(axis=0) & known.any(axis=0) & numeric).tolist()
    complete = np.flatnonzero(known.all(axis=0) & numeric).tolist()
    with one_thread_for(x):
        for _ in range(_ROUNDS):
            if max((regress(j) for j in incomplete), default=0.0) < _SETTLED:
                break
        for j in complete:
            regress(j)
    return coefficients, residual
