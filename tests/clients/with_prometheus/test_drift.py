"""What three gateways and Prometheus say together is what `modelgate profile score` says of all the rows.

increase() guesses what came after a gateway's last scrape: up to 1.1 of the mean time between two of
them, of at least SCRAPES. That is the same factor for all bins of a gateway, so shares change only as
the weights of gateways do beside each other, and they got rows of one distribution. With each factor
anywhere in its range, every score stays within half of what is allowed here.
"""

from pytest import approx

from fleet import DRIFTED, LACKING, SCRAPES, WINDOW, Fleet, of_features

MOST = 1 + 1.1 / (SCRAPES - 1)


def test_scores_of_the_fleet_are_those_of_all_rows(fleet: Fleet) -> None:
    assert len(fleet.offline) == 31
    names = ["observations:increase", "psi", "psi_adjusted", "js_distance", "chi2", "z", "degrees_of_freedom"]
    found = {name: fleet.scores(name) for name in names}
    for feature, column in fleet.offline.items():
        of = {name: scores[feature] for name, scores in found.items()}
        grown = of["observations:increase"] / column["rows"]
        assert 0.999 <= grown <= MOST, feature
        assert of["degrees_of_freedom"] == column["df"], feature
        assert of["psi"] == approx(column["psi"], rel=0.01, abs=2.5e-4), feature
        assert of["psi_adjusted"] == approx(column["psi_adjusted"], rel=0.01, abs=5e-4), feature
        assert of["js_distance"] == approx(column["js_distance"], rel=0.01, abs=1e-3), feature
        # More rows are more evidence.
        assert 0.985 * column["chi2"] - 0.25 <= of["chi2"] <= 1.015 * grown * column["chi2"] + 0.25, feature
        assert of["z"] == approx(column["z"], rel=0.02, abs=0.1), feature


def test_what_is_missing_is_a_share_of_all_values(fleet: Fleet) -> None:
    name = "model_feature_fault:modelgate_drift_faults:share"

    def shares() -> dict[str, float]:
        return of_features(fleet.prometheus, f'{name}{{fault="missing",{WINDOW}}}')

    offline = {name: column["rates"]["missing"]["live"] for name, column in fleet.offline.items()}
    assert offline[LACKING] == 0.05
    fleet.prometheus.wait_until(f"missing shares are {offline}", lambda: shares() == approx(offline, rel=0.02))


def test_alerts_name_the_features_that_drifted_and_no_others(fleet: Fleet) -> None:
    drifted = {name for name, column in fleet.offline.items() if column["state"] == "drifted"}
    assert drifted == DRIFTED.keys()

    def firing() -> set[str]:
        alert = 'ALERTS{alertname="ModelFeatureDrift",alertstate="firing",window="1h"}'
        return {labels["feature"] for labels, _ in fleet.prometheus.query(alert)}

    fleet.prometheus.wait_until(f"alerts fire for {drifted}", lambda: firing() == drifted)
