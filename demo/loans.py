"""The world of the demonstration: people ask for loans, and some do not pay them back.

The world changes at a known moment, in two known columns: loans grow, and so do incomes, as prices
rise. With them changes who does not pay back, so that a model of the old world is worse in the new
one and a model of the new world is good again.
"""

import numpy as np
import pandas as pd

NUMBERS = ["age", "income", "amount", "months", "employed_years", "credit_score"]
PURPOSE = "purpose"
TRUTH = "defaulted"
DRIFTED = {"income", "amount"}
PURPOSES = ["car", "home", "debts", "travel"]


def applications(rows: int, seed: int, change: np.ndarray | float = 0.0) -> pd.DataFrame:
    """Rows of people who ask. `change` goes from 0, the world that a model was first trained in,
    to 1, the world after it; one number, or one for each row."""
    random = np.random.default_rng(seed)
    change = np.broadcast_to(np.asarray(change, dtype=float), rows)
    age = np.clip(random.normal(42, 12, rows), 18, 85).round()
    employed = np.clip(random.gamma(2, 4, rows), 0, age - 16).round(1)
    score = np.clip(random.normal(650, 80, rows), 300, 850).round()
    income = np.exp(random.normal(10.4, 0.45, rows) + 0.35 * change).round(-1)
    amount = np.exp(random.normal(9.1, 0.6, rows) + 0.8 * change).round(-1)
    months = random.choice([12, 24, 36, 48, 60], rows, p=[0.1, 0.25, 0.3, 0.2, 0.15])
    purpose = random.choice(PURPOSES, rows, p=[0.4, 0.3, 0.2, 0.1])

    # Before, those who ask for much beside their income fail to pay, and so do those of a low
    # credit score. After, it is long loans and short employment that fail.
    burden = np.log(amount / income) + 1.3
    before = 2.2 * burden - (score - 650) / 60 - 1.6
    after = -1.2 * burden + (months - 36) / 10 - (employed - 8) / 3 - 1.0
    odds = (1 - change) * before + change * after
    table = pd.DataFrame(
        {
            "age": age,
            "income": income,
            "amount": amount,
            "months": months.astype(float),
            "employed_years": employed,
            "credit_score": score,
        }
    ).astype(np.float32)
    table[PURPOSE] = purpose
    table[TRUTH] = (random.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    return table
