"""An imitation of the CARLA client: transforms by CARLA's formulas, sensors that draw one wall, late frames first."""

import math
from types import SimpleNamespace

import numpy as np


class Transform:
    def __init__(self, location=(0.0, 0.0, 0.0), rotation=(0.0, 0.0, 0.0)):
        self.location, self.rotation = location, rotation

    def get_matrix(self):
        p, y, r = (math.radians(v) for v in self.rotation)
        cp, sp, cy, sy, cr, sr = math.cos(p), math.sin(p), math.cos(y), math.sin(y), math.cos(r), math.sin(r)
        ahead = [cp * cy, cp * sy, sp]
        right = [cy * sp * sr - sy * cr, sy * sp * sr + cy * cr, -cp * sr]
        up = [-cy * sp * cr - sy * sr, -sy * sp * cr + cy * sr, cp * cr]
        M = np.eye(4)
        M[:3] = np.stack([ahead, right, up, self.location], 1)
        return M

    def get_inverse_matrix(self):
        return np.linalg.inv(self.get_matrix()).tolist()


class Blueprint:
    def __init__(self, name):
        self.name, self.values = name, {}

    def has_attribute(self, name):
        return name != "lens_flare_intensity"

    def set_attribute(self, name, value):
        assert isinstance(value, str)
        assert self.has_attribute(name)
        self.values[name] = value


class Sensor:
    def __init__(self, world, blueprint):
        self.world, self.blueprint, self.alive, self.hear = world, blueprint, True, None

    def listen(self, hear):
        self.hear = hear

    def set_transform(self, transform):
        self.transform = transform

    def stop(self):
        self.hear = None

    def destroy(self):
        self.alive = False


class World:
    """A wall at x = `wall` metres that fills the view, tagged `tag`, with instance id 0x3412."""

    def __init__(self, wall=10.0, tag=3, silent=()):
        self.wall, self.tag, self.silent = wall, tag, silent
        self.settings = {"synchronous_mode": False, "fixed_delta_seconds": None}
        self.sensors, self.painted, self.frame = [], None, 0

    def get_settings(self):
        return SimpleNamespace(**self.settings)

    def apply_settings(self, settings):
        self.settings = dict(vars(settings))

    def get_blueprint_library(self):
        return SimpleNamespace(find=Blueprint)

    def spawn_actor(self, blueprint, transform):
        self.sensors.append(Sensor(self, blueprint))
        return self.sensors[-1]

    def get_names_of_all_objects(self):
        return ["BP_Billboard_01"]

    def apply_color_texture_to_object(self, name, parameter, texture):
        self.painted = (name, parameter, texture)

    def tick(self):
        assert self.settings["synchronous_mode"]
        self.frame += 1
        for sensor in self.sensors:
            if not sensor.alive or sensor.blueprint.name in self.silent:
                continue
            for frame in (self.frame - 1, self.frame):  # a late one first
                sensor.hear(self.picture(sensor, frame))
        return self.frame

    def picture(self, sensor, frame):
        values = sensor.blueprint.values
        w, h, fov = int(values["image_size_x"]), int(values["image_size_y"]), float(values["fov"])
        f = w / 2 / math.tan(math.radians(fov) / 2)
        y, x = np.mgrid[0:h, 0:w] + 0.5
        rays = np.stack([np.ones_like(x), (x - w / 2) / f, -(y - h / 2) / f], -1)  # ahead, right, up; depth 1
        M = sensor.transform.get_matrix()
        z = (self.wall - M[0, 3]) / (rays @ M[0, :3])
        out = np.zeros((h, w, 4), np.uint8)
        if frame == self.frame and sensor.blueprint.name.endswith("rgb"):
            out[...] = (30, 20, 10, 255)
        elif frame == self.frame and sensor.blueprint.name.endswith("instance_segmentation"):
            out[...] = (0x34, 0x12, self.tag, 255)
        elif frame == self.frame:
            coded = np.rint(np.clip(z, 0, 1000) / 1000 * (2**24 - 1)).astype(np.int64)
            out[..., 2], out[..., 1], out[..., 0] = coded & 255, (coded >> 8) & 255, coded >> 16
        return SimpleNamespace(frame=frame, width=w, height=h, raw_data=out.tobytes(), transform=sensor.transform)


class TextureColor:
    def __init__(self, w, h):
        self.texels = np.zeros((h, w, 3), np.uint8)

    def set(self, x, y, color):
        self.texels[y, x] = color[:3]


def client(world, refuses=False):
    """A module that looks like `carla`."""

    class Client:
        def __init__(self, host, port):
            pass

        def set_timeout(self, seconds):
            pass

        def get_world(self):
            if refuses:
                raise RuntimeError("time-out of 10000ms while waiting for the simulator")
            return world

    return SimpleNamespace(
        Client=Client, Transform=Transform, Location=lambda *v: v, Rotation=lambda *v: v, TextureColor=TextureColor,
        Color=lambda *v: v, MaterialParameter=SimpleNamespace(Diffuse="diffuse"),
    )  # fmt: skip
