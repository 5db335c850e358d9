//! Prometheus metrics: families of samples and how they are written. What they are made of is in
//! `fleet`, `traffic` and `own`; none of them knows how it was measured.

mod fleet;
mod own;
mod text;
mod traffic;

use grace_model::port::HostViews;
use serde::Serialize;

pub(crate) use text::{CONTENT_TYPE, write};

/// What a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// It only rises, until its process begins anew.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Samples by class.
    Histogram,
}

/// Samples of one name.
#[derive(Debug, Serialize)]
pub(crate) struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    samples: Vec<Sample>,
}

/// A value and what it is of.
#[derive(Debug, Serialize)]
pub(crate) struct Sample {
    /// What is added to the family's name: `_bucket`, `_sum`, `_count`, or nothing.
    #[serde(skip_serializing_if = "str::is_empty")]
    suffix: &'static str,
    labels: Vec<(&'static str, String)>,
    value: Value,
}

/// A number as it is, without a detour over floats where it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Value {
    /// A count.
    Whole(u64),
    /// A time or a share.
    Real(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Value::Whole(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Whole(value.into())
    }
}

/// Seconds of so many microseconds.
fn seconds(us: u64) -> Value {
    Value::Real(Fraction { of: us, parts: 1e6 }.value())
}

/// A share of so many thousandths.
fn ratio(permille: u64) -> Value {
    Value::Real(
        Fraction {
            of: permille,
            parts: 1e3,
        }
        .value(),
    )
}

struct Fraction {
    of: u64,
    parts: f64,
}

impl Fraction {
    /// Exact up to 2^53: 285 years in microseconds.
    #[allow(clippy::cast_precision_loss, reason = "see above")]
    fn value(&self) -> f64 {
        self.of as f64 / self.parts
    }
}

/// Families under way.
#[derive(Debug, Default)]
struct Page {
    families: Vec<Family>,
}

impl Page {
    fn family(&mut self, kind: Kind, name: &'static str, help: &'static str, samples: Vec<Sample>) {
        // One without a sample says nothing, and some readers take it for a mistake.
        if !samples.is_empty() {
            self.families.push(Family {
                name,
                help,
                kind,
                samples,
            });
        }
    }

    /// A family with a sample for each item that has a value.
    fn each<'i, T: 'i, const N: usize>(
        &mut self,
        kind: Kind,
        (name, help): (&'static str, &'static str),
        items: impl IntoIterator<Item = &'i T>,
        sample: impl Fn(&'i T) -> Option<([(&'static str, &'i str); N], Value)>,
    ) {
        let samples = items.into_iter().filter_map(sample);
        let samples = samples.map(|(labels, value)| Sample::new(labels, value));
        self.family(kind, name, help, samples.collect());
    }

    /// A family of one sample.
    fn one(&mut self, kind: Kind, name: &'static str, help: &'static str, value: impl Into<Value>) {
        let sample = Sample::new([], value.into());
        self.family(kind, name, help, vec![sample]);
    }
}

impl Sample {
    fn new<const N: usize>(labels: [(&'static str, &str); N], value: Value) -> Self {
        Self {
            suffix: "",
            labels: labels
                .into_iter()
                .map(|(name, value)| (name, value.to_owned()))
                .collect(),
            value,
        }
    }
}

/// All families, from memory: nobody is asked, so that scraping often costs only this.
pub(crate) fn all(views: &dyn HostViews) -> Vec<Family> {
    let measured = views.measured();
    let mut page = Page::default();
    own::write(&mut page, views, &measured);
    if let Some(fleet) = views.fleet() {
        fleet::services(&mut page, &fleet);
        fleet::instances(&mut page, &fleet);
    }
    fleet::usage(&mut page, &measured.instances);
    if let Some(report) = &measured.proxy {
        traffic::write(&mut page, report);
    }
    page.families
}
