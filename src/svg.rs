//! Pictures in SVG: the head, the words and the lines that all of them are made of.
//!
//! A picture gives classes to what it draws, and one style gives these their colours and letters.

use std::fmt::{Arguments, Display, Write};

/// What every picture needs: its ground, words in two strengths, and both by night.
pub(crate) const STYLE: &str = "text{font:12px sans-serif;fill:#1a1a1a}.head{font-weight:bold;font-size:14px}.faint{fill:#6a6a6a}\
    .ground{fill:#fff}.grid{stroke:#ddd;fill:none}.axis{stroke:#767676;fill:none}\
    @media(prefers-color-scheme:dark){text{fill:#e8e8e8}.faint{fill:#a4a4a4}.ground{fill:#16181b}.grid{stroke:#3a3f45}\
    .axis{stroke:#9a9a9a}}";

/// How the style of every picture begins, of older programs too.
const BEGINNING: &str = "<style>text{font:12px sans-serif;";

/// Whether a document with this beginning is a picture that was made here.
pub(crate) fn is_ours(beginning: &str) -> bool {
    let mut lines = beginning.lines();
    lines.next().is_some_and(|line| line.starts_with("<svg "))
        && lines.next().is_some_and(|line| line.starts_with(BEGINNING))
}

/// Pixels that a character of [`STYLE`] takes, at most but for rows of wide ones.
pub(crate) const CHARACTER: f64 = 6.8;

/// From where words are written.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture that is being drawn.
pub(crate) struct Svg {
    text: String,
}

impl Svg {
    /// An empty picture of so many pixels, which a reader may scale.
    pub(crate) fn new(width: f64, height: f64, style: &str) -> Self {
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\">\n<style>{style}</style>\n<rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n"
        );
        Self { text }
    }

    /// Adds an element.
    pub(crate) fn put(&mut self, element: Arguments<'_>) {
        writeln!(self.text, "{element}").expect("writing to a string does not fail");
    }

    /// Writes words.
    pub(crate) fn text(&mut self, class: &str, (x, y): (impl Display, impl Display), anchor: Anchor, words: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        self.put(format_args!("<text{class} x=\"{x}\" y=\"{y}\"{anchor}>{}</text>", escape(words)));
    }

    /// Draws a path, as SVG writes it.
    pub(crate) fn path(&mut self, class: &str, path: &str) {
        self.put(format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
    }

    /// The finished document.
    pub(crate) fn end(self) -> String {
        self.text + "</svg>\n"
    }
}

/// Words as SVG takes them.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Round numbers, about so many, at which an axis from `low` to `high` is marked.
pub(crate) fn marks(low: f64, high: f64, about: f64) -> Vec<f64> {
    let rough = (high - low) / about;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|of| of * power).into_iter().find(|step| *step >= rough).unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    (first..).map(|n| n as f64 * step).take_while(|mark| *mark <= high + step * 1e-6).collect()
}

/// A mark's words: no more digits than tell it from the next one.
pub(crate) fn number(value: f64, step: f64) -> String {
    let digits = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_marked_at_round_numbers_whatever_their_size() {
        let words = |low, high| {
            let marks = marks(low, high, 5.0);
            let step = marks[1] - marks[0];
            marks.iter().map(|mark| number(*mark, step)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(words(0.0, 1.0), "0.0 0.2 0.4 0.6 0.8 1.0");
        assert_eq!(words(0.0, 99.0), "0 20 40 60 80");
        assert_eq!(words(3.0, 1_000_000.0), "200000 400000 600000 800000 1000000");
        assert_eq!(words(0.0, 0.0007), "0.0000 0.0002 0.0004 0.0006");
        assert_eq!(words(-7.0, 7.0), "-5 0 5");
    }

    #[test]
    fn words_are_escaped_and_an_anchor_is_named_only_where_it_is_needed() {
        let mut svg = Svg::new(10.0, 20.0, "");
        svg.text("", (1, 2), Anchor::Start, "a < b & c");
        svg.text("faint", (1, 2), Anchor::End, "d");
        let text = svg.end();
        assert!(text.contains("<text x=\"1\" y=\"2\">a &lt; b &amp; c</text>"), "{text}");
        assert!(text.contains("<text class=\"faint\" x=\"1\" y=\"2\" text-anchor=\"end\">d</text>"), "{text}");
    }
}
