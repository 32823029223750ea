"""Weights and networks in formats of other tools; what has been written is loaded again and compared."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from introvae.errors import UserError
from introvae.nn.batch_norm import choose_statistics
from introvae.nn.networks import IntroVAE

TOLERANCE = 1e-3  # largest difference of outputs, in nats' or pixels' units
BATCH = 2  # images of the comparison, and of the trace


def write_safetensors(model: IntroVAE, folder: Path) -> None:
    """Write model.safetensors: the weights by the names that the model's state_dict has.

    Raises:
        UserError: If the extra is not installed, or what was written differs when it is read.
    """
    try:
        from safetensors.torch import load_file, save  # an extra
    except ImportError as error:
        raise _missing("safetensors") from error
    path = folder / "model.safetensors"
    state = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
    path.write_bytes(save(state))
    found = load_file(path)
    if found.keys() != state.keys() or not all(torch.equal(found[name], state[name]) for name in state):
        raise _differs(path)


def write_pt2(model: IntroVAE, folder: Path) -> None:
    """Write encoder.pt2 and decoder.pt2 for `torch.export.load`, which replaces TorchScript.

    Raises:
        UserError: If the outputs of what was written differ from the model's.
    """
    for name, network, example in _networks(model):
        path = folder / f"{name}.pt2"
        torch.export.save(_exported(network, example), path)
        _compare(path, network, example, torch.export.load(path).module())


def write_onnx(model: IntroVAE, folder: Path) -> None:
    """Write encoder.onnx and decoder.onnx, for any number of images; inputs and outputs are named as in _NAMES.

    Raises:
        UserError: If the extra is not installed, or the outputs of what was written differ from the model's.
    """
    try:
        import onnxruntime  # an extra, as what PyTorch's exporter needs is
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise _missing("onnx") from error
    for name, network, example in _networks(model):
        path = folder / f"{name}.onnx"
        inputs, outputs = _NAMES[name]
        torch.onnx.export(
            _exported(network, example), (), path, input_names=[inputs], output_names=outputs, external_data=False,
            verbose=False,
        )  # fmt: skip
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

        def run(x: Tensor, session: Any = session, inputs: str = inputs) -> list[Tensor]:
            return [torch.from_numpy(value) for value in session.run(None, {inputs: x.numpy()})]

        _compare(path, network, example, run)


WRITE: Mapping[str, Callable[[IntroVAE, Path], None]] = {
    "safetensors": write_safetensors, "onnx": write_onnx, "pt2": write_pt2,
}  # fmt: skip
_NAMES = {"encoder": ("images", ["mu", "logvar"]), "decoder": ("z", ["images"])}


def _networks(model: IntroVAE) -> list[tuple[str, nn.Module, Tensor]]:
    """Return both networks by name, each with an input; batch norm has the statistics of images and of samples."""
    model = model.cpu().eval().requires_grad_(False).to(memory_format=torch.contiguous_format)
    choose_statistics(model.encoder, "real")
    choose_statistics(model.decoder, "sample")
    draws = torch.Generator().manual_seed(0)
    side = model.encoder.image_size
    images = torch.rand(BATCH, model.encoder.channels, side, side, generator=draws)
    return [
        ("encoder", model.encoder, images),
        ("decoder", model.decoder, torch.randn(BATCH, model.decoder.latent, generator=draws)),
    ]


def _exported(network: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    """Export a network for any number of images."""
    return torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("count")},))


@torch.no_grad()
def _compare(path: Path, network: nn.Module, example: Tensor, run: Callable[[Tensor], Any]) -> None:
    for x in (example, example[:1], torch.cat([example, example.flip(0)])):  # for any number of images
        expected, found = network(x), run(x)
        pairs = zip(_as_list(expected), _as_list(found), strict=True)
        if not all(a.shape == b.shape and (a - b).abs().max() <= TOLERANCE for a, b in pairs):
            raise _differs(path)


def _as_list(outputs: Any) -> list[Tensor]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def _missing(extra: str) -> UserError:
    return UserError(f"--format {extra} needs a package that is missing; pip install 'introvae[{extra}]'")


def _differs(path: Path) -> UserError:
    return UserError(f"{path} does not give the outputs of the run that it was made from; do not use it")
