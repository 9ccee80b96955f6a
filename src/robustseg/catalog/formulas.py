"""What every named attack maximises, as a line of mathematics for readers; the code is in ``objectives``.

Letters: z logits, p = softmax(z), y the truth (or the goal y'), N counted pixels, x0 the clean image, θ the attacker's
variable, x = x0 + θ, ε the radius. Of queries: p_q(c) class probabilities, ∅ "no object", s_q the best class but ∅, m_q
mask logits, σ the sigmoid, odds(s) = log s/(1-s) - log 0.8/0.2. Of regions: o objectness, B boxes.
"""

from __future__ import annotations

__all__ = ["FORMULAS", "LETTERS", "UPDATES"]

LETTERS = (
    "z logits, p = softmax(z), y truth (y' goal), N counted pixels, x = x0 + θ, ε radius; per query: ∅ no object, "
    "s best class score, m mask logits, σ sigmoid, odds(s) = log s/(1-s) - log 4"
)

UPDATES = {
    "sign": "θ ← Π_ε( θ + α · sign ∇ )     (L2: α · ∇/|∇|₂)",
    "momentum": "g ← μ g + ∇/|∇|₁,  θ ← Π_ε( θ + α · sign g )",
    "adam": "θ ← Π_ε( θ + α · m̂/√v̂ ),  AMSGrad moments of ∇/max|∇|",
    "normalised": "θ ← Π_ε( θ + α · ∇/max|∇| )",
    "apgd": "APGD: momentum 0.75 on the step, step size halved at checkpoints where progress stalls",
}

CE = "L = (1/N) Σ_i -log p_i(y_i)"
FORMULAS = {
    "noise": "θ ~ Uniform on the ball (L∞: every entry in [-ε, ε]); nothing is maximised",
    "fgsm": "x = x0 + ε · sign ∇_x L,   " + CE,
    "bim": CE,
    "mi-fgsm": CE,
    "pgd": CE,
    "apgd": CE,
    "segpgd": "L = (1/N) Σ_i w_i · -log p_i(y_i),   w_i = 1-λ on correct pixels, λ on wrong ones,   λ = (t-1)/2T",
    "cospgd": "L = (1/N) Σ_i cos(p_i, onehot y_i) · -log p_i(y_i),   cos = p_i(y_i)/|p_i|₂, no gradient through it",
    "masked-ce": "L = (1/N) Σ_{i still correct} -log p_i(y_i)",
    "balanced-masked-ce": "L = (1/N) Σ_{i still correct} -log p_i(y_i) / N_{y_i},   N_c pixels of class c elsewhere",
    "js": "L = (1/N) Σ_i JS( p_i, onehot y_i )",
    "tsallis": "L = (1/N) Σ_i (1 - p_i(y_i)^(1-q)) / (1-q),   q rises from -2 to 1 in every radius stage",
    "padam-ce": CE,
    "padam-cos": "L = (1/N) Σ_i 1 - z_i(y_i)/|z_i|₂",
    "margin": "L = (1/N) Σ_i min( max_{c≠y} z_i(c) - z_i(y_i), 0.1 )",
    "cw-l2": "L = -|θ|₂² - c Σ_i max( z_i(y_i) - max_{c≠y} z_i(c) + κ, 0 ),   c: the smallest that succeeds",
    "cw-linf": "L = -Σ_j max( |θ_j| - τ, 0 ) - c Σ_i max( z_i(y_i) - max_{c≠y} z_i(c) + κ, 0 ),   τ falls with success",
    "cw-l0": "as cw-l2 on fewer and fewer pixels: a success freezes those of least |Σ_ch θ| · Σ_ch |∇|",
    "almaprox": "min |θ|∞  s.t.  d_i = w (z_i(y_i) - max_{c≠y} z_i(c)) / (z_(1) - z_(3)) ≤ 0 for 99 % of the pixels,   "
    "by ∇ Σ_i P(d_i; ρ_i, μ_i) and prox of λ|θ|∞",
    "hide": "L = -(1/N) [ ω Σ_aimed CE(y') + (1-ω) Σ_rest CE(y') ],   0 where p(y') > τ;   y' = nearest other label",
    "static": "L = -(1/N) [ ω Σ_aimed CE(y') + (1-ω) Σ_rest CE(y') ],   0 where p(y') > τ;   y' = target=FILE",
    "saga": "∇ = Σ_m α_m · φ_m ⊙ ∂L_m/∂x,   φ_m attention rollout (1 for a CNN),   α_m = 1/|φ_m ⊙ ∂L_m/∂x|₁ or given",
    "universal": "ξ = argmax_{|ξ|∞ ≤ ε} (1/m) Σ_k L( clip(x_k + tile(ξ)), y_k ),   L = CE, or hide's towards a goal",
    "stealthy": "L = (1/N) [ Σ_{i in T} log p_i(y') + a_n Σ_{i not in T} log p_i(y) ],   T: where y' ≠ y",
    "patch": "p = argmax_{p in [0,1]} E_{x,t} L( x with t(p) at its place ),   ∇ = n( γ n(∇Σ_{i right} CE_i) + (1-γ) "
    "n(∇Σ_{i wrong} CE_i) ) + v_S n(∇ -roughness) + v_N n(∇ -NPS),   n(v) = v/|v|₂,   i outside the patch",
    "fashion": "L = α·hide - β·(style + content) - λ·TV - μ·(1 - MS-SSIM),   style = Σ_l 2e5/n_l² MSE(G_l, S_l)/std G",
    "sea": "min over members of the score of the data set: masked-ce, balanced-masked-ce, js",
    "strong": "min over members of the score of the data set: tsallis, js, masked-ce, padam-cos",
    "training-loss": "L = 2·CE(classes; ∅ weighs 0.1) + 5·BCE(masks) + 5·dice, cheapest matching anew every 5 steps",
    "flood": "L = Σ_q log p_q(∅) - log s_q   over queries with odds(s_q) > -1",
    "squeeze": "L = -Σ_q relu( odds(s_q) + 1 )",
    "mask-break": "L = Σ_q CE(m_q, g) on cells still right + dice(m_q, g)   over queries q that hold a true segment g",
    "mask-split": "as mask-break for stuff; of a thing 45 % go to the query that fits it next, 45 % stay",
    "class-flip": "L = Σ_q log-odds of the best wrong class, until kept   over queries whose mask holds a true segment",
    "phantom": "L = Σ of dead queries' odds and of their lead over the kept ones on a compact area of their own",
    "overlap": "L = -Σ_q log( Σ_i a_qi / Σ_i σ(m_qi) )   over kept queries that win more than 0.7 of their mask",
    "semantic-ce": "L = (1/N) Σ_i -log p̃_i(y_i),   p̃ ∝ Σ_q p_q(c) σ(m_qi)",
    "pq-price": "L = Σ_c w_c · ( ½ PQ_c P_c - S_c ),   PQ_c = 2 S_c/(P_c + G_c),   w_c = 2/(C (P_c + G_c)) of a pilot",
    "displace": "L = -training loss towards the truth with the aimed segments moved by (dx, dy)",
    "panoptic-strong": "min over members of the PQ of the data set, chosen by price per image",
    "rpn-objectness": "L = mean over objects of: mean o of the best other anchors - o of the anchors that propose it",
    "roi-class": "L = mean over objects of the mean of -log p_r(y) over regions r on it, at rest once undetected",
    "roi-box": "L = mean over objects of Σ p_r (1 - IoU(B_r, B)) / Σ p_r,   at rest at IoU 1/2",
    "roi-mask": "L = mean over objects of the mean of CE(mask cells) over its best boxes, a wrong cell at rest",
    "dag": "L = Σ_{i active} z_i(wrong class) - z_i(class of now)   over pixels, or proposals of the clean image",
    "ap-rank": "L = 1 - soft AP: true detections σ-ranked below false ones, IoU gates at 0.50, 0.55 … 0.95",
    "mask-removal": "L = -mean ( z - min(z, -10) )²   over the mask logits of every prompt",
    "masked-prompt": "L = ½ (mean CE inside + mean CE outside) over pixels still right, per prompt",
}
