"""The Mitsuba 3 backend: a Scene becomes a Frame, on the CPU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robustseg.scenes.camera import Camera
from robustseg.scenes.denoise import denoise
from robustseg.scenes.frame import Frame
from robustseg.scenes.meshes import merge, normals
from robustseg.scenes.probe import load
from robustseg.scenes.scene import SKY, Material, Part, Scene
from robustseg.scenes.tone import expose, hazed, to_linear

SAMPLER = {"type": "multijitter", "sample_count": 8}


def render(scene: Scene, spp: int = 4, seed: int = 0, depth: int = 4, clean: bool = True) -> Frame:
    """One frame: path-traced colour with `spp` samples a pixel, ids and depth by one ray through each pixel centre.

    clean=False leaves out the filter, so that rgb is a pointwise function of `linear` and depth. `depth` is the
    longest light path. The same arguments give the same frame on one machine and variant.
    """
    mi = load()
    built, order = build(mi, scene)
    sight = look(mi, built, order, scene)
    linear, smooth = light(mi, built, scene, sight, spp, seed, depth, clean)
    rgb = expose(hazed(smooth, sight.z, scene.sky), sight.z, scene.exposure)
    return Frame(rgb, linear, *maps(scene, sight), sight.z, scene.camera.K, scene.camera.T_cw)


@dataclass(frozen=True)
class Sight:
    """What one ray through each pixel centre hits: number of the part (h,w), 0 = nothing; depth z (h,w) in metres,
    inf = nothing; position (h,w,3)."""

    index: np.ndarray
    z: np.ndarray
    at: np.ndarray


def look(mi, built, order, scene: Scene) -> Sight:
    """What the scene's camera has before it; `built` and `order` may come from another camera's scene."""
    return Sight(*primary(mi, built, order, scene.camera))


def light(mi, built, scene: Scene, sight: Sight, spp: int, seed: int, depth: int = 4, clean: bool = True, window=None):
    """Radiance (h,w,3) as traced, and filtered (the same where clean=False), as the scene's camera sees it.

    `window` (top, bottom, left, right) in pixels renders that part only; its samples are other ones.
    """
    camera = scene.camera
    linear = _image(mi, built, camera, {"type": "path", "max_depth": depth}, spp, seed, window)[..., :3]
    if not clean:
        return linear, linear
    # the same seed puts the samples of colour and guides at the same places
    aov = {"type": "aov", "aovs": "albedo:albedo,normal:sh_normal"}
    guides = _image(mi, built, camera, aov, spp, seed, window)
    top, bottom, left, right = window or (0, camera.height, 0, camera.width)
    z, at = sight.z[top:bottom, left:right], sight.at[top:bottom, left:right]
    lit = sunlit(mi, built, scene, at, np.isfinite(z))
    return linear, denoise(linear, guides[..., -6:-3], guides[..., -3:], z, lit)


def maps(scene: Scene, sight: Sight) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels uint8, instances int32 and regions uint8, all (h,w)."""
    table = lambda value, empty: np.array([empty] + [getattr(p, value) for p in scene.parts])  # noqa: E731
    label = table("label", SKY)[sight.index].astype(np.uint8)
    instance = table("instance", 0)[sight.index].astype(np.int32)
    return label, instance, table("region", 0)[sight.index].astype(np.uint8)


def build(mi, scene: Scene):
    """Mitsuba's scene with one mesh per material, and per mesh the 1-based part number of every triangle."""
    groups: dict[str, list[tuple[int, Part]]] = {}
    for number, part in enumerate(scene.parts, 1):
        if len(part.mesh.F):
            groups.setdefault(part.material, []).append((number, part))
    meshes, order = {}, {}
    for name in sorted(groups):
        meshes[name] = _mesh(mi, name, [p for _, p in groups[name]], scene.materials[name])
        order[name] = np.concatenate([np.full(len(p.mesh.F), number) for number, p in groups[name]])
    sky = {"type": "envmap", "bitmap": mi.Bitmap(np.ascontiguousarray(scene.sky.panorama)), "to_world": _z_up(mi)}
    lights = {"sky": sky, "sun": _sun(scene)} if max(scene.sky.sun_irradiance) > 0 else {"sky": sky}
    built = mi.load_dict({"type": "scene", "sensor": sensor(mi, scene.camera, SAMPLER), **lights, **meshes})
    return built, [order[s.id()] for s in built.shapes()]


def sunlit(mi, built, scene: Scene, at: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """Whether the sun reaches each point `at` (h,w,3): 1 or 0 as float32 (h,w)."""
    out = np.zeros(hit.shape, np.float32)
    if max(scene.sky.sun_irradiance) < 0.5:
        return out
    start = at[hit] + 0.004 * (np.asarray(scene.camera.eye) - at[hit]) / 2
    way = np.asarray(scene.sky.sun_direction, np.float32)
    if mi.variant().startswith("scalar"):
        dark = [built.ray_test(mi.Ray3f(p.tolist(), way.tolist())) for p in start]
    else:
        rays = mi.Ray3f(mi.Point3f(start.astype(np.float32).T), mi.Vector3f(*way.tolist()))
        dark = np.array(built.ray_test(rays))
    out[hit] = 1.0 - np.asarray(dark, np.float32)
    return out


def _image(mi, built, camera: Camera, integrator: dict, spp: int, seed: int, window=None) -> np.ndarray:
    eye = mi.load_dict(sensor(mi, camera, SAMPLER, window))
    traced = mi.render(built, sensor=eye, integrator=mi.load_dict(integrator), spp=spp, seed=seed)
    return np.array(traced).astype(np.float32)


def _sun(scene: Scene) -> dict:
    irradiance = {"type": "rgb", "value": list(scene.sky.sun_irradiance)}
    return {"type": "directional", "direction": [-v for v in scene.sky.sun_direction], "irradiance": irradiance}


def primary(mi, built, order, camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Part number (0 = nothing) (h,w), depth z (inf = nothing) (h,w) and position (h,w,3) at the pixel centres.

    One unjittered sample under a box filter is exactly the ray through the pixel centre.
    """
    still = mi.load_dict(sensor(mi, camera, {"type": "stratified", "sample_count": 1, "jitter": False}))
    aov = mi.load_dict({"type": "aov", "aovs": "at:position,shape:shape_index,prim:prim_index"})
    got = np.array(mi.render(built, sensor=still, integrator=aov, spp=1))[..., -5:]
    shape, prim = np.rint(got[..., 3]).astype(int), np.rint(got[..., 4]).astype(int)  # shape counts from 1, 0 = miss
    ids = shape_ids(mi, built)
    start = np.zeros(max(ids.max(), shape.max()) + 1, int)
    start[ids] = np.cumsum([0] + [len(o) for o in order])[:-1]
    numbers = np.concatenate(order)
    hit = shape > 0
    index = np.where(hit, numbers[np.where(hit, start[shape] + prim, 0)], 0)
    T = camera.T_cw
    at = got[..., :3].astype(np.float64)
    z = at @ T[2, :3] + T[2, 3]
    return index, np.where(hit, z, np.inf).astype(np.float32), at


def shape_ids(mi, built) -> np.ndarray:
    """The number that shape_index gives to each shape of the scene; JIT variants count over the whole process."""
    if mi.variant().startswith("scalar"):
        return np.arange(1, len(built.shapes()) + 1)
    import drjit as dr

    numbers = [dr.reinterpret_array(mi.UInt32, mi.ShapePtr(s)) for s in built.shapes()]
    return np.array([int(np.array(n).item()) for n in numbers])


def sensor(mi, camera: Camera, sampler: dict, window=None) -> dict:
    """Mitsuba's camera looks along +z with x to the left and y up; `window` (top, bottom, left, right) crops."""
    R, M = camera.R_wc, np.eye(4)
    M[:3, 0], M[:3, 1], M[:3, 2], M[:3, 3] = -R[:, 0], -R[:, 1], R[:, 2], camera.eye
    film = {"type": "hdrfilm", "width": camera.width, "height": camera.height, "pixel_format": "rgb"}
    film |= {"component_format": "float32", "rfilter": {"type": "box"}}
    if window:
        top, bottom, left, right = (int(v) for v in window)
        film |= {"crop_offset_x": left, "crop_offset_y": top, "crop_width": right - left, "crop_height": bottom - top}
    pose = {"fov": camera.fov, "fov_axis": "x", "to_world": mi.ScalarTransform4f(M)}
    return {"type": "perspective", **pose, "near_clip": 0.05, "far_clip": 2000.0, "film": film, "sampler": sampler}


def _mesh(mi, name: str, parts: list[Part], material: Material):
    mesh = merge(*[p.mesh for p in parts])
    props = mi.Properties()
    props["bsdf"] = mi.load_dict(_bsdf(mi, material))
    out = mi.Mesh(name, len(mesh.V), len(mesh.F), has_vertex_normals=True, has_vertex_texcoords=True, props=props)
    if material.texture is None:
        color = np.concatenate([np.broadcast_to(to_linear(p.color), (len(p.mesh.V), 3)) for p in parts])
        out.add_attribute(
            "vertex_color", 3, (color * (4.0 if material.kind == "lit" else 1.0)).astype(np.float32).ravel()
        )
    data = mi.traverse(out)
    data["vertex_positions"] = mesh.V.astype(np.float32).ravel()
    data["vertex_normals"] = normals(mesh.V, mesh.F).astype(np.float32).ravel()
    data["vertex_texcoords"] = (mesh.UV / material.size).astype(np.float32).ravel()
    data["faces"] = mesh.F.astype(np.uint32).ravel()
    data.update()
    return out


def _bsdf(mi, material: Material) -> dict:
    if material.texture is None:
        color = {"type": "mesh_attribute", "name": "vertex_color"}
    else:
        bitmap = mi.Bitmap(to_linear(material.texture / np.float32(255)))
        wrap = "clamp" if material.kind == "print" else "repeat"
        color = {"type": "bitmap", "bitmap": bitmap, "raw": True, "filter_type": "bilinear", "wrap_mode": wrap}
    kind = material.kind
    if kind == "paint":
        inner = {
            "type": "principled",
            "base_color": color,
            "roughness": 0.4,
            "specular": 0.5,
            "clearcoat": 0.8,
            "clearcoat_gloss": 0.9,
        }
    elif kind == "gloss":
        inner = {"type": "principled", "base_color": color, "roughness": 0.12, "specular": 0.9}
    elif kind == "metal":
        inner = {"type": "principled", "base_color": color, "roughness": 0.4, "metallic": 0.5}
    elif kind == "ground":
        rough = mi.Bitmap(np.asarray(material.roughness, np.float32)[..., None])
        dull = {"type": "bitmap", "bitmap": rough, "raw": True, "wrap_mode": "repeat"}
        inner = {"type": "principled", "base_color": color, "specular": 0.4, "roughness": dull}
    else:
        inner = {"type": "diffuse", "reflectance": color}
    return {"type": "twosided", "bsdf": inner}


def _z_up(mi):
    """Mitsuba's panoramas stand on y; ours stand on z: local (x, y, z) -> world (x, -z, y)."""
    return mi.ScalarTransform4f([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
