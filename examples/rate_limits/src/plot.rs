//! The plot: the number of requests over time.

use std::error::Error;

use plotters::prelude::*;

use crate::run::Line;

/// The colours of the lines: grey for the sent requests, and one colour for each algorithm. People
/// with any kind of colour vision can distinguish them (Okabe and Ito).
const COLOURS: [RGBColor; 5] = [
    RGBColor(150, 150, 150),
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
];

/// The end of the time axis.
const SECONDS: f64 = 5.0;
/// The end of the axis of requests.
const MAX_REQUESTS: f64 = 50.0;

/// Draws the lines as an SVG document.
pub(crate) fn draw(lines: &[Line]) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (860, 460)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(
                "A limit of 10/s under a rush of 40/s, and after it",
                ("sans-serif", 18),
            )
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(50)
            .build_cartesian_2d(0.0..SECONDS, 0.0..MAX_REQUESTS)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc("seconds")
            .y_desc("requests that have gone")
            .x_labels(6)
            .x_label_formatter(&|seconds| format!("{seconds:.0}"))
            .y_label_formatter(&|count| format!("{count:.0}"))
            .draw()?;
        for (line, colour) in lines.iter().zip(COLOURS) {
            let style = colour.stroke_width(2);
            chart
                .draw_series(LineSeries::new(steps(&line.moments), style))?
                .label(line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE)
            .border_style(BLACK)
            .draw()?;
        area.present()?;
    }
    Ok(svg)
}

/// Returns the corners of a line that rises by one at each moment, within the plot.
fn steps(moments: &[f64]) -> Vec<(f64, f64)> {
    let mut corners = vec![(0.0, 0.0)];
    let mut count = 0.0;
    for moment in moments {
        corners.push((*moment, count));
        count += 1.0;
        corners.push((*moment, count));
    }
    corners.push((SECONDS, count));
    corners.retain(|(_, count)| *count <= MAX_REQUESTS);
    corners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_plot_of_the_guide_is_up_to_date() {
        let stored = include_str!("../../../docs/guide/rate-limits.svg");
        assert_eq!(
            draw(&crate::run::all_lines().await.expect("statuses")).expect("a plot"),
            stored,
            "run the example again, see README.md"
        );
    }
}
