//! Plain plots as SVG: lines over a common axis, readable in any browser.

use std::fmt::Write;

/// A plot.
pub struct Plot {
    /// The plot's title, written above it.
    pub title: String,
    /// What the horizontal axis shows.
    pub x: String,
    /// What the vertical axis shows.
    pub y: String,
    /// The lines to draw.
    pub lines: Vec<Series>,
}

/// One line of a plot.
pub struct Series {
    /// The line's name in the legend.
    pub name: String,
    /// The line's points, in the order in which they are joined.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 50.0;
const RIGHT: f64 = 730.0;
const BOTTOM: f64 = 380.0;
/// Colours that can be told apart, by colour-blind readers too (Okabe and Ito 2008).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

impl Plot {
    /// The plot as an SVG document.
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let (x0, x1) = bounds(points().map(|point| point.0));
        let (y0, y1) = bounds(points().map(|point| point.1).chain([0.0]));
        let across = |x: f64| LEFT + (x - x0) / (x1 - x0) * (RIGHT - LEFT);
        let up = |y: f64| BOTTOM - (y - y0) / (y1 - y0) * (BOTTOM - TOP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
        );
        text(&mut svg, WIDTH / 2.0, 26.0, "middle", &self.title);
        text(&mut svg, (LEFT + RIGHT) / 2.0, BOTTOM + 42.0, "middle", &self.x);
        text(&mut svg, 8.0, TOP - 12.0, "start", &self.y);
        for step in 0..=5 {
            let share = f64::from(step) / 5.0;
            let (x, y) = (x0 + share * (x1 - x0), y0 + share * (y1 - y0));
            stroke(&mut svg, "#ddd", &[(LEFT, up(y)), (RIGHT, up(y))]);
            text(&mut svg, LEFT - 8.0, up(y) + 4.0, "end", &number(y));
            text(&mut svg, across(x), BOTTOM + 20.0, "middle", &number(x));
        }
        stroke(&mut svg, "#333", &[(LEFT, TOP), (LEFT, BOTTOM), (RIGHT, BOTTOM)]);
        for (line, colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let drawn: Vec<(f64, f64)> = line.points.iter().map(|&(x, y)| (across(x), up(y))).collect();
            stroke(&mut svg, colour, &drawn);
            for (x, y) in drawn {
                put(&mut svg, format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>\n"));
            }
        }
        for (nth, (line, colour)) in self.lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
            let y = TOP + 6.0 + 18.0 * nth as f64;
            put(
                &mut svg,
                format_args!(
                    "<rect x=\"{}\" y=\"{}\" width=\"14\" height=\"4\" fill=\"{colour}\"/>\n",
                    RIGHT - 170.0,
                    y - 6.0
                ),
            );
            text(&mut svg, RIGHT - 150.0, y, "start", &line.name);
        }
        svg + "</svg>\n"
    }
}

/// The least and the greatest value, never the same.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) =
        finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        (0.0, 1.0)
    } else if low == high {
        (low, low + 1.0)
    } else {
        (low, high)
    }
}

fn number(value: f64) -> String {
    if value == 0.0 || value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn put(svg: &mut String, what: std::fmt::Arguments<'_>) {
    svg.write_fmt(what).expect("writing to a string does not fail");
}

fn stroke(svg: &mut String, colour: &str, points: &[(f64, f64)]) {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let points = points.join(" ");
    put(svg, format_args!("<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{points}\"/>\n"));
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, what: &str) {
    let what = what.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    put(svg, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_stand_inside_the_frame_and_words_are_escaped() {
        let points = vec![(0.0, 1.0), (5.0, 3.0), (10.0, 2.0)];
        let line = Series { name: "a < b".to_owned(), points };
        let plot = Plot { title: "T & C".into(), x: "x".into(), y: "y".into(), lines: vec![line] };
        let svg = plot.svg();
        assert!(svg.contains("T &amp; C") && svg.contains("a &lt; b") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("<circle cx=\"70.0\"") && svg.contains("<circle cx=\"730.0\""));
        assert!(svg.contains("cy=\"50.0\""), "the greatest value is at the top");
    }

    #[test]
    fn nothing_and_a_single_point_can_be_drawn() {
        let plot = |points| Plot {
            title: "".into(),
            x: "".into(),
            y: "".into(),
            lines: vec![Series { name: "".into(), points }],
        };
        for points in [vec![], vec![(1.0, 1.0)], vec![(f64::NAN, 1.0)]] {
            assert!(!plot(points.clone()).svg().contains("<circle cx=\"inf"), "{points:?}");
        }
    }
}
