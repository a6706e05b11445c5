//! Plain plots as SVG: lines over a common axis, readable in any browser.

use crate::svg::{self, Anchor, CHARACTER, Svg};

/// A plot.
pub struct Plot {
    /// The plot's title, written above it.
    pub title: String,
    /// What the horizontal axis shows.
    pub x: String,
    /// What the vertical axis shows.
    pub y: String,
    /// What the whole numbers of the horizontal axis stand for, from 1 on; nothing where it shows an amount.
    pub rows: Vec<String>,
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

const PLOT_WIDTH: f64 = 760.0;
/// Where the plot's frame begins and ends, but for its left side, which leaves room for the numbers beside it, and its
/// top, which leaves room for the legend above.
const FRAME_RIGHT: f64 = 730.0;
const TALL: f64 = 330.0;
/// From one row of the legend to the next, and from its colour to its words.
const LEGEND_ROW: f64 = 18.0;
const LEGEND_BESIDE: f64 = 24.0;
/// Colours that can be told apart, by colour-blind readers too (Okabe and Ito 2008), and by day as by night; and how
/// lines are broken, so that they can be told apart in grey.
const CURVE_COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const DASHES: [&str; 6] = ["", "7 3", "2 3", "10 3 2 3", "4 4", "12 4"];

/// Where a plot's numbers lie in its picture.
struct Frame {
    x: (f64, f64),
    y: (f64, f64),
    left: f64,
    top: f64,
}

impl Frame {
    fn bottom(&self) -> f64 {
        self.top + TALL
    }

    fn across(&self, x: f64) -> f64 {
        self.left + (x - self.x.0) / (self.x.1 - self.x.0) * (FRAME_RIGHT - self.left)
    }

    fn up(&self, y: f64) -> f64 {
        self.bottom() - (y - self.y.0) / (self.y.1 - self.y.0) * TALL
    }
}

impl Plot {
    /// The plot as an SVG document.
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let rows = self.rows.len() as f64;
        let x = if rows > 0.0 { (0.5, rows + 0.5) } else { bounds(points().map(|point| point.0)) };
        let y = bounds(points().map(|point| point.1).chain([0.0]));
        let legend = self.legend();
        let longest = labels(y).iter().map(|(_, words)| words.len()).max().unwrap_or(0);
        let left = 20.0 + CHARACTER * longest as f64;
        let frame = Frame { x, y, left, top: 66.0 + LEGEND_ROW * legend.len() as f64 };
        let below = frame.bottom() + 66.0;
        let mut svg = Svg::new(PLOT_WIDTH, below + LEGEND_ROW * self.rows.len() as f64, svg::STYLE);
        svg.text("head", (PLOT_WIDTH / 2.0, 26.0), Anchor::Middle, &self.title);
        for (row, keys) in legend.iter().enumerate() {
            for &(at, line) in keys {
                draw_key(&mut svg, (20.0 + at, 50.0 + LEGEND_ROW * row as f64), line, self);
            }
        }
        svg.text("", (8.0, frame.top - 12.0), Anchor::Start, &self.y);
        svg.text("", ((left + FRAME_RIGHT) / 2.0, frame.bottom() + 44.0), Anchor::Middle, &self.x);
        self.draw_axes(&mut svg, &frame);
        for (row, words) in self.rows.iter().enumerate() {
            svg.text("", (left, below + LEGEND_ROW * row as f64), Anchor::Start, &format!("{}  {words}", row + 1));
        }
        for (line, series) in self.lines.iter().enumerate() {
            self.draw_line(&mut svg, &frame, line, &series.points);
        }
        svg.end()
    }

    /// The rows of the legend: lines by their numbers, each with its place. A name that finds no room begins a row.
    fn legend(&self) -> Vec<Vec<(f64, usize)>> {
        let mut rows: Vec<Vec<(f64, usize)>> = Vec::new();
        let mut at = PLOT_WIDTH;
        for (line, series) in self.lines.iter().enumerate() {
            let takes = LEGEND_BESIDE + CHARACTER * series.name.chars().count() as f64 + 20.0;
            if at + takes > FRAME_RIGHT {
                rows.push(Vec::new());
                at = 0.0;
            }
            if let Some(row) = rows.last_mut() {
                row.push((at, line));
            }
            at += takes;
        }
        rows
    }

    fn draw_axes(&self, svg: &mut Svg, frame: &Frame) {
        let (left, bottom) = (frame.left, frame.bottom());
        for (y, words) in labels(frame.y) {
            let y = frame.up(y);
            svg.path("grid", &format!("M{left:.1} {y:.1}H{FRAME_RIGHT}"));
            svg.text("", (format_args!("{:.1}", left - 8.0), format_args!("{:.1}", y + 4.0)), Anchor::End, &words);
        }
        let whole = |mark: &(f64, String)| self.rows.is_empty() || mark.0.fract() == 0.0;
        for (x, words) in labels(frame.x).into_iter().filter(whole) {
            let x = frame.across(x);
            svg.path("axis", &format!("M{x:.1} {bottom:.1}v5"));
            svg.text("", (format_args!("{x:.1}"), bottom + 20.0), Anchor::Middle, &words);
        }
        svg.path("axis", &format!("M{left:.1} {:.1}V{bottom:.1}H{FRAME_RIGHT}", frame.top));
    }
}

/// Where an axis is marked, and what is written there.
fn labels((low, high): (f64, f64)) -> Vec<(f64, String)> {
    let marks = svg::marks(low, high, 5.0);
    let step = if let [first, second, ..] = marks[..] { second - first } else { 1.0 };
    marks.into_iter().map(|mark| (mark, svg::number(mark, step))).collect()
}

fn stroke(line: usize) -> String {
    let (colour, dashes) = (CURVE_COLOURS[line % CURVE_COLOURS.len()], DASHES[line % DASHES.len()]);
    format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" stroke-dasharray=\"{dashes}\"")
}

fn draw_key(svg: &mut Svg, (x, y): (f64, f64), line: usize, plot: &Plot) {
    match plot.rows.is_empty() {
        true => svg.put(format_args!("<path {} d=\"M{x:.1} {:.1}h18\"/>", stroke(line), y - 4.0)),
        false => plot.draw_dot(svg, line, (x + 9.0, y - 4.0)),
    }
    svg.text("", (format_args!("{:.1}", x + LEGEND_BESIDE), y), Anchor::Start, &plot.lines[line].name);
}

impl Plot {
    /// Rows are no course of anything, so their points are not joined.
    fn draw_line(&self, svg: &mut Svg, frame: &Frame, line: usize, points: &[(f64, f64)]) {
        let finite = points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
        let drawn: Vec<(f64, f64)> = finite.map(|&(x, y)| (frame.across(x), frame.up(y))).collect();
        if self.rows.is_empty() {
            let joined: Vec<String> = drawn.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            svg.put(format_args!("<polyline {} points=\"{}\"/>", stroke(line), joined.join(" ")));
        }
        drawn.into_iter().for_each(|at| self.draw_dot(svg, line, at));
    }

    /// A point of a line. Among rows, those of the first are circles around those of the others.
    fn draw_dot(&self, svg: &mut Svg, line: usize, (x, y): (f64, f64)) {
        let colour = CURVE_COLOURS[line % CURVE_COLOURS.len()];
        let around = line == 0 && !self.rows.is_empty();
        let (size, fill) = if around { (6, "none") } else { (3, colour) };
        let painted = format!("fill=\"{fill}\" stroke=\"{colour}\" stroke-width=\"1.8\"");
        svg.put(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{size}\" {painted}/>"));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(lines: Vec<Series>) -> Plot {
        Plot { title: "T & C".into(), x: "time, s".into(), y: "answers a second".into(), rows: Vec::new(), lines }
    }

    #[test]
    fn points_stand_inside_the_frame_and_words_are_escaped() {
        let points = vec![(0.0, 1.0), (5.0, 3.0), (10.0, 2.0)];
        let svg = plot(vec![Series { name: "a < b".to_owned(), points }]).svg();
        assert!(svg.contains("T &amp; C") && svg.contains("a &lt; b") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("cx=\"730.0\"") && svg.contains("cy=\"84.0\""), "the last and the greatest: {svg}");
        assert!(svg.contains(">time, s<") && svg.contains(">answers a second<"), "the axes have their units");
    }

    #[test]
    fn rows_have_their_names_and_are_not_joined() {
        let points = vec![(1.0, 0.5), (2.0, 0.25)];
        let lines = ["paper", "ours"].map(|name| Series { name: name.to_owned(), points: points.clone() });
        let rows = vec!["hops".to_owned(), "timeouts".to_owned()];
        let svg = Plot { rows, ..plot(lines.into()) }.svg();
        assert!(svg.contains(">1  hops<") && svg.contains(">2  timeouts<") && !svg.contains(">1.5<"), "{svg}");
        assert!(!svg.contains("polyline") && svg.matches("r=\"6\"").count() == 3, "a key and two points: {svg}");
    }

    #[test]
    fn a_legend_of_many_long_names_lies_above_the_lines_and_inside_the_picture() {
        let names: Vec<String> = (0..9).map(|n| format!("{n}{}", "x".repeat(5 * n))).collect();
        let series = |name: &String| Series { name: name.clone(), points: vec![(0.0, 1e6), (1e6, 2e6)] };
        let drawn = plot(names.iter().map(series).collect());
        let rows = drawn.legend();
        let ends = |&(at, line): &(f64, usize)| 20.0 + at + LEGEND_BESIDE + CHARACTER * names[line].len() as f64;
        assert!(rows.len() > 1 && rows.iter().flatten().all(|key| ends(key) <= PLOT_WIDTH), "{rows:?}");
        assert_eq!(rows.iter().flatten().map(|(_, line)| *line).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
        let svg = drawn.svg();
        let left = 20.0 + CHARACTER * "2000000".len() as f64;
        assert!(
            svg.contains(&format!("M{left:.1} ")) && svg.contains(">2000000<"),
            "long numbers have their room: {svg}"
        );
    }

    #[test]
    fn nothing_and_a_single_point_can_be_drawn() {
        for points in [vec![], vec![(1.0, 1.0)], vec![(f64::NAN, 1.0)]] {
            let svg = plot(vec![Series { name: "".into(), points: points.clone() }]).svg();
            assert!(!svg.contains("inf") && !svg.contains("NaN"), "{points:?}: {svg}");
        }
    }
}
