"""The label selector that objects carry: `matchLabels` and `matchExpressions` of meta/v1."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from skerry.api.fields import FieldError, invalid, required
from skerry.api.model import LIST_ATOMIC, MAP_ATOMIC, Model


class LabelSelectorRequirement(Model):
    """One requirement on a label."""

    key: str
    """Key of the label."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label's value relates to `values`."""
    values: Annotated[list[str] | None, LIST_ATOMIC] = None
    """For In and NotIn: the values, at least one. Empty for Exists and DoesNotExist."""

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Tell whether a set of labels fulfils this."""
        value, values = labels.get(self.key), self.values or []
        match self.operator:
            case "In":
                return value in values
            case "NotIn":
                return value not in values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None


class LabelSelector(Model):
    """Selects objects by their labels; all requirements must hold, and an empty selector selects everything."""

    model_config = MAP_ATOMIC

    match_labels: dict[str, str] | None = None
    """Labels with the value that each must have."""
    match_expressions: Annotated[list[LabelSelectorRequirement] | None, LIST_ATOMIC] = None
    """Requirements on labels."""

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an object with these labels is selected."""
        return all(labels.get(key) == value for key, value in (self.match_labels or {}).items()) and all(
            requirement.holds(labels) for requirement in self.match_expressions or ()
        )


def selector_errors(path: str, selector: LabelSelector | None) -> Iterator[FieldError]:
    """Yield what is wrong with a selector at `path`."""
    for index, requirement in enumerate((selector and selector.match_expressions) or ()):
        here = f"{path}.matchExpressions[{index}].values"
        if requirement.operator in {"In", "NotIn"} and not requirement.values:
            yield required(here, "must be specified when `operator` is 'In' or 'NotIn'")
        if requirement.operator in {"Exists", "DoesNotExist"} and requirement.values:
            yield invalid(
                here, requirement.values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            )
