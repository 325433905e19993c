//! Line charts as SVG and PNG, drawn from plain numbers. Knows nothing of what they mean.
//!
//! One drawing serves both: text is measured with a font that is built in, so that no machine needs any. PNG is drawn at
//! twice the size, since its letters do not scale.

mod axis;

use std::sync::Once;

use anyhow::{Context, Result};
use plotters::coord::Shift;
use plotters::element::DashedPathElement;
use plotters::prelude::*;
use plotters::style::register_font;

/// Size of an SVG, in pixels.
const SIZE: (u32, u32) = (860, 480);
/// How much larger a PNG is.
const PNG_SCALE: u32 = 2;
/// Name under which the font is known; viewers of SVG take one of their own.
const FONT: &str = "monospace";
/// Hues that people with any kind of sight tell apart.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(120, 120, 120),
];

/// Where the legend is: where no line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Legend {
    /// For lines that rise.
    UpperLeft,
    /// For lines that rise late.
    LowerRight,
    /// For lines that fall.
    LowerLeft,
}

/// A chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// Under the horizontal axis.
    pub x_label: String,
    /// Beside the vertical one.
    pub y_label: String,
    /// Where the horizontal axis has marks, in ascending order, and what they say.
    pub x_marks: Vec<(f64, String)>,
    /// Whether the vertical axis is logarithmic; else it begins at 0.
    pub is_log: bool,
    /// Where the legend is.
    pub legend: Legend,
    /// What is drawn.
    pub lines: Vec<Line>,
}

/// A line with a point at each value.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Which colour it has, of a few.
    pub colour: usize,
    /// Limits are dashed.
    pub is_dashed: bool,
    /// Points; those that are not finite, or not above 0, are left out.
    pub points: Vec<(f64, f64)>,
}

impl Chart {
    /// As the text of an SVG file.
    ///
    /// # Errors
    /// It cannot be drawn.
    pub fn svg(&self) -> Result<String> {
        let mut text = String::new();
        self.draw(SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), 1)?;
        Ok(text)
    }

    /// As the bytes of a PNG file.
    ///
    /// # Errors
    /// It cannot be drawn.
    pub fn png(&self) -> Result<Vec<u8>> {
        let (width, height) = (SIZE.0 * PNG_SCALE, SIZE.1 * PNG_SCALE);
        let mut pixels = vec![0; (width * height * 3) as usize];
        let backend = BitMapBackend::with_buffer(&mut pixels, (width, height));
        self.draw(backend.into_drawing_area(), PNG_SCALE)?;
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, width, height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header()?.write_image_data(&pixels)?;
        Ok(bytes)
    }

    fn draw<B: DrawingBackend>(&self, area: DrawingArea<B, Shift>, scale: u32) -> Result<()>
    where
        B::ErrorType: 'static,
    {
        load_font();
        area.fill(&WHITE)?;
        let y = axis::Vertical::of(self.lines.iter().flat_map(|line| line.values()), self.is_log);
        let (first, last) = self.x_marks.first().zip(self.x_marks.last()).context("the axis has marks")?;
        let margin = ((last.0 - first.0) * 0.04).max(0.1);
        let marks = self.x_marks.iter().map(|mark| mark.0).collect::<Vec<_>>();
        let text = |size: u32| (FONT, size * scale);
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, text(16))
            .margin(10 * scale)
            .x_label_area_size(44 * scale)
            .y_label_area_size(76 * scale)
            .build_cartesian_2d(
                axis::Scale::new(first.0 - margin..last.0 + margin, marks),
                axis::Scale::new(y.range(), y.marks()),
            )?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .x_desc(&self.x_label)
            .y_desc(&self.y_label)
            .x_label_formatter(&|&at| self.mark(at))
            .y_label_formatter(&|&at| y.label(at))
            .label_style(text(12))
            .axis_desc_style(text(13))
            .draw()?;
        for line in &self.lines {
            let points: Vec<_> = line.drawn().map(|(x, value)| (x, y.place(value))).collect();
            let style = COLOURS[line.colour % COLOURS.len()].stroke_width(2 * scale);
            let dash = 6 * scale;
            let sample = move |(x, y)| vec![(x, y), (x + (24 * scale) as i32, y)];
            if line.is_dashed {
                chart
                    .draw_series(DashedLineSeries::new(points.iter().copied(), dash, dash, style))?
                    .label(&line.name)
                    .legend(move |at| DashedPathElement::new(sample(at), dash, dash, style));
            } else {
                chart
                    .draw_series(LineSeries::new(points.iter().copied(), style))?
                    .label(&line.name)
                    .legend(move |at| PathElement::new(sample(at), style));
            }
            let dots = points.iter().map(|&at| Circle::new(at, 3 * scale, style.filled()));
            chart.draw_series(dots)?;
        }
        chart
            .configure_series_labels()
            .position(self.legend.position())
            .legend_area_size(28 * scale)
            .margin(8 * scale)
            .label_font(text(12))
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.2))
            .draw()?;
        area.present().context("the drawing cannot be finished")
    }

    fn mark(&self, at: f64) -> String {
        self.x_marks.iter().find(|mark| (mark.0 - at).abs() < 1e-9).map_or_else(String::new, |mark| mark.1.clone())
    }
}

impl Legend {
    fn position(self) -> SeriesLabelPosition {
        match self {
            Self::UpperLeft => SeriesLabelPosition::UpperLeft,
            Self::LowerRight => SeriesLabelPosition::LowerRight,
            Self::LowerLeft => SeriesLabelPosition::LowerLeft,
        }
    }
}

impl Line {
    fn drawn(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.points.iter().copied().filter(|&(x, y)| x.is_finite() && y.is_finite() && y > 0.0)
    }

    fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.drawn().map(|(_, y)| y)
    }
}

/// Makes the built-in font known.
fn load_font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let found = register_font(FONT, FontStyle::Normal, epaint_default_fonts::HACK_REGULAR);
        assert!(found.is_ok(), "the built-in font is a font");
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn chart(is_log: bool) -> Chart {
        let line = |name: &str, colour, is_dashed, top: f64| Line {
            name: name.into(),
            colour,
            is_dashed,
            points: vec![(0.0, top / 10.0), (1.0, top), (2.0, f64::NAN), (2.0, 0.0)],
        };
        Chart {
            title: "null <4 KiB> & more".into(),
            x_label: "depth".into(),
            y_label: "IOPS".into(),
            x_marks: ["1", "8", "32"].into_iter().enumerate().map(|(at, text)| (at as f64, text.into())).collect(),
            is_log,
            legend: Legend::UpperLeft,
            lines: vec![line("split", 0, false, 2e6), line("limit", 0, true, 1e7)],
        }
    }

    #[test]
    fn an_svg_is_well_formed_and_says_what_it_shows() {
        for is_log in [false, true] {
            let text = chart(is_log).svg().unwrap();
            let document = roxmltree::Document::parse(&text).unwrap();
            assert_eq!(document.root_element().tag_name().name(), "svg");
            let said: Vec<_> = document
                .descendants()
                .filter(|node| node.has_tag_name("text"))
                .map(|node| node.text().unwrap_or_default().trim().to_owned())
                .collect();
            for word in ["null <4 KiB> & more", "depth", "IOPS", "split", "limit", "8", "10 M"] {
                assert!(said.iter().any(|text| text == word), "{word} is not in {said:?}");
            }
            assert!(!text.contains("NaN"));
        }
    }

    #[test]
    fn a_png_can_be_read_and_is_not_blank() {
        let bytes = chart(false).png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((frame.width, frame.height), (SIZE.0 * PNG_SCALE, SIZE.1 * PNG_SCALE));
        let has = |colour: RGBColor| pixels.chunks_exact(3).any(|pixel| pixel == [colour.0, colour.1, colour.2]);
        assert!(has(WHITE) && has(COLOURS[0]) && has(BLACK), "paper, line and letters");
    }

    #[test]
    fn a_chart_without_values_is_still_a_chart() {
        let mut chart = chart(true);
        chart.lines.clear();
        assert!(roxmltree::Document::parse(&chart.svg().unwrap()).is_ok());
        chart.x_marks.clear();
        assert!(chart.svg().is_err());
    }
}
