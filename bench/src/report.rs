//! What a bench found out: medians, a table for people, JSON for comparisons over time.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

/// One question with its answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) unit: String,
    pub(crate) ours: f64,
    pub(crate) peer: Option<f64>,
    /// How many times better than the peer we are, whether more or less is better; above 1 is good.
    pub(crate) ratio: Option<f64>,
    /// In words, such as `ratio >= 3`.
    pub(crate) target: Option<String>,
    pub(crate) met: Option<bool>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Better {
    More,
    Less,
}

impl Row {
    /// We and a peer did the same work.
    pub(crate) fn against_peer(what: &str, unit: &str, ours: f64, peer: f64, better: Better) -> Self {
        let ratio = match better {
            Better::More => ours / peer,
            Better::Less => peer / ours,
        };
        let (what, unit) = (what.to_owned(), unit.to_owned());
        Self { what, unit, ours, peer: Some(peer), ratio: Some(ratio), target: None, met: None }
    }

    /// A number of ours that has no peer.
    pub(crate) fn of_ours(what: &str, unit: &str, ours: f64) -> Self {
        Self { what: what.to_owned(), unit: unit.to_owned(), ours, peer: None, ratio: None, target: None, met: None }
    }

    pub(crate) fn with_ratio_at_least(self, least: f64) -> Self {
        let met = self.ratio.is_some_and(|ratio| ratio >= least);
        // Rounded as the ratio is shown, so that the target 1 / 1.1 reads 0.91.
        Self { target: Some(format!("ratio >= {}", (least * 100.0).round() / 100.0)), met: Some(met), ..self }
    }

    pub(crate) fn with_ours_at_least(self, least: f64) -> Self {
        let met = self.ours >= least;
        Self { target: Some(format!("ours >= {least}")), met: Some(met), ..self }
    }

    pub(crate) fn with_ours_below(self, limit: f64) -> Self {
        let met = self.ours < limit;
        Self { target: Some(format!("ours < {limit}")), met: Some(met), ..self }
    }
}

/// The middle of `values`; of an even number of them, the mean of the two in the middle.
///
/// # Panics
/// If there are none: a bench that measured nothing is mistaken.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// All rows, shown as a table.
pub(crate) struct Report(pub(crate) Vec<Row>);

impl Report {
    /// Writes `target/bench/<name>.json` below the working folder and returns its path.
    pub(crate) fn save(&self, name: &str) -> Result<PathBuf> {
        let folder = Path::new("target/bench");
        fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
        let file = folder.join(name).with_extension("json");
        let json = serde_json::to_string_pretty(&self.0).context("failed to encode the report")?;
        fs::write(&file, json + "\n").with_context(|| format!("failed to write {}", file.display()))?;
        Ok(file)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = ["what", "unit", "ours", "peer", "ratio", "target", "met"].map(str::to_owned);
        let lines: Vec<[String; 7]> = [heading].into_iter().chain(self.0.iter().map(cells)).collect();
        for line in &lines {
            for (column, cell) in line.iter().enumerate() {
                let width = lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
                match column {
                    2..=4 => write!(f, "{cell:>width$}  ")?,
                    _text => write!(f, "{cell:<width$}  ")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn cells(row: &Row) -> [String; 7] {
    let Row { what, unit, ours, peer, ratio, target, met } = row;
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let met = met.map(|met| if met { "yes" } else { "NO" }.to_owned());
    [
        what.clone(),
        unit.clone(),
        number(*ours),
        or_dash(peer.map(number)),
        or_dash(ratio.map(|ratio| format!("{ratio:.2}x"))),
        or_dash(target.clone()),
        or_dash(met),
    ]
}

/// Three digits that mean something are plenty for a bench.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{middle:.1}"),
        _small => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_depend_on_order() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(&[4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < f64::EPSILON);
    }

    #[test]
    fn a_ratio_above_one_is_good_either_way() {
        let speed = Row::against_peer("speed", "MB/s", 30.0, 10.0, Better::More);
        let cost = Row::against_peer("cost", "s", 10.0, 30.0, Better::Less);
        assert_eq!((speed.ratio, cost.ratio), (Some(3.0), Some(3.0)));
    }

    #[test]
    fn targets_say_whether_they_are_met() {
        let row = Row::against_peer("speed", "MB/s", 25.0, 10.0, Better::More);
        assert_eq!(row.clone().with_ratio_at_least(2.5).met, Some(true));
        assert_eq!(row.with_ratio_at_least(3.0).met, Some(false));
        assert_eq!(Row::of_ours("overhead", "%", 5.0).with_ours_below(5.0).met, Some(false));
    }

    #[test]
    fn the_json_has_the_promised_fields() {
        let row = Row::of_ours("overhead", "%", 2.5).with_ours_below(5.0);
        let expected = serde_json::json!({
            "what": "overhead", "unit": "%", "ours": 2.5, "peer": null, "ratio": null, "target": "ours < 5", "met": true
        });
        assert_eq!(serde_json::to_value(row).unwrap(), expected);
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![Row::of_ours("short", "%", 2.5), Row::of_ours("a longer question", "files/s", 12_345.0)];
        let table = Report(rows).to_string();
        let unit_columns: Vec<_> = table.lines().skip(1).map(|line| line.find(['%', 'f']).unwrap()).collect();
        assert_eq!(unit_columns[0], unit_columns[1], "{table}");
    }
}
