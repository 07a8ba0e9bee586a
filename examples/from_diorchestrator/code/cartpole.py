"""The cart and its pole: Barto, Sutton and Anderson (1983), section V, with Euler steps of 0.02 s.

An episode ends when the cart is over 2.4 m from the middle or the pole over 12 degrees from upright, or after 200
steps; its return is the number of steps. All episodes of a call run side by side.
"""

import numpy as np

STEPS = 200
GRAVITY, CART_KG, POLE_KG, HALF_POLE_M, FORCE_N, STEP_S = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
TRACK_M, LEAN = 2.4, 12 * np.pi / 180


def returns(weights, episodes, seed):
    """Of the policy that pushes right where ``weights`` (4, of position, speed, angle, its speed) times the state is
    above zero: float64 of shape (episodes,)."""
    x, v, angle, turn = np.random.default_rng(seed).uniform(-0.05, 0.05, (4, episodes))
    alive, steps = np.ones(episodes, bool), np.zeros(episodes)
    for _ in range(STEPS):
        push = np.where(weights[0] * x + weights[1] * v + weights[2] * angle + weights[3] * turn > 0, FORCE_N, -FORCE_N)
        sin, cos, mass = np.sin(angle), np.cos(angle), CART_KG + POLE_KG
        pull = (push + POLE_KG * HALF_POLE_M * turn**2 * sin) / mass
        lean = (GRAVITY * sin - cos * pull) / (HALF_POLE_M * (4 / 3 - POLE_KG * cos**2 / mass))
        speed = pull - POLE_KG * HALF_POLE_M * lean * cos / mass
        x, v, angle, turn = x + STEP_S * v, v + STEP_S * speed, angle + STEP_S * turn, turn + STEP_S * lean
        steps += alive
        alive &= (np.abs(x) <= TRACK_M) & (np.abs(angle) <= LEAN)
        if not alive.any():
            break
    return steps
