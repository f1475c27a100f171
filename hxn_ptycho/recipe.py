"""Everything a user chooses about a reconstruction, with its bounds: one ``Recipe``."""

from __future__ import annotations

import difflib
import json
import math
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .solver.orientation import Orientation

Bounds = tuple[float, float]
Region = tuple[int, int, int, int]


class RecipeError(ValueError):
    """A recipe that cannot be used; the message names the key, the value and what is allowed."""


class ZonePlate(BaseModel):
    """The optics that a probe is computed from (lengths in metres)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    diameter: Annotated[float, Field(gt=0, description="diameter, m")]
    outer_zone_width: Annotated[float, Field(gt=0, description="outermost zone width, m")]
    central_stop: Annotated[float, Field(ge=0, description="diameter of the central stop, m")] = 0.0
    defocus: Annotated[
        float, Field(description="sample downstream (+) or upstream (-) of the focus, m")
    ] = 0.0

    @model_validator(mode="after")
    def _stop_is_smaller(self) -> ZonePlate:
        if self.central_stop >= self.diameter:
            raise ValueError(
                f"central_stop ({self.central_stop:g} m) must be smaller than the "
                f"diameter ({self.diameter:g} m)"
            )
        return self


class Recipe(BaseModel):
    """What a user chooses about a reconstruction. Immutable; every key has a default.

    Unknown keys and values out of range are refused by name (`RecipeError` from `Recipe.make`,
    `Recipe.from_toml` and `Recipe.merge`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[Literal[1], Field(description="version of this set of keys")] = 1

    algorithm: Annotated[
        Literal["DM", "RAAR", "ER"],
        Field(description="DM: difference map; RAAR: relaxed averaged alternating reflections; "
                          "ER: error reduction"),
    ] = "DM"  # fmt: skip
    iterations: Annotated[int, Field(ge=1, le=1_000_000, description="number of iterations")] = 50
    beta: Annotated[
        float, Field(gt=0, le=2, description="relaxation of DM, eq. (3); at most 1 for RAAR")
    ] = 0.8
    update_order: Annotated[
        Literal["PO", "OP"],
        Field(description="PO: the probe first, with the old object, then the object with the "
                          "new probe; OP: the other way round"),
    ] = "PO"  # fmt: skip
    probe_modes: Annotated[
        int | Literal["auto"], Field(description="number of probe modes, 1 to 64")
    ] = 1
    object_modes: Annotated[int, Field(ge=1, le=16, description="number of object modes")] = 1
    precision: Annotated[
        Literal["single", "double"], Field(description="complex64 or complex128")
    ] = "single"
    storage: Annotated[
        Literal["single", "half"],
        Field(description="what the GPU keeps exit waves in: single (complex64), or half (scaled "
                          "16-bit: half the memory and traffic)"),
    ] = "single"  # fmt: skip

    window: Annotated[
        int | None,
        Field(ge=8, le=8192, description="side of the detector's square crop, pixels; "
                                         "unset: the largest even one around the centre"),
    ] = None  # fmt: skip
    centre: Annotated[
        tuple[float, float] | Literal["auto", "middle"],
        Field(description="pixel (y, x) of the direct beam on the detector, as on file; auto: "
                          "found from the frames; middle: that of the frames"),
    ] = "auto"  # fmt: skip
    binning: Annotated[
        int,
        Field(ge=1, le=16, description="detector pixels, along an axis, added up to one"),
    ] = 1
    fft_window: Annotated[
        Literal["fast", "exact"],
        Field(description="fast: the crop embedded in the next size with factors 2, 3, 5, its rim "
                          "not measured; exact: the crop itself"),
    ] = "fast"  # fmt: skip
    distance_m: Annotated[
        float | None, Field(gt=0, description="sample to detector, m; unset: what the run says")
    ] = None
    energy_kev: Annotated[
        float | None, Field(gt=0, description="photon energy, keV; unset: what the run says")
    ] = None

    normalise: Annotated[
        bool, Field(description="frames are normalised to the ion chamber, where the run has one")
    ] = True
    dark: Annotated[
        str | None,
        Field(min_length=1, description="a frame without beam, subtracted; FILE or FILE:/DATASET "
                                        "(HDF5, npy, TIFF); several frames are averaged"),
    ] = None  # fmt: skip
    flat: Annotated[
        str | None,
        Field(min_length=1, description="the detector's answer to even light, divided by; a file "
                                        "as for dark"),
    ] = None  # fmt: skip
    bad_pixels: Annotated[
        str | None,
        Field(min_length=1, description="which pixels are not believed (not 0), masked beside "
                                        "those that the run itself names; a file as for dark"),
    ] = None  # fmt: skip
    hot_pixels: Annotated[
        float | None,
        Field(gt=1, description="pixels whose mean exceeds this many times their neighbours' are "
                                "masked; inf: not looked for"),
    ] = 10.0  # fmt: skip
    saturated_pixels: Annotated[
        Literal["mask", "refuse"],
        Field(description="mask: a saturated pixel is not believed in its frame; refuse: the frame "
                          "is a bad one"),
    ] = "mask"  # fmt: skip
    zero_regions: Annotated[
        tuple[Region, ...],
        Field(description="rectangles (y0, x0, height, width) of the frames on file whose counts "
                          "are set to 0: light that is not the sample's"),
    ] = ()  # fmt: skip
    orientation: Annotated[
        Orientation | None,
        Field(description="how frames on file are turned so that they are as seen along the beam, "
                          "rows along y; unset: as the run's detector in hxn.toml says"),
    ] = None  # fmt: skip
    threshold: Annotated[
        float, Field(ge=0, description="counts below it, dark, flat and ion chamber applied, are 0")
    ] = 0.0
    empty_frames: Annotated[
        Literal["drop", "refuse"],
        Field(description="what to do with frames without a count: reconstruct without them and "
                          "say so, or refuse the scan"),
    ] = "drop"  # fmt: skip
    angle_correction: Annotated[
        bool,
        Field(description="positions are those across the beam: a stage's motion times the cosine "
                          "or sine of the rotation below it"),
    ] = True  # fmt: skip

    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        Field(description="what the solver computes on; auto: a GPU where one can be used"),
    ] = "auto"
    ranks: Annotated[
        int | Literal["auto"],
        Field(description="MPI ranks; auto: one a GPU, on a CPU one a physical core"),
    ] = "auto"

    probe: Annotated[
        str,
        Field(min_length=1, description="auto (what the run brings, else data), data, zone-plate, "
                                        "random, a file, or a result's uid"),
    ] = "auto"  # fmt: skip
    probe_mode_power: Annotated[
        float,
        Field(gt=0, lt=1, description="power of each further starting mode, as a share of the "
                                      "mode before it"),
    ] = 0.4  # fmt: skip
    zone_plate: Annotated[ZonePlate | None, Field(description='optics for probe="zone-plate"')] = (
        None
    )
    object: Annotated[
        str, Field(min_length=1, description="ones, random, a file, or a result's uid")
    ] = "ones"
    probe_start: Annotated[
        int, Field(ge=0, description="iterations before the probe is first updated")
    ] = 0
    object_start: Annotated[
        int, Field(ge=0, description="iterations before the object is first updated")
    ] = 0

    centre_probe: Annotated[
        bool,
        Field(description="keep the probe in the middle of its window: probe and object are moved "
                          "together by whole pixels when it strays"),
    ] = True  # fmt: skip
    average_start: Annotated[
        float,
        Field(ge=0, le=1, description="probe and object are means over the iterations after this "
                                      "share of them; 1: the last iterate"),
    ] = 0.8  # fmt: skip
    object_amplitude: Annotated[
        Bounds | None, Field(description="clamp of the object's amplitude, (low, high)")
    ] = None
    object_phase: Annotated[
        Bounds | None, Field(description="clamp of the object's phase, (low, high), rad")
    ] = None
    bad_frames: Annotated[
        Literal["refuse", "drop"],
        Field(description="what to do with frames that cannot be used (counts negative or not "
                          "finite): refuse the scan, or reconstruct without them and say so"),
    ] = "refuse"  # fmt: skip
    error_every: Annotated[
        int, Field(ge=1, description="iterations between values of error_fourier")
    ] = 10
    checkpoint_every: Annotated[
        int, Field(ge=0, description="iterations between checkpoints; 0: none")
    ] = 50
    seed: Annotated[int, Field(ge=0, description="seed of the random first guesses")] = 0

    @field_validator("probe_modes")
    @classmethod
    def _count_modes(cls, value: int | str) -> int | str:
        if value == "auto":
            raise ValueError('"auto" is not available in this version; give a number, 1 to 64')
        if not 1 <= int(value) <= 64:
            raise ValueError("must be 1 to 64")
        return value

    @field_validator("ranks")
    @classmethod
    def _count_ranks(cls, value: int | str) -> int | str:
        if value != "auto" and int(value) < 1:
            raise ValueError('must be "auto" or at least 1')
        return value

    @field_validator("object_amplitude", "object_phase")
    @classmethod
    def _ordered(cls, value: Bounds | None) -> Bounds | None:
        if value is not None and not value[0] < value[1]:
            raise ValueError("the low bound must be below the high one")
        return value

    @field_validator("hot_pixels")
    @classmethod
    def _finite_or_none(cls, value: float | None) -> float | None:
        return None if value == math.inf else value  # TOML has no word for none, JSON none for inf

    @field_validator("zero_regions")
    @classmethod
    def _real_regions(cls, value: tuple[Region, ...]) -> tuple[Region, ...]:
        for y0, x0, height, width in value:
            if min(y0, x0) < 0 or min(height, width) < 1:
                raise ValueError(
                    f"({y0}, {x0}, {height}, {width}) is no rectangle (y0, x0, height, width)"
                )
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.algorithm == "RAAR" and self.beta > 1:
            raise ValueError(f"beta={self.beta:g} is out of range for RAAR: at most 1")
        if self.window is not None and self.window % self.binning:
            raise ValueError(
                f"window={self.window} detector pixels cannot be binned by {self.binning}: it must "
                "be a multiple"
            )
        if self.storage == "half" and self.precision == "double":
            raise ValueError(
                'storage="half" keeps no more than single precision: use precision="single"'
            )
        if self.storage == "half" and self.object_modes > 1:
            raise ValueError(
                f'storage="half" is for one object mode, and object_modes={self.object_modes}: '
                'use storage="single"'
            )
        if self.probe == "zone-plate" and self.zone_plate is None:
            raise ValueError(
                'probe="zone-plate" needs zone_plate = {diameter = ..., outer_zone_width = ..., '
                "central_stop = ..., defocus = ...} (metres)"
            )
        return self

    @classmethod
    def make(cls, **keys: Any) -> Recipe:
        """Make a recipe from keys.

        Raises
        ------
        RecipeError
            Naming each unknown key or value out of range.
        """
        try:
            return cls(**keys)
        except ValidationError as error:
            raise RecipeError("; ".join(map(_describe, error.errors()))) from None

    def merge(self, keys: Mapping[str, Any]) -> Recipe:
        """Return a copy with `keys` in place of this recipe's.

        Raises
        ------
        RecipeError
            As `make`.
        """
        return type(self).make(**{**self.model_dump(), **keys})

    @classmethod
    def from_toml(cls, path: str | os.PathLike[str]) -> Recipe:
        """Read the ``[ptycho]`` table of a TOML file.

        Raises
        ------
        RecipeError
            If the file cannot be read, is not TOML, has no such table, or as `make`.
        """
        try:
            table = tomllib.loads(Path(path).read_text())
        except OSError as error:
            raise RecipeError(f"recipe {path} cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RecipeError(f"recipe {path} is not TOML: {error}") from error
        if "ptycho" not in table:
            raise RecipeError(f"recipe {path} has no table [ptycho]")
        try:
            return cls.make(**table["ptycho"])
        except RecipeError as error:
            raise RecipeError(f"recipe {path}: {error}") from None

    def to_toml(self) -> str:
        """Return the recipe as a ``[ptycho]`` table, each key with its description."""
        lines = ["[ptycho]"]
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            lines.append(f"# {field.description}")
            lines.append(f"# {name} =" if value is None else f"{name} = {_toml(value)}")
        return "\n".join(lines) + "\n"

    def assign(self, assignments: list[str]) -> Recipe:
        """Return a copy changed by ``KEY=VALUE`` texts, values as in TOML (bare words are texts).

        Raises
        ------
        RecipeError
            If a text has no ``=``, or as `make`.
        """
        keys: dict[str, Any] = {}
        for text in assignments:
            key, equals, value = text.partition("=")
            if not equals or not key.strip():
                raise RecipeError(f"{text!r} is not KEY=VALUE, as in probe_modes=2")
            keys[key.strip()] = _parse_value(value.strip())
        return self.merge(keys)


def _parse_value(text: str) -> Any:
    if text.lower() == "none":
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _toml(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.model_dump().items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def _describe(fault: Any) -> str:
    """Put one of pydantic's faults into a sentence that names the key and the value."""
    key = ".".join(str(part) for part in fault["loc"] if part not in ("int", "literal['auto']"))
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, Recipe.model_fields, n=1)
        return f"unknown key {key!r} in the recipe" + (
            f"; did you mean {near[0]!r}?" if near else ""
        )
    message = fault["msg"].removeprefix("Value error, ")
    return f"{key}={fault['input']!r}: {message}" if key else message
