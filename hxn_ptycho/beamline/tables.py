"""The tables of ``hxn.toml``: what each may say, within which bounds."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from ..solver.orientation import Orientation

# TOML knows no tuples: its arrays become them.
Names = Annotated[tuple[str, ...], Field(strict=False)]
Positive = Annotated[float, Field(gt=0)]


def _absolute(folder: str) -> str:
    if not folder.startswith("/"):
        raise ValueError(f"{folder!r} must begin with /")
    return folder.rstrip("/") or "/"


Folder = Annotated[str, AfterValidator(_absolute)]
Unit = Literal["m", "mm", "um", "nm"]


class Table(BaseModel):
    """A table of the file: no other keys than those, no value of another type."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Energy(Table):
    """How the photon energy follows from the baseline stream: by Bragg's law, or as recorded."""

    bragg_key: str | None = None
    lattice_spacing_angstrom: Positive | None = None
    energy_key: str | None = None
    unit_kev: Positive = 1.0

    @model_validator(mode="after")
    def _one_way(self) -> Energy:
        if (self.bragg_key is None) == (self.energy_key is None):
            raise ValueError("give bragg_key, or energy_key, and not both")
        if self.bragg_key is not None and self.lattice_spacing_angstrom is None:
            raise ValueError("bragg_key needs lattice_spacing_angstrom")
        return self


class Detector(Table):
    """A detector that sees diffraction."""

    pixel_um: Positive
    distance_m: Positive
    distance_from_documents: bool = False
    saturation: Annotated[int, Field(gt=0)] | None = None
    orientation: Orientation = "identity"
    data_keys: Annotated[Names, Field(min_length=1)] | None = None


class Motor(Table):
    """A stage: how its position is known, and what it means on the sample."""

    axis: Literal["x", "y"]
    direction: Literal[1, -1]
    encoder: str | None = None
    scale_um: float | None = None
    position_scale: Positive = 1.0
    unit: Unit | None = None
    angle_key: str | None = None
    projection: Literal["cos", "sin"] | None = None

    @field_validator("direction", mode="before")
    @classmethod
    def _no_truth_value(cls, value: object) -> object:
        return str(value).lower() if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _fits_together(self) -> Motor:
        if (self.encoder is None) != (self.scale_um is None):
            raise ValueError(
                "encoder and scale_um go together: both, or neither for a stage without an encoder"
            )
        if self.scale_um == 0:
            raise ValueError("scale_um must not be 0")
        if (self.angle_key is None) != (self.projection is None):
            raise ValueError("angle_key and projection go together: both, or neither")
        return self
