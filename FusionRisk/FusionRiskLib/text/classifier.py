"""A trainable classifier from the text of a coronary CT report to its CAD-RADS category.

Beside the rules, for reports that name no category: hashed n-grams and multinomial logistic regression. No trained
weights are shipped, as there are no reports here to train on that may be passed on; it learns from a site's own.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from CardioPrecisionLib.errors import InputError

from .features import matrix

SCHEMA = "cardioprecision/cad-rads-text/1"
CATEGORIES = ("0", "1", "2", "3", "4A", "4B", "5", "N")


@dataclass(frozen=True)
class Prediction:
    """What the classifier says of one report.

    Attributes
    ----------
    category : str or None
        None where it refuses; `reason` says why.
    probability : float
        Of the likeliest category.
    known : float
        Share of the text's n-grams that also stood in the training reports.
    reason : str or None
    """

    category: str | None
    probability: float
    known: float
    reason: str | None = None


class CadRadsTextClassifier:
    """Hashed word and character n-grams, multinomial logistic regression with an L2 penalty.

    Parameters
    ----------
    l2 : float
        Weight of the penalty against the mean log loss.
    bits : int
        2 ** bits features.
    word_grams : int
        Longest run of words that is a feature.
    char_grams : tuple of int
        Lengths of character runs within words.
    minimum_probability : float
        Below it `predict` refuses.
    minimum_known : float
        With a smaller share of known n-grams it has nothing to go by and refuses.
    """

    def __init__(
        self,
        l2: float = 1e-4,
        bits: int = 15,
        word_grams: int = 3,
        char_grams: tuple[int, ...] = (3, 4),
        minimum_probability: float = 0.6,
        minimum_known: float = 0.5,
    ):
        if not (l2 > 0 and 8 <= bits <= 22 and 1 <= word_grams <= 5 and all(1 <= n <= 8 for n in char_grams)):
            raise InputError(
                "CAD-RADS classifier: l2 must be above 0, bits 8 to 22, word_grams 1 to 5, char_grams 1 to 8."
            )
        if not (0 <= minimum_probability <= 1 and 0 <= minimum_known <= 1):
            raise InputError("CAD-RADS classifier: minimum_probability and minimum_known lie between 0 and 1.")
        self.l2, self.bits, self.word_grams, self.char_grams = l2, bits, word_grams, tuple(char_grams)
        self.minimum_probability, self.minimum_known = minimum_probability, minimum_known
        self.classes: tuple[str, ...] = ()
        self._weights = np.zeros((0, 0), np.float32)  # (features + 1, classes), the last row is the offset
        self._seen = np.zeros(0, bool)

    def fit(self, texts: Sequence[str], categories: Sequence[str]) -> CadRadsTextClassifier:
        """Learn from reports and their categories.

        Raises
        ------
        InputError
            Lengths differ, a category is unknown, a report is empty, or there are fewer than two categories.
        """
        from scipy.optimize import minimize

        if len(texts) != len(categories):
            raise InputError(
                f"CAD-RADS classifier: {len(texts)} reports but {len(categories)} categories; give one each."
            )
        for i, (text, category) in enumerate(zip(texts, categories, strict=True)):
            if category not in CATEGORIES:
                known = ", ".join(CATEGORIES)
                raise InputError(
                    f"CAD-RADS classifier: category {str(category)[:12]!r} of report {i} is not one of {known}."
                )
            if not isinstance(text, str) or not text.strip():
                raise InputError(f"CAD-RADS classifier: report {i} is empty; leave it out.")
        classes = tuple(category for category in CATEGORIES if category in set(categories))
        if len(classes) < 2:
            raise InputError("CAD-RADS classifier: the reports have fewer than two categories; give more.")
        whole = self._matrix(texts)
        seen = np.asarray(whole.getnnz(axis=0) > 0)
        features = whole[:, seen]  # weights of features that never occur stay 0
        transposed = features.T.tocsr()
        wanted = np.array([classes.index(category) for category in categories])
        one_hot = np.eye(len(classes))[wanted]
        shape = (features.shape[1] + 1, len(classes))

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            weights = flat.reshape(shape)
            logits = features @ weights[:-1] + weights[-1]
            logits -= logits.max(axis=1, keepdims=True)
            shares = np.exp(logits)
            total = shares.sum(axis=1, keepdims=True)
            shares /= total
            mean_loss = float(np.mean(np.log(total[:, 0]) - logits[np.arange(len(wanted)), wanted]))
            error = (shares - one_hot) / len(wanted)
            gradient = np.vstack([transposed @ error + self.l2 * weights[:-1], error.sum(axis=0)[None]])
            return mean_loss + self.l2 / 2 * float(np.sum(weights[:-1] ** 2)), gradient.ravel()

        best = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 300})
        self.classes = classes
        learned = best.x.reshape(shape).astype(np.float32)
        self._weights = np.zeros((len(seen) + 1, len(classes)), np.float32)
        self._weights[:-1][seen] = learned[:-1]
        self._weights[-1] = learned[-1]
        self._seen = seen
        return self

    def _matrix(self, texts: Sequence[str]):  # type: ignore[no-untyped-def]  # scipy has no types
        return matrix(texts, self.bits, self.word_grams, self.char_grams)

    def _ready(self) -> None:
        if not self.classes:
            raise InputError("CAD-RADS classifier: it has learned nothing yet; call fit or load first.")

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Probabilities ``(len(texts), len(self.classes))`` in the order of `classes`."""
        self._ready()
        return self._probabilities(self._matrix(texts))

    def _probabilities(self, features) -> np.ndarray:  # type: ignore[no-untyped-def]
        logits = np.asarray(features @ self._weights[:-1].astype(float)) + self._weights[-1]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """The category of each report, or why there is none."""
        self._ready()
        features = self._matrix(texts)
        out: list[Prediction] = []
        for i, shares in enumerate(self._probabilities(features)):
            columns = features.indices[features.indptr[i] : features.indptr[i + 1]]
            known = float(self._seen[columns].mean()) if len(columns) else 0.0
            top = int(np.argmax(shares))
            category: str | None = self.classes[top]
            probability = float(shares[top])
            reason = None
            if known < self.minimum_known:
                category = None
                reason = f"nothing to go by: {known:.0%} of the text is like the reports it learned from"
            elif probability < self.minimum_probability:
                reason = f"not sure: {category} has a probability of {probability:.2f}"
                category = None
            out.append(Prediction(category, probability, known, reason))
        return out

    def save(self, path: str | Path) -> None:
        """Write weights and settings as one ``.npz`` without pickled objects."""
        self._ready()
        settings = {
            "schema": SCHEMA,
            "classes": self.classes,
            "l2": self.l2,
            "bits": self.bits,
            "word_grams": self.word_grams,
            "char_grams": self.char_grams,
            "minimum_probability": self.minimum_probability,
            "minimum_known": self.minimum_known,
        }
        used = np.flatnonzero(self._seen)
        with open(path, "wb") as file:  # a file object, as numpy adds a suffix to names
            np.savez_compressed(
                file,
                settings=np.frombuffer(json.dumps(settings).encode(), np.uint8),
                used=used.astype(np.int32),
                weights=self._weights[used],
                offset=self._weights[-1],
            )

    @classmethod
    def load(cls, path: str | Path) -> CadRadsTextClassifier:
        """Read what `save` wrote.

        Raises
        ------
        InputError
            The file cannot be read, or is not a whole file of this classifier.
        """
        try:
            with np.load(path, allow_pickle=False) as data:
                settings = json.loads(bytes(data["settings"]).decode())
                used, weights, offset = data["used"], data["weights"], data["offset"]
            classes = tuple(settings.pop("classes"))
            if settings.pop("schema") != SCHEMA or not set(classes) <= set(CATEGORIES):
                raise ValueError("another schema")
            model = cls(**{**settings, "char_grams": tuple(settings["char_grams"])})
            size = 1 << model.bits
            model._weights = np.zeros((size + 1, len(classes)), np.float32)
            model._seen = np.zeros(size, bool)
            if len(used) and (used.min() < 0 or used.max() >= size):
                raise ValueError("features out of range")
            model._weights[used] = weights
            model._weights[-1] = offset
            model._seen[used] = True
            if not np.isfinite(model._weights).all():
                raise ValueError("weights are not finite")
        except OSError as error:
            raise InputError(
                f"{path}: the classifier cannot be read ({error.strerror or 'not a file of numpy'})."
            ) from None
        except (ValueError, KeyError, TypeError, EOFError, AttributeError, zipfile.BadZipFile, InputError):
            raise InputError(f"{path}: this is no saved CAD-RADS classifier; write it with save.") from None
        model.classes = classes
        return model
