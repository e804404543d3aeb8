//! SVG, as much as plots need: shapes as text, and axes with their ticks.

use std::fmt::Write as _;

/// A picture of a fixed size that scales with the page.
#[derive(Debug)]
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

/// Where a text is held.
#[derive(Debug, Clone, Copy)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    pub fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            body: String::new(),
        }
    }

    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let _ = writeln!(
            self.body,
            r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" class="{class}"/>"#,
            from.0, from.1, to.0, to.1
        );
    }

    pub fn stroke(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
        let _ = writeln!(
            self.body,
            r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{colour}" stroke-width="{width}"/>"#,
            from.0, from.1, to.0, to.1
        );
    }

    pub fn rect(&mut self, at: (f64, f64), size: (f64, f64), colour: &str) {
        let _ = writeln!(
            self.body,
            r#"<rect x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" rx="2" fill="{colour}"/>"#,
            at.0,
            at.1,
            size.0.max(0.0),
            size.1
        );
    }

    /// A dot that tells what it is when it is pointed at.
    pub fn dot(&mut self, at: (f64, f64), radius: f64, colour: &str, tip: &str) {
        let _ = writeln!(
            self.body,
            r#"<circle cx="{:.1}" cy="{:.1}" r="{radius}" fill="{colour}"><title>{}</title></circle>"#,
            at.0,
            at.1,
            escape(tip)
        );
    }

    pub fn path(&mut self, points: &[(f64, f64)], colour: &str) {
        let steps: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let _ = writeln!(
            self.body,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"/>"#,
            steps.join(" ")
        );
    }

    pub fn text(&mut self, at: (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.body,
            r#"<text x="{:.1}" y="{:.1}" text-anchor="{anchor}" class="{class}">{}</text>"#,
            at.0,
            at.1,
            escape(text)
        );
    }

    pub fn finish(self, title: &str) -> String {
        let Self {
            width,
            height,
            body,
        } = self;
        format!(
            "<svg viewBox=\"0 0 {width} {height}\" style=\"max-width:{width}px\" role=\"img\" aria-label=\"{}\">\n{body}</svg>\n",
            escape(title)
        )
    }
}

/// For text and attributes of HTML and SVG.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// From values to places on the picture.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
    from: f64,
    to: f64,
}

impl Axis {
    /// From zero to above the largest value.
    pub fn linear(most: f64, from: f64, to: f64) -> Self {
        let step = step(most);
        Self {
            low: 0.0,
            high: (most / step).ceil().max(1.0) * step,
            is_log: false,
            from,
            to,
        }
    }

    /// Around the values, which are above zero, in whole 1-2-5 steps.
    pub fn log(least: f64, most: f64, from: f64, to: f64) -> Self {
        let low = log_steps(least / 10.0, least).pop().unwrap_or(least);
        let high = log_steps(most, most * 10.0)
            .first()
            .copied()
            .unwrap_or(most);
        Self {
            low,
            high: if high > low { high } else { low * 10.0 },
            is_log: true,
            from,
            to,
        }
    }

    pub fn at(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share.clamp(-0.02, 1.02) * (self.to - self.from)
    }

    /// Where bars begin.
    pub fn start(&self) -> f64 {
        self.from
    }

    pub fn ticks(&self) -> Vec<f64> {
        if !self.is_log {
            let step = step(self.high);
            let n = (self.high / step).round() as u32;
            return (0..=n).map(|n| f64::from(n) * step).collect();
        }
        let all = log_steps(self.low, self.high);
        if all.len() <= 8 {
            return all;
        }
        // Only the powers of ten.
        let is_power = |value: &f64| (value.log10() - value.log10().round()).abs() < 1e-6;
        all.into_iter().filter(is_power).collect()
    }
}

/// 1, 2 or 5 times a power of ten, for four to eight ticks.
fn step(most: f64) -> f64 {
    let rough = most.max(f64::MIN_POSITIVE) / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let found = steps.into_iter().find(|step| step * power >= rough * 0.999);
    found.unwrap_or(10.0) * power
}

/// 1, 2 and 5 times powers of ten within both ends.
fn log_steps(low: f64, high: f64) -> Vec<f64> {
    let first = low.log10().floor() as i32;
    let last = high.log10().ceil() as i32;
    let all =
        (first..=last).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)));
    all.filter(|value| (low * 0.999..=high * 1.001).contains(value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_ticks_around_the_values() {
        let axis = Axis::linear(53.0, 0.0, 100.0);
        assert_eq!(axis.ticks(), [0.0, 20.0, 40.0, 60.0]);
        assert_eq!((axis.at(0.0), axis.at(60.0)), (0.0, 100.0));
        let axis = Axis::log(13.0, 420.0, 0.0, 100.0);
        assert_eq!(axis.ticks(), [10.0, 20.0, 50.0, 100.0, 200.0, 500.0]);
        assert!((axis.at(500.0) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn one_value_has_an_axis_too() {
        for value in [1.0, 7.0, 1e6] {
            let axis = Axis::log(value, value, 0.0, 1.0);
            assert!(
                axis.at(value).is_finite() && axis.ticks().len() > 1,
                "{value}"
            );
        }
        assert!(Axis::linear(0.0, 0.0, 1.0).at(0.0).is_finite());
    }

    #[test]
    fn no_text_becomes_markup() {
        let mut svg = Svg::new(10.0, 10.0);
        svg.text((0.0, 0.0), Anchor::Start, "label", "<script>&\"");
        assert!(svg.finish("a").contains("&lt;script&gt;&amp;&quot;"));
    }
}
