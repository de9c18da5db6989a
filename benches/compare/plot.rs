//! Time against the size of the store, both logarithmic.

use std::path::Path;

use plotters::prelude::*;

/// Draws one line for the floor, regsweep and the registry's collector, in that order.
pub(crate) fn draw(path: &Path, points: &[(u64, Vec<f64>)]) {
    let area = SVGBackend::new(path, (720, 420)).into_drawing_area();
    area.fill(&WHITE).expect("the plot can be drawn");
    let blobs = points[0].0 as f64..points[points.len() - 1].0 as f64 * 1.2;
    let seconds = 0.003..60.0;
    let mut chart = ChartBuilder::on(&area)
        .caption("Dry run, warm cache", ("sans-serif", 20))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(blobs.log_scale(), seconds.log_scale())
        .expect("the plot can be drawn");
    chart.configure_mesh().x_desc("blobs").y_desc("seconds").draw().expect("the plot can be drawn");
    let lines = [
        ("floor", RGBColor(120, 120, 120)),
        ("regsweep", RGBColor(0, 110, 60)),
        ("docker-registry 2.8.2", RGBColor(190, 60, 30)),
    ];
    for (number, (name, colour)) in lines.into_iter().enumerate() {
        let line = points.iter().map(|(blobs, times)| (*blobs as f64, times[number]));
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)).point_size(3))
            .expect("the plot can be drawn")
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .border_style(BLACK)
        .position(SeriesLabelPosition::UpperLeft)
        .draw()
        .expect("the plot can be drawn");
    area.present().expect("the plot can be written");
}
