//! The upper tail of the chi-square distribution.

use libm::lgamma;

/// Terms after which a sum is taken as it is. Both sums below converge within
/// some tens of terms for the degrees of freedom of a profile's bins.
const MOST_TERMS: usize = 10_000;

/// The probability that a chi-square variable of `df` degrees of freedom is
/// `chi2` or more: the regularized upper incomplete gamma function
/// `Q(df / 2, chi2 / 2)` (Abramowitz and Stegun 6.5.29 and 6.5.31). 1 where
/// there is no degree of freedom. Relative error about 1e-12.
pub fn chi_square_tail(chi2: f64, df: usize) -> f64 {
    if df == 0 || chi2 <= 0.0 {
        return 1.0;
    }
    if chi2 == f64::INFINITY {
        return 0.0;
    }
    let (a, x) = (df as f64 / 2.0, chi2 / 2.0);
    let front = (a * x.ln() - x - lgamma(a)).exp();
    if x < a + 1.0 { 1.0 - front * lower_series(a, x) } else { front * upper_fraction(a, x) }
}

/// `sum over k of x^k / (a (a + 1) ... (a + k))`.
fn lower_series(a: f64, x: f64) -> f64 {
    let mut term = 1.0 / a;
    let mut sum = term;
    for k in 1..MOST_TERMS {
        term *= x / (a + k as f64);
        sum += term;
        if term < sum * f64::EPSILON {
            break;
        }
    }
    sum
}

/// The continued fraction `1/(x+1-a- 1(1-a)/(x+3-a- 2(2-a)/(x+5-a- ...)))`,
/// evaluated from its front by Lentz's method. For `x >= a + 1` no
/// denominator comes near zero.
fn upper_fraction(a: f64, x: f64) -> f64 {
    let mut b = x + 1.0 - a;
    let mut c = f64::MAX;
    let mut d = 1.0 / b;
    let mut fraction = d;
    for k in 1..MOST_TERMS {
        let k = k as f64;
        let numerator = k * (a - k);
        b += 2.0;
        d = 1.0 / (numerator * d + b);
        c = b + numerator / c;
        let step = c * d;
        fraction *= step;
        if (step - 1.0).abs() < f64::EPSILON {
            break;
        }
    }
    fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_degrees_are_an_exponential() {
        for chi2 in [0.0, 1e-9, 0.5, 2.0, 3.999, 4.0, 40.0, 400.0, 1400.0] {
            let (found, expected) = (chi_square_tail(chi2, 2), (-chi2 / 2.0f64).exp());
            assert!((found / expected - 1.0).abs() < 1e-12, "{chi2}: {found} {expected}");
        }
    }

    #[test]
    fn one_degree_is_a_squared_normal() {
        for z in [0.1, 1.0, 1.959_963_984_540_054, 5.0, 30.0] {
            let expected = libm::erfc(z / std::f64::consts::SQRT_2);
            let found = chi_square_tail(z * z, 1);
            assert!((found / expected - 1.0).abs() < 1e-11, "{z}: {found} {expected}");
        }
    }

    #[test]
    fn the_ends_are_finite() {
        assert_eq!(chi_square_tail(5.0, 0), 1.0);
        assert_eq!(chi_square_tail(1e9, 9), 0.0);
        assert_eq!(chi_square_tail(f64::INFINITY, 9), 0.0);
    }
}
