"""An objective of your own: a function of the output and the truth, one value an image, to be maximised.

    python examples/custom_objective.py zoo:street-unet street:val

or, without a line of Python: ``robustseg evaluate --attack pgd:objective=examples/custom_objective.py:margin ...``
"""

import sys

import robustseg as rs


def margin(output, target):
    """Best other score minus that of the truth, mean over labelled pixels; once a pixel has fallen, leave it."""
    index = target.index.unsqueeze(1)  # (B,1,H,W), 0 where ignored
    truth = output.scores.gather(1, index).squeeze(1)  # (B,H,W): scores come at label size
    other = output.scores.scatter(1, index, float("-inf")).amax(1)
    gap = (other - truth).clamp_max(0.1)
    return (gap * target.valid).flatten(1).sum(1) / target.count  # (B,)


def main(model: str = "zoo:street-unet", data: str = "street:val") -> None:
    """Compare it with the cross-entropy at equal cost on the first image."""
    net, sample = rs.load_model(model), rs.load_data(data)[0]
    for attack in (rs.attack(margin, eps="1/255", steps=20), rs.attack("pgd", eps="1/255", steps=20)):
        result = attack(net, sample.image[None], sample.labels[None])
        print(f"{attack.spec}: {result.score.item():.1%} wrong after {result.backwards.item()} gradients")


if __name__ == "__main__":
    main(*sys.argv[1:])
