"""Procedural street scenes and the simulators that turn them into frames."""

from robustseg.scenes.billboard import billboard
from robustseg.scenes.board import Board
from robustseg.scenes.camera import Camera
from robustseg.scenes.frame import Frame
from robustseg.scenes.render import render_split
from robustseg.scenes.scene import CLASSES, Scene
from robustseg.scenes.street import street
from robustseg.scenes.trajectory import trajectory

__all__ = ["CLASSES", "Board", "Camera", "Frame", "Scene", "billboard", "render_split", "street", "trajectory"]
