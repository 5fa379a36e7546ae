//! A small chart in one line of text.

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One bar a value for the last `width` values, from the least of them to the greatest. Equal values are half high.
pub(crate) fn chart(values: &[f64], width: usize) -> String {
    let shown = &values[values.len().saturating_sub(width)..];
    let finite = || shown.iter().copied().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let bar = |value: &f64| match (value.is_finite(), high > low) {
        (false, _) => '·',
        (true, false) => BARS[3],
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 7 by construction")]
        (true, true) => BARS[((value - low) / (high - low) * 7.0).round() as usize],
    };
    shown.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bars_rise_with_the_values() {
        assert_eq!(chart(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 20), "▁▂▃▄▅▆▇█");
        assert_eq!(chart(&[9.0, 0.0, 1.0], 2), "▁█");
        assert_eq!(chart(&[0.5, 0.5], 20), "▄▄");
        assert_eq!(chart(&[0.0, f64::NAN, 1.0], 20), "▁·█");
        assert_eq!(chart(&[], 20), "");
    }
}
