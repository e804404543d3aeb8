//! Metrics as values, and their text.

use std::fmt;

use anyhow::{Context, Result};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode as encode_text;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

pub(super) type Labels = Vec<(&'static str, String)>;

/// One metric with all its label sets. Names of counters are written without
/// `_total`, which the format adds.
#[derive(Debug)]
pub(super) struct Family {
    name: &'static str,
    help: &'static str,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Counters(Vec<(Labels, u64)>),
    Gauges(Vec<(Labels, f64)>),
    Histograms(Vec<(Labels, Histogram)>),
}

/// Upper edges with their own counts, the last one infinite.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    pub sum: f64,
    pub buckets: Vec<(f64, u64)>,
}

pub(super) fn counters(
    name: &'static str,
    help: &'static str,
    values: impl IntoIterator<Item = (Labels, u64)>,
) -> Family {
    Family {
        name,
        help,
        values: Values::Counters(values.into_iter().collect()),
    }
}

pub(super) fn gauges(
    name: &'static str,
    help: &'static str,
    values: impl IntoIterator<Item = (Labels, f64)>,
) -> Family {
    Family {
        name,
        help,
        values: Values::Gauges(values.into_iter().collect()),
    }
}

pub(super) fn histograms(
    name: &'static str,
    help: &'static str,
    values: impl IntoIterator<Item = (Labels, Histogram)>,
) -> Family {
    Family {
        name,
        help,
        values: Values::Histograms(values.into_iter().collect()),
    }
}

pub(super) fn counter(name: &'static str, help: &'static str, value: u64) -> Family {
    counters(name, help, [(Labels::new(), value)])
}

pub(super) fn gauge(name: &'static str, help: &'static str, value: f64) -> Family {
    gauges(name, help, [(Labels::new(), value)])
}

pub(super) fn encode(families: Vec<Family>) -> Result<String> {
    let mut registry = Registry::with_prefix("terrace");
    registry.register_collector(Box::new(Families(families)));
    let mut text = String::new();
    encode_text(&mut text, &registry).context("write the metrics")?;
    Ok(text)
}

#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        self.0
            .iter()
            .try_for_each(|family| family.encode(&mut encoder))
    }
}

impl Family {
    fn encode(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let kind = match self.values {
            Values::Counters(_) => MetricType::Counter,
            Values::Gauges(_) => MetricType::Gauge,
            Values::Histograms(_) => MetricType::Histogram,
        };
        let encoder = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        match &self.values {
            Values::Counters(values) => samples(encoder, values, |n| ConstCounter::new(*n)),
            Values::Gauges(values) => samples(encoder, values, |n| ConstGauge::new(*n)),
            Values::Histograms(values) => samples(encoder, values, Clone::clone),
        }
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let count = self.buckets.iter().map(|(_, n)| n).sum();
        encoder.encode_histogram::<NoLabelSet>(self.sum, count, &self.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

fn samples<T, M: EncodeMetric>(
    mut encoder: MetricEncoder<'_>,
    values: &[(Labels, T)],
    metric: impl Fn(&T) -> M,
) -> fmt::Result {
    for (labels, value) in values {
        if labels.is_empty() {
            return metric(value).encode(encoder);
        }
        metric(value).encode(encoder.encode_family(labels)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_out_with_their_labels_and_endings() {
        let families = vec![
            counters(
                "packets",
                "Packets.",
                [
                    (vec![("iface", "eth0".to_owned())], 7),
                    (vec![("iface", "a\"b\\\n".to_owned())], u64::MAX),
                ],
            ),
            gauge("uptime_seconds", "Age.", 1.5),
            counter("changes", "Changes.", 3),
        ];
        let expected = "\
# HELP terrace_packets Packets.
# TYPE terrace_packets counter
terrace_packets_total{iface=\"eth0\"} 7
terrace_packets_total{iface=\"a\\\"b\\\\\\n\"} 18446744073709551615
# HELP terrace_uptime_seconds Age.
# TYPE terrace_uptime_seconds gauge
terrace_uptime_seconds 1.5
# HELP terrace_changes Changes.
# TYPE terrace_changes counter
terrace_changes_total 3
# EOF
";
        assert_eq!(encode(families).unwrap(), expected);
    }
}
