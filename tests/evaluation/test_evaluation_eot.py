"""--eot for a whole run: every attack has it, noise and the referee do not, and it is part of the key."""

from __future__ import annotations

import pytest
from toy import Push, Toy, model

from robustseg.errors import UserError
from robustseg.evaluation.replay import replay
from robustseg.evaluation.run import evaluate


def run(out, attacks="pgd:steps=3", **options):
    return evaluate(model(), Toy(number=2), attacks, out=out, batch_size=2, **options)


def test_attacks_have_it_and_noise_does_not(tmp_path):
    plain = run(tmp_path)
    found = run(tmp_path, eot="noise=0.02,jpeg=30-90", eot_samples=2)
    spec = "pgd:eps=8/255,eot=noise:0.02+jpeg:30-90,eot_samples=2,steps=3"
    assert sorted(found["attacks"]) == ["noise:eps=8/255", spec]
    assert found["clean"] == plain["clean"]
    assert found["attacks"]["noise:eps=8/255"]["key"] == plain["attacks"]["noise:eps=8/255"]["key"]
    assert found["attacks"][spec]["key"] != plain["attacks"]["pgd:eps=8/255,steps=3"]["key"]
    assert found["attacks"][spec]["backwards"] == 2 * 3
    assert found["attacks"][spec]["mIoU"] < found["attacks"]["noise:eps=8/255"]["mIoU"]
    again = replay(tmp_path, "im01", spec, model=model(), data=Toy(number=2))
    assert again["equal"], again["differences"]


@pytest.mark.parametrize(
    ("attacks", "options", "says"),
    [
        ("pgd:eot=noise:0.1", {"eot": "blur=1"}, "has its own eot and --eot is given too"),
        ("pgd", {"eot_samples": 2}, "--eot-samples 2 of nothing"),
        (Push(), {"eot": "blur=1"}, "does not reach an attack object of your own"),
        ("pgd", {"eot": "blurr=1"}, "did you mean blur"),
    ],
)
def test_refusals(tmp_path, attacks, options, says):
    with pytest.raises(UserError, match=says):
        run(tmp_path, attacks, **options)
