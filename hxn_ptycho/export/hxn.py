"""A result in the folders of HXN's own tools, which the tomography program tomviz reads too.

Read from public code: tomviz (its "Ptycho" source), HXN's scripts around ptycho_gui, and an early
public version of its solver. ``recon_result/S<scan>/<label>/recon_data/`` holds
``recon_<scan>_<label>_{object,probe}_ave.npy`` (tomviz takes these), ``..._ave_rp.npy`` (the ramp
removed: later scripts and first guesses), ``..._{object,probe}.npy`` (all modes, the newer scripts)
and ``..._mode_orth_ave_rp_mode_<i>.npy``. Beside them is the configuration of ptycho_gui, an INI
file that tomviz finds by its name, ``<scan>_<label>*`` (formerly ``*ptycho_hyan*.txt``), and by a
line that begins ``angle = ``. Arrays are turned by ``rot90(axes=(1, 0))``: axis 0 is x, axis 1 is y
upwards. Around the object lie 15 pixels that the views do not reach, and readers cut them off.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from ..solver.job import ResultData
from .arrays import save
from .files import ExportError, Writers

PADDING = 15
"""Pixels around the object, of ptycho_gui's solver; tomviz cuts off as many, and half a probe."""

# What else its parser asks for. Nothing here has a counterpart in our results.
_UNUSED: dict[str, Any] = {
    "multislice_flag": False, "init_obj_dpc_flag": False, "mask_prb_flag": False,
    "mask_obj_flag": False, "norm_prb_amp_flag": False, "mesh_flag": True,
    "cal_scan_pattern_flag": False, "bragg_flag": False, "pc_flag": False,
    "save_tmp_pic_flag": False, "position_correction_flag": False, "sf_flag": False,
    "ms_pie_flag": False, "weak_obj_flag": False, "preview_flag": False,
    "save_config_history": False, "cal_error_flag": True, "refine_data_flag": False,
    "profiler_flag": False, "postprocessing_flag": False, "use_NCCL": False,
    "frame_num": 0, "slice_num": 2, "nth": 5, "dm_version": 2, "processes": 0,
    "display_interval": 10, "pc_kernel_n": 32, "position_correction_start": 50,
    "position_correction_step": 10, "slice_spacing_m": 5e-6, "distance": 0.0, "alpha": 1e-8,
    "sigma2": 5e-5, "bragg_theta": 0.0, "bragg_gamma": 0.0, "bragg_delta": 0.0, "pc_sigma": 2.0,
    "prb_filename": "", "prb_dir": "", "prb_path": "", "obj_filename": "", "obj_dir": "",
    "obj_path": "", "working_directory": ".", "mpi_file_path": "", "ml_mode": "Poisson",
    "pc_alg": "lucy", "gpus": "[0]", "gpu_batch_size": 256,
}  # fmt: skip


def hxn(result: ResultData, *, label: str, angle_deg: float, detector_pixel_m: float) -> Writers:
    """Return what writes the arrays and the configuration.

    Raises
    ------
    ExportError
        For a label that names no folder, or pixels that are no squares, which ptycho_gui has not.
    """
    if not label or "/" in label or label.startswith("."):
        raise ExportError(f"{label!r} cannot be a label: it names a folder, as t1 does")
    pixel_y, pixel_x = result.pixel_size
    if abs(pixel_y / pixel_x - 1) > 1e-6:
        raise ExportError(
            f"the pixel of scan {result.scan_id} is {pixel_y * 1e9:.5g} x {pixel_x * 1e9:.5g} nm "
            "(y, x); tools of HXN know one detector pixel only: export npy, tiff or cxi"
        )
    stem = f"{result.scan_id}_{label}"
    folder = f"recon_result/S{result.scan_id}/{label}/recon_data"
    height, width = result.object.shape[1:]
    # An even number of pixels, as there: those who divide by two expect it.
    room = ((0, 0), (PADDING, PADDING + height % 2), (PADDING, PADDING + width % 2))
    arrays = {
        "object": _turned(np.pad(result.object, room, constant_values=1)),
        "probe": _turned(result.probe),
    }
    files: dict[str, Any] = {}
    for name, modes in arrays.items():
        # The published modes are averages without ramp, so that all names hold the same.
        for ending in ("ave", "ave_rp"):
            files[f"{folder}/recon_{stem}_{name}_{ending}.npy"] = save(modes[0])
        files[f"{folder}/recon_{stem}_{name}.npy"] = save(modes if len(modes) > 1 else modes[0])
        if len(modes) > 1:
            for i, mode in enumerate(modes):
                key = f"{folder}/recon_{stem}_{name}_mode_orth_ave_rp_mode_{i}.npy"
                files[key] = save(mode)
    text = _config(result, label, angle_deg, detector_pixel_m)
    # The name is for both ways in which tomviz has looked for it.
    files[f"{folder}/{stem}.ptycho_hyan_hxn_ptycho.txt"] = lambda path: path.write_text(text)
    return files


def _turned(modes: NDArray) -> NDArray:
    return np.rot90(modes, axes=(2, 1))


def _config(result: ResultData, label: str, angle_deg: float, detector_pixel_m: float) -> str:
    n = result.probe.shape[-1]
    recipe = result.recipe
    pixel_um = detector_pixel_m * 1e6 * recipe.get("binning", 1)
    # What readers multiply out: pixel = lambda z / (ccd_pixel n).
    distance = result.pixel_size[1] * n * pixel_um * 1e-6 / result.wavelength
    extent_y, extent_x = np.ptp(result.positions_m, axis=0) * 1e6
    step = _step_um(result.positions_m)
    low, high = recipe.get("object_amplitude") or (0.0, 10.0)
    phase_low, phase_high = recipe.get("object_phase") or (-4.0, 4.0)
    algorithm = recipe.get("algorithm", "DM")
    values = {
        "scan_num": result.scan_id,
        "sign": label,
        "angle": float(angle_deg),
        "lambda_nm": result.wavelength * 1e9,
        "xray_energy_kev": 1.2398419843320026 / (result.wavelength * 1e9),
        "z_m": distance,
        "ccd_pixel_um": pixel_um,
        "nx": n,
        "ny": n,
        "x_arr_size": n,
        "y_arr_size": n,
        "nz": len(result.positions),
        "x_range": extent_x,
        "y_range": extent_y,
        "dr_x": step,
        "dr_y": step,
        # With these, points of a scan that is exported for ptycho_gui fit this object.
        "x_direction": -1.0,
        "y_direction": -1.0,
        "angle_correction_flag": True,
        "alg_flag": algorithm,
        "alg2_flag": algorithm,
        "alg_percentage": 1.0,
        "n_iterations": recipe.get("iterations", len(result.iteration)),
        "mode_flag": len(result.probe) > 1 or len(result.object) > 1,
        "prb_mode_num": len(result.probe),
        "obj_mode_num": len(result.object),
        "beta": recipe.get("beta", 0.8),
        "start_ave": recipe.get("average_start", 0.8),
        "start_update_probe": recipe.get("probe_start", 0),
        "start_update_object": recipe.get("object_start", 0),
        "prb_center_flag": recipe.get("centre_probe", True),
        "precision": recipe.get("precision", "single"),
        "gpu_flag": result.device.startswith("cuda"),
        "init_prb_flag": True,
        "init_obj_flag": True,
        "amp_min": low,
        "amp_max": high,
        "pha_min": phase_low,
        "pha_max": phase_high,
        "x_pixel_size_nm": result.pixel_size[1] * 1e9,
        "y_pixel_size_nm": result.pixel_size[0] * 1e9,
        **_UNUSED,
    }
    lines = [f"{key} = {_text(value)}\n" for key, value in values.items()]
    return "[GUI]\n" + "".join(lines)


def _text(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _step_um(positions_m: NDArray[np.float64]) -> float:
    """Return the typical distance of a view from the nearest, um."""
    if len(positions_m) < 2:
        return 0.0
    return float(np.median(KDTree(positions_m).query(positions_m, k=2)[0][:, 1]) * 1e6)
