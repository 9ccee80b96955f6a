"""Procedural street scenes and the simulators that turn them into frames."""

from robustseg.scenes.camera import Camera
from robustseg.scenes.frame import Frame
from robustseg.scenes.render import render_split
from robustseg.scenes.scene import CLASSES, Scene
from robustseg.scenes.street import street

__all__ = ["CLASSES", "Camera", "Frame", "Scene", "render_split", "street"]
