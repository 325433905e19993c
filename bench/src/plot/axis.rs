//! The vertical axis: where it begins and ends, where it has marks, what these say.

use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};

/// Marks of a linear axis, about.
const LINEAR_MARKS: f64 = 6.0;

/// A linear scale with marks at given places.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    range: Range<f64>,
    marks: Vec<f64>,
}

impl Scale {
    /// Over `range`, which is not empty.
    pub fn new(range: Range<f64>, marks: Vec<f64>) -> Self {
        Self { range, marks }
    }
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.marks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// A vertical axis. A logarithmic one is drawn in powers of ten.
#[derive(Debug, Clone, PartialEq)]
pub struct Vertical {
    is_log: bool,
    bottom: f64,
    top: f64,
}

impl Vertical {
    /// An axis that shows all of these, which are above 0.
    pub fn of(values: impl Iterator<Item = f64>, is_log: bool) -> Self {
        let (mut least, mut most) = (f64::INFINITY, 0.0f64);
        for value in values {
            least = least.min(value);
            most = most.max(value);
        }
        if most == 0.0 {
            (least, most) = (1.0, 10.0);
        }
        if !is_log {
            return Self { is_log, bottom: 0.0, top: most * 1.08 };
        }
        Self { is_log, bottom: (least * 0.8).log10(), top: (most * 1.25).log10() }
    }

    /// From bottom to top, as it is drawn.
    pub fn range(&self) -> Range<f64> {
        self.bottom..self.top
    }

    /// Where a value is drawn.
    pub fn place(&self, value: f64) -> f64 {
        if self.is_log { value.log10() } else { value }
    }

    /// Where it has marks, as it is drawn.
    pub fn marks(&self) -> Vec<f64> {
        if !self.is_log {
            let step = round_step(self.top / LINEAR_MARKS);
            return (0..).map(|count| f64::from(count) * step).take_while(|&at| at <= self.top).collect();
        }
        let decades = self.bottom.floor() as i32..=self.top.ceil() as i32;
        // Over many decades 2 and 5 would be crowded.
        let steps: &[f64] = if self.top - self.bottom > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let marks = decades.flat_map(|decade| steps.iter().map(move |step| (step * 10f64.powi(decade)).log10()));
        marks.filter(|at| self.range().contains(at)).collect()
    }

    /// What a mark says.
    pub fn label(&self, at: f64) -> String {
        short(if self.is_log { 10f64.powf(at) } else { at })
    }
}

/// 1, 2 or 5 times a power of ten, at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    let found = [1.0, 2.0, 5.0].into_iter().map(|times| times * power).find(|&found| found >= step);
    found.unwrap_or(10.0 * power)
}

/// A number in as few letters as tell it.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        value if value >= 0.9999e6 => (value / 1e6, " M"),
        value if value >= 0.9999e3 => (value / 1e3, " k"),
        value => (value, ""),
    };
    let text = format!("{value:.2}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_begins_at_0() {
        let axis = Vertical::of([3e6, 1e6].into_iter(), false);
        assert_eq!(axis.marks().iter().map(|&at| axis.label(at)).collect::<Vec<_>>(), ["0", "1 M", "2 M", "3 M"]);
        assert_eq!(axis.place(5.0), 5.0);
    }

    #[test]
    fn a_logarithmic_axis_has_marks_in_each_decade() {
        let axis = Vertical::of([0.3, 20.0].into_iter(), true);
        let labels: Vec<_> = axis.marks().iter().map(|&at| axis.label(at)).collect();
        assert_eq!(labels, ["0.5", "1", "2", "5", "10", "20"]);
        assert_eq!(axis.place(100.0), 2.0);
        let wide = Vertical::of([1.0, 9e4].into_iter(), true);
        let labels: Vec<_> = wide.marks().iter().map(|&at| wide.label(at)).collect();
        assert_eq!(labels, ["1", "10", "100", "1 k", "10 k", "100 k"]);
    }

    #[test]
    fn nothing_to_show_is_an_axis_too() {
        for is_log in [false, true] {
            let axis = Vertical::of(std::iter::empty(), is_log);
            assert!(axis.range().start < axis.range().end && !axis.marks().is_empty());
        }
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [(0.0, "0"), (0.25, "0.25"), (999.0, "999"), (1000.0, "1 k"), (2.5e6, "2.5 M")] {
            assert_eq!(short(value), text);
        }
    }
}
