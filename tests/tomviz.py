"""How tomviz's ptychography source, and HXN's scripts, read ``recon_result``: transcribed."""

from __future__ import annotations

import configparser
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_NO_CONFIGURATION = {
    ".npy",
    ".npz",
    ".h5",
    ".hdf5",
    ".nxs",
    ".tif",
    ".tiff",
    ".png",
    ".jpg",
    ".mat",
}
_EDGE = 15  # cut off around an object, beside half a probe

# What ptycho_gui's parser asks of section GUI; the rest are strings.
FLAGS = [
    "init_prb_flag",
    "init_obj_flag",
    "mode_flag",
    "multislice_flag",
    "gpu_flag",
    "init_obj_dpc_flag",
    "prb_center_flag",
    "mask_prb_flag",
    "mesh_flag",
    "cal_scan_pattern_flag",
    "bragg_flag",
    "pc_flag",
    "save_tmp_pic_flag",
    "position_correction_flag",
    "angle_correction_flag",
    "sf_flag",
    "ms_pie_flag",
    "weak_obj_flag",
    "preview_flag",
    "save_config_history",
]
INTEGERS = [
    "frame_num",
    "n_iterations",
    "prb_mode_num",
    "obj_mode_num",
    "slice_num",
    "nth",
    "dm_version",
    "processes",
    "display_interval",
    "nz",
    "nx",
    "ny",
    "pc_kernel_n",
    "position_correction_start",
    "position_correction_step",
    "start_update_probe",
    "start_update_object",
]
NUMBERS = [
    "lambda_nm",
    "xray_energy_kev",
    "z_m",
    "dr_x",
    "x_range",
    "dr_y",
    "y_range",
    "alg_percentage",
    "amp_max",
    "amp_min",
    "pha_max",
    "pha_min",
    "slice_spacing_m",
    "distance",
    "ccd_pixel_um",
    "start_ave",
    "x_direction",
    "y_direction",
    "angle",
    "alpha",
    "beta",
    "bragg_theta",
    "bragg_gamma",
    "bragg_delta",
    "pc_sigma",
]
WORDS = [
    "scan_num",
    "prb_filename",
    "prb_dir",
    "prb_path",
    "obj_filename",
    "obj_dir",
    "obj_path",
    "working_directory",
    "mpi_file_path",
    "sign",
    "alg_flag",
    "alg2_flag",
    "ml_mode",
    "pc_alg",
    "precision",
    "gpus",
]


@dataclass
class Seen:
    amplitude: np.ndarray
    phase: np.ndarray
    probe: np.ndarray
    angle: float
    pixel_nm: tuple[float, float] | None  # x, y


def scans(folder: Path) -> list[tuple[int, str]]:
    """Scan ids and labels that are found under a folder."""
    return [
        (int(scan.name[1:]), label.name)
        for scan in sorted(folder.iterdir())
        if scan.is_dir() and scan.name.startswith("S")
        for label in sorted(scan.iterdir())
        if label.is_dir()
    ]


def read(folder: Path, scan: int, label: str, *, old: bool = False) -> Seen:
    """Read one reconstruction, as its older or its newer version does."""
    data = folder / f"S{scan}" / label / "recon_data"
    obj, probe = (np.load(data / f"recon_{scan}_{label}_{name}_ave.npy") for name in OBJECTS)
    if not old:
        obj, probe = (a[0] if a.ndim == 3 else a for a in (obj, probe))
    obj, probe = (np.fliplr(np.rot90(a)) for a in (obj, probe))
    cut = [int(size / 2) + _EDGE for size in probe.shape]
    obj = obj[cut[0] : obj.shape[0] - cut[0], cut[1] : obj.shape[1] - cut[1]]
    config = _old_config(data) if old else _config(data, scan, label)
    angle = math.nan if config is None else _angle(config)
    pixel = None if config is None or old else _pixel(config)
    return Seen(np.abs(obj), np.angle(obj), probe, angle, pixel)


OBJECTS = ("object", "probe")


def _old_config(data: Path) -> Path | None:
    return next(iter(data.glob("*ptycho_hyan*.txt")), None)


def _config(data: Path, scan: int, label: str) -> Path | None:
    for path in data.glob(f"{scan}_{label}*"):
        if path.suffix.lower() not in _NO_CONFIGURATION and "angle =" in path.read_text():
            return path
    return None


def _angle(config: Path) -> float:
    for line in config.read_text().splitlines():
        if line.lstrip().startswith("angle = "):
            return float(line.split("=")[1].strip())
    return math.nan


def _pixel(config: Path) -> tuple[float, float] | None:
    found = {}
    for line in config.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and name.strip() in (
            "lambda_nm", "z_m", "nx", "ny", "ccd_pixel_um", "x_arr_size", "y_arr_size"
        ):  # fmt: skip
            found[name.strip()] = float(value.strip())
    for name, other in (("nx", "x_arr_size"), ("ny", "y_arr_size")):
        if name not in found and other in found:
            found[name] = found[other]
    if not {"lambda_nm", "z_m", "nx", "ny", "ccd_pixel_um"} <= found.keys():
        return None
    side = found["lambda_nm"] * found["z_m"] * 1e6 / found["ccd_pixel_um"]
    return side / found["nx"], side / found["ny"]


def parse_config(path: Path) -> dict[str, object]:
    """Parse a configuration as ptycho_gui does: every key, of its type."""
    parser = configparser.ConfigParser(inline_comment_prefixes=("#",))
    parser.read(path)
    values: dict[str, object] = {}
    values.update({key: parser.getboolean("GUI", key) for key in FLAGS})
    values.update({key: parser.getint("GUI", key) for key in INTEGERS})
    values.update({key: parser.getfloat("GUI", key) for key in NUMBERS})
    values.update({key: parser["GUI"][key] for key in WORDS})
    return values
