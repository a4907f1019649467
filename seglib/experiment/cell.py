"""One cell of the benchmark: what is trained, on what and how.

A cell is data set x method (+ variant) x backbone x recipe x seed. Everything that its weights
depend on travels as one canonical JSON string (sorted keys, every value resolved), so that a
change of any value, and of nothing else, retrains it. No torch import: Snakemake parses this.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from seglib.core import typed
from seglib.core.typed import canonical_json
from seglib.experiment.recipe import Backbone, Recipe


@dataclass(frozen=True, kw_only=True)
class Cell:
    dataset: str
    method: str
    method_options: dict[str, Any] = field(default_factory=dict)
    variant: str | None = None
    backbone_name: str
    backbone: Backbone
    recipe_name: str
    recipe: Recipe
    seed: int
    limit: int | None = None
    """At most so many images of each split, chosen by the seed, for training and tests: to try a recipe.
    The name of the recipe says so too, and no such number is comparable."""

    def limited(self, limit: int) -> "Cell":
        """The same on at most ``limit`` images of each split, under a name of its own."""
        return dataclasses.replace(self, recipe_name=f"{self.recipe_name}_limit{limit}", limit=limit)

    @property
    def model_name(self) -> str:
        """Method, variant and backbone as a path: ``isnet-no_image_context/resnet18``."""
        method = f"{self.method}-{self.variant}" if self.variant else self.method
        return f"{method}/{self.backbone_name}"

    @property
    def id(self) -> str:
        """Path-like name, unique in a configuration: ``scenes/fcn/resnet18/quick/seed0``."""
        return f"{self.dataset}/{self.model_name}/{self.recipe_name}/seed{self.seed}"

    @property
    def parent_id(self) -> str:
        """The id of the same cell without its variant."""
        return dataclasses.replace(self, variant=None).id

    def to_json(self) -> str:
        return canonical_json(self)

    @staticmethod
    def from_json(text: str) -> "Cell":
        """The cell that a training is asked for.

        ``ValueError`` for no cell, and for one that this version writes otherwise: it would be trained under
        an identity that is not its own. (Sealed cells call precisions by their former names.)
        """
        values = json.loads(text)
        cell = typed.parse(Cell, values, "cell", recorded=True)
        if name := typed.find_respelled(values, cell, "cell"):
            raise ValueError(
                f"{name}: this version of seglib leaves it out or spells it otherwise, so it would train "
                "another cell; give the cell.json of a training, or let the workflow give the cell"
            )
        return cell
