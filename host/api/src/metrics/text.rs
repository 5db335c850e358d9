//! The text format of Prometheus, version 0.0.4
//! (prometheus.io/docs/instrumenting/exposition_formats), which every scraper reads.

use std::fmt::Write;

use super::{Family, Kind, Value};

/// What it is sent as.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Families as text.
pub(crate) fn write(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "# HELP {} {}",
            family.name,
            escaped(family.help, false)
        );
        let _ = writeln!(text, "# TYPE {} {kind}", family.name);
        for sample in &family.samples {
            text.push_str(family.name);
            text.push_str(sample.suffix);
            for (number, (name, value)) in sample.labels.iter().enumerate() {
                let before = if number == 0 { '{' } else { ',' };
                let _ = write!(text, "{before}{name}=\"{}\"", escaped(value, true));
            }
            if !sample.labels.is_empty() {
                text.push('}');
            }
            let _ = match sample.value {
                Value::Whole(value) => writeln!(text, " {value}"),
                Value::Real(value) => writeln!(text, " {value}"),
            };
        }
    }
    text
}

/// Backslashes and ends of lines, and in labels quotes too.
fn escaped(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Page, Sample, seconds};
    use super::*;

    #[test]
    fn what_is_written_is_what_the_format_says() {
        let mut page = Page::default();
        page.one(Kind::Gauge, "a", "A \\ and\na line", 3);
        let labels = [("x", "say \"hi\"\n"), ("y", "back\\slash")];
        let sample = Sample::new(labels, seconds(1_500_000));
        page.family(Kind::Counter, "b_seconds_total", "B", vec![sample]);
        assert_eq!(
            write(&page.families),
            "# HELP a A \\\\ and\\na line\n# TYPE a gauge\na 3\n\
             # HELP b_seconds_total B\n# TYPE b_seconds_total counter\n\
             b_seconds_total{x=\"say \\\"hi\\\"\\n\",y=\"back\\\\slash\"} 1.5\n"
        );
    }
}
