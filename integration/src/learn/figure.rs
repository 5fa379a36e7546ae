//! Pictures of accuracies as SVG: the same figures give the same bytes.

use super::Trained;
use anyhow::Result;
use plotters::chart::{ChartContext, SeriesLabelPosition};
use plotters::coord::CoordTranslate;
use plotters::coord::ranged1d::SegmentValue;
use plotters::prelude::*;
use std::path::Path;

/// Accuracies by something.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Above it.
    pub title: String,
    /// What runs to the right.
    pub x: &'static str,
    /// How it is drawn.
    pub kind: Kind,
    /// Where the accuracies' axis begins, in per cent; what is lower is drawn there.
    pub floor: f64,
    /// What is compared.
    pub series: Vec<Series>,
}

/// How a figure is drawn.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A line each.
    Lines,
    /// A point each, to the right by powers of ten.
    LogPoints,
    /// Points beside names.
    Named(Vec<String>),
}

/// One of what is compared.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its name.
    pub label: String,
    /// Right and up, in per cent; with names, right is their index.
    pub points: Vec<(f64, f64)>,
}

/// Okabe and Ito's, told apart by all eyes.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(160, 160, 160),
];
const SIZE: (u32, u32) = (860, 420);
const FONT: &str = "sans-serif";

/// The mean accuracy of each round.
#[allow(clippy::cast_precision_loss, reason = "numbers of rounds and seeds")]
pub(super) fn mean_curve(trained: &[Trained]) -> Vec<(f64, f64)> {
    let rounds = trained.iter().map(|job| job.accuracy.len()).min().unwrap_or(0);
    let mean = |round: usize| trained.iter().map(|job| job.accuracy[round]).sum::<f64>() / trained.len() as f64;
    (0..rounds).map(|round| (round as f64 + 1.0, mean(round))).collect()
}

impl Figure {
    /// Draws it into a file.
    ///
    /// # Errors
    /// The disk's.
    pub fn draw(&self, file: &Path) -> Result<()> {
        let root = SVGBackend::new(file, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut builder = ChartBuilder::on(&root);
        builder.caption(&self.title, (FONT, 18)).margin(12).x_label_area_size(42).y_label_area_size(52);
        let xs = || self.series.iter().flat_map(|series| series.points.iter().map(|point| point.0));
        let (least, most) = (xs().fold(f64::INFINITY, f64::min), xs().fold(0.0, f64::max));
        match &self.kind {
            Kind::Lines => {
                let mut chart = builder.build_cartesian_2d(0.0..most, self.floor..100.0)?;
                let mut mesh = chart.configure_mesh();
                mesh.x_desc(self.x).x_label_formatter(&plain).y_desc(UP).y_label_formatter(&plain);
                mesh.light_line_style(TRANSPARENT).draw()?;
                for (series, colour) in self.coloured() {
                    let line = LineSeries::new(self.above(series), colour.stroke_width(2));
                    let key = move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2));
                    chart.draw_series(line)?.label(&series.label).legend(key);
                }
                legend(&mut chart)?;
            }
            Kind::LogPoints => {
                let range = (least / 2.0..most * 2.0).log_scale();
                let mut chart = builder.build_cartesian_2d(range, self.floor..100.0)?;
                let mut mesh = chart.configure_mesh();
                mesh.x_desc(self.x).x_label_formatter(&plain).y_desc(UP).y_label_formatter(&plain);
                mesh.light_line_style(TRANSPARENT).draw()?;
                for (series, colour) in self.coloured() {
                    let points = self.above(series).map(|point| Circle::new(point, 6, colour.filled()));
                    let key = move |(x, y)| Circle::new((x + 8, y), 5, colour.filled());
                    chart.draw_series(points)?.label(&series.label).legend(key);
                }
                legend(&mut chart)?;
            }
            Kind::Named(names) => {
                let mut chart = builder
                    .build_cartesian_2d((0..names.len().saturating_sub(1)).into_segmented(), self.floor..101.0)?;
                let name = |at: &SegmentValue<usize>| match at {
                    SegmentValue::Exact(i) | SegmentValue::CenterOf(i) => names.get(*i).cloned().unwrap_or_default(),
                    SegmentValue::Last => String::new(),
                };
                let mut mesh = chart.configure_mesh();
                mesh.x_labels(names.len()).x_label_formatter(&name).x_desc(self.x);
                mesh.y_desc(UP).y_label_formatter(&plain).disable_x_mesh().light_line_style(TRANSPARENT).draw()?;
                for (series, colour) in self.coloured() {
                    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
                    let place = |(x, y): (f64, f64)| (SegmentValue::CenterOf(x as usize), y);
                    let points = self.above(series).map(|point| Circle::new(place(point), 6, colour.mix(0.8).filled()));
                    let key = move |(x, y)| Circle::new((x + 8, y), 5, colour.filled());
                    chart.draw_series(points)?.label(&series.label).legend(key);
                }
                legend(&mut chart)?;
            }
        }
        root.present()?;
        Ok(())
    }

    fn coloured(&self) -> impl Iterator<Item = (&Series, RGBColor)> {
        self.series.iter().zip(COLOURS.into_iter().cycle())
    }

    fn above<'a>(&'a self, series: &'a Series) -> impl Iterator<Item = (f64, f64)> + 'a {
        series.points.iter().map(|(x, y)| (*x, y.max(self.floor)))
    }
}

/// A number beside an axis, without a fraction that it has not.
fn plain(value: &f64) -> String {
    value.to_string()
}

const UP: &str = "test accuracy, %";

fn legend<'a, C: CoordTranslate>(chart: &mut ChartContext<'a, SVGBackend<'a>, C>) -> Result<()> {
    let mut labels = chart.configure_series_labels();
    labels.position(SeriesLabelPosition::LowerRight).background_style(WHITE.mix(0.85)).border_style(BLACK.mix(0.3));
    Ok(labels.draw()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_picture_shows_its_names_and_is_the_same_again() {
        let dir = tempfile::tempdir().unwrap();
        let named = Kind::Named(["median", "krum"].map(str::to_owned).to_vec());
        for kind in [Kind::Lines, Kind::LogPoints, named.clone()] {
            let series = Series { label: "one & only".to_owned(), points: vec![(1.0, 20.0), (0.5, 96.5)] };
            let figure = Figure { title: "A title".to_owned(), x: "right", kind, floor: 50.0, series: vec![series] };
            let drawn = |name: &str| {
                figure.draw(&dir.path().join(name)).unwrap();
                std::fs::read_to_string(dir.path().join(name)).unwrap()
            };
            let text = drawn("a.svg");
            assert_eq!(text, drawn("b.svg"));
            for word in ["A title", "right", UP, "one &amp; only"] {
                assert!(text.contains(word), "{word}: {text}");
            }
            assert!(figure.kind != named || text.contains("krum"));
        }
    }
}
