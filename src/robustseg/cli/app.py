"""The application, and the options that several commands share."""

from __future__ import annotations

from typing import Annotated, Any

import typer

__all__ = ["Adaptive", "DataRef", "Defense", "Device", "Eot", "EotSamples", "Json", "ModelRef", "ModelRefs", "Seed",
           "Window", "app", "group"]  # fmt: skip

OPTIONS: dict[str, Any] = {"no_args_is_help": True, "rich_markup_mode": "markdown", "pretty_exceptions_enable": False}
app = typer.Typer(add_completion=False, help="Measure how easily a segmentation model can be fooled.", **OPTIONS)

MODELS = "zoo:NAME, hf:PATH, smp:PATH, torchvision:NAME?weights=FILE, timm:NAME?weights=FILE, py:FILE.py:FACTORY"
ModelRef = Annotated[str, typer.Option("--model", help=MODELS)]
ModelRefs = Annotated[list[str], typer.Option("--model", help=f"{MODELS}; several times: one attack on all.")]
DataRef = Annotated[str, typer.Option("--data", help="street:val, camvid:PATH:test, folder:PATH …; see `list data`")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of all random draws.")]
Eot = Annotated[str | None, typer.Option(help="What attacks must survive: noise=0.02,jpeg=30-90 … (docs/eot.md).")]
EotSamples = Annotated[int | None, typer.Option(min=1, help="Draws of these, or of a random defence, a step.")]
Defense = Annotated[str | None, typer.Option(help="What the model sees images through: jpeg=50, bits=3, median=3, "
                                             "resize=0.8-1.2, zmask, demask=1%; also several (see docs).")]  # fmt: skip
Adaptive = Annotated[str, typer.Option(help="What attacks do about a defence: auto (BPDA, EOT), bpda, eot, or off.")]
Window = Annotated[int | None, typer.Option(help="Side of a sliding window for large images, in pixels.")]


def group(name: str, help: str) -> typer.Typer:
    """A command with commands of its own."""
    made = typer.Typer(help=help, **OPTIONS)
    app.add_typer(made, name=name)
    return made


@app.callback(invoke_without_command=True)
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error. May stand anywhere.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Measure how easily a segmentation model can be fooled."""
    if version:
        from robustseg import __version__

        print(__version__)
        raise typer.Exit()
